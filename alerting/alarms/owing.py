"""Where each outbox row stands: with its group, in a batch, later, or told.

A row of step 0 follows its incident: it is due while `wanted` and `told` differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from alerting.alarms.changes import Changes
from alerting.alarms.desk import KNOWN, Desk
from alerting.incident import Delivery, Incident, Told
from alerting.routes import GroupSettings, Routes, group_of
from alerting.store.rows import DeliveryRow

DEAD_AFTER = 86400.0  # s after its end that an incident is still worth a retry
NOT_CONFIGURED = "no longer configured"


class Owing:
    """All rows, by incident and by notifier."""

    def __init__(self, changes: Changes, routes: Routes, group: GroupSettings) -> None:
        self.rows: dict[Incident, list[Delivery]] = {}
        self.desks: dict[str, Desk] = defaultdict(Desk)
        self.routes = routes
        self.group = group
        self._changes = changes

    def of(self, incident: Incident) -> list[Delivery]:
        """The rows that follow an incident, one for each notifier."""
        return [row for row in self.rows.get(incident, ()) if row.step == 0]

    def add(
        self, incident: Incident, notifier: str, now: float, *, at_once: bool = False
    ) -> None:
        """Owe a notifier the news of an incident."""
        wanted = Told.FIRING if incident.firing else Told.RESOLVED
        row = Delivery(incident, notifier, group_of(incident, self.group.by), wanted)
        self.rows.setdefault(incident, []).append(row)
        self.follow(row, now, at_once=at_once)

    def follow(self, row: Delivery, now: float, *, at_once: bool = False) -> None:
        """Put a row where its `wanted` and `told` say that it belongs."""
        self._changes.delivery(row)
        if row.batch:  # its attempt is in doubt, or waits for its retry
            return
        if row.told is Told.NOTHING and row.wanted is Told.WORSE:
            row.wanted = Told.FIRING
        desk = self.desks[row.notifier]
        if row.told in KNOWN and row.pending:
            desk.groups[row.group].live.add(row)
        if not row.pending:
            desk.settled(row)
        elif at_once:
            desk.hasten(row, now)
        else:
            desk.wait(row, now, self.group)

    def die(self, row: Delivery) -> None:
        """It was refused for good, or is not worth another attempt."""
        desk = self.desks[row.notifier]
        desk.leave(row)
        row.dead = True
        desk.settled(row)
        self._changes.delivery(row)

    def is_too_late(self, row: Delivery, now: float) -> bool:
        """Whether the end is so long ago that nobody wants to hear of it."""
        end = row.incident.resolved_at
        return end is not None and now - end > DEAD_AFTER

    def is_gone(self, row: Delivery) -> bool:
        """Whether its notifier is configured no more."""
        return row.notifier not in self.routes.notifiers

    def lives(self, row: Delivery) -> bool:
        """Whether its notifier may take it some day."""
        return not (row.dead or self.is_gone(row))

    # State in and out

    def restore(self, incident: Incident, row: DeliveryRow) -> None:
        """Put a stored row back where it was."""
        delivery = Delivery(
            incident,
            row.notifier,
            row.group,
            row.wanted,
            told=row.told,
            telling=row.telling,
            step=row.step,
            thread=row.thread,
            batch=row.batch,
            not_before=row.not_before,
            attempts=row.attempts,
            error=row.error,
            dead=row.dead,
        )
        self.rows.setdefault(incident, []).append(delivery)
        self.desks[row.notifier].restore(delivery)

    def reroute(self, now: float) -> None:
        """Let others know what is owed to notifiers that are configured no more.

        Their rows stay for a day: a name may come back, by the next reload already.
        """
        gone = [r for rows in self.rows.values() for r in rows if self.is_gone(r)]
        for row in gone:
            if row.batch:
                row.error = row.error or NOT_CONFIGURED  # it need not go as it was
            if row.step:
                continue
            if not row.incident.firing and row.wanted == row.told:
                continue
            rows = self.of(row.incident)
            instead = self.routes.after(row.incident, [r.notifier for r in rows])
            if instead is not None and not any(map(self.lives, rows)):
                self.add(row.incident, instead, now)

    def forget(self, incident: Incident, now: float) -> bool:
        """Drop the rows of a closed incident from memory once nothing is owed."""
        rows = self.rows.get(incident, [])
        for row in rows:
            if row.pending and self.is_gone(row) and self.is_too_late(row, now):
                self.die(row)
        if any(row.pending or row.batch for row in rows):
            return False
        for row in self.rows.pop(incident, ()):
            self.desks[row.notifier].settled(row)
        return True

    def owed(self) -> Iterator[Delivery]:
        """The rows that are due or in doubt; reminders, mutes and lost names aside."""
        for rows in self.rows.values():
            for row in rows:
                if row.pending and not (row.step or row.held or self.is_gone(row)):
                    yield row

    def restate(self) -> None:
        """Write every row again."""
        for rows in self.rows.values():
            self._changes.deliveries(rows)
