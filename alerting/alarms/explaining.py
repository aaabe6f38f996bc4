"""Why there is an alarm of a subject now, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from alerting.alarms.review import Review, watching
from alerting.alarms.watched import Track, Trouble, Watched
from alerting.incident import Above, Terms
from alerting.rules.grades import Clock, Grade, Rule
from checks.observation import Observation, State

AWAITED = "what it is seen through is asked first"


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule that matches a subject, or that fires for it."""

    rule: Rule
    grade: Grade  # the one that fires, or that is due first
    fires: bool
    terms: Terms
    why: str = ""  # it does not open though it is due; empty: it is not due yet
    until: float | None = (
        None  # it fires and matches no more: over then, if it stays so
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How a subject stands with the rules that watch it."""

    state: State | None  # None: it was not observed yet
    since: float
    rules: tuple[Rule, ...]  # all that watch it
    considered: tuple[Considered, ...]
    above: tuple[Above, ...]
    last: Observation | None = None  # while something is remembered of it
    doubted: Observation | None = None  # said of it, and not believed yet


def standing(w: Watched, review: Review, doubted: Observation | None) -> Standing:
    """What a look at a subject finds; it changes nothing."""
    considered = []
    for rule in watching(w) if w.trouble else ():
        found = _considered(w, w.trouble, rule, review)
        if found is not None:
            considered.append(found)
    return Standing(
        w.state,
        w.since,
        w.compiled.rules,
        tuple(considered),
        review.ancestors.seen(w.subject, w.since),
        w.trouble.last if w.trouble else None,
        doubted,
    )


def _considered(
    w: Watched, t: Trouble | None, rule: Rule, review: Review
) -> Considered | None:
    track = t.tracks.get(rule) if t else None
    if t is None or track is None:
        return None
    if track.grade is not None:
        terms = track.terms or review.terms(w, t.last, rule, track, track.grade)
        ended = None if track.matching else track.ended
        until = None if ended is None else review.until(w, rule, ended)
        grade = rule.grades[track.grade]
        return Considered(rule, grade, fires=True, terms=terms, until=until)
    if rule.clock is Clock.EVENT or not track.matching:
        return None
    return _first_due(w, t.last, rule, track, review)


def _first_due(
    w: Watched, o: Observation, rule: Rule, track: Track, review: Review
) -> Considered | None:
    """Of the grades that match the one whose time comes first."""
    found = [
        (review.terms(w, o, rule, track, i), grade)
        for i, grade in enumerate(rule.grades)
        if grade.matches(o)
    ]
    if not found:
        return None
    terms, grade = min(found, key=lambda one: one[0].due)
    why = track.suppressed
    if terms.due <= review.now:
        why = why or AWAITED
    return Considered(rule, grade, fires=False, terms=terms, why=why)
