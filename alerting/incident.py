"""What is told to humans: incidents, what each notifier was told, batches of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

from checks.observation import Cause, Fact, Loss, State, Subject


class Severity(IntEnum):
    """How bad; compared by size, written by its lower-case name."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


class Told(IntEnum):
    """What a notifier has been told of an incident, or shall be."""

    NOTHING = 0
    FIRING = 1
    WORSE = 2
    RESOLVED = 3

    def __str__(self) -> str:
        return self.name.lower()


class Outcome(StrEnum):
    """How one attempt at a delivery ended."""

    ACCEPTED = "accepted"
    TRANSIENT = "transient"  # try again
    PERMANENT = "permanent"  # this notifier will never take it


EVENT_OVER = "event"  # how an incident about an event closes: quietly


@dataclass(frozen=True, slots=True)
class Crowd:
    """The extensions that were lost together, where an incident is about many."""

    lost: int  # missing at once, at most
    of: int  # extensions that there are
    missing: int  # still, when it was last looked at
    through: tuple[str, ...] = ()  # registrars that they are registered at
    common: str = ""  # "subnet 10.20.0.0/24 (31 of 31)"
    factor: str = ""  # what that is about: subnet, site, agent, transport
    told_before: int = 0  # of them have incidents of their own
    listed: tuple[Fact, ...] = ()  # the first of them, and when they were lost


class Above(NamedTuple):
    """What a subject is seen through, as it was when a rule was due."""

    subject: str  # key
    state: str  # empty where nobody observes it
    well_at: float = 0.0  # when it was last seen well
    asked_at: float | None = None  # because of this, and its like


class Terms(NamedTuple):
    """When a rule is due, and why then: the latest of these moments, and its `for`."""

    since: float  # when it began
    for_: float = 0.0  # s
    well_since: float = 0.0  # all that it is seen through is well; 0.0: always was
    not_before: float = 0.0  # end of the grace after a restart
    over_since: float = 0.0  # end of the mass event that it was part of
    in_hours: float = 0.0  # start of the hours of its rule, and patience
    above: tuple[Above, ...] = ()

    @property
    def due(self) -> float:
        """When it is due."""
        moments = (self.well_since, self.not_before, self.over_since, self.in_hours)
        return max(self.since, *moments) + self.for_


@dataclass(slots=True, eq=False)
class Incident:
    """One problem of one subject in one family, from opening to resolution."""

    id: int
    subject: Subject
    family: str  # liveness latency certificate policy ...
    rule: str  # the leading one: the most severe that fires
    severity: Severity
    state: State  # of the subject, as last observed
    since: float  # when it happened, UTC s; the first of the thread
    opened_at: float
    resolved_at: float | None = None  # when we closed it
    ended_at: float | None = None  # when the trouble ended: the downtime's end
    closed: str = ""  # why, where it did not simply recover: "no longer watched"
    cause: Cause | None = None
    loss: Loss | None = None
    detail: str = ""
    last_seen: str = ""
    evidence: tuple[Fact, ...] = ()
    next_step: str = ""  # as the check knows it; else that of the cause or the rule
    acknowledged_by: str = ""
    acknowledged_at: float | None = None
    note: str = ""  # what they said
    part_of: int | None = None  # the incident of many that covers this one
    instead: tuple[str, ...] = ()  # notifiers told of it instead of what it covers
    crowd: Crowd | None = None
    terms: Terms | None = None  # by which it opened, or its leading rule took over

    @property
    def firing(self) -> bool:
        """Whether it is still open."""
        return self.resolved_at is None


@dataclass(slots=True, eq=False)
class Delivery:
    """One outbox row: what one notifier should know and knows of one incident."""

    incident: Incident
    notifier: str
    group: str  # rows of one group and one `wanted` may share a notification
    wanted: Told
    told: Told = Told.NOTHING
    telling: Told = Told.NOTHING  # what `batch` says; until accepted it is in doubt
    step: int = 0  # 0 tells the incident; above are repeats, below rungs of a ladder
    thread: str = ""  # batch id of the first notification that was accepted
    batch: str = ""  # the unit of retry; empty until the first attempt
    not_before: float = 0.0
    attempts: int = 0
    error: str = ""
    dead: bool = False  # refused for good
    begun: float = 0.0  # when `batch` was first attempted, if this process did that

    @property
    def pending(self) -> bool:
        """Whether something is still owed."""
        return self.wanted != self.told and not self.dead

    @property
    def held(self) -> bool:
        """Whether it waits for the end of a mute; `error` says of which."""
        return self.error != "" and not self.batch and not self.dead


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that go out as one notification; retried as one under the same id."""

    id: str  # Message-ID is <id@instance>: the idempotency key
    notifier: str
    change: Told  # FIRING, WORSE or RESOLVED: the same for all rows
    deliveries: tuple[Delivery, ...]
    thread: str  # id of the thread's first batch; equals `id` when this is the first
    late: bool = False  # firing untold at its end: told once as "was down from .. to"
    folded: bool = False  # more than the limit of the route: told together


@dataclass(frozen=True, slots=True)
class Notification:
    """What a human gets: a group of incidents as subject, text and HTML."""

    id: str
    thread: str
    instance: str  # right side of the Message-ID
    change: Told
    incidents: tuple[Incident, ...]
    subject: str
    text: str
    html: str
    labels: dict[str, str] = field(default_factory=dict)
    page: str = ""  # URL where people see more
    acknowledge: str = ""  # URL by which its reader takes it, once
    runbooks: Mapping[str, str] = field(default_factory=dict)  # URL by rule
    skew: float = 0.0  # s that the wall clock is ahead of the incidents' times
    renewal: bool = False  # nothing new: what was told as firing still does


class DeliveryError(Exception):
    """A notifier did not take it; `permanent` says that it never will.

    `retry_after` is how many s it wants to be left alone, where it says so. `in_doubt`
    says that somebody may have it all the same: then it is told again as it was, under
    the same id, and never together with others under a new one.
    """

    def __init__(
        self,
        why: str,
        *,
        permanent: bool = False,
        retry_after: float = 0.0,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(why)
        self.permanent = permanent
        self.retry_after = retry_after
        self.in_doubt = in_doubt


class Notifier(Protocol):
    """The one-method interface of everything that tells a human.

    Two attributes are looked at where it has them. `complaint` is read after a
    delivery: who has it not although it was accepted. `renew` is a time in s: that
    often `send` gets all that was told as firing and still fires, as one notification
    with `renewal` set, at once after a start and for as long as something fires.
    """

    async def send(self, notification: Notification) -> None:
        """Deliver, or raise DeliveryError; returning means it was accepted."""
