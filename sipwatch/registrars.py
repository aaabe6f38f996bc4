"""The configured registrars: judged, followed, let go, and paired with targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from alerting.alarms.core import Alarms
from alerting.store.database import Store
from checks.observation import Kind, Scope, State, Subject
from checks.registrations.extension import Extension
from checks.registrations.judge import Judge, Listed, RegistrarSettings, Remembered
from checks.registrations.memory import shifted
from checks.registrations.readings import Refused
from checks.registrations.sites import Sites
from checks.sip.resolver import Resolver
from sipwatch.asking import Inquire
from sipwatch.clock import Clock
from sipwatch.config.settings import Config
from sipwatch.flow import Flow
from sipwatch.follow import MEMO, Following
from sipwatch.peers import peers
from sipwatch.tasks import Tasks

Find = Callable[[Kind, str], Subject | None]  # an entry of the configuration

TASK = "registrar "  # what the names of their tasks begin with


class Registrars(Mapping[str, Following]):
    """Who reads each registrar of the configuration, by its name."""

    def __init__(
        self,
        clock: Clock,
        flow: Flow,
        alarms: Alarms,
        store: Store,
        tasks: Tasks,
        *,
        resolver: Resolver,
        site: Callable[[str], Subject | None],
        places: Callable[[], Sites] = Sites,
        arrived: Callable[[Following], None],
        refused: Callable[[Refused], None] = lambda refused: None,
        news: Callable[[], None] = lambda: None,
        inquire: Inquire | None = None,
    ) -> None:
        """`places` are the sites as they are configured; `arrived` is called once for
        each that was read, or tried, in full; `refused` hears whom a PBX refused;
        `news` is called where somebody stands otherwise than before; `inquire` has
        OPTIONS of our own sent."""
        self._clock, self._flow, self._alarms = clock, flow, alarms
        self._store, self._tasks, self._resolver = store, tasks, resolver
        self._site, self._places = site, places
        self._arrived, self._refused = arrived, refused
        self._news, self._inquire = news, inquire
        self._followings: dict[str, Following] = {}
        self.peers: dict[str, list[Following]] = {}  # by target: whom it speaks for

    def __getitem__(self, name: str) -> Following:
        return self._followings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._followings)

    def __len__(self) -> int:
        return len(self._followings)

    @property
    def judges(self) -> dict[str, Judge]:
        """The judges by the names of their registrars."""
        return {name: f.judge for name, f in self._followings.items()}

    def holding(self, aor: str) -> Iterator[tuple[str, Extension]]:
        """By registrar: the extension of this AOR, or of its user alone."""
        user = aor.partition("@")[0]
        for name, judge in self.judges.items():
            for one in (aor, user):
                if (found := judge.extensions.get(one)) is not None:
                    yield name, found
                    break

    def held(self, aor: str) -> Iterator[str]:
        """Contacts that the registrars hold for an AOR.

        An AOR that is known without its domain counts where the domain is the
        registrar's, or its address: nobody is refused for a namesake elsewhere.
        """
        host = aor.rpartition("@")[2]
        for name, extension in self.holding(aor):
            settings = self._followings[name].settings
            addresses = [settings.address, *settings.members]
            hosts = {a.rpartition(":")[0].strip("[]") or a for a in addresses}
            if extension.subject.name == aor or host in {settings.domain, *hosts}:
                yield from (contact.uri for contact in extension.contacts)

    def explains(self) -> bool:
        """Whether a PBX is read that tells why it refused somebody."""
        return any(
            f.settings.type == "asterisk" and f.judge.state is State.READABLE
            for f in self._followings.values()
        )

    def follow(
        self, name: str, settings: RegistrarSettings, listed: Iterable[Listed]
    ) -> None:
        """Read a registrar from now on, as it was left before if it ever was."""
        following = Following(
            self._judge(name, settings, listed),
            self._flow,
            self._clock.now,
            resolver=self._resolver,
            arrived=self._arrived,
            ahead=lambda: self._clock.skew,
            refused=self._refused,
            news=self._news,
            inquire=self._inquire,
        )
        self._followings[name] = following
        self._tasks.spawn(TASK + name, following.run())

    def unfollow(self, name: str) -> list[Subject]:
        """Read a registrar no more; what was watched there."""
        self._tasks.let_go(TASK + name).cancel()
        following = self._followings.pop(name)
        following.close()
        return list(following.subjects())

    def renew(
        self, name: str, settings: RegistrarSettings, listed: Iterable[Listed]
    ) -> None:
        """Follow a registrar otherwise; what is known of it stays."""
        before = self._followings[name].judge
        for subject in self.unfollow(name):
            self._alarms.release(subject)
        self.follow(name, settings, listed)
        self._followings[name].judge.keep_habits(before)
        for kind in ("registrar:", "extension:", "registration:"):
            self._alarms.unwatch_missing(kind, self._clock.now())

    def relocate(self) -> None:
        """The sites are configured otherwise: find out anew who belongs where."""
        places = self._places()
        for following in self._followings.values():
            following.relocate(places)

    def pair(self, config: Config, find: Find) -> None:
        """Find out which target speaks for which registrar."""
        old, self.peers = self.peers, peers(config, self._followings)
        paired = {id(one) for several in self.peers.values() for one in several}
        for several in old.values():
            for following in several:
                if id(following) not in paired:
                    following.options_answer(True)  # nobody says the contrary now
        found = ((find(Kind.TARGET, name), f) for name, f in self.peers.items())
        self._alarms.pair(
            (target, following.judge.subject)
            for target, several in found
            for following in several
            if target is not None
        )

    def _judge(
        self, name: str, settings: RegistrarSettings, listed: Iterable[Listed]
    ) -> Judge:
        """A judge that goes on where the last one stopped."""
        labels = {"registrar": name}
        if settings.site:
            labels["site"] = settings.site
        scope = Scope(name, settings.type, labels, self._site(settings.site))
        subject = Subject(Kind.REGISTRAR, name, scope)
        judge = Judge(
            name,
            settings,
            subject,
            self._clock.now(),
            self._remembered(f"{MEMO}/{name}/"),
            listed=listed,
            sites=self._places(),
        )
        self._alarms.adopt(subject)
        for member in judge.members.values():
            self._alarms.adopt(member.subject)
        for aor, row in self._alarms.unclaimed(f"extension:{name}/").items():
            found = judge.restore(aor, row.state, row.since, row.not_before)
            if found is not None:
                self._alarms.adopt(found)
        for trunk, row in self._alarms.unclaimed(f"registration:{name}/").items():
            known = judge.outgoing.restore(trunk, row.state, row.since, row.cause)
            self._alarms.adopt(known)
        return judge

    def _remembered(self, prefix: str) -> list[Remembered]:
        rows = [
            Remembered(key.removeprefix(prefix), json)
            for key, json in self._store.recall(prefix).items()
        ]
        ahead = self._clock.skew
        return [shifted(row, -ahead) for row in rows] if ahead else rows
