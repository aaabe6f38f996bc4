"""The rows beside those that tell an incident: repeats, and rungs of the ladder.

A repeat (step above 0) tells again what its notifier was told. A rung (below 0) is a
promise: if nobody has acknowledged by then, one more notifier is told. Both are dropped
once somebody acknowledges, or the incident is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alerting.alarms.changes import Changes
from alerting.alarms.desk import KNOWN, Desk
from alerting.incident import Delivery, Incident, Told
from alerting.muting.muting import Mute
from alerting.routes import GroupSettings, Routes, by_severity


class Reminders:
    """Rows of steps other than 0, in the lists that the deliveries keep."""

    def __init__(
        self,
        rows: dict[Incident, list[Delivery]],
        desks: Mapping[str, Desk],
        changes: Changes,
        routes: Routes,
        group: GroupSettings,
    ) -> None:
        self.routes = routes
        self.group = group
        self.told_for: Callable[[Delivery], Incident] = lambda row: row.incident
        self._rows = rows
        self._desks = desks
        self._changes = changes

    # Repeats

    def repeat(self, row: Delivery, now: float) -> None:
        """A row was told: tell it again after a while, if that is wanted."""
        incident = row.incident
        every = self.group.repeat.get(incident.severity)
        if every is None or not incident.firing or incident.acknowledged_by:
            return
        most = self.routes.repeats(self.told_for(row), row.notifier)
        if most is not None and row.step >= most:
            return
        if not self._repeats(row):
            self._add(row, row.step + 1, now + every)

    def remind(self, rows: Sequence[Delivery], now: float) -> None:
        """Tell again what was told: the event of an open incident happened again."""
        for row in rows:
            if row.told in KNOWN:
                wait = by_severity(self.group.wait, row.incident.severity)
                self._add(row, 1, now + wait)

    def _repeats(self, row: Delivery) -> list[Delivery]:
        """The repeats that wait to go to the notifier of a row."""
        rows = self._rows[row.incident]
        return [r for r in rows if r.step > 0 and r.notifier == row.notifier]

    def _add(self, row: Delivery, step: int, at: float) -> None:
        again = Delivery(
            row.incident,
            row.notifier,
            row.group,
            Told.FIRING,
            step=step,
            thread=row.thread,
            not_before=at,
        )
        self._place(again, at)

    def _place(self, row: Delivery, at: float) -> None:
        self._rows.setdefault(row.incident, []).append(row)
        self._desks[row.notifier].later.set(row, at)
        self._changes.delivery(row)

    # The ladder

    def ladder(
        self, incident: Incident, named: Sequence[str], now: float, *, begun: float
    ) -> None:
        """Promise what the routes say, counted from `begun`; what is past is past."""
        if incident.acknowledged_by or not incident.firing:
            return
        rows = self._rows.get(incident, ())
        promised = {(row.notifier, row.step) for row in rows}
        for number, after, notifier in self.routes.ladder(incident, named):
            at = begun + after
            if at > now and (notifier, -number) not in promised:
                row = Delivery(incident, notifier, "", Told.FIRING, step=-number)
                row.not_before = at
                self._place(row, at)

    def postpone(self, row: Delivery, mute: Mute) -> None:
        """The first news of an incident wait: so does the ladder, which follows it."""
        for rung in self._rows[row.incident]:
            if rung.step < 0 and (patience := self.patience(rung)):
                rung.error = mute.reason
                rung.not_before = max(rung.not_before, mute.until + patience)
                self.move(rung, rung.not_before)

    def move(self, rung: Delivery, at: float) -> None:
        """A rung waits until then, or less long if it does already."""
        rung.not_before = min(rung.not_before, at)
        self._desks[rung.notifier].later.set(rung, rung.not_before)
        self._changes.delivery(rung)

    def patience(self, rung: Delivery) -> float:
        """How long a rung waits after the others were told, if they were not yet."""
        rows = self._rows.get(rung.incident, ())
        if any(row.told in KNOWN for row in rows if not row.step):
            return 0.0
        return self.after(rung)

    def after(self, rung: Delivery) -> float:
        """How long a rung waits, as its route has it."""
        rungs = self.routes.ladder(rung.incident)
        return next((r.after for r in rungs if r.number == -rung.step), 0.0)

    def climb(self, rung: Delivery, now: float) -> bool:
        """A rung's time has come; whether its notifier is new, and to be told."""
        incident = rung.incident
        self.drop(rung)
        if incident.acknowledged_by or not incident.firing:
            return False
        for row in self._rows[incident]:
            if row.notifier == rung.notifier and not row.step:
                self._hurry(row, now)
                return False
        return True

    def _hurry(self, row: Delivery, now: float) -> None:
        """Who was told is told again now; who was not will be anyway."""
        if row.told not in KNOWN or row.dead:
            return
        desk = self._desks[row.notifier]
        if not self._repeats(row):
            self._add(row, 1, now)
        for again in self._repeats(row):
            if not again.batch:
                desk.later.set(again, None)
                desk.hasten(again, now)
                self._changes.delivery(again)

    # All of them

    def drop_all(self, incident: Incident) -> None:
        """Somebody knows, or it is over."""
        for row in [r for r in self._rows.get(incident, ()) if r.step]:
            self.drop(row)

    def drop(self, row: Delivery) -> None:
        """This one is owed no more."""
        desk = self._desks[row.notifier]
        desk.leave(row)
        desk.settled(row)
        self._rows[row.incident].remove(row)
        self._changes.dropped(row)
