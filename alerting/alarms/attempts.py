"""Attempts: what goes out as one batch, how it ended, and what follows from that.

At the moment at which a row would go out it passes the gate: what is muted is held
until the mute ends, and goes then if it is still so; its `error` says why.

Before the first attempt the due rows of one group become a *batch*, the unit of
retry. A batch without an `error` is in doubt (the process may have died between
acceptance and this knowledge, or the answer was lost): it goes again as it was, under
the same id, so that the one permitted double carries the same Message-ID. A batch with
an `error` was refused: the rows that it no longer tells the truth about leave it first.
"""

from __future__ import annotations

from collections.abc import Callable

from alerting.alarms.changes import Changes
from alerting.alarms.desk import KNOWN, Desk, is_folded, late
from alerting.alarms.owing import Owing
from alerting.alarms.passing import Passing
from alerting.alarms.reminders import Reminders
from alerting.alarms.standins import StandIns, to_regroup
from alerting.incident import Batch, Delivery, Outcome, Told
from alerting.routes import by_severity

BACK_OFF = 30.0  # s after a first transient refusal, doubled by each further one
BACK_OFF_MOST = 600.0  # s
RETRY_AFTER_MOST = 3600.0  # s that a peer may put us off; a wrong clock says years
ONLY_ONE_AGAIN = 3600.0  # s; the only notifier refused for good: try once an hour
TOGETHER = 10.0  # s at most that a rung waits for others of its group


class Attempts:
    """Batches out, their outcomes in."""

    def __init__(
        self,
        owing: Owing,
        passing: Passing,
        reminders: Reminders,
        standins: StandIns,
        changes: Changes,
        *,
        new_id: Callable[[], str],
        random: Callable[[], float],
    ) -> None:
        self._owing = owing
        self._passing = passing
        self._reminders = reminders
        self._standins = standins
        self._changes = changes
        self._new_id = new_id
        self._random = random

    def due(self, notifier: str, now: float) -> Batch | None:
        """The next notification; the caller commits its id before it sends it."""
        desk = self._owing.desks[notifier]
        for id_, rows in list(desk.batches.items()):
            if rows[0].not_before <= now and self._again(desk, id_, now):
                return self._attempt(rows, now)
        for row in desk.later.due(now):
            if self._passing.come(desk, row, now):
                # Others of its group that climb a moment later go along.
                wait = by_severity(self._owing.group.wait, row.incident.severity)
                at = now + min(wait, TOGETHER)
                self._owing.add(row.incident, row.notifier, at, at_once=True)
        while (group := desk.ready(now)) is not None:
            for row in self._passing.sift(desk, group, now):
                row.wanted = row.told  # an event that is over was told, and no more
                self._owing.follow(row, now)
                self._passing.unheard(row, now)
            if rows := self._passing.start(desk, group, self._new_id(), now):
                return self._attempt(rows, now)
        return None

    def settle(
        self,
        batch: Batch,
        outcome: Outcome,
        now: float,
        error: str,
        retry_after: float = 0.0,
        *,
        in_doubt: bool = False,
    ) -> None:
        """Book how an attempt ended; one that may have arrived stays in doubt."""
        desk = self._owing.desks[batch.notifier]
        rows = desk.batches.get(batch.id, [])
        self._changes.attempt(rows, now, outcome, error)
        if outcome is Outcome.ACCEPTED:
            desk.batches.pop(batch.id, None)
            for row in rows:
                self._accepted(row, batch, now)
            for row in to_regroup(desk):
                desk.leave(row)
                row.error = ""
                self._owing.follow(row, now, at_once=True)
            self._standins.look(batch.notifier, now, failed=False)
            self.retry(batch.notifier, now)
            return
        if outcome is Outcome.TRANSIENT:
            self._standins.look(batch.notifier, now, failed=True)
        for row in list(rows):
            row.error = "" if in_doubt else error or str(outcome)
            self._changes.delivery(row)
            if outcome is Outcome.PERMANENT:
                self._refused(row, now)
            else:
                asked = min(retry_after, RETRY_AFTER_MOST)
                row.not_before = now + max(self._back_off(row.attempts), asked)
            if row.batch and self._owing.is_too_late(row, now):
                self._owing.die(row)

    def retry(self, notifier: str, now: float) -> None:
        """It may take now what it refused, even for good: it is another, or mended."""
        for rows in self._owing.desks[notifier].batches.values():
            for row in rows:
                row.not_before = min(row.not_before, now)
        for row in self._standins.revive(notifier):
            self._owing.follow(row, now, at_once=True)

    def _back_off(self, attempts: int) -> float:
        delay = min(BACK_OFF * 2.0 ** min(attempts - 1, 16), BACK_OFF_MOST)
        return delay * (0.75 + 0.25 * self._random())

    def _accepted(self, row: Delivery, batch: Batch, now: float) -> None:
        row.told, row.telling, row.batch = row.telling, Told.NOTHING, ""
        row.thread = row.thread or batch.thread
        row.attempts, row.error = 0, ""
        self._owing.desks[row.notifier].groups[row.group].told_at = now
        self._standins.relieve(row)
        if row.step:
            self._reminders.drop(row)
            self._repeat(row, now)
            return
        if row.told is Told.RESOLVED and row.incident.firing:
            row.told = Told.NOTHING  # it came back meanwhile
        self._owing.follow(row, now)
        if row.told in KNOWN:
            self._repeat(row, now)

    def _repeat(self, row: Delivery, now: float) -> None:
        if not self._standins.rests(row):
            self._reminders.repeat(row, now)

    def _refused(self, row: Delivery, now: float) -> None:
        """Refused for good: let the next notifier know instead, if there is one."""
        if row.step:
            self._reminders.drop(row)
            return
        self._standins.stands(row.incident)
        instead = self._standins.next(row.incident, now)
        rows = self._owing.of(row.incident)
        if instead is None and not any(
            self._owing.lives(r) for r in rows if r is not row
        ):
            row.not_before = now + ONLY_ONE_AGAIN
            return
        self._owing.die(row)
        if instead is not None:
            self._owing.add(row.incident, instead, now, at_once=True)

    def _again(self, desk: Desk, id_: str, now: float) -> bool:
        """Whether a batch goes again; one that was refused need not go as it was."""
        rows = desk.batches[id_]
        if not rows[0].error:
            return True
        for row in list(rows):
            if not self._still_true(row) or self._passing.gate.mute(row, now):
                desk.leave(row)
                row.error = ""
                self._owing.follow(row, now, at_once=True)
            elif row.told is Told.NOTHING and row.wanted is Told.WORSE:
                row.wanted = row.telling  # rendered anew, it says the worse
        return bool(rows)

    @staticmethod
    def _still_true(row: Delivery) -> bool:
        if row.telling is Told.FIRING and row.told is Told.NOTHING:
            return row.wanted in KNOWN
        return row.telling is row.wanted

    def _attempt(self, rows: list[Delivery], now: float) -> Batch:
        for row in rows:
            row.attempts += 1
            row.begun = now if row.attempts == 1 else row.begun
            row.error = ""
            self._changes.delivery(row)
        self._changes.attempt(rows, now)
        first = rows[0]
        folded = is_folded(first)
        return Batch(
            id=first.batch,
            notifier=first.notifier,
            change=first.telling,
            deliveries=tuple(rows),
            thread=first.batch if folded else first.thread or first.batch,
            late=late(first.telling, first.told),
            folded=folded and len(rows) > 1,
        )
