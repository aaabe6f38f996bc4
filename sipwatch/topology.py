"""The subjects that others are seen through: our own network, sites, dependencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock

from checks.observation import Kind, Scope, Subject
from checks.registrations.sites import Sites
from checks.vantage.judge import own_network
from sipwatch.config.settings import Config
from sipwatch.config.topology import Key, dependencies

Find = Callable[[Kind, str], Subject | None]


class Topology:
    """Makes the subjects of sites once, and links what depends on what."""

    def __init__(self) -> None:
        self.vantage = own_network()
        self._sites: dict[str, Subject] = {}
        self._making = Lock()  # a reload asks from another thread
        self._linked: list[Scope] = []

    def site(self, name: str) -> Subject:
        """What is above an entry of this site: the site, or with none our network."""
        if not name:
            return self.vantage
        with self._making:
            if name not in self._sites:
                scope = Scope(name, labels={"site": name}, parent=self.vantage)
                self._sites[name] = Subject(Kind.SITE, name, scope)
            return self._sites[name]

    def drop(self, names: Iterable[str]) -> list[Subject]:
        """Forget sites that are configured no more; what they were."""
        with self._making:
            return [self._sites.pop(name) for name in names if name in self._sites]

    @property
    def sites(self) -> list[Subject]:
        """The sites that something belongs to, or belonged to."""
        return list(self._sites.values())

    def carries(self, subject: Subject) -> bool:
        """Whether something depends on it by the configuration's word."""
        return any(subject in scope.depends_on for scope in self._linked)

    def places(self, config: Config) -> Sites:
        """By what the sites of extensions are known."""
        return Sites(config.sites, self.site)

    def move(self, subject: Subject, site: str) -> bool:
        """A target without a site of its own is in this one now; whether that is new.

        In a scope of its own: it may share the one that it has.
        """
        old = subject.scope
        if old.labels.get("site", "") == site:
            return False
        labels = {name: of for name, of in old.labels.items() if name != "site"}
        if site:
            labels["site"] = site
        subject.scope = Scope(
            old.name, old.role, labels, self.site(site), old.depends_on
        )
        self._linked.append(subject.scope)
        return True

    def link(self, config: Config, find: Find) -> None:
        """Let every entry depend on what it names; subjects may be others by now."""
        for scope in self._linked:
            scope.depends_on = ()
        self._linked.clear()
        for key, several in dependencies(config).items():
            subject = self._find(key, find)
            if subject is not None:
                subject.scope.depends_on = tuple(self._known(several, find))
                self._linked.append(subject.scope)

    def _known(self, keys: Iterable[Key], find: Find) -> Iterable[Subject]:
        found = (self._find(key, find) for key in keys)
        return (subject for subject in found if subject is not None)

    def _find(self, key: Key, find: Find) -> Subject | None:
        kind, name = key
        return self.site(name) if kind is Kind.SITE else find(kind, name)
