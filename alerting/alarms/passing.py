"""The moment at which rows would go out: let go, held by a mute, or told as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alerting.alarms.changes import Changes
from alerting.alarms.desk import Desk, Group
from alerting.alarms.gate import Gate
from alerting.alarms.limits import FOLDED, Limits
from alerting.alarms.reminders import Reminders
from alerting.announcement import Suppressed
from alerting.incident import Delivery
from alerting.muting.muting import LOOK_AGAIN, ON_PURPOSE, Mute
from alerting.store.rows import What


class Passing:
    """Asks the gate of each row, and does what it says."""

    def __init__(self, gate: Gate, reminders: Reminders, changes: Changes) -> None:
        self.gate = gate
        self.limits = Limits(changes, lambda: gate.muting.ahead())
        self.held: list[Suppressed] = []  # to be announced
        self._reminders = reminders
        self._changes = changes

    def come(self, desk: Desk, row: Delivery, now: float) -> bool:
        """The time of a row that waited by itself has come; whether it is a rung
        whose notifier is to be told from now on."""
        if row.step and (mute := self.gate.mute(row, now)) is not None:
            self._hold(desk, row, mute, now)
        elif row.step >= 0:
            desk.hasten(row, now)
        else:
            return self._reminders.climb(row, now)
        return False

    def sift(self, desk: Desk, group: Group, now: float) -> list[Delivery]:
        """Hold what is muted of a group that may go; what of it came and went."""
        unheard = []
        for row in list(group.pending):
            mute = self.gate.mute(row, now)
            if mute is None:
                continue
            if row.incident.firing:
                self._hold(desk, row, mute, now)
            else:
                unheard.append(row)
        return unheard

    def start(self, desk: Desk, group: Group, id: str, now: float) -> list[Delivery]:
        """The rows of the next batch; what its route has no room for is told as one,
        when there is room."""
        crowd = self._crowded(group, now)
        rows = desk.start(id, group) if group.pending else []
        for row, route, room_at in crowd:
            desk.fold(row, f"{FOLDED}{route}", room_at)
            self._changes.delivery(row)
            self._note(row, f"route {route + 1} has told as much as it may", now)
        self._count(rows, now)
        return rows

    def unheard(self, row: Delivery, now: float) -> None:
        """What a row would have told came and went while that was muted."""
        incident = row.incident
        text = f"{row.notifier} is not told that it came and went"
        text += f" while muted: {row.error}" if row.error else " while muted"
        note = self._changes.note
        note(incident.subject, What.HELD, incident.rule, text, now, incident)

    def _crowded(self, group: Group, now: float) -> list[tuple[Delivery, int, float]]:
        found = []
        for row in list(group.pending) if self.gate.routes.limited else ():
            if (limit := self.gate.limit(row)) is None:
                continue
            key = row.notifier, limit.route
            room_at = self.limits.room_at(key, limit.most, now)
            if room_at is not None:
                del group.pending[row]
                found.append((row, limit.route, room_at))
        return found

    def _count(self, rows: Sequence[Delivery], now: float) -> None:
        for limit in dict.fromkeys(map(self.gate.limit, rows)):
            if limit is not None:
                self.limits.count((rows[0].notifier, limit.route), now)

    def _hold(self, desk: Desk, row: Delivery, mute: Mute, now: float) -> None:
        if row.error != mute.reason:
            row.error = mute.reason
            subject, rule = row.incident.subject, row.incident.rule
            self.held.append(Suppressed(subject, rule, mute.reason, now))
            self._note(row, mute.reason, now)
        more = self._reminders.patience(row) if row.step < 0 else 0.0
        desk.hold(row, mute.until + more)
        self._changes.delivery(row)
        if not row.step:
            self._reminders.postpone(row, mute)

    def _note(self, row: Delivery, why: str, now: float) -> None:
        incident, text = row.incident, f"{_news(row)} {row.notifier} waits: {why}"
        note = self._changes.note
        note(incident.subject, What.HELD, incident.rule, text, now, incident)

    def release(
        self, desks: Iterable[Desk], now: float, *, starting: bool = False
    ) -> None:
        """Mutes may be others than they were: what is held is looked at again.

        At a start nobody has said yet what is so on purpose, nor what a whole covers:
        that has a minute.
        """
        for desk in desks:
            for row in list(desk.held()):
                later = row.error in ON_PURPOSE.values() or row.incident.instead
                if starting and later:
                    desk.hold(row, now + LOOK_AGAIN)
                    self._changes.delivery(row)
                elif row.step >= 0:
                    desk.later.set(row, now)
                else:
                    self._reminders.move(row, now + self._reminders.after(row))


def _news(row: Delivery) -> str:
    """What a row would tell, and to whom."""
    if not row.step:
        return "the news to"
    return "a reminder to" if row.step > 0 else "a step of the ladder to"
