"""What the core announces, to be put on the bus once it is committed."""

from __future__ import annotations

from dataclasses import dataclass

from alerting.incident import Batch, Incident, Outcome
from checks.observation import Cause, State, Subject


@dataclass(frozen=True, slots=True)
class Transition:
    """A subject changed its state; `old` is None where none was known."""

    subject: Subject
    old: State | None
    new: State
    since: float
    at: float
    cause: Cause | None = None
    detail: str = ""  # why, in one sentence


@dataclass(frozen=True, slots=True)
class Opened:
    """An incident opened, or a recurrence reopened it."""

    incident: Incident
    at: float
    again: bool = False


@dataclass(frozen=True, slots=True)
class Updated:
    """An open incident changed: leading rule, severity, cause, acknowledgement."""

    incident: Incident
    at: float


@dataclass(frozen=True, slots=True)
class Resolved:
    """An incident closed; `incident.closed` says why where it did not recover."""

    incident: Incident
    at: float


@dataclass(frozen=True, slots=True)
class Delivered:
    """An attempt at a delivery ended."""

    batch: Batch
    outcome: Outcome
    at: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A rule was due and did not open an incident, for this reason."""

    subject: Subject
    rule: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Ask:
    """This ancestor must be seen now: relist or probe it, and observe what it says."""

    subject: Subject
    at: float


Announcement = Transition | Opened | Updated | Resolved | Delivered | Suppressed | Ask
