"""One connection of a registrar: what it last read, and when it should read again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from checks.observation import Binding, Cause, Event, Subject
from checks.registrations.readings import ListEnd, key

SAMPLES = 8  # of the PBX's clock: a delay that lasts for all of them is no jitter
CLOCK_GRAIN = 1.0  # s in which a PBX tells its clock at the coarsest
REBOOT = 0.5  # s; PBXs tell the start of one process as the same whole second
GRACE = 600.0  # s of patience with phones after a restart, at most
FOLLOWED = 3600.0  # s for which phones that come back are counted
LATE = (1.0, 2.0, 5.0, 10.0, 20.0)  # s between reads while a row outlives its end
DUTY = 50  # a list that took t s is hinted at again after 50 t: at most 2 % of a PBX
PRESSING = 10  # the same where a warning would come too late: rare, and at most 10 %
TOMBS = 200_000  # removals remembered during one list: the rows of the longest


class PbxClock:
    """The PBX's clock against ours.

    A sample is late by the delay of its answer, and cut by the grain of the PBX's
    clock, never early. So the greatest offset is the best, and what is converted with
    it is never before its time.
    """

    __slots__ = ("_samples", "measured", "offset")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.offset = 0.0
        self.measured = False

    def sample(self, pbx_now: float, began: float, now: float) -> bool:
        """Take the clock as read between two moments; whether it was set anew."""
        if self._samples and self.offset > pbx_now + CLOCK_GRAIN - min(began, now):
            self._samples.clear()  # it was set back
        before, first = self.offset, not self.measured
        self._samples.append(pbx_now - now)
        self.offset, self.measured = max(self._samples), True
        return first or abs(self.offset - before) > CLOCK_GRAIN

    def ours(self, time: float) -> float:
        """A time of the PBX's clock on ours."""
        return time - self.offset


@dataclass(slots=True, eq=False)
class Return:
    """The way back of phones after a restart or a failover."""

    event: Event
    at: float
    expected: int
    missing: set[str] = field(default_factory=set)  # AORs
    due_by: float = 0.0
    over: bool = False  # all are back, and that is told
    closed: bool = False  # its grace has ended, and that is told
    kept: bool = False  # what is back may only be what the PBX kept over the restart

    @property
    def back(self) -> int:
        """How many have a binding."""
        return max(0, self.expected - len(self.missing))

    def words(self, now: float) -> str:
        """31 of 40 back, the rest due by 10:14 UTC."""
        if not self.missing and self.kept:
            return f"all {self.expected} kept by the PBX, none proven yet"
        if not self.missing:
            return f"all {self.expected} back"
        are = "are" if now <= self.due_by else "were"
        by = datetime.fromtimestamp(self.due_by, UTC)
        count = f"{self.back} of {self.expected} back"
        return f"{count}, the rest {are} due by {by:%H:%M} UTC"


@dataclass(slots=True, eq=False)
class Member:
    """One address that is read, and its share of the bindings."""

    name: str
    bit: int
    started: float  # when we began to try
    subject: Subject
    readable: bool | None = None  # None: not tried to the end yet
    since: float = 0.0  # of that
    cause: Cause | None = None
    detail: str = ""
    read_at: float | None = None  # the last full list
    boot: float | None = None  # on the PBX's clock
    run: str = ""  # the PBX's own name of the run that was read
    kept: bool = False  # bindings outlive its restarts
    well_since: float | None = None  # remembered: readable since, if it still is
    blind_since: float | None = None  # remembered: not read since, if it still is
    lost_at: float = 0.0  # when it was last found unreadable
    stopping: float | None = None  # when it said that it shuts down
    fresh_at: float = 0.0  # when a binding last came or was refreshed
    clock: PbxClock = field(default_factory=PbxClock)
    restart: Return | None = None
    # Of the list that is being read:
    listing: int = 1
    held: int = 0  # contacts held
    marked: int = 0  # of them in this list
    expected: dict[str, str] | None = None  # its roster, valid when the list is
    touched: set[str] = field(default_factory=set)  # AORs to be judged at its end
    tombs: dict[int, float] = field(default_factory=dict)  # by key()
    deferred: list[Binding] = field(default_factory=list)
    # What has been read since it became readable:
    whole: bool = False
    covered: set[str] = field(default_factory=set)  # AORs, by lists of some each
    uncovered: set[str] | None = None  # those alone who are not: nearly all are
    # When to read again:
    ends: float | None = None  # the soonest end that lies ahead, PBX's clock
    ends_next: float | None = None
    overdue: bool = False
    step: int = 0
    late_at: float | None = None
    asked: float | None = None
    lag: float = 0.0  # s that the rows of the last list were older than its end
    doubted: float | None = None  # since when somebody is overdue, as far as is known

    def knows(self, aor: str) -> bool:
        """Whether what it holds for an AOR is known now."""
        return bool(self.readable) and (self.whole or self.covers(aor))

    def covers(self, aor: str) -> bool:
        """Whether a list of some had an AOR."""
        if self.uncovered is not None:
            return aor not in self.uncovered
        return aor in self.covered

    @property
    def read_whole(self) -> bool:
        """Whether its lists, all or several, have had everybody."""
        return self.whole or (self.uncovered is not None and not self.uncovered)

    def cover(self, aors: frozenset[str], known: Collection[str]) -> None:
        """A list of some had these, of all that are known."""
        if self.uncovered is not None:
            self.uncovered -= aors
            return
        self.covered |= aors
        if len(self.covered) < len(known):
            return
        self.covered.intersection_update(known)
        if len(self.covered) == len(known):
            self.covered, self.uncovered = set(), set()

    def admit(self, aor: str) -> None:
        """An AOR is watched from now on."""
        if self.uncovered is not None:
            self.uncovered.add(aor)

    def forget(self, aor: str) -> None:
        """It is watched no more."""
        if self.restart:
            self.restart.missing.discard(aor)
        if self.uncovered is not None:
            self.uncovered.discard(aor)

    def settling(self, now: float) -> bool:
        """Whether its word on reachability is still that of a PBX that starts."""
        if not self.readable:
            return True
        return self.restart is not None and now < self.restart.at + GRACE

    def bury(self, aor: str, uri: str, at: float) -> None:
        """Remember a removal: a row of the list under way may be older than it."""
        if len(self.tombs) >= TOMBS:
            del self.tombs[next(iter(self.tombs))]
        self.tombs[key(aor, uri)] = at

    def expects_end(self, end: float, now: float) -> None:
        """Note the end of a row of the list under way."""
        if not self.clock.measured and self.read_at is None:
            return
        if self.clock.ours(end) <= now:
            self.overdue = True
        elif self.ends_next is None or end < self.ends_next:
            self.ends_next = end

    def abandon_list(self) -> None:
        """Forget the half of a list; what its rows said of presence stays true."""
        self._begin_list()
        self.expected = None
        self.deferred.clear()
        self.tombs.clear()  # the next list is asked for after all of them
        self.touched.clear()  # all are judged after the next
        self.asked = None
        self._know(whole=False)

    def _know(self, *, whole: bool) -> None:
        self.whole, self.uncovered = whole, None
        self.covered.clear()

    def finish_list(
        self, reading: ListEnd, now: float, interval: float, known: Collection[str]
    ) -> None:
        """Close the list that is under way, and plan the next by its ends."""
        if reading.aors is None:
            self._know(whole=True)
            self.ends = self.ends_next
        else:
            if not self.whole:
                self.cover(reading.aors, known)
            ahead = [e for e in (self.ends, self.ends_next) if e is not None]
            ahead = [end for end in ahead if self.clock.ours(end) + 1 > now]
            self.ends = min(ahead, default=None)
        if self.overdue:
            wait = LATE[self.step] if self.step < len(LATE) else interval
            self.late_at = now + min(wait, interval)
            self.step = min(self.step + 1, len(LATE))
        else:
            self.late_at, self.step = None, 0
        self.lag = max(0.0, now - reading.began)
        if self.doubted is not None and reading.began >= self.doubted:
            self.doubted = None
        if self.asked is not None and reading.began >= self.asked:
            self.asked = None
        self.read_at, self.stopping = now, None
        self.tombs.clear()  # the next list is asked for after all of them
        self._begin_list()

    def _begin_list(self) -> None:
        self.listing += 1
        self.marked = 0
        self.ends_next, self.overdue = None, False

    def wanted_at(self, interval: float) -> float | None:
        """When a read is worth while because a binding has ended by then."""
        if not self.readable:
            return None  # what reconnects, lists
        due = self.late_at
        if self.ends is not None:
            end = self.clock.ours(self.ends) + 1
            due = end if due is None else min(due, end)
        if due is not None:
            due = max(due, self._rested(DUTY, interval))
        if self.doubted is not None:
            doubt = max(self.doubted, self._rested(PRESSING, interval))
            due = doubt if due is None else min(due, doubt)
        if due is not None and self.asked is not None:
            return self.asked + interval
        return due

    def _rested(self, duty: float, interval: float) -> float:
        """When the PBX has rested from its last list."""
        last = -math.inf if self.read_at is None else self.read_at
        return last + min(interval, duty * self.lag)
