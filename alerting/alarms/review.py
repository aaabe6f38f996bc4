"""One look at one subject: which of its rules are pending, firing, ended.

A review may be repeated at any time and says the same: it reads the last observation,
the tracks, the ancestors and `now`. It is made when an observation changes something,
when a deadline has come, and when an ancestor that is waited for was seen well.

    due = max(since, not_before, ancestors well since, start of its hours + 30m,
              end of a mass event that it was part of,
              of a mass event: registrar well since + 90s) + for

covers the grace after a restart, the recovery of a parent, children that notice before
their parent, phones that are started in the morning, and the last of a mass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from alerting.alarms.ancestors import Ancestors
from alerting.alarms.flapping import Flaps
from alerting.alarms.group import MASS
from alerting.alarms.masses import Masses
from alerting.alarms.watched import QUIET, Track, Trouble, Watched
from alerting.announcement import Suppressed
from alerting.incident import Terms
from alerting.muting.muting import Muting
from alerting.rules.grades import EVENT_LASTS, Clock, Grade, Rule
from checks.observation import Observation


@dataclass(slots=True)
class Review:
    """What one look found, beside what it changed in the tracks."""

    now: float
    ancestors: Ancestors
    muting: Muting
    masses: Masses
    flaps: Flaps
    deadlines: list[float] = field(default_factory=list)  # when to look again
    suppressed: list[Suppressed] = field(default_factory=list)

    def look(self, w: Watched, t: Trouble) -> None:
        """Bring the tracks of a subject up to now."""
        for rule in watching(w):
            if rule.clock is Clock.EVENT:
                track = t.tracks.get(rule)
                if track is not None and track.event_at is not None:
                    self._event(w, t.last, rule, track, track.event_at)
            else:
                self._rule(w, t, rule)

    def _rule(self, w: Watched, t: Trouble, rule: Rule) -> None:
        verdicts = [grade.matches(t.last) for grade in rule.grades]
        track = t.tracks.get(rule)
        if track is None:
            if True not in verdicts:
                return
            track = t.track(rule)
        track.matching = True in verdicts
        ripe = self._ripe(w, t.last, rule, track, verdicts)
        if (
            ripe is not None
            and (track.grade is None or ripe < track.grade)
            and self._opens(w, t.last, rule, track, ripe)
        ):
            track.grade = ripe
        if False in verdicts and track.grade is not None:
            self._ease(track, verdicts, ripe)
        if any(verdict is not False for verdict in verdicts):
            track.ended = None
        elif track.grade is not None:
            self._end(w, t.last, rule, track)
        if not track.matching and track.grade is None:
            track.suppressed = ""

    def _ripe(
        self,
        w: Watched,
        o: Observation,
        rule: Rule,
        track: Track,
        verdicts: list[bool | None],
    ) -> int | None:
        """The worst grade that matches and is due."""
        for i, verdict in enumerate(verdicts):
            if rule.clock is not Clock.SINCE and verdict is not None:
                track.matches(i, o.at if verdict else None)
        for i, verdict in enumerate(verdicts):
            if not verdict:
                continue
            start = self._start(w, o, rule, track, i)
            due = self._due(w, o, start, rule.grades[i])
            if rule.family == MASS:
                settled = self.masses.settled_at(w, start)
                due = max(due, settled + rule.grades[i].for_)
            if rule.during and due <= self.now:
                due = self._in_hours(w, rule, track, rule.grades[i])
            if due <= self.now:
                return i
            self.deadlines.append(due)
        return None

    @staticmethod
    def _start(w: Watched, o: Observation, rule: Rule, track: Track, i: int) -> float:
        if rule.clock is Clock.SINCE:
            return w.since
        first = track.first[i]
        return o.at if first is None else first

    def _due(self, w: Watched, o: Observation, start: float, grade: Grade) -> float:
        well_since = self.ancestors.well_since(w.subject)
        over_since = self.masses.over_since(w) if w.groups else 0.0
        return max(start, o.not_before, well_since, over_since) + grade.for_

    def terms(
        self, w: Watched, o: Observation, rule: Rule, track: Track, grade: int
    ) -> Terms:
        """When a grade is due, with all that this is counted from."""
        since = self._start(w, o, rule, track, grade)
        during = rule.during and self.muting.settled_at(rule.during, self.now)
        settled = self.masses.settled_at(w, since) if rule.family == MASS else 0.0
        return Terms(
            since,
            rule.grades[grade].for_,
            self.ancestors.well_since(w.subject),
            max(o.not_before, settled),
            max(self.masses.over_since(w), 0.0) if w.groups else 0.0,
            during or 0.0,
            self.ancestors.seen(w.subject, since),
        )

    def _in_hours(self, w: Watched, rule: Rule, track: Track, grade: Grade) -> float:
        """When what is due otherwise is due by the schedule of its rule."""
        due = self.muting.settled_at(rule.during, self.now) + grade.for_
        if due > self.now:
            self._suppress(w, rule, track, f"out of its hours ({rule.during})")
        return due

    def _opens(
        self, w: Watched, o: Observation, rule: Rule, track: Track, grade: int
    ) -> bool:
        start = self._start(w, o, rule, track, grade)
        verdict = self.ancestors.judge(w, start, self.now)
        if verdict.opens and (w.groups or rule.window):
            verdict = self.masses.judge(w, rule, grade, start, self.now)
        if verdict.opens:
            verdict = self.flaps.judge(w, rule, start, self.now)
        if verdict.opens and rule.family == MASS:
            verdict = self.masses.holds(w, rule)
        if verdict.opens:
            track.suppressed = ""
            track.terms = self.terms(w, o, rule, track, grade)
            return True
        if verdict.again_at is not None:
            self.deadlines.append(verdict.again_at)
        if verdict.reason:
            self._suppress(w, rule, track, verdict.reason)
        return False

    def _suppress(self, w: Watched, rule: Rule, track: Track, reason: str) -> None:
        if reason != track.suppressed:
            track.suppressed = reason
            self.suppressed.append(Suppressed(w.subject, rule.name, reason, self.now))

    @staticmethod
    def _ease(track: Track, verdicts: list[bool | None], ripe: int | None) -> None:
        """A lesser grade goes on where the one that fired does not match any more."""
        fired = track.grade
        if ripe is None or fired is None or ripe <= fired:
            return
        if verdicts[fired] is False:
            track.grade = ripe

    def _end(self, w: Watched, o: Observation, rule: Rule, track: Track) -> None:
        if track.ended is None:
            if o.state in QUIET and 1 < rule.recover > o.figures.successes:
                return
            track.ended = w.since if rule.clock is Clock.SINCE else o.at
        until = self.until(w, rule, track.ended)
        if until <= self.now and self.ancestors.hides(w, o.at):
            return  # it is looked at again when that is seen well
        if until <= self.now:
            track.grade = None
        else:
            self.deadlines.append(until)

    def until(self, w: Watched, rule: Rule, ended: float) -> float:
        """When a rule that matched until `ended` fires no more, if that stays so."""
        steady_at = self.flaps.steady_at(w, rule, ended)
        return max(ended + rule.keep_firing_for, steady_at)

    def _event(
        self, w: Watched, o: Observation, rule: Rule, track: Track, at: float
    ) -> None:
        if at + EVENT_LASTS <= self.now:
            track.grade = track.event_at = None
            return
        self.deadlines.append(at + EVENT_LASTS)
        if rule.during and track.grade is None:
            due = self._in_hours(w, rule, track, rule.grades[-1])
            if due > self.now:
                self.deadlines.append(due)
                return
        if track.grade is None:
            track.grade = len(rule.grades) - 1  # that it happened is the least of it
            track.terms = Terms(at, above=self.ancestors.seen(w.subject, at))
        if track.judged:
            return
        for i, grade in enumerate(rule.grades[:-1]):
            due = self._due(w, o, at, grade)
            if due > self.now:
                self.deadlines.append(due)
                return
            verdict = None if w.fresh else grade.matches(o)
            if verdict is None:
                return  # the next observation tells
            if verdict:
                track.grade = min(i, track.grade)
                break
        track.judged = True


def watching(w: Watched) -> Sequence[Rule]:
    """The rules that can say something: of what is only remembered, events."""
    if w.judged:
        return w.compiled.rules
    return [rule for rule in w.compiled.rules if rule.clock is Clock.EVENT]


def happened(w: Watched, t: Trouble, o: Observation) -> list[Rule]:
    """Start the tracks of the rules that an event is about; those that fired."""
    again = []
    for rule in w.compiled.rules:
        if rule.clock is Clock.EVENT and rule.grades[-1].matches(o):
            track = t.track(rule)
            if track.grade is not None:
                again.append(rule)
            track.event_at, track.judged = o.at, False
    return again
