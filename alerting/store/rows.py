"""What the core asks the store to write, and what the store gives back.

Every row is a whole snapshot under a key of its own, so a later one replaces an
earlier one and a transaction may be repeated. Rows are frozen: the writer thread
reads them while the core goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from alerting.incident import Crowd, Severity, Terms, Told
from checks.observation import Cause, Fact, Kind, Loss, Place, State


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """The state that a subject holds since, and why; written on change only."""

    key: str
    state: State
    since: float
    well_since: float = 0.0  # of an ancestor: since when it is well again
    not_before: float = 0.0  # as observed, like all that follows
    cause: Cause | None = None
    loss: Loss | None = None
    detail: str = ""
    last_seen: str = ""
    evidence: tuple[Fact, ...] = ()
    answered: bool = False  # target: it has answered once
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class DropSubject:
    """A subject that is watched no more."""

    key: str


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident with enough of its subject to be told without it."""

    id: int
    key: str  # of the subject
    kind: Kind
    name: str
    scope: str
    role: str
    title: str
    labels: dict[str, str]
    family: str
    rule: str
    severity: Severity
    state: State
    since: float
    opened_at: float
    resolved_at: float | None
    ended_at: float | None
    closed: str
    cause: Cause | None
    loss: Loss | None
    detail: str
    last_seen: str
    evidence: tuple[Fact, ...]
    acknowledged_by: str
    part_of: int | None = None
    crowd: Crowd | None = None
    acknowledged_at: float | None = None
    note: str = ""
    terms: Terms | None = None
    next_step: str = ""
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One outbox row."""

    incident: int
    notifier: str
    step: int
    group: str
    wanted: Told
    told: Told
    telling: Told
    thread: str
    batch: str
    not_before: float
    attempts: int
    error: str
    dead: bool


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """What came of one batch for one incident; its attempts are counted."""

    incident: int
    notifier: str
    step: int
    batch: str
    telling: Told
    attempts: int
    begun: float  # the first attempt; kept where it is stored already
    at: float  # the last one, or its end
    outcome: str  # an Outcome; empty while nobody knows
    error: str


class What(StrEnum):
    """What a row of the trail is about."""

    STATE = "state"  # of what has no history of its own
    SUPPRESSED = "suppressed"  # a rule was due and did not open
    HELD = "held"  # news, reminders or a step of a ladder were not told
    CHANGED = "changed"  # another rule leads, or another severity
    INSTEAD = "instead"  # somebody is told of it instead of what it covers
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class TrailRow:
    """Why something was done, or not, with a subject; of each the last are kept."""

    key: str  # of the subject
    at: float
    what: What
    rule: str
    text: str
    incident: int | None = None


@dataclass(frozen=True, slots=True)
class PruneTrail:
    """Forget what was noted in the trail before this moment."""

    before: float


@dataclass(frozen=True, slots=True)
class DropDelivery:
    """An outbox row that is owed no more: a repeat that was told or acknowledged."""

    incident: int
    notifier: str
    step: int


@dataclass(frozen=True, slots=True)
class Memo:
    """What another part wants to find again after a restart (a learned roster)."""

    name: str
    json: str


@dataclass(frozen=True, slots=True)
class DropMemo:
    """A memo that is wanted no more."""

    name: str


@dataclass(frozen=True, slots=True)
class Prune:
    """Forget incidents that were resolved before this moment."""

    resolved_before: float


class HistoryRow(NamedTuple):  # made for each extension of a first list
    """How a subject stands since a moment; not written where it stood so already."""

    key: str
    at: float
    state: State
    cause: Cause | None = None
    loss: Loss | None = None
    why: str = ""  # in one sentence
    contacts: tuple[Place, ...] = ()


class HistoryFill(NamedTuple):
    """More is known of the contacts as they stand since the last row of a subject."""

    key: str
    contacts: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class DropHistory:
    """One row of the history that nobody looks up any more, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Charted:
    """Of whom points are kept, and the last hour (since 1970) that has some."""

    key: str
    hour: int


class MinutesRow(NamedTuple):
    """An hour of a subject, minute by minute; see `points`."""

    hour: int  # since 1970
    key: str
    points: bytes


class QuartersRow(NamedTuple):
    """An hour of a subject, quarter by quarter."""

    hour: int
    key: str
    points: bytes


class DropMinutes(NamedTuple):
    """The minutes of a subject's hour, of which the quarters are kept now."""

    hour: int
    key: str


@dataclass(frozen=True, slots=True)
class DropQuarters:
    """All quarters of one hour."""

    hour: int


@dataclass(frozen=True, slots=True)
class DropCharted:
    """Those that have no points any more: none since before this hour."""

    before: int


Write = (
    SubjectRow
    | DropSubject
    | IncidentRow
    | DeliveryRow
    | DropDelivery
    | Memo
    | DropMemo
    | Prune
    | AttemptRow
    | TrailRow
    | PruneTrail
)
# What may be written late, or be lost with the machine.
Note = (
    HistoryRow
    | HistoryFill
    | DropHistory
    | Memo
    | Charted
    | MinutesRow
    | QuartersRow
    | DropMinutes
    | DropQuarters
    | DropCharted
)


# What of a row is a moment, beside its evidence.
_MOMENTS: dict[type, tuple[str, ...]] = {
    SubjectRow: ("since", "well_since", "not_before"),
    IncidentRow: (
        *("since", "opened_at", "resolved_at", "ended_at"),
        "acknowledged_at",
    ),
    DeliveryRow: ("not_before",),
    Prune: ("resolved_before",),
    AttemptRow: ("begun", "at"),
    TrailRow: ("at",),
    PruneTrail: ("before",),
}


def shifted(write: Write, seconds: float) -> Write:
    """A row with its times moved.

    Our clock never jumps, the wall's may; what is stored is read by a process that
    will have begun on the wall's.
    """
    changed: dict[str, Any] = {}
    for name in _MOMENTS.get(type(write), ()):
        if at := getattr(write, name):  # 0.0 and None: it did not happen
            changed[name] = at + seconds
    if isinstance(write, SubjectRow | IncidentRow) and write.evidence:
        changed["evidence"] = tuple(
            Fact(fact.at and fact.at + seconds, fact.text) for fact in write.evidence
        )
    if isinstance(write, IncidentRow) and write.crowd is not None:
        changed["crowd"] = _moved(write.crowd, seconds)
    if isinstance(write, IncidentRow) and write.terms is not None:
        changed["terms"] = _later(write.terms, seconds)
    return replace(write, **changed) if changed else write


def _moved(crowd: Crowd, seconds: float) -> Crowd:
    listed = (Fact(fact.at and fact.at + seconds, fact.text) for fact in crowd.listed)
    return replace(crowd, listed=tuple(listed))


def _later(terms: Terms, seconds: float) -> Terms:
    def moved(at: float) -> float:
        return at + seconds if at else at

    return Terms(
        moved(terms.since),
        terms.for_,
        moved(terms.well_since),
        moved(terms.not_before),
        moved(terms.over_since),
        moved(terms.in_hours),
        tuple(
            one._replace(
                well_at=moved(one.well_at),
                asked_at=None if one.asked_at is None else one.asked_at + seconds,
            )
            for one in terms.above
        ),
    )


@dataclass(slots=True)
class Restored:
    """What the core needs to go on where it stopped."""

    subjects: dict[str, SubjectRow] = field(default_factory=dict)
    incidents: list[IncidentRow] = field(default_factory=list)  # open, or just closed
    deliveries: list[DeliveryRow] = field(default_factory=list)  # of those incidents
    last_incident: int = 0
    memos: dict[str, str] = field(default_factory=dict)  # of the core: "alarms/..."
