"""Who tells instead, for as long as a notifier cannot be reached.

A permanent refusal hands the news to the next notifier at once. One that fails for the
moment, or is slow, keeps what it owes and tries on; but what is bad enough is not left
to it alone: after a while a *promise* comes due, and unless somebody knows by then, the
next notifier is told as well. Promises are rows of a step of their own, so a restart
does not forget them.

An incident has one row and one promise a notifier at most, so this comes to an end
however many of them fail. Once the route's own notifier has told it after all, a
stand-in that has not yet told says nothing, and one that has says no more than the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from alerting.alarms.changes import Changes
from alerting.alarms.desk import KNOWN, Desk
from alerting.alarms.gate import Gate
from alerting.alarms.reminders import Reminders
from alerting.incident import Delivery, Incident, Severity, Told
from alerting.routes import Repeats, own_notifier

FEW = 2  # refused batches of one group that go one by one
STAND_IN = -(10**6)  # the step of a promise: below the rungs of every ladder


class StandIns:
    """Looks after an attempt at what its notifier leaves untold."""

    def __init__(
        self,
        rows: dict[Incident, list[Delivery]],
        desks: Mapping[str, Desk],
        changes: Changes,
        gate: Gate,
        reminders: Reminders,
    ) -> None:
        self.patience: Repeats = {}  # s by severity, until somebody else is told
        self.failing: Callable[[str], bool] = lambda notifier: False
        self._rows = rows
        self._desks = desks
        self._changes = changes
        self._gate = gate
        self._reminders = reminders
        self._some: set[Incident] = set()  # that may have a stand-in, or a promise

    # Promises

    def look(self, notifier: str, now: float, *, failed: bool) -> None:
        """Promise what an attempt has left untold: all that is due where it failed,
        what has been due for as long as one waits for a stand-in where it did not."""
        desk = self._desks[notifier]
        for row in _due(desk, now):
            wait = self.patience.get(row.incident.severity)
            if wait is not None and (failed or now - row.not_before >= wait):
                self._promise(row, now, wait)

    def _promise(self, row: Delivery, now: float, wait: float) -> None:
        incident, rows = row.incident, self._rows[row.incident]
        if row.step or not incident.firing or incident.acknowledged_by:
            return
        if any(r.step == STAND_IN for r in rows) or _known(rows):
            return
        if (name := self.next(incident, now)) is None:
            return
        at = max(now, row.not_before + wait)
        promise = Delivery(incident, name, "", Told.FIRING, step=STAND_IN)
        promise.not_before = at
        rows.append(promise)
        self._some.add(incident)
        self._desks[name].later.set(promise, at)
        self._changes.delivery(promise)

    def next(self, incident: Incident, now: float) -> str | None:
        """The next untold notifier: of the route, of its ladder, of all; of these one
        that works and may be told now, if there is one."""
        routes, own = self._gate.routes, own_notifier(incident)
        told = {row.notifier for row in self._rows[incident] if not row.step}
        order = dict.fromkeys(routes.of(incident))
        order |= dict.fromkeys(rung.notifier for rung in routes.ladder(incident))
        order |= dict.fromkeys(routes.notifiers)
        untold = [name for name in order if name != own and name not in told]

        def hinders(name: str) -> int:
            row = Delivery(incident, name, "", Told.FIRING)
            return 2 * self.failing(name) + (self._gate.mute(row, now) is not None)

        return min(untold, key=hinders, default=None)

    # Stand-ins

    def stands(self, incident: Incident) -> None:
        """Somebody stands in for another, or may have before a restart."""
        self._some.add(incident)

    def relieve(self, row: Delivery) -> None:
        """A notifier was told: who was to stand in, and has not, need not. If it is
        the route's own, those that have may rest."""
        incident = row.incident
        if incident not in self._some or not _known(self._rows[incident]):
            return
        is_own = self.is_own(row)
        for other in list(self._rows[incident]):
            if other is not row and self._needless(other, is_own=is_own):
                self._reminders.drop(other)

    def _needless(self, row: Delivery, *, is_own: bool) -> bool:
        """Whether a row is owed no more, now that somebody knows: one of its own?"""
        if row.step == STAND_IN:
            return True
        if self.is_own(row):
            return False
        return is_own if row.step else _surely_untold(row)

    def rests(self, row: Delivery) -> bool:
        """Whether a notifier stands in for one that knows meanwhile: no repeats."""
        incident = row.incident
        if incident not in self._some or self.is_own(row):
            return False
        return _known(r for r in self._rows[incident] if self.is_own(r))

    def over(self, incident: Incident) -> None:
        """It has ended: that it was is told by the route's own notifiers, if any is
        left to tell it, and by those stand-ins that know of it."""
        if incident not in self._some:
            return
        others = self._others(incident)
        own = [r for r in self._rows[incident] if r not in others]
        if any(not (r.dead or r.step) for r in own):
            for other in others:
                if _surely_untold(other):
                    self._reminders.drop(other)

    def _others(self, incident: Incident) -> list[Delivery]:
        return [row for row in self._rows[incident] if not self.is_own(row)]

    def is_own(self, row: Delivery) -> bool:
        """Whether a route, or the rule, names its notifier, be it at another severity:
        who heard that it was critical is no stand-in when it eases."""
        incident = row.incident
        if row.notifier in incident.instead:
            return True
        rule = self._gate.rules.get(incident.rule)
        if rule and rule.notify:
            return row.notifier in rule.notify
        routes = self._gate.routes
        for severity in Severity:
            other = replace(incident, severity=severity)
            if row.notifier in routes.of(other) or routes.ways(other, row.notifier):
                return True
        return False

    def revive(self, notifier: str) -> list[Delivery]:
        """A notifier works again: what it had refused for good, what still fires and
        nobody knows is owed to it once more."""
        revived = []
        for incident in self._some:
            rows = self._rows.get(incident, ())
            if not incident.firing or incident.acknowledged_by or _known(rows):
                continue
            for row in rows:
                if row.notifier == notifier and row.dead:
                    row.dead, row.error = False, ""
                    revived.append(row)
        return revived

    def forget(self, incident: Incident) -> None:
        """Its rows are gone."""
        self._some.discard(incident)


def to_regroup(desk: Desk) -> list[Delivery]:
    """What was refused again and again, and may go as one now that its notifier
    takes something: an hour without a mail server is not made up for mail by mail.

    Few batches go as they were, under their ids: one may have been accepted after all.
    """
    refused: dict[tuple[str, Told, str], list[list[Delivery]]] = defaultdict(list)
    for rows in desk.batches.values():
        first = rows[0]
        if first.error and not first.step:
            refused[first.group, first.telling, first.thread].append(rows)
    several = [batches for batches in refused.values() if len(batches) > FEW]
    return [row for batches in several for rows in batches for row in rows]


def _due(desk: Desk, now: float) -> list[Delivery]:
    """What should have been told by now: attempted, or waiting behind an attempt."""
    due = [row for rows in desk.batches.values() for row in rows]
    for group in desk.groups.values():
        if group.pending and group.ready_at is not None and group.ready_at <= now:
            due += group.pending
    return due


def _known(rows: Iterable[Delivery]) -> bool:
    """Whether somebody knows how it is, and not only how it was."""
    return any(r.told in KNOWN and r.wanted == r.told for r in rows if not r.step)


def _surely_untold(row: Delivery) -> bool:
    if row.step or row.told is not Told.NOTHING:
        return False
    return not row.batch or row.error != ""
