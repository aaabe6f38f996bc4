"""One machine that is watched in two ways: a PBX, and the target that it answers at.

Where both fail it is one outage. Who is told of the one that was critical first is not
told of the other: that is part of it, for as long as the first lasts and a while more,
in which the second has time to be well again too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from alerting.alarms.changes import Changes
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.watched import Watched
from alerting.incident import Delivery, Incident, Severity
from checks.observation import Subject

LIVENESS = "liveness"  # the family of both incidents
LAGS = 120.0  # s by which one way may see later than the other that it is well


class Twins:
    """Makes the later of two incidents part of the earlier one."""

    def __init__(
        self,
        watched: Mapping[Subject, Watched],
        incidents: Mapping[int, Incident],
        deliveries: Deliveries,
        changes: Changes,
    ) -> None:
        """`incidents` are the open ones by their ids."""
        self._pairs: dict[Subject, tuple[Subject, ...]] = {}  # both ways
        self._watched = watched
        self._open = incidents
        self._deliveries = deliveries
        self._changes = changes
        self._over: dict[Incident, float] = {}  # when the other ended; it goes on

    def pair(self, several: Iterable[tuple[Subject, Subject]]) -> None:
        """Each two of these are one machine from now on."""
        self._pairs = {}
        for one, other in several:
            for a, b in ((one, other), (other, one)):
                self._pairs[a] = (*self._pairs.get(a, ()), b)

    def look(self, w: Watched, now: float) -> Iterator[Watched]:
        """After a review of one: whether it is part of the other; who is to be looked
        at because of it."""
        mine = _incident(w)
        for subject in self._pairs.get(w.subject, ()):
            other = self._watched.get(subject)
            theirs = _incident(other) if other else None
            if other is None or theirs is None:
                continue
            if mine is None or not _is_critical(mine):
                if theirs.part_of is not None and theirs not in self._over:
                    yield other
            elif mine.part_of is theirs.part_of is None and _is_critical(theirs):
                mine.part_of = theirs.id
                self._changes.incident(mine)
        if mine is not None:
            self._let_go(mine, now)

    def _let_go(self, mine: Incident, now: float) -> None:
        """What goes on though the other is over is told by itself in the end."""
        if mine.part_of is None or mine.part_of in self._open:
            self._over.pop(mine, None)
        elif now >= self._over.setdefault(mine, now) + LAGS:
            del self._over[mine]
            mine.part_of = None
            self._changes.incident(mine)
            self._deliveries.release(now)

    def until(self, w: Watched) -> float | None:
        """When to look again at one that goes on though the other is over."""
        mine = _incident(w) if self._over else None
        over = self._over.get(mine) if mine is not None else None
        if over is None:
            self._over = {i: at for i, at in self._over.items() if i.firing}
            return None
        return over + LAGS

    def part_of(self, row: Delivery) -> str:
        """Why a row is not told though the other is over: it may be so in a moment."""
        part = row.incident
        return f"part of incident {part.part_of}" if part in self._over else ""


def _incident(w: Watched) -> Incident | None:
    return w.trouble.incidents.get(LIVENESS) if w.trouble else None


def _is_critical(incident: Incident) -> bool:
    return incident.severity is Severity.CRITICAL
