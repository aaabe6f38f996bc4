"""The core: observations in, incidents, outbox rows and announcements out.

It knows no I/O, no clock and no asyncio. Time comes with every call, state comes from
`Restored`, and all that is to be written comes out of `take()`; a crash is a `take()`
that was thrown away.

`Alarms` is what others see; behind it `adopting` keeps who is watched, `observing` what
is known of each and when to look again, `review` is one such look, `incidents` what
comes of it, `deliveries` what is owed to whom, and `changes` what is to be written.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Sequence

from alerting.alarms.acknowledging import Acknowledging
from alerting.alarms.adopting import NO_LONGER_WATCHED, Adopting
from alerting.alarms.changes import Changes
from alerting.alarms.crowds import Census, nobody
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.explaining import Standing, standing
from alerting.alarms.gate import Gate
from alerting.alarms.incidents import Incidents
from alerting.alarms.observing import Observing
from alerting.alarms.reports import Reports
from alerting.alarms.silencing import Silencing
from alerting.alarms.watched import QUIET, is_named
from alerting.announcement import Announcement, Delivered
from alerting.incident import Batch, Delivery, Incident, Outcome
from alerting.muting.muting import Muting
from alerting.routes import GroupSettings, Routes, RouteSettings
from alerting.rules.inforce import Rules
from alerting.store.rows import Memo, Restored, SubjectRow, Write
from checks.observation import Fact, Kind, Observation, State, Subject


def _hex_id() -> str:
    return uuid.uuid4().hex


class Alarms:
    """What is pending, firing and owed."""

    def __init__(
        self,
        rules: Rules,
        routes: Sequence[RouteSettings],
        group: GroupSettings,
        *,
        notifiers: Sequence[str],
        now: float,
        restored: Restored | None = None,
        new_id: Callable[[], str] = _hex_id,
        random: Callable[[], float] = random.random,
        muting: Muting | None = None,
        vantage: Subject | None = None,
        census: Census = nobody,
    ) -> None:
        """Seen through `vantage`, where that is watched; of a mass event `census`
        tells who is still there."""
        self.rules = rules
        self._changes = Changes()
        self.muting = muting or Muting()
        self._gate = Gate(self.muting, Routes(routes, notifiers), rules)
        self._deliveries = Deliveries(self._gate, group, new_id, random, self._changes)
        self.silences = Silencing(self.muting, self._deliveries, self._changes)
        self._reports = Reports(vantage)
        self._deliveries.standins.failing = self.failing
        self._incidents = Incidents(rules, self._deliveries, self._changes)
        self.links = Acknowledging(self._incidents, self._deliveries, self._changes)
        self._observing = Observing(
            self._incidents,
            self._deliveries,
            self._changes,
            self.muting,
            now=now,
            vantage=vantage,
            census=census,
        )
        self._adopting = Adopting(self._observing, self._incidents, self._changes)
        self._watched = self._observing.watched
        self._ancestors = self._observing.ancestors
        self._gate.part_of = self._part_of
        self._gate.parts = self._observing.massing.parts
        if restored is not None:
            self._restore(restored, now)
        self._adopt_notifiers(now)

    # Observations and time

    def observe(self, o: Observation) -> None:
        """Take in what a check saw; cheap where it changes nothing."""
        self._observing.observe(o)

    def advance(self, now: float) -> None:
        """Let time pass: what is due opens, what has ended closes.

        One call looks at no more than a slice of the subjects; the next deadline then
        is still in the past, and the caller commits before it comes again.
        """
        self._observing.advance(now)

    def next_deadline(self) -> float | None:
        """When `advance` has something to do, if nothing else happens."""
        return self._observing.deadlines.next()

    # Who is watched

    def adopt(self, subject: Subject) -> SubjectRow | None:
        """Begin to watch a subject; what was stored of it, if anything was."""
        return self._adopting.adopt(subject)

    def unwatch(
        self, subject: Subject, now: float, reason: str = NO_LONGER_WATCHED
    ) -> None:
        """Stop watching: its incidents close, and who was told is told so."""
        self._adopting.unwatch(subject, now, reason)

    def unwatch_missing(
        self, prefix: str, now: float, reason: str = NO_LONGER_WATCHED
    ) -> None:
        """Close what was restored under keys like this and never appeared again."""
        self._adopting.unwatch_missing(prefix, now, reason)

    def unclaimed(self, prefix: str) -> dict[str, SubjectRow]:
        """What was restored or released under keys like this, by the rest of the key;
        nobody has adopted it yet."""
        return self._adopting.unclaimed(prefix)

    def release(self, subject: Subject) -> None:
        """Let go of a subject that comes back as another object under the same key."""
        self._adopting.release(subject)

    def moved(self, subject: Subject) -> None:
        """A subject has another scope than before: it belongs elsewhere."""
        self._adopting.moved(subject)

    def relink(self) -> None:
        """What depends on what has changed."""
        self._adopting.relink()

    def pair(self, several: Iterable[tuple[Subject, Subject]]) -> None:
        """Each two of these are one machine: its outage is told once."""
        self._observing.twins.pair(several)

    def knows(self, subject: Subject) -> bool:
        """Whether anything is remembered of it, so that its first success is news."""
        return self._adopting.knows(subject)

    def wants(self, subject: Subject) -> bool:
        """Whether the first success of a target is news."""
        return is_named(subject) or self.knows(subject)

    def answered(self, subject: Subject) -> bool:
        """Whether a target is known to have answered once, be it before a restart."""
        w = self._watched.get(subject)
        return w is not None and w.answered

    def replace(
        self,
        rules: Rules,
        routes: Sequence[RouteSettings],
        group: GroupSettings,
        notifiers: Sequence[str],
        now: float,
    ) -> None:
        """Go on under another configuration; what is open is judged anew."""
        now = self._observing.reached(now)
        self.rules = self._incidents.rules = self._gate.rules = rules
        self._deliveries.replace(Routes(routes, notifiers), group)
        self._adopting.rule(rules)
        for subject in list(self._reports.gone(tuple(notifiers))):
            self.unwatch(subject, now)
        self._adopt_notifiers(now)
        self._incidents.reroute(now)
        self._deliveries.release(now)

    def _adopt_notifiers(self, now: float) -> None:
        for name in self._deliveries.routes.notifiers:
            self.adopt(self._reports.subject(name))
        self.unwatch_missing("self:notifier/", now)

    # What people and notifiers do

    def acknowledge(
        self, incident_id: int, who: str, now: float, note: str = ""
    ) -> Incident | None:
        """Somebody takes an open incident: it is neither repeated nor escalated any
        more, until it is over and recurs."""
        now = self._observing.reached(now)
        return self._incidents.acknowledge(incident_id, who, now, note)

    def attest(self, subject: Subject, fact: Fact, now: float) -> Incident | None:
        """Somebody else saw it too: evidence of the open incident about the liveness
        of a subject, instead of what the same witness said before."""
        now = self._observing.reached(now)
        w = self._watched.get(subject)
        if w is None or w.trouble is None:
            return None
        return self._incidents.attest(w.trouble, fact, now)

    def evidenced(self, incident_id: int, now: float) -> Incident | None:
        """Evidence of an open incident was kept: who follows it may look again."""
        now = self._observing.reached(now)
        return self._incidents.evidenced(incident_id, now)

    def remember(self, memo: Memo) -> None:
        """What another part wants to find again, in the transaction of what it has
        observed since the last one."""
        self._changes.memo(memo)

    def due(self, notifier: str, now: float) -> Batch | None:
        """The next notification; commit what `take` gives before sending it."""
        batch = self._deliveries.due(notifier, now)
        if batch is not None:
            self._observing.massing.refresh(batch)
        return batch

    def next_due(self, notifier: str) -> float | None:
        """When `due` has something, if nothing else happens."""
        return self._deliveries.next_due(notifier)

    def retry(self, notifier: str, now: float) -> None:
        """A notifier was configured anew: what it refused is due at once."""
        self._deliveries.retry(notifier, now)

    def settle(
        self,
        batch: Batch,
        outcome: Outcome,
        now: float,
        error: str = "",
        retry_after: float = 0.0,
        *,
        in_doubt: bool = False,
    ) -> None:
        """Book how the attempt at a delivery ended; `in_doubt`: it may have arrived."""
        self._deliveries.settle(
            batch, outcome, now, error, retry_after, in_doubt=in_doubt
        )
        self._observing.announced.append(Delivered(batch, outcome, now, error))
        self.fared(batch.notifier, outcome, now, error)

    def told(self, notifier: str) -> list[Delivery]:
        """What a notifier was told as firing, and still does."""
        return self._deliveries.told(notifier)

    def fared(
        self, notifier: str, outcome: Outcome, now: float, error: str = ""
    ) -> None:
        """Book what an attempt, be it to tell nothing new, says of its notifier."""
        if notifier in self._deliveries.routes.notifiers:
            o = self._reports.settled(notifier, outcome, now, error)
            if o is not None:
                self.observe(o)

    def failing(self, notifier: str) -> bool:
        """Whether a notifier is known to fail, be it from before a restart."""
        w = self._watched.get(self._reports.subject(notifier))
        return w is not None and w.state is State.FAILING

    # What is known

    @property
    def incidents(self) -> list[Incident]:
        """The open incidents, oldest first."""
        return list(self._incidents.open.values())

    def deliveries(self, incident: Incident) -> list[Delivery]:
        """What each notifier knows of an incident."""
        return self._deliveries.of(incident)

    def owed(self) -> list[Delivery]:
        """The outbox: what some notifier should know and does not."""
        return list(self._deliveries.owed())

    def effective(self, subject: Subject) -> State | None:
        """The state of a subject; None where an ancestor makes it unknown."""
        w = self._watched.get(subject)
        if w is None or self._ancestors.explain(subject) is not None:
            return None
        return w.state

    def standing(self, subject: Subject, now: float) -> Standing | None:
        """How a subject stands with the rules that watch it; None: it is not known."""
        w = self._watched.get(subject)
        if w is None:
            return None
        review = self._observing.at(max(now, self._observing.now))
        return standing(w, review, self._observing.doubts.of(w))

    def hears(self, subject: Subject) -> list[str]:
        """Who would be told of what can happen to a subject, by name."""
        found: set[str] = set()
        for rule in self.rules.of(subject).rules:
            for grade in range(len(rule.grades)):
                found |= self._incidents.heard_by(subject, rule, grade)
        return sorted(found)

    @property
    def subjects(self) -> list[Subject]:
        """All that is remembered, or was seen otherwise than well."""
        return list(self._watched)

    def find(self, kind: Kind, key: str) -> Subject | None:
        """Who is watched under a key, of a kind that has few."""
        alike = (s for s in self._watched if s.kind is kind)
        return next((s for s in alike if s.key == key), None)

    def blind(self, subject: Subject) -> Subject | None:
        """The ancestor that makes the state of a subject unknown, if any."""
        return self._ancestors.explain(subject)

    def _part_of(self, row: Delivery) -> str:
        """Why a row is not told by itself: of what it is part, which is told."""
        found = self._observing.massing.part_of(row)
        return found or self._observing.twins.part_of(row)

    # State in and out

    def _restore(self, restored: Restored, now: float) -> None:
        self.silences.restore(restored.memos)
        self.links.restore(restored.memos)
        self._deliveries.passing.limits.restore(restored.memos, now)
        self._adopting.restore(restored, now)
        self._incidents.reroute(now)
        self._deliveries.release(now, starting=True)
        for name in self._deliveries.routes.notifiers:
            self._deliveries.retry(name, now)

    def clock_set(self, now: float) -> None:
        """The wall clock was set: hours, windows and silences are others than they
        were, and what counts in time is written again."""
        now = self._observing.reached(now)
        for w in self._watched.values():
            if w.trouble is not None:
                self._observing.deadlines.set(w, now)
        self._deliveries.release(now)
        self.restate()

    def restate(self) -> None:
        """Write again what counts in time: the clock that it was written by was set."""
        for w in self._watched.values():
            if w.stored and (w.state not in QUIET or w.well_since):
                self._changes.subject(w)
        self._incidents.restate()
        self._deliveries.restate()

    def take(self, most: int | None = None) -> tuple[list[Write], list[Announcement]]:
        """What is to be committed as one transaction, and announced after it.

        With `most` no more than the rows of so many subjects: `left` then tells of
        the others, and what is to be announced comes with the last of them.
        """
        if self._observing.masses:
            self._observing.look_at_masses()
        writes = self._changes.take(most)
        return writes, [] if self._changes else self.take_announced()

    @property
    def left(self) -> bool:
        """Whether something is still to be taken and written."""
        return bool(self._changes)

    def take_announced(self) -> list[Announcement]:
        """What happened, where nobody can wait for it to be written."""
        told, held = self._incidents.announced, self._deliveries.passing.held
        announced = [*self._observing.announced, *told, *held]
        self._observing.announced, self._incidents.announced = [], []
        self._deliveries.passing.held = []
        return announced
