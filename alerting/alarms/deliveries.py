"""The outbox rows: what each notifier knows of each incident, and is owed.

A row of step 0 follows its incident: `wanted` is what the notifier should know,
`told` what it accepted; the row is due while they differ. So a resolve cannot overtake
its firing, and told-firing implies that a resolve is owed. Rows of other steps are
reminders; they are dropped once told, acknowledged or needless.

At the moment at which a row would go out it passes the gate: what is muted is held
until the mute ends, and goes then if it is still so; its `error` says why.

Before the first attempt the due rows of one group become a *batch*, the unit of
retry. A batch without an `error` is in doubt (the process may have died between
acceptance and this knowledge, or the answer was lost): it goes again as it was, under
the same id, so that the one permitted double carries the same Message-ID. A batch with
an `error` was refused: the rows that it no longer tells the truth about leave it first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from alerting.alarms.changes import Changes
from alerting.alarms.desk import KNOWN, Desk, is_folded, late
from alerting.alarms.gate import Gate
from alerting.alarms.passing import Passing
from alerting.alarms.reminders import Reminders
from alerting.alarms.standins import StandIns, to_regroup
from alerting.incident import Batch, Delivery, Incident, Outcome, Told
from alerting.routes import GroupSettings, Routes, by_severity, group_of
from alerting.store.rows import DeliveryRow, What

BACK_OFF = 30.0  # s after a first transient refusal, doubled by each further one
BACK_OFF_MOST = 600.0  # s
RETRY_AFTER_MOST = 3600.0  # s that a peer may put us off; a wrong clock says years
DEAD_AFTER = 86400.0  # s after its end that an incident is still worth a retry
NOT_CONFIGURED = "no longer configured"
ONLY_ONE_AGAIN = 3600.0  # s; the only notifier refused for good: try once an hour
TOGETHER = 10.0  # s at most that a rung waits for others of its group


class Deliveries:
    """Rows in, batches out; what changed is taken by the core."""

    def __init__(
        self,
        gate: Gate,
        group: GroupSettings,
        new_id: Callable[[], str],
        random: Callable[[], float],
        changes: Changes,
    ) -> None:
        self.routes = gate.routes
        self.group = group
        self._gate = gate
        self._new_id = new_id
        self._random = random
        self._rows: dict[Incident, list[Delivery]] = {}
        self._desks: dict[str, Desk] = defaultdict(Desk)
        self._changes = changes
        self._reminders = Reminders(
            self._rows, self._desks, changes, gate.routes, group
        )
        self._reminders.told_for = gate.told_for
        self.passing = Passing(gate, self._reminders, changes)
        self.standins = StandIns(
            self._rows, self._desks, changes, gate, self._reminders
        )
        self.standins.patience = group.stand_in

    def replace(self, routes: Routes, group: GroupSettings) -> None:
        """Go on by another configuration."""
        self.routes = self._gate.routes = self._reminders.routes = routes
        self.group = self._reminders.group = group
        self.standins.patience = group.stand_in

    # What happens to an incident

    def opened(
        self,
        incident: Incident,
        named: Sequence[str],
        now: float,
        begun: float | None = None,
    ) -> None:
        """Owe the news to every notifier that is routed and does not know yet, and
        promise it to those of the ladder, counted from `begun`."""
        known = {row.notifier for row in self.of(incident)}
        for notifier in self.routes.of(incident, named):
            if notifier not in known:
                self._add(incident, notifier, now)
        begun = incident.opened_at if begun is None else begun
        self._reminders.ladder(incident, named, now, begun=begun)

    def reopened(self, incident: Incident, named: Sequence[str], now: float) -> None:
        """A recurrence: rows and threads go on."""
        for row in self.of(incident):
            if row.told is Told.RESOLVED:
                row.told = Told.NOTHING
            row.wanted = row.told if row.told in KNOWN else Told.FIRING
            self._follow(row, now)
            if row.told in KNOWN:
                self._reminders.repeat(row, now)
        self.opened(incident, named, now, begun=now)

    def worse(self, incident: Incident, now: float) -> None:
        """Who was told is told again; who was not hears of the worse at once."""
        for row in self.of(incident):
            if row.told is Told.WORSE:
                row.told = Told.FIRING
            row.wanted = Told.WORSE
            self._follow(row, now)

    def eased(self, incident: Incident, now: float) -> None:
        """No longer as bad, before that was told."""
        for row in self.of(incident):
            if row.wanted is Told.WORSE and row.told is Told.FIRING:
                row.wanted = row.told
                self._follow(row, now)

    def resolved(self, incident: Incident, now: float, *, quiet: bool) -> None:
        """Owe the end to who was told; `quiet` owes only what was untold."""
        self._reminders.drop_all(incident)
        self.standins.over(incident)
        for row in self.of(incident):
            if not quiet:
                row.wanted = Told.RESOLVED
                muted = row.held or self._gate.mute(row, now) is not None
                if muted and _surely_untold(row):
                    row.wanted = Told.NOTHING  # it came and went unheard, as wished
                    self._unheard(row, now)
            elif row.told in KNOWN and not row.batch:
                row.wanted = row.told
            self._follow(row, now)

    def _unheard(self, row: Delivery, now: float) -> None:
        text = f"{row.notifier} is not told that it came and went"
        text += f" while muted: {row.error}" if row.error else " while muted"
        self._changes.note(
            row.incident.subject, What.HELD, row.incident.rule, text, now, row.incident
        )

    def instead(self, incident: Incident, names: Sequence[str], now: float) -> None:
        """Owe the news of a whole to who would be told of its parts, with no ladder."""
        rows = {row.notifier: row for row in self.of(incident)}
        for name in names:
            row = rows.get(name)
            if row is not None and self.standins.is_own(row):
                continue
            incident.instead += (name,)
            self._changes.incident(incident)
            text = f"{name} is told of it instead of what it covers"
            subject, rule = incident.subject, incident.rule
            self._changes.note(subject, What.INSTEAD, rule, text, now, incident)
            if row is None:
                self._add(incident, name, now)

    def untold(self, incident: Incident) -> list[str]:
        """The notifiers that are owed the news of an incident, and know nothing."""
        rows = self.of(incident) if incident.firing else []
        return [row.notifier for row in rows if self._lives(row) and _is_news(row)]

    def acknowledged(self, incident: Incident) -> None:
        """Somebody knows: no repeats, and no further step of the ladder."""
        self._reminders.drop_all(incident)

    def remind(self, incident: Incident, now: float) -> None:
        """Tell again what was told: the event of an open incident happened again."""
        self._reminders.drop_all(incident)
        self._reminders.remind([r for r in self.of(incident) if self._lives(r)], now)

    def of(self, incident: Incident) -> list[Delivery]:
        """The rows that follow an incident, one for each notifier."""
        return [row for row in self._rows.get(incident, ()) if row.step == 0]

    # What goes out

    def due(self, notifier: str, now: float) -> Batch | None:
        """The next notification; the caller commits its id before it sends it."""
        desk = self._desks[notifier]
        for id_, rows in list(desk.batches.items()):
            if rows[0].not_before <= now and self._again(desk, id_, now):
                return self._attempt(rows, now)
        for row in desk.later.due(now):
            if self.passing.come(desk, row, now):
                # Others of its group that climb a moment later go along.
                wait = by_severity(self.group.wait, row.incident.severity)
                at = now + min(wait, TOGETHER)
                self._add(row.incident, row.notifier, at, at_once=True)
        while (group := desk.ready(now)) is not None:
            for row in self.passing.sift(desk, group, now):
                row.wanted = row.told  # an event that is over was told, and no more
                self._follow(row, now)
                self._unheard(row, now)
            if rows := self.passing.start(desk, group, self._new_id(), now):
                return self._attempt(rows, now)
        return None

    def release(self, now: float, *, starting: bool = False) -> None:
        """Mutes may be others than they were: what is held is looked at again."""
        self.passing.release(self._desks.values(), now, starting=starting)

    def next_due(self, notifier: str) -> float | None:
        """When `due` has something, if nothing else happens."""
        return self._desks[notifier].next_due()

    def told(self, notifier: str) -> list[Delivery]:
        """What a notifier was told as firing, and still does."""
        return self._desks[notifier].told()

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
        desk = self._desks[batch.notifier]
        rows = desk.batches.get(batch.id, [])
        self._changes.attempt(rows, now, outcome, error)
        if outcome is Outcome.ACCEPTED:
            desk.batches.pop(batch.id, None)
            for row in rows:
                self._accepted(row, batch, now)
            for row in to_regroup(desk):
                desk.leave(row)
                row.error = ""
                self._follow(row, now, at_once=True)
            self.standins.look(batch.notifier, now, failed=False)
            self.retry(batch.notifier, now)
            return
        if outcome is Outcome.TRANSIENT:
            self.standins.look(batch.notifier, now, failed=True)
        for row in list(rows):
            row.error = "" if in_doubt else error or str(outcome)
            self._changes.delivery(row)
            if outcome is Outcome.PERMANENT:
                self._refused(row, now)
            else:
                asked = min(retry_after, RETRY_AFTER_MOST)
                row.not_before = now + max(self._back_off(row.attempts), asked)
            if row.batch and self._too_late(row, now):
                self._die(row)

    def retry(self, notifier: str, now: float) -> None:
        """It may take now what it refused, even for good: it is another, or mended."""
        for rows in self._desks[notifier].batches.values():
            for row in rows:
                row.not_before = min(row.not_before, now)
        for row in self.standins.revive(notifier):
            self._follow(row, now, at_once=True)

    def _back_off(self, attempts: int) -> float:
        delay = min(BACK_OFF * 2.0 ** min(attempts - 1, 16), BACK_OFF_MOST)
        return delay * (0.75 + 0.25 * self._random())

    @staticmethod
    def _too_late(row: Delivery, now: float) -> bool:
        end = row.incident.resolved_at
        return end is not None and now - end > DEAD_AFTER

    def _accepted(self, row: Delivery, batch: Batch, now: float) -> None:
        row.told, row.telling, row.batch = row.telling, Told.NOTHING, ""
        row.thread = row.thread or batch.thread
        row.attempts, row.error = 0, ""
        self._desks[row.notifier].groups[row.group].told_at = now
        self.standins.relieve(row)
        if row.step:
            self._reminders.drop(row)
            self._repeat(row, now)
            return
        if row.told is Told.RESOLVED and row.incident.firing:
            row.told = Told.NOTHING  # it came back meanwhile
        self._follow(row, now)
        if row.told in KNOWN:
            self._repeat(row, now)

    def _repeat(self, row: Delivery, now: float) -> None:
        if not self.standins.rests(row):
            self._reminders.repeat(row, now)

    def _refused(self, row: Delivery, now: float) -> None:
        """Refused for good: let the next notifier know instead, if there is one."""
        if row.step:
            self._reminders.drop(row)
            return
        self.standins.stands(row.incident)
        instead = self.standins.next(row.incident, now)
        rows = self.of(row.incident)
        if instead is None and not any(self._lives(r) for r in rows if r is not row):
            row.not_before = now + ONLY_ONE_AGAIN
            return
        self._die(row)
        if instead is not None:
            self._add(row.incident, instead, now, at_once=True)

    def _die(self, row: Delivery) -> None:
        desk = self._desks[row.notifier]
        desk.leave(row)
        row.dead = True
        desk.settled(row)
        self._changes.delivery(row)

    def _again(self, desk: Desk, id_: str, now: float) -> bool:
        """Whether a batch goes again; one that was refused need not go as it was."""
        rows = desk.batches[id_]
        if not rows[0].error:
            return True
        for row in list(rows):
            if not self._still_true(row) or self._gate.mute(row, now):
                desk.leave(row)
                row.error = ""
                self._follow(row, now, at_once=True)
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

    # Where a row stands

    def _add(
        self, incident: Incident, notifier: str, now: float, *, at_once: bool = False
    ) -> None:
        wanted = Told.FIRING if incident.firing else Told.RESOLVED
        row = Delivery(incident, notifier, group_of(incident, self.group.by), wanted)
        self._rows.setdefault(incident, []).append(row)
        self._follow(row, now, at_once=at_once)

    def _follow(self, row: Delivery, now: float, *, at_once: bool = False) -> None:
        """Put a row where its `wanted` and `told` say that it belongs."""
        self._changes.delivery(row)
        if row.batch:  # its attempt is in doubt, or waits for its retry
            return
        if row.told is Told.NOTHING and row.wanted is Told.WORSE:
            row.wanted = Told.FIRING
        desk = self._desks[row.notifier]
        if row.told in KNOWN and row.pending:
            desk.groups[row.group].live.add(row)
        if not row.pending:
            desk.settled(row)
        elif at_once:
            desk.hasten(row, now)
        else:
            desk.wait(row, now, self.group)

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
        self._rows.setdefault(incident, []).append(delivery)
        self._desks[row.notifier].restore(delivery)
        if len(self._rows[incident]) > 1:
            self.standins.stands(incident)

    def reroute(self, now: float) -> None:
        """Let others know what is owed to notifiers that are configured no more.

        Their rows stay for a day: a name may come back, by the next reload already.
        """
        gone = [r for rows in self._rows.values() for r in rows if self._gone(r)]
        for row in gone:
            if row.batch:
                row.error = row.error or NOT_CONFIGURED  # it need not go as it was
            if row.step:
                continue
            if not row.incident.firing and row.wanted == row.told:
                continue
            rows = self.of(row.incident)
            instead = self.routes.after(row.incident, [r.notifier for r in rows])
            if instead is not None and not any(map(self._lives, rows)):
                self._add(row.incident, instead, now)

    def _gone(self, row: Delivery) -> bool:
        return row.notifier not in self.routes.notifiers

    def _lives(self, row: Delivery) -> bool:
        return not (row.dead or self._gone(row))

    def forget(self, incident: Incident, now: float) -> bool:
        """Drop the rows of a closed incident from memory once nothing is owed."""
        rows = self._rows.get(incident, [])
        for row in rows:
            if row.pending and self._gone(row) and self._too_late(row, now):
                self._die(row)
        if any(row.pending or row.batch for row in rows):
            return False
        for row in self._rows.pop(incident, ()):
            self._desks[row.notifier].settled(row)
        self.standins.forget(incident)
        return True

    def owed(self) -> Iterator[Delivery]:
        """The rows that are due or in doubt; reminders, mutes and lost names aside."""
        for rows in self._rows.values():
            for row in rows:
                if row.pending and not (row.step or row.held or self._gone(row)):
                    yield row

    def restate(self) -> None:
        """Write every row again."""
        for rows in self._rows.values():
            self._changes.deliveries(rows)


def _is_news(row: Delivery) -> bool:
    return row.wanted in KNOWN and _surely_untold(row)


def _surely_untold(row: Delivery) -> bool:
    """Whether its notifier knows nothing; of a batch in doubt nobody is sure."""
    return row.told is Told.NOTHING and (not row.batch or row.error != "")
