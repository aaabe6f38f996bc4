"""The extensions of one registrar or site, and who of them is missing."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from math import ceil, inf, log2
from typing import NamedTuple

from alerting.alarms.watched import Watched
from alerting.incident import Incident
from checks.observation import Kind, State, Subject

MASS = "mass"  # the family
LEAST = 5  # fewer are told one by one
WHOLE_SITE = 3  # extensions that make a site one of which all can be lost
MOSTLY = 0.8  # of the missing: nearly all

_order = count()  # of losses at the same time


class Spread:
    """Times in classes of 19 %: their median is known without looking at each."""

    def __init__(self) -> None:
        self._classes: Counter[int] = Counter()
        self._total = 0

    def add(self, seconds: float, times: int = 1) -> None:
        """One more of this length; with -1 one less; 0 s is not known and no length."""
        if seconds:
            self._classes[round(4 * log2(max(1.0, seconds)))] += times
            self._total += times

    def median(self) -> float:
        """The upper end of its class, s; 0 where there is none."""
        passed = 0
        for which in sorted(self._classes):
            passed += self._classes[which]
            if 2 * passed > self._total:
                return float(2.0 ** ((which + 0.5) / 4))
        return 0.0


class Lot(NamedTuple):
    """What those have in common that are lost together: one for thousands."""

    expires: float  # s granted; 0: not known
    others: tuple[Group, ...]  # that they are in


lot = lru_cache(Lot)


class Missing(NamedTuple):
    """How one of them was lost, as long as that is no mass event."""

    since: float
    lot: Lot


@dataclass(slots=True, eq=False)
class Group:
    """Counts its losses; from `begun` on they are one mass event."""

    subject: Subject
    expected: int = 0  # extensions that are there or missing: who never was is not
    # Who is missing by the mass event: in which other groups.
    members: dict[Watched, Lot] = field(default_factory=dict)
    others: Counter[Group] = field(default_factory=Counter)  # groups of the members
    begun: float | None = None  # the first loss of the mass event
    most: int = 0  # missing at once
    not_before: float = 0.0  # end of the grace after a restart
    ended_at: float = -inf  # of the last event that was an incident
    incident: Incident | None = None
    over: Incident | None = None  # the one that ended last
    whole: Group | None = None  # the other whose event was told instead of this one
    covered: int = 0  # members that this had then
    trusted: bool = False  # members wait for it to be told by itself
    handed: bool = False  # they did, and another is told instead: some may not be in it
    lapsed: bool = False  # when it was due to be told, too few were missing
    turnover: int = 0  # how often one joined or left the event
    described: tuple[int, ...] = ()  # `story` when it was put into words last
    joined: list[Watched] = field(default_factory=list)  # members not looked at yet
    linked: dict[Incident, None] = field(default_factory=dict)  # theirs, told before
    left: tuple[Watched, ...] = ()  # who was missing when it ended
    strayed: dict[Watched, None] = field(default_factory=dict)  # moved away, missing
    asked: dict[str, None] = field(default_factory=dict)  # to be told of it instead
    heard: set[str] = field(default_factory=set)  # who is, or is told of it anyway
    stood: dict[str, Incident] = field(default_factory=dict)  # for what, the last one
    _recent: dict[Watched, Missing] = field(default_factory=dict)  # no event as yet
    _heap: list[tuple[float, int, Watched]] = field(default_factory=list)  # of them
    _granted: Spread = field(default_factory=Spread)  # of them
    _newest: float = -inf
    _last: tuple[float, float] = (inf, -inf)  # of the last event: first loss, last

    @property
    def is_registrar(self) -> bool:
        """Whether it is that of a registrar, not of a site."""
        return self.subject.kind is Kind.REGISTRAR

    @property
    def story(self) -> tuple[int, ...]:
        """What its words depend on; while that is the same, they are."""
        return self.turnover, self.expected, len(self.linked)

    def least(self, share: float) -> int:
        """How many must be missing."""
        wanted = max(LEAST, ceil(share * self.expected))
        if not self.is_registrar and self.expected >= WHOLE_SITE:
            return min(wanted, self.expected)
        return wanted

    def holds_by(self, share: float) -> bool:
        """Whether as many are missing now as a mass event begins with."""
        return len(self.members) >= self.least(share)

    def lose(
        self, w: Watched, expires: float, not_before: float, others: tuple[Group, ...]
    ) -> None:
        """One more is missing, of which `expires` s were granted (0: not known)."""
        self.not_before = max(self.not_before, not_before)
        its = lot(expires, others)
        if self.begun is not None and w.since >= self.begun:
            self._join(w, its)
        elif w not in self._recent:
            self._note(w, its)

    def drop(self, w: Watched) -> bool:
        """It is back, or gone for good; whether it was part of a mass event, be it
        one that ended before the last of it were back."""
        if (noted := self._recent.pop(w, None)) is not None:
            self._granted.add(noted.lot.expires, -1)
            if not self._recent:
                self._heap.clear()
            begin, end = self._last
            return begin <= noted.since <= end
        its = self.members.pop(w, None)
        if its is None:
            return False
        self.turnover += 1
        self.others.subtract(its.others)
        self.others += Counter()  # without those that none is left of
        return True

    def stray(self, w: Watched) -> bool:
        """It belongs elsewhere, which brings nobody back; what `drop` answers."""
        if w in self.members:
            self.strayed[w] = None
        return self.drop(w)

    def weigh(self, share: float, window: float) -> None:
        """Begin a mass event, or end it."""
        least = self.least(share)
        if self.begun is not None:
            lapsed, self.lapsed = self.lapsed, False
            # Half of them keep alive what was told, or may be in a moment.
            if len(self.members) < (least if lapsed else least / 2):
                self.end()
            return
        # Within one Expires the phones behind a dead switch are lost one by one.
        horizon = self._newest - max(window, self._granted.median())
        while self._heap and self._heap[0][0] < horizon:
            since, _, w = heapq.heappop(self._heap)
            if w in self._recent and self._recent[w].since == since:
                self._granted.add(self._recent.pop(w).lot.expires, -1)
        if len(self._recent) >= least:
            self.begin(min(missing.since for missing in self._recent.values()))

    def begin(self, since: float) -> None:
        """Who is missing since then is one mass event."""
        self.begun, self.left, self.whole = since, (), None
        self.most = 0  # what was never told is not counted with it
        self.strayed.clear()
        recent, self._recent = self._recent, {}
        self._heap.clear()
        self._granted = Spread()
        for w, missing in recent.items():
            if missing.since >= since:
                self._join(w, missing.lot)
            else:
                self._note(w, missing.lot)

    def end(self) -> None:
        """Enough are back; who is not may be part of the next one."""
        members, self.members = self.members, {}
        self.turnover += 1
        if self.begun is not None:
            newest = max((w.since for w in members), default=self.begun)
            self._last = self.begun, newest
        away = (w for w in self.strayed if w.state is State.UNREGISTERED)
        self.begun, self.not_before, self.left = None, 0.0, (*members, *away)
        self.strayed.clear()
        self.others.clear()
        self.joined.clear()
        for w, its in members.items():
            self._note(w, its)

    def holds(self, w: Watched) -> bool:
        """Whether one that is missing is part of its mass event, be it of one that has
        too few left and whose incident is kept open for a while."""
        if w in self.members:
            return True
        begin, end = self._last
        over = self.begun is None and self.incident is not None
        return over and begin <= w.since <= end

    def covering(self) -> Group | None:
        """The event that was told instead of this one, while that lasts and this one
        grows no more: as they come back its share may be another."""
        goes_on = self.whole is not None and self.whole.begun is not None
        return self.whole if goes_on and len(self.members) <= self.covered else None

    def tell(self, names: Iterable[str]) -> None:
        """These would be told of what it covers."""
        self.asked |= dict.fromkeys(sorted({*names} - self.heard))

    def _join(self, w: Watched, its: Lot) -> None:
        self.strayed.pop(w, None)
        if w not in self.members:
            self.members[w] = its
            self.turnover += 1
            self.others.update(its.others)
            self.joined.append(w)
            self.most = max(self.most, len(self.members))

    def _note(self, w: Watched, its: Lot) -> None:
        since = w.since
        self._recent[w] = Missing(since, its)
        self._granted.add(its.expires)
        self._newest = max(self._newest, since)
        heapq.heappush(self._heap, (since, next(_order), w))
