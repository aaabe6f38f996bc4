"""What is remembered of a subject: little while it is well, more while it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from alerting.incident import Incident, Terms
from alerting.rules.grades import Rule
from alerting.rules.inforce import Compiled
from alerting.store.rows import SubjectRow
from checks.observation import Kind, Observation, State, Subject

if TYPE_CHECKING:
    from alerting.alarms.group import Group

QUIET = frozenset({State.UP, State.REGISTERED, State.READABLE, State.OK})
JUDGED = (Kind.EXTENSION, Kind.REGISTRATION)  # by one who remembers
NO_INCIDENTS: Mapping[str, Incident] = MappingProxyType({})
BAD = frozenset({State.DOWN, State.UNREADABLE, State.FAILING})  # explains its children


# Of the next three there is one for each phone that is lost: a dictionary for a track
# or two takes more than all else of them, and the collector would find no cycle.
class Track(msgspec.Struct, eq=False, gc=False):
    """How far one rule is with one subject; one exists once the rule matched."""

    rule: Rule
    # Of each grade: the first observation that matched, unless `since` counts.
    first: tuple[float | None, ...]
    grade: int | None = None  # index of the grade that fires
    matching: bool = False  # as of the last review: it fires or is pending
    ended: float | None = None  # when it stopped matching; it may be kept firing
    event_at: float | None = None
    judged: bool = False  # of an event: its later grades are decided
    suppressed: str = ""  # why it was due and did not open
    terms: Terms | None = None  # by which it opened

    def matches(self, grade: int, at: float | None) -> None:
        """An observation matches a grade, or none does any more."""
        if (self.first[grade] is None) is not (at is None):
            self.first = (*self.first[:grade], at, *self.first[grade + 1 :])


class Tracks(msgspec.Struct, eq=False, gc=False):
    """The tracks of a subject by their rules."""

    several: tuple[Track, ...] = ()

    def get(self, rule: Rule) -> Track | None:
        """That of a rule, if it has matched."""
        for track in self.several:
            if track.rule is rule:
                return track
        return None

    def __getitem__(self, rule: Rule) -> Track:
        found = self.get(rule)
        if found is None:
            raise KeyError(rule)
        return found

    def items(self) -> list[tuple[Rule, Track]]:
        """Each, with its rule."""
        return [(track.rule, track) for track in self.several]

    def values(self) -> tuple[Track, ...]:
        """Each."""
        return self.several


class Trouble(msgspec.Struct, eq=False, gc=False):
    """The memory of a subject that is not well, or that a rule still tracks."""

    last: Observation
    incidents: Mapping[str, Incident] = NO_INCIDENTS  # by family
    kept: Track | tuple[Track, ...] = ()  # most have one: it needs no tuple

    @property
    def tracks(self) -> Tracks:
        """How far its rules are."""
        return Tracks((self.kept,) if isinstance(self.kept, Track) else self.kept)

    def keep(self, tracks: Sequence[Track]) -> None:
        """Have these tracks from now on."""
        self.kept = tracks[0] if len(tracks) == 1 else tuple(tracks)

    def track(self, rule: Rule) -> Track:
        """The track of a rule, made when it first matches."""
        found = self.tracks.get(rule)
        if found is None:
            found = Track(rule, never(len(rule.grades)))
            self.keep((*self.tracks.several, found))
        return found

    def retrack(self, rules: Iterable[Rule]) -> None:
        """Carry the tracks over to the rules of the same names."""
        old = {track.rule.name: track for track in self.tracks.several}
        kept = []
        for rule in rules:
            track = old.get(rule.name)
            if track is None:
                continue
            track.rule = rule
            kept.append(track)
            if len(track.first) != len(rule.grades):
                track.first = never(len(rule.grades))
                if track.grade is not None:
                    track.grade = min(track.grade, len(rule.grades) - 1)
        self.keep(kept)

    def opens(self, incident: Incident) -> None:
        """An incident is open from now on, the one of its family."""
        self.incidents = {**self.incidents, incident.family: incident}

    def closes(self, incident: Incident) -> None:
        """It is no more."""
        left = {f: one for f, one in self.incidents.items() if f != incident.family}
        self.incidents = left or NO_INCIDENTS


@lru_cache
def never(grades: int) -> tuple[None, ...]:
    """None of so many grades has matched: one object for all."""
    return (None,) * grades


class Flag:
    """A bit of `flags` that reads as an attribute: three of them take one's room."""

    def __init__(self, number: int) -> None:
        self._bit = 1 << number

    def __get__(self, owner: Watched, kind: type) -> bool:
        return owner.flags & self._bit != 0

    def __set__(self, owner: Watched, on: bool) -> None:
        owner.flags = owner.flags | self._bit if on else owner.flags & ~self._bit


# There is one for each phone; the collector, which frees none, need not look at it.
class Watched(msgspec.Struct, eq=False, gc=False):
    """A subject that was observed, or is known from before a restart."""

    subject: Subject
    compiled: Compiled
    state: State | None = None
    since: float = 0.0
    said: float = 0.0  # the check's own `since`; after a restart the stored one counts
    well_at: float = 0.0  # when it was last seen well
    well_since: float = 0.0  # when it became well after it was not
    trouble: Trouble | None = None
    groups: tuple[Group, ...] = ()  # of an extension: who it may be lost together with
    flags: int = 0

    fresh = Flag(0)  # known from the store, not observed since
    stored = Flag(1)
    answered = Flag(2)  # of a target: it has answered once, be it before a restart

    def row(self) -> SubjectRow:
        """The row to be written."""
        assert self.state is not None  # noqa: S101  # only what was observed is written
        key, well_since = self.subject.key, self.well_since
        if self.trouble is None:
            return SubjectRow(
                key, self.state, self.since, well_since, answered=self.answered
            )
        o = self.trouble.last
        return SubjectRow(
            key,
            self.state,
            self.since,
            well_since,
            o.not_before,
            o.cause,
            o.loss,
            o.detail,
            o.last_seen,
            o.evidence,
            self.answered,
            o.next_step,
        )

    @property
    def judged(self) -> bool:
        """Whether its state is known well enough for rules on states and figures.

        The judge of a registrar goes on from the stored states and tells only changes;
        all others are seen anew after a restart, with figures that count from nothing.
        """
        return not self.fresh or self.subject.kind in JUDGED

    def moves(self, o: Observation) -> bool:
        """Take over a state; True where it is another one than before."""
        old, again = self.state, self.fresh
        self.fresh = False
        if self.subject.kind is Kind.TARGET:
            self.answered = self.answered or o.figures.answered
        if old is o.state and (again or self.said == o.since):
            self.said = o.since  # a restart does not restart what began before it
            return False
        if old in BAD or (old is not None and old is o.state):
            self.well_since = o.since if o.state not in BAD else self.well_since
        self.state, self.since, self.said = o.state, o.since, o.since
        return True

    def worth_storing(self) -> bool:
        """A target that has only ever been up is not, but for named ones."""
        quiet_target = self.subject.kind is Kind.TARGET and self.state is State.UP
        return self.stored or not quiet_target or is_named(self.subject)


def is_named(subject: Subject) -> bool:
    """Whether it stands in the configuration itself; files have up to 100,000 lines.

    Of so few it is stored that they answered: one that is dead at the next start is
    an outage, and not a matter of who is let in.
    """
    return subject.kind is Kind.TARGET and subject.name == subject.scope.name


def is_well(o: Observation) -> bool:
    """Whether an ancestor seen like this explains nothing of its children."""
    return o.state not in BAD and not o.figures.failures
