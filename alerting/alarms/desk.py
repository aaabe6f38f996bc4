"""What is owed to one notifier: groups that wait, batches attempted, repeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from alerting.alarms.deadlines import Deadlines
from alerting.alarms.limits import FOLDED
from alerting.incident import Delivery, Told
from alerting.routes import GroupSettings, by_severity

KNOWN = (Told.FIRING, Told.WORSE)  # the notifier believes that it fires


@dataclass(slots=True)
class Group:
    """Rows that may share a notification, and when the next one may go."""

    ready_at: float | None = None  # when the pending rows may go
    told_at: float = -inf
    pending: dict[Delivery, None] = field(default_factory=dict)
    live: set[Delivery] = field(default_factory=set)  # told as firing

    def hasten(self, at: float) -> None:
        """Let the pending rows go at this time, unless they may earlier."""
        self.ready_at = at if self.ready_at is None else min(at, self.ready_at)


class Desk:
    """All that is owed to one notifier."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = defaultdict(Group)
        self.batches: dict[str, list[Delivery]] = {}  # attempted, not yet accepted
        self.later: Deadlines[Delivery] = Deadlines()  # repeats, rungs, what is held

    def wait(self, row: Delivery, now: float, settings: GroupSettings) -> None:
        """A row is owed: it joins what its group has pending, or begins the wait.

        That something got worse is not held back because the group was told of late.
        """
        group, severity = self.groups[row.group], row.incident.severity
        self.later.set(row, None)
        at = now + by_severity(settings.wait, severity)
        if row.wanted is Told.WORSE:
            group.hasten(at)
        else:
            again = group.told_at + by_severity(settings.interval, severity)
            group.hasten(max(at, again))
        row.not_before = group.ready_at or at
        group.pending[row] = None

    def hasten(self, row: Delivery, at: float) -> None:
        """A row is owed at this time, and what its group has pending goes along."""
        group = self.groups[row.group]
        self.later.set(row, None)
        group.hasten(at)
        row.not_before = at
        group.pending[row] = None

    def fold(self, row: Delivery, name: str, at: float) -> None:
        """Let a row go with all others of this group, then."""
        group = self.groups[row.group]
        group.pending.pop(row, None)
        group.live.discard(row)
        self._tidy(row.group)
        row.group = name
        if row.told in KNOWN and not row.step:
            self.groups[name].live.add(row)
        self.hasten(row, at)

    def hold(self, row: Delivery, until: float) -> None:
        """A row that is owed has to wait until then; those of its group need not."""
        self.groups[row.group].pending.pop(row, None)
        self._tidy(row.group)
        row.not_before = until
        self.later.set(row, until)

    def held(self) -> Iterator[Delivery]:
        """The rows that wait for the end of a mute."""
        yield from (row for row in self.later if row.held)
        for group in self.groups.values():
            yield from (row for row in group.pending if row.held)

    def settled(self, row: Delivery) -> None:
        """Nothing is owed; a group without rows is gone and begins anew."""
        group = self.groups[row.group]
        self.later.set(row, None)
        group.pending.pop(row, None)
        if row.told in KNOWN and row.incident.firing and not (row.dead or row.step):
            group.live.add(row)
        else:
            group.live.discard(row)
        self._tidy(row.group)

    def _tidy(self, name: str) -> None:
        group = self.groups[name]
        if not group.pending:
            group.ready_at = None
            if not group.live:
                del self.groups[name]

    def leave(self, row: Delivery) -> None:
        """Take a row out of its batch: it was surely not accepted."""
        rows = self.batches.get(row.batch, [])
        if row in rows:
            rows.remove(row)
        if not rows:
            self.batches.pop(row.batch, None)
        row.batch, row.telling = "", Told.NOTHING

    def start(self, id_: str, group: Group) -> list[Delivery]:
        """Make one batch of the pending rows that say the same in one thread."""
        first = next(iter(group.pending))
        rows = [row for row in group.pending if _alike(row, first)]
        for row in rows:
            del group.pending[row]
            row.batch, row.telling, row.attempts = id_, row.wanted, 0
        if not group.pending:
            group.ready_at = None
        self.batches[id_] = rows
        return rows

    def ready(self, now: float) -> Group | None:
        """The group that has waited longest of those that may go."""
        found = [
            (group.ready_at, name)
            for name, group in self.groups.items()
            if group.pending and group.ready_at is not None and group.ready_at <= now
        ]
        return self.groups[min(found)[1]] if found else None

    def told(self) -> list[Delivery]:
        """What its notifier was told as firing, and still does."""
        live = [row for group in self.groups.values() for row in group.live]
        firing = [row for row in live if row.incident.firing and row.told in KNOWN]
        return sorted(firing, key=lambda row: row.incident.id)

    def next_due(self) -> float | None:
        """When there is something to send, if nothing else happens."""
        times = [rows[0].not_before for rows in self.batches.values()]
        times += [
            group.ready_at
            for group in self.groups.values()
            if group.pending and group.ready_at is not None
        ]
        later = self.later.next()
        return min(times if later is None else [*times, later], default=None)

    def restore(self, row: Delivery) -> None:
        """Put a stored row where it was."""
        if row.told in KNOWN and not row.dead and not row.step:
            self.groups[row.group].live.add(row)
        if row.batch:
            self.batches.setdefault(row.batch, []).append(row)
        elif row.step:
            self.later.set(row, row.not_before)
        elif row.pending:
            self.hasten(row, row.not_before)


def late(telling: Told, told: Told) -> bool:
    """A firing untold at its end is told once, as over."""
    return telling is Told.RESOLVED and told is Told.NOTHING


def is_folded(row: Delivery) -> bool:
    """Whether it waited for room, and is told with all else that did."""
    return row.group.startswith(FOLDED)


def _alike(row: Delivery, first: Delivery) -> bool:
    return (
        row.wanted is first.wanted
        and (row.thread == first.thread or is_folded(first))
        and late(row.wanted, row.told) == late(first.wanted, first.told)
    )
