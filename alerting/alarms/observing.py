"""Observations in, and time that passes: each subject is reviewed when it matters.

What is quiet costs a dictionary look-up and a few comparisons. All else is reviewed: at
once where an observation changes something, later where a deadline was set, and when an
ancestor that is waited for was seen well.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from alerting.alarms.ancestors import Ancestors
from alerting.alarms.changes import Changes
from alerting.alarms.crowds import Census
from alerting.alarms.deadlines import Deadlines
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.doubts import DOUBTED, Doubts
from alerting.alarms.flapping import Flaps
from alerting.alarms.incidents import Incidents
from alerting.alarms.masses import GROUPS, Masses
from alerting.alarms.massing import Massing
from alerting.alarms.restoring import is_idle
from alerting.alarms.review import Review, happened, watching
from alerting.alarms.twins import Twins
from alerting.alarms.watched import QUIET, Trouble, Watched, is_well
from alerting.announcement import Announcement, Transition
from alerting.muting.muting import Muting
from alerting.store.rows import What
from checks.observation import Kind, Observation, State, Subject

UNCHRONICLED = (Kind.SITE, Kind.VANTAGE, Kind.SELF)  # what has no history of its own
SLICE = 100  # subjects looked at in one go: some 5 ms of an event loop


class Observing:
    """What is known of each subject, and when to look at it again."""

    def __init__(
        self,
        incidents: Incidents,
        deliveries: Deliveries,
        changes: Changes,
        muting: Muting,
        *,
        now: float,
        vantage: Subject | None,
        census: Census,
    ) -> None:
        """`now` is the latest time that anybody has told."""
        self.now = now
        self.watched: dict[Subject, Watched] = {}
        self.watch: Callable[[Subject], Watched]  # begins to: set by who keeps them
        self.announced: list[Announcement] = []
        self.ancestors = Ancestors(self.watched)
        self.deadlines: Deadlines[Watched] = Deadlines()
        self.doubts = Doubts(self.watched, self.ancestors, vantage)
        self.flaps = Flaps(incidents.rules)
        self.masses = Masses(self.watched, self.ancestors, incidents.heard_by)
        self.massing = Massing(self.masses, deliveries, changes, incidents.open, census)
        self.twins = Twins(self.watched, incidents.open, deliveries, changes)
        self._incidents = incidents
        self._changes = changes
        self._muting = muting

    def reached(self, now: float) -> float:
        """It is so late; the time, which never goes back."""
        self.now = max(self.now, now)
        return self.now

    def observe(self, o: Observation) -> None:
        """Take in what a check saw; cheap where it changes nothing."""
        w = self.watched.get(o.subject)
        if w is None:
            w = self.watch(o.subject)
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
            if self.doubts:
                self.doubts.forget(w)  # it is as it was: what was held is not so
            if not o.figures.failures:
                w.well_at = o.at
                if self.ancestors.awaited(o.subject):
                    self._release(w, o.at)
            return
        self._examine(w, o)

    def _is_quiet_start(self, w: Watched, o: Observation) -> bool:
        """Whether it is first seen, and well: of a first list nearly all are."""
        first = w.state is None and o.state in QUIET
        return first and o.subject.kind not in GROUPS and not self.doubts

    def _begin(self, w: Watched, o: Observation) -> None:
        """One begins well, and no rule matches: what is left to do of `_examine`."""
        self.reached(o.at)
        w.moves(o)
        self.masses.moved(w, None, o)
        if w.worth_storing():
            self._changes.subject(w)

    def _examine(self, w: Watched, o: Observation) -> None:
        self.reached(o.at)
        doubted = self.doubts.of(w)
        if self.doubts.holds(w, o, self.now):
            if doubted is None:
                self._changes.note(w.subject, What.SUPPRESSED, "", DOUBTED, self.now)
            self._take_asks()
            return
        if w.subject.kind in GROUPS:
            self.masses.count(o)
        old = w.state
        if w.moves(o):
            if old is not o.state:
                self._changed(w, old, o)
            if w.worth_storing():
                self._changes.subject(w)
            if old is not None or o.state not in QUIET:
                self.announced.append(
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
                    self._incidents.again(incident, self.now)
        self.review(w)
        if is_well(o):
            w.well_at = o.at
            self._release(w, o.at)

    def _changed(self, w: Watched, old: State | None, o: Observation) -> None:
        """A subject is in another state: count it with others, and with its past."""
        if w.subject.kind in UNCHRONICLED and old is not None:
            text = f"{old} -> {o.state}{': ' if o.detail else ''}{o.detail}"
            self._changes.note(w.subject, What.STATE, "", text, o.since)
        together = bool(w.groups) and self.masses.moved(w, old, o)
        if together:
            self.flaps.forgive(w)
        elif old is not None:
            self.flaps.changed(w, self.now)

    def look_at_masses(self) -> None:
        """Let the rules see what the changes of many have come to."""
        for group, over in self.masses.take(self.now):
            w = self.watched.get(group.subject) or self.watch(group.subject)
            if over:  # they went and came: two changes
                self.flaps.changed(w, self.now)
                self.flaps.changed(w, self.now)
            self.massing.observed(group, w, self.now)
            self.review(w)

    def _release(self, w: Watched, at: float) -> None:
        """An ancestor was seen well: look again at who waits for it, in slices."""
        for child in self.ancestors.seen_well(w.subject):
            self.deadlines.set(child, at)

    def advance(self, now: float) -> None:
        """Let time pass: what is due opens, what has ended closes.

        One call looks at no more than SLICE subjects; the next deadline then is still
        in the past, and the caller commits before it comes again.
        """
        self.reached(now)
        if self.masses:
            self.look_at_masses()
        for w in islice(self.deadlines.due(self.now), SLICE):
            self.review(w)
        self._incidents.forget_until(self.now)

    def review(self, w: Watched) -> None:
        """Judge a subject anew, if there is anything to judge."""
        if self.doubts and (o := self.doubts.take(w, self.now)) is not None:
            self._examine(w, o)
            return
        times = self._look(w, w.trouble) if w.trouble is not None else []
        later = (self.doubts.until(w), self.flaps.calm_at(w), self.twins.until(w))
        times += [at for at in later if at is not None and at > self.now]
        self.deadlines.set(w, min(times, default=None))
        if is_idle(w):
            w.trouble = None

    def _look(self, w: Watched, t: Trouble) -> list[float]:
        """Judge a subject in trouble anew; when to look again."""
        self.flaps.count(w, t, self.now)
        review = self.at(self.now)
        review.look(w, t)
        self.announced += review.suppressed
        for s in review.suppressed:
            self._changes.note(s.subject, What.SUPPRESSED, s.rule, s.reason, s.at)
        self._take_asks()
        for family in _to_decide(w, t):
            opened = self._incidents.decide(w, t, family, self.now)
            if opened is not None and self.flaps.opened(w, opened, self.now):
                review.deadlines.append(self.now)  # another rule has something to say
        for other in self.twins.look(w, self.now):
            self.deadlines.set(other, self.now)
        if w.groups:
            self.massing.belongs(w, self.now)
        elif w.subject.kind in GROUPS:
            for child in self.massing.follow(w, self.now):
                self.deadlines.set(child, self.now)
        return review.deadlines

    def at(self, now: float) -> Review:
        """A look at subjects at some time."""
        return Review(now, self.ancestors, self._muting, self.masses, self.flaps)

    def _take_asks(self) -> None:
        self.announced += self.ancestors.asks
        self.ancestors.asks.clear()


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
