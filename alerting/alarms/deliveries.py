"""The outbox rows: what each notifier knows of each incident, and is owed.

A row of step 0 follows its incident: `wanted` is what the notifier should know,
`told` what it accepted; the row is due while they differ. So a resolve cannot overtake
its firing, and told-firing implies that a resolve is owed. Rows of other steps are
reminders; they are dropped once told, acknowledged or needless.

Here is what happens to an incident. `owing` keeps where its rows stand by it, and
`attempts` is what goes out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from alerting.alarms.attempts import Attempts
from alerting.alarms.changes import Changes
from alerting.alarms.desk import KNOWN
from alerting.alarms.gate import Gate
from alerting.alarms.owing import Owing
from alerting.alarms.passing import Passing
from alerting.alarms.reminders import Reminders
from alerting.alarms.standins import StandIns
from alerting.incident import Batch, Delivery, Incident, Outcome, Told
from alerting.routes import GroupSettings, Routes
from alerting.store.rows import DeliveryRow, What


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
        self._gate = gate
        self._changes = changes
        self._owing = Owing(changes, gate.routes, group)
        rows, desks = self._owing.rows, self._owing.desks
        self._reminders = Reminders(rows, desks, changes, gate.routes, group)
        self._reminders.told_for = gate.told_for
        self.passing = Passing(gate, self._reminders, changes)
        self.standins = StandIns(rows, desks, changes, gate, self._reminders)
        self.standins.patience = group.stand_in
        self._attempts = Attempts(
            self._owing,
            self.passing,
            self._reminders,
            self.standins,
            changes,
            new_id=new_id,
            random=random,
        )

    @property
    def routes(self) -> Routes:
        """The routes in force."""
        return self._owing.routes

    def replace(self, routes: Routes, group: GroupSettings) -> None:
        """Go on by another configuration."""
        self._gate.routes = self._owing.routes = self._reminders.routes = routes
        self._owing.group = self._reminders.group = group
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
                self._owing.add(incident, notifier, now)
        begun = incident.opened_at if begun is None else begun
        self._reminders.ladder(incident, named, now, begun=begun)

    def reopened(self, incident: Incident, named: Sequence[str], now: float) -> None:
        """A recurrence: rows and threads go on."""
        for row in self.of(incident):
            if row.told is Told.RESOLVED:
                row.told = Told.NOTHING
            row.wanted = row.told if row.told in KNOWN else Told.FIRING
            self._owing.follow(row, now)
            if row.told in KNOWN:
                self._reminders.repeat(row, now)
        self.opened(incident, named, now, begun=now)

    def worse(self, incident: Incident, now: float) -> None:
        """Who was told is told again; who was not hears of the worse at once."""
        for row in self.of(incident):
            if row.told is Told.WORSE:
                row.told = Told.FIRING
            row.wanted = Told.WORSE
            self._owing.follow(row, now)

    def eased(self, incident: Incident, now: float) -> None:
        """No longer as bad, before that was told."""
        for row in self.of(incident):
            if row.wanted is Told.WORSE and row.told is Told.FIRING:
                row.wanted = row.told
                self._owing.follow(row, now)

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
                    self.passing.unheard(row, now)
            elif row.told in KNOWN and not row.batch:
                row.wanted = row.told
            self._owing.follow(row, now)

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
                self._owing.add(incident, name, now)

    def untold(self, incident: Incident) -> list[str]:
        """The notifiers that are owed the news of an incident, and know nothing."""
        rows = self.of(incident) if incident.firing else []
        return [
            row.notifier for row in rows if self._owing.lives(row) and _is_news(row)
        ]

    def acknowledged(self, incident: Incident) -> None:
        """Somebody knows: no repeats, and no further step of the ladder."""
        self._reminders.drop_all(incident)

    def remind(self, incident: Incident, now: float) -> None:
        """Tell again what was told: the event of an open incident happened again."""
        self._reminders.drop_all(incident)
        self._reminders.remind(
            [r for r in self.of(incident) if self._owing.lives(r)], now
        )

    def of(self, incident: Incident) -> list[Delivery]:
        """The rows that follow an incident, one for each notifier."""
        return self._owing.of(incident)

    # What goes out

    def due(self, notifier: str, now: float) -> Batch | None:
        """The next notification; the caller commits its id before it sends it."""
        return self._attempts.due(notifier, now)

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
        self._attempts.settle(
            batch, outcome, now, error, retry_after, in_doubt=in_doubt
        )

    def retry(self, notifier: str, now: float) -> None:
        """It may take now what it refused, even for good: it is another, or mended."""
        self._attempts.retry(notifier, now)

    def release(self, now: float, *, starting: bool = False) -> None:
        """Mutes may be others than they were: what is held is looked at again."""
        self.passing.release(self._owing.desks.values(), now, starting=starting)

    def next_due(self, notifier: str) -> float | None:
        """When `due` has something, if nothing else happens."""
        return self._owing.desks[notifier].next_due()

    def told(self, notifier: str) -> list[Delivery]:
        """What a notifier was told as firing, and still does."""
        return self._owing.desks[notifier].told()

    # State in and out

    def restore(self, incident: Incident, row: DeliveryRow) -> None:
        """Put a stored row back where it was."""
        self._owing.restore(incident, row)
        if len(self._owing.rows[incident]) > 1:
            self.standins.stands(incident)

    def reroute(self, now: float) -> None:
        """Let others know what is owed to notifiers that are configured no more."""
        self._owing.reroute(now)

    def forget(self, incident: Incident, now: float) -> bool:
        """Drop the rows of a closed incident from memory once nothing is owed."""
        done = self._owing.forget(incident, now)
        if done:
            self.standins.forget(incident)
        return done

    def owed(self) -> Iterator[Delivery]:
        """The rows that are due or in doubt; reminders, mutes and lost names aside."""
        return self._owing.owed()

    def restate(self) -> None:
        """Write every row again."""
        self._owing.restate()


def _is_news(row: Delivery) -> bool:
    return row.wanted in KNOWN and _surely_untold(row)


def _surely_untold(row: Delivery) -> bool:
    """Whether its notifier knows nothing; of a batch in doubt nobody is sure."""
    return row.told is Told.NOTHING and (not row.batch or row.error != "")
