"""Branches on one PBX, and our own network, on paper: timelines that read as they are.

    site = Branches()
    lyon = site.crowd("lyon", 40)
    site.lose(100, lyon[:31])                        at 100 they go
    site.tells(100, 129)                             until then: nothing
    site.tells(129, 131, "firing lyon Mass...")      between these: exactly this

Sites are seen through the network, hq through the site of Paris, phones through hq and
their own site. The registrar is read every 30 s and the network every 5 s, while they
can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alerting.announcement import Ask
from checks.observation import Figures, Kind, Loss, Observation, Scope, State, Subject

from .timeline import Mail, Site

LOOKS = 5.0  # s between two rounds of questions to the landmarks
REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
UP, DOWN = State.UP, State.DOWN


def network() -> Subject:
    return Subject(Kind.VANTAGE, "network", Scope("network"))


@dataclass
class Branches(Site):
    """Paris with the PBX, Lyon and Nice; a network that may be watched."""

    vantage: Subject | None = field(default_factory=network)
    watched: bool = False  # whether the network is
    names: Sequence[str] = ("paris", "lyon", "nice")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sites = {
            name: Subject(
                Kind.SITE, name, Scope(name, labels={"site": name}, parent=self.vantage)
            )
            for name in self.names
        }
        self.hq.scope.parent = self.sites["paris"]
        self.scopes = {
            name: Scope(
                "hq",
                labels={"registrar": "hq", "site": name},
                parent=self.hq,
                depends_on=() if name == "paris" else (site,),
            )
            for name, site in self.sites.items()
        }
        self.well_since: float | None = None
        self.rounds_at: float | None = None
        if self.watched and self.vantage:
            self.alarms.adopt(self.vantage)
        for subject in self.sites.values():
            self.alarms.adopt(subject)

    # What there is

    def begin(self) -> Branches:
        """Network and PBX are well."""
        if self.watched:
            self.connect(self.now + 1)
        self.readable(self.now + 1)
        return self

    def phone(self, name: str, place: str = "lyon") -> Subject:
        return Subject(Kind.EXTENSION, name, self.scopes[place])

    def crowd(self, place: str, number: int, first: int = 0) -> list[Subject]:
        """So many phones of a branch, registered since the start."""
        begin = {"paris": 1000, "lyon": 3000, "nice": 5000}[place] + first
        several = [self.phone(str(begin + n), place) for n in range(number)]
        for phone in several:
            self.at(self.now, phone, REGISTERED)
        return several

    def trunk(self, name: str, place: str = "") -> Subject:
        above = self.sites[place] if place else self.vantage
        scope = Scope(name, role="trunk", parent=above)
        trunk = Subject(Kind.TARGET, name, scope)
        self.up(self.now, trunk, since=self.now, successes=1)
        return trunk

    # At t do this

    def lose(
        self,
        at: float,
        phones: Iterable[Subject],
        *,
        every: float = 0.0,
        expires: int = 60,
        where: str = "",
        **more: object,
    ) -> None:
        """They go, one every so many s."""
        for n, phone in enumerate(phones):
            facts: dict[str, object] = {
                "loss": Loss.EXPIRED,
                "figures": Figures(expires=expires),
                "last_seen": where.format(n=n + 1),
            }
            self.at(at + n * every, phone, UNREGISTERED, **(facts | more))

    def back(self, at: float, phones: Iterable[Subject], *, every: float = 0.0) -> None:
        for n, phone in enumerate(phones):
            self.at(at + n * every, phone, REGISTERED)

    def connect(self, at: float) -> None:
        """The landmarks answer."""
        self.until(at)
        self.well_since = at
        self._look(at)

    def cut(self, at: float, *, found: float = 2.0) -> None:
        """The landmarks do not answer any more, which is found out a little later."""
        self.until(at)
        self.well_since = self.rounds_at = None
        self.cut_at, self.found_at = at, at + found

    def found(self) -> None:
        """It is found out that we are cut off."""
        self.until(self.found_at)
        o = Observation(self.vantage, DOWN, self.cut_at, self.found_at)  # type: ignore[arg-type]
        self._observe(o)

    def _look(self, at: float) -> None:
        self.rounds_at = at + LOOKS
        since = self.well_since or at
        self._observe(Observation(self.vantage, UP, since, at))  # type: ignore[arg-type]

    # Between t1 and t2 expect this

    def tells(self, begin: float, end: float, *texts: str) -> list[Mail]:
        """What the on-call is told in this span, and nothing else."""
        self.until(end)
        mails = [m for m in self.mails.get("oncall", ()) if begin <= m.at < end]
        assert [mail.text for mail in mails] == list(texts)
        return mails

    def until(self, end: float) -> None:
        rounds = getattr(self, "rounds_at", None)
        while rounds is not None and rounds <= end:
            super().until(rounds)
            self._look(rounds)
            rounds = self.rounds_at
        super().until(end)

    def flush(self) -> None:
        before = len(self.announced)
        super().flush()
        for a in self.announced[before:]:
            asked = isinstance(a, Ask) and a.subject is self.vantage
            if asked and self.well_since is not None:
                self._look(self.now + 0.01)
