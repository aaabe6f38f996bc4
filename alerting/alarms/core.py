"""The core: observations in, incidents, outbox rows and announcements out.

It knows no I/O, no clock and no asyncio. Time comes with every call, state comes from
`Restored`, and all that is to be written comes out of `take()`; a crash is a `take()`
that was thrown away. What is quiet costs a dictionary look-up and a few comparisons.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from itertools import islice

from alerting.alarms.acknowledging import Acknowledging
from alerting.alarms.ancestors import Ancestors
from alerting.alarms.changes import Changes
from alerting.alarms.crowds import Census, nobody
from alerting.alarms.deadlines import Deadlines
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.doubts import DOUBTED, Doubts
from alerting.alarms.explaining import Standing, standing
from alerting.alarms.flapping import FLAPPING, Flaps
from alerting.alarms.gate import Gate
from alerting.alarms.incidents import Incidents
from alerting.alarms.masses import GROUPS, Masses
from alerting.alarms.massing import Massing
from alerting.alarms.reports import Reports
from alerting.alarms.restoring import is_idle, resume, resume_incident
from alerting.alarms.review import Review, happened, watching
from alerting.alarms.silencing import Silencing
from alerting.alarms.watched import QUIET, Trouble, Watched, is_named, is_well
from alerting.announcement import Announcement, Delivered, Transition
from alerting.incident import Batch, Delivery, Incident, Outcome
from alerting.muting.muting import Muting
from alerting.routes import GroupSettings, Routes, RouteSettings
from alerting.rules.rule import Rules
from alerting.store.rows import Memo, Restored, SubjectRow, What, Write
from checks.observation import Fact, Kind, Observation, State, Subject

UNCHRONICLED = (Kind.SITE, Kind.VANTAGE, Kind.SELF)  # what has no history of its own
SLICE = 100  # subjects looked at in one go: some 5 ms of an event loop
NO_LONGER_WATCHED = "no longer watched"


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
        self._now = now
        self._watched: dict[Subject, Watched] = {}
        self._ancestors = Ancestors(self._watched)
        self._deadlines: Deadlines[Watched] = Deadlines()
        self._changes = Changes()
        self.muting = muting or Muting()
        self._gate = Gate(self.muting, Routes(routes, notifiers), rules)
        self._deliveries = Deliveries(self._gate, group, new_id, random, self._changes)
        self.silences = Silencing(self.muting, self._deliveries, self._changes)
        self._reports = Reports(vantage)
        self._deliveries.standins.failing = self.failing
        self._incidents = Incidents(rules, self._deliveries, self._changes)
        self.links = Acknowledging(self._incidents, self._deliveries, self._changes)
        self._doubts = Doubts(self._watched, self._ancestors, vantage)
        self._flaps = Flaps(rules)
        self._masses = Masses(self._watched, self._ancestors, self._incidents.heard_by)
        self._massing = Massing(
            self._masses,
            self._deliveries,
            self._changes,
            self._incidents.open,
            census,
        )
        self._gate.part_of = self._massing.part_of
        self._gate.parts = self._massing.parts
        self._stored: dict[str, SubjectRow] = {}  # restored, not adopted yet
        self._unwritten: set[str] = set()  # of those: released before they were
        self._orphans: dict[str, list[Incident]] = {}  # of subjects not adopted yet
        self._announced: list[Announcement] = []
        if restored is not None:
            self._restore(restored, now)
        self._adopt_notifiers(now)

    # Observations and time

    def observe(self, o: Observation) -> None:
        """Take in what a check saw; cheap where it changes nothing."""
        w = self._watched.get(o.subject)
        if w is None:
            w = self._watch(o.subject)
        again = w.state is o.state and w.said == o.since
        if (
            (again or self._is_quiet_start(w, o))
            and w.trouble is None
            and o.event is None
        ):
            for rule in w.compiled.figures if again else w.compiled.rules:
                for grade in rule.grades:
                    if grade.matches(o):
                        self._examine(w, o)
                        return
            if not again:
                self._begin(w, o)
            if self._doubts:
                self._doubts.forget(w)  # it is as it was: what was held is not so
            if not o.figures.failures:
                w.well_at = o.at
                if self._ancestors.awaited(o.subject):
                    self._release(w, o.at)
            return
        self._examine(w, o)

    def _is_quiet_start(self, w: Watched, o: Observation) -> bool:
        """Whether it is first seen, and well: of a first list nearly all are."""
        first = w.state is None and o.state in QUIET
        return first and o.subject.kind not in GROUPS and not self._doubts

    def _begin(self, w: Watched, o: Observation) -> None:
        """One begins well, and no rule matches: what is left to do of `_examine`."""
        self._now = max(self._now, o.at)
        w.moves(o)
        self._masses.moved(w, None, o)
        if w.worth_storing():
            self._changes.subject(w)

    def _examine(self, w: Watched, o: Observation) -> None:
        self._now = max(self._now, o.at)
        doubted = self._doubts.of(w)
        if self._doubts.holds(w, o, self._now):
            if doubted is None:
                self._changes.note(w.subject, What.SUPPRESSED, "", DOUBTED, self._now)
            self._take_asks()
            return
        if w.subject.kind in GROUPS:
            self._masses.count(o)
        old = w.state
        if w.moves(o):
            if old is not o.state:
                self._changed(w, old, o)
            if w.worth_storing():
                self._changes.subject(w)
            if old is not None or o.state not in QUIET:
                self._announced.append(
                    Transition(
                        w.subject, old, o.state, o.since, o.at, o.cause, o.detail
                    )
                )
        if w.trouble is None:
            w.trouble = Trouble(o)
        elif _to_store(w.trouble.last, o):
            self._changes.subject(w)
        w.trouble.last = o
        if o.event is not None:
            for rule in happened(w, w.trouble, o):
                if (incident := w.trouble.incidents.get(rule.family)) is not None:
                    self._incidents.again(incident, self._now)
        self._review(w)
        if is_well(o):
            w.well_at = o.at
            self._release(w, o.at)

    def _changed(self, w: Watched, old: State | None, o: Observation) -> None:
        """A subject is in another state: count it with others, and with its past."""
        if w.subject.kind in UNCHRONICLED and old is not None:
            text = f"{old} -> {o.state}{': ' if o.detail else ''}{o.detail}"
            self._changes.note(w.subject, What.STATE, "", text, o.since)
        together = bool(w.groups) and self._masses.moved(w, old, o)
        if together:
            self._flaps.forgive(w)
        elif old is not None:
            self._flaps.changed(w, self._now)

    def _look_at_masses(self) -> None:
        """Let the rules see what the changes of many have come to."""
        for group, over in self._masses.take(self._now):
            w = self._watched.get(group.subject) or self._watch(group.subject)
            if over:  # they went and came: two changes
                self._flaps.changed(w, self._now)
                self._flaps.changed(w, self._now)
            self._massing.observed(group, w, self._now)
            self._review(w)

    def _release(self, w: Watched, at: float) -> None:
        """An ancestor was seen well: look again at who waits for it, in slices."""
        for child in self._ancestors.seen_well(w.subject):
            self._deadlines.set(child, at)

    def advance(self, now: float) -> None:
        """Let time pass: what is due opens, what has ended closes.

        One call looks at no more than SLICE subjects; the next deadline then is still
        in the past, and the caller commits before it comes again.
        """
        self._now = max(self._now, now)
        if self._masses:
            self._look_at_masses()
        for w in islice(self._deadlines.due(self._now), SLICE):
            self._review(w)
        self._incidents.forget_until(self._now)

    def next_deadline(self) -> float | None:
        """When `advance` has something to do, if nothing else happens."""
        return self._deadlines.next()

    def _review(self, w: Watched) -> None:
        if self._doubts and (o := self._doubts.take(w, self._now)) is not None:
            self._examine(w, o)
            return
        times = self._look(w, w.trouble) if w.trouble is not None else []
        later = (self._doubts.until(w), self._flaps.calm_at(w))
        times += [at for at in later if at is not None and at > self._now]
        self._deadlines.set(w, min(times, default=None))
        if is_idle(w):
            w.trouble = None

    def _look(self, w: Watched, t: Trouble) -> list[float]:
        """Judge a subject in trouble anew; when to look again."""
        self._flaps.count(w, t, self._now)
        review = self._at(self._now)
        review.look(w, t)
        self._announced += review.suppressed
        for s in review.suppressed:
            self._changes.note(s.subject, What.SUPPRESSED, s.rule, s.reason, s.at)
        self._take_asks()
        for family in _to_decide(w, t):
            opened = self._incidents.decide(w, t, family, self._now)
            if opened is not None and self._flaps.opened(w, opened, self._now):
                review.deadlines.append(self._now)  # another rule has something to say
        if w.groups:
            self._massing.belongs(w, self._now)
        elif w.subject.kind in GROUPS:
            for child in self._massing.follow(w, self._now):
                self._deadlines.set(child, self._now)
        return review.deadlines

    def _at(self, now: float) -> Review:
        return Review(now, self._ancestors, self.muting, self._masses, self._flaps)

    def _take_asks(self) -> None:
        self._announced += self._ancestors.asks
        self._ancestors.asks.clear()

    # Who is watched

    def adopt(self, subject: Subject) -> SubjectRow | None:
        """Begin to watch a subject; what was stored of it, if anything was."""
        w = self._watched.get(subject) or self._watch(subject)
        return w.row() if w.state is not None else None

    def _watch(self, subject: Subject) -> Watched:
        w = self._watched[subject] = Watched(subject, self.rules.of(subject))
        if not (self._stored or self._orphans):
            self._massing.resume(w)
            return w
        key = subject.key
        row = self._stored.pop(key, None)
        if row is not None:
            resume(w, row)
        if key in self._unwritten:
            self._unwritten.remove(key)
            self._changes.subject(w)
        for incident in self._orphans.pop(key, ()):
            resume_incident(w, incident, self.rules)
            if incident.family == FLAPPING:
                self._flaps.resume(w, self._now)
        self._massing.resume(w)
        self._review(w)
        return w

    def unwatch(
        self, subject: Subject, now: float, reason: str = NO_LONGER_WATCHED
    ) -> None:
        """Stop watching: its incidents close, and who was told is told so."""
        w = self._watched.get(subject)
        if w is None:
            return
        self._now = max(self._now, now)
        for incident in list(w.trouble.incidents.values()) if w.trouble else ():
            self._incidents.close(incident, self._now, self._now, reason)
        waiting = [*self._ancestors.seen_well(subject)]
        waiting += self._massing.forget(subject, self._now)
        self._forget(w)
        self._deadlines.set(w, None)
        self._changes.unchanged(w)
        w.trouble = None
        del self._watched[subject]
        if w.state is not None:
            self._changes.removed(subject.key)
        for child in waiting:
            self._deadlines.set(child, self._now)

    def release(self, subject: Subject) -> None:
        """Let go of a subject that comes back as another object under the same key.

        Nothing closes: its state and its incidents wait for who adopts the key, or
        for `unwatch_missing`. So does what is still to be written of its state.
        """
        w = self._watched.pop(subject, None)
        if w is None:
            return
        if w.state is not None:
            self._stored[subject.key] = w.row()
        if w.trouble is not None and w.trouble.incidents:
            self._orphans[subject.key] = list(w.trouble.incidents.values())
        self._masses.forget(subject)
        self._forget(w)
        self._deadlines.set(w, None)
        if self._changes.unchanged(w):
            self._unwritten.add(subject.key)

    def _forget(self, w: Watched) -> None:
        self._ancestors.forget(w)
        self._masses.leave(w)
        self._flaps.forget(w)
        self._doubts.forget(w)

    def moved(self, subject: Subject) -> None:
        """A subject has another scope than before: it belongs elsewhere."""
        w = self._watched.get(subject)
        if w is None:
            return
        self._masses.leave(w)
        self._recompile(w)
        self._masses.admit(w)
        self._review(w)

    def relink(self) -> None:
        """What depends on what has changed."""
        self._masses.relink()
        for w in self._watched.values():
            if w.groups and w.groups != self._masses.groups_of(w.subject):
                self._masses.leave(w)
                self._masses.admit(w)

    def _recompile(self, w: Watched) -> None:
        w.compiled = self.rules.of(w.subject)
        if w.trouble is not None:
            w.trouble.retrack(w.compiled.rules)

    def knows(self, subject: Subject) -> bool:
        """Whether anything is remembered of it, so that its first success is news."""
        if subject in self._watched:
            return True
        if not (self._stored or self._orphans):
            return False
        return subject.key in self._stored or subject.key in self._orphans

    def wants(self, subject: Subject) -> bool:
        """Whether the first success of a target is news."""
        return is_named(subject) or self.knows(subject)

    def answered(self, subject: Subject) -> bool:
        """Whether a target is known to have answered once, be it before a restart."""
        w = self._watched.get(subject)
        return w is not None and w.answered

    def unclaimed(self, prefix: str) -> dict[str, SubjectRow]:
        """What was restored or released under keys like this, by the rest of the key;
        nobody has adopted it yet."""
        return {
            key.removeprefix(prefix): row
            for key, row in self._stored.items()
            if key.startswith(prefix)
        }

    def unwatch_missing(
        self, prefix: str, now: float, reason: str = NO_LONGER_WATCHED
    ) -> None:
        """Close what was restored under keys like this and never appeared again."""
        self._now = max(self._now, now)
        for key in [k for k in self._stored if k.startswith(prefix)]:
            del self._stored[key]
            self._unwritten.discard(key)
            self._changes.removed(key)
        for key in [k for k in self._orphans if k.startswith(prefix)]:
            for incident in self._orphans.pop(key):
                self._incidents.close(incident, self._now, self._now, reason)

    def replace(
        self,
        rules: Rules,
        routes: Sequence[RouteSettings],
        group: GroupSettings,
        notifiers: Sequence[str],
        now: float,
    ) -> None:
        """Go on under another configuration; what is open is judged anew."""
        self._now = max(self._now, now)
        self.rules = self._incidents.rules = self._gate.rules = rules
        self._deliveries.replace(Routes(routes, notifiers), group)
        self._flaps.rules = rules
        self.relink()
        for w in self._watched.values():
            self._recompile(w)
        for w in [w for w in self._watched.values() if w.trouble is not None]:
            self._review(w)
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
        self._now = max(self._now, now)
        return self._incidents.acknowledge(incident_id, who, self._now, note)

    def attest(self, subject: Subject, fact: Fact, now: float) -> Incident | None:
        """Somebody else saw it too: evidence of the open incident about the liveness
        of a subject, instead of what the same witness said before."""
        self._now = max(self._now, now)
        w = self._watched.get(subject)
        if w is None or w.trouble is None:
            return None
        return self._incidents.attest(w.trouble, fact, self._now)

    def evidenced(self, incident_id: int, now: float) -> Incident | None:
        """Evidence of an open incident was kept: who follows it may look again."""
        self._now = max(self._now, now)
        return self._incidents.evidenced(incident_id, self._now)

    def remember(self, memo: Memo) -> None:
        """What another part wants to find again, in the transaction of what it has
        observed since the last one."""
        self._changes.memo(memo)

    def due(self, notifier: str, now: float) -> Batch | None:
        """The next notification; commit what `take` gives before sending it."""
        batch = self._deliveries.due(notifier, now)
        if batch is not None:
            self._massing.refresh(batch)
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
        self._announced.append(Delivered(batch, outcome, now, error))
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
        return standing(w, self._at(max(now, self._now)), self._doubts.of(w))

    def hears(self, subject: Subject) -> list[str]:
        """Who would be told of what can happen to a subject, by name."""
        found: set[str] = set()
        for rule in self.rules.of(subject).rules:
            for grade in range(len(rule.grades)):
                found |= self._incidents.heard_by(subject, rule, grade)
        return sorted(found)

    def find(self, kind: Kind, key: str) -> Subject | None:
        """Who is watched under a key, of a kind that has few."""
        alike = (s for s in self._watched if s.kind is kind)
        return next((s for s in alike if s.key == key), None)

    def blind(self, subject: Subject) -> Subject | None:
        """The ancestor that makes the state of a subject unknown, if any."""
        return self._ancestors.explain(subject)

    # State in and out

    def _restore(self, restored: Restored, now: float) -> None:
        self._stored = dict(restored.subjects)
        self.silences.restore(restored.memos)
        self.links.restore(restored.memos)
        self._deliveries.passing.limits.restore(restored.memos, now)
        for incident in self._incidents.restore(restored, now):
            self._orphans.setdefault(incident.subject.key, []).append(incident)
        self._incidents.reroute(now)
        self._deliveries.release(now, starting=True)
        for name in self._deliveries.routes.notifiers:
            self._deliveries.retry(name, now)

    def clock_set(self, now: float) -> None:
        """The wall clock was set: hours, windows and silences are others than they
        were, and what counts in time is written again."""
        self._now = max(self._now, now)
        for w in self._watched.values():
            if w.trouble is not None:
                self._deadlines.set(w, self._now)
        self._deliveries.release(self._now)
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
        if self._masses:
            self._look_at_masses()
        writes = self._changes.take(most)
        return writes, [] if self._changes else self.take_announced()

    @property
    def left(self) -> bool:
        """Whether something is still to be taken and written."""
        return bool(self._changes)

    def take_announced(self) -> list[Announcement]:
        """What happened, where nobody can wait for it to be written."""
        told, held = self._incidents.announced, self._deliveries.passing.held
        announced = [*self._announced, *told, *held]
        self._announced, self._incidents.announced = [], []
        self._deliveries.passing.held = []
        return announced


def _to_store(before: Observation, o: Observation) -> bool:
    """Whether something is to be written though the state is the same."""
    if before.figures.answered != o.figures.answered:
        return True
    return before.not_before != o.not_before


def _to_decide(w: Watched, t: Trouble) -> set[str]:
    """The families where something fires or is open, as far as they can be judged."""
    families = {rule.family for rule, k in t.tracks.items() if k.grade is not None}
    families.update(t.incidents)
    if not w.judged:
        families &= {rule.family for rule in watching(w)}
    return families
