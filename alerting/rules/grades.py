"""What a rule is made of: grades, each a predicate, a severity and a `for`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from alerting.incident import Severity
from alerting.matching import Patterns, matches_field
from checks.observation import Kind, Observation, State, Subject

# True: it is so. False: it is not so. None: this observation cannot tell.
Verdict = bool | None
Predicate = Callable[[Observation], Verdict]
Says = Callable[[Observation], str]

RESENT_BITS = 20  # of the last probes that a share of retransmissions is taken
EVENT_LASTS = 3600.0  # s after which an event's incident closes quietly

# Within one severity these are worse the higher: the same incident, told as worse.
_RANKS = {
    State.DEGRADED: 1,
    State.UNREACHABLE: 1,
    State.DOWN: 2,
    State.UNREGISTERED: 2,
    State.UNREADABLE: 2,
}


class Clock(Enum):
    """From when a rule's `for` counts."""

    SINCE = "since"  # when the state began
    SEEN = "seen"  # the first observation that matched: figures have no since
    EVENT = "event"  # when the event was observed


@dataclass(frozen=True, slots=True, eq=False)
class Grade:
    """One degree of a rule."""

    severity: Severity
    matches: Predicate
    for_: float = 0.0
    about: str = ""  # when it matches, in words


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A named problem of one kind of subject, in degrees, the worst first."""

    name: str
    kind: Kind
    family: str
    grades: tuple[Grade, ...]
    clock: Clock = Clock.SINCE
    rank: int = 0  # what leads, and what is worse, within one severity
    own: bool = False  # written in the configuration; leads where all else is equal
    where: Patterns = field(default_factory=dict)
    recover: int = 1  # successes in a row until it has ended
    keep_firing_for: float = 0.0  # s after its end
    notify: tuple[str, ...] = ()  # instead of what the routes say
    during: str = ""  # the schedule in which it counts
    runbook: str = ""
    says: Says | None = None  # the figure in words, where a figure is what it is about
    goes_on: bool = False  # of an event: later observations tell what comes of it
    also: tuple[Kind, ...] = ()  # other kinds that it watches
    share: float = 0.0  # of extensions lost together that makes a mass of them
    window: float = 0.0  # s within which changes, or losses, belong together
    changes: int = 0  # of state within it that are too many
    until: int = 0  # fewer changes than these within it end it

    def applies(self, subject: Subject) -> bool:
        """Whether it watches this subject at all."""
        if subject.kind is not self.kind and subject.kind not in self.also:
            return False
        return all(
            matches_field(subject, name, several)
            for name, several in self.where.items()
        )


def rank_of(states: Iterable[State]) -> int:
    """How bad the worst of these states is, beside others of its severity."""
    return max((_RANKS.get(state, 0) for state in states), default=0)


def every(predicates: Iterable[Predicate]) -> Predicate:
    """All of them; one False decides, then one None."""
    parts = tuple(predicates)
    if len(parts) == 1:
        return parts[0]

    def matches(o: Observation) -> Verdict:
        found: Verdict = True
        for part in parts:
            verdict = part(o)
            if verdict is False:
                return False
            if verdict is None:
                found = None
        return found

    return matches


def in_states(*states: State) -> Predicate:
    """The subject is in one of these states."""
    several = frozenset(states)
    return lambda o: o.state in several


def failed(times: int) -> Predicate:
    """So many failures in a row; fewer, while it fails, do not tell the contrary."""

    def matches(o: Observation) -> Verdict:
        if o.figures.failures >= times:
            return True
        failing = o.figures.failures or o.state is State.DOWN
        return None if failing else False

    return matches


def slower_than(seconds: float) -> Predicate:
    """The mean round trip; a target that does not answer has none."""

    def matches(o: Observation) -> Verdict:
        mean = o.figures.rtt_mean
        if mean is None or o.state is State.DOWN:
            return None
        return mean > seconds

    return matches


def resent_share(resent: int) -> float:
    """The share of the last RESENT_BITS probes that needed a retransmission."""
    return (resent & ((1 << RESENT_BITS) - 1)).bit_count() / RESENT_BITS


def resent_over(share: float) -> Predicate:
    """So large a share of probes needed a retransmission."""

    def matches(o: Observation) -> Verdict:
        if o.figures.probes < RESENT_BITS or o.state is State.DOWN:
            return None
        return resent_share(o.figures.resent) > share

    return matches


def ends_within(days: float) -> Predicate:
    """The certificate ends within so many days."""

    def matches(o: Observation) -> Verdict:
        left = o.figures.days
        return None if left is None else left < days

    return matches


def outside_policy(o: Observation) -> Verdict:
    """The registration is not as `expiry` wants it."""
    breach = o.figures.breach
    return None if breach is None else breach != ""


def refresh_overdue(o: Observation) -> Verdict:
    """The registration is refreshed later than it usually is."""
    late_by = o.figures.refresh_late_by
    return None if late_by is None else late_by > 0


def too_few_contacts(o: Observation) -> Verdict:
    """It has fewer contacts than it should; one that is away has none to count."""
    contacts = o.figures.contacts
    return None if contacts is None else contacts < o.figures.wanted


def silent_together(o: Observation) -> Verdict:
    """The contacts that we ask fell silent together."""
    silent = o.figures.silent
    return None if silent is None else silent > 0


def lost_together(o: Observation) -> Verdict:
    """Many extensions were lost together, and too few of them are back."""
    lost = o.figures.lost
    return None if lost is None else lost > 0


def unavailable_over(share: float) -> Predicate:
    """So large a share of the calls that passed was answered 480."""

    def matches(o: Observation) -> Verdict:
        found = o.figures.unavailable
        return None if found is None else found > share

    return matches


def changed_often(changes: int, until: int) -> Predicate:
    """The state changed so often of late; between the thresholds it stays as it is."""

    def matches(o: Observation) -> Verdict:
        found = o.figures.changes or 0
        if found >= changes:
            return True
        return False if found < until else None

    return matches


def lost_in_words(o: Observation) -> str:
    """ "31 extensions lost together are missing"."""
    lost = o.figures.lost
    return f"{lost} extensions lost together are missing" if lost else ""


def changes_in_words(o: Observation) -> str:
    """ "8 changes of state"."""
    changes = o.figures.changes
    return f"{changes} changes of state" if changes else ""


def contacts_in_words(o: Observation) -> str:
    """ "1 of 2 contacts"."""
    return f"{o.figures.contacts} of {o.figures.wanted} contacts"


def silent_in_words(o: Observation) -> str:
    """ "all 40 contacts that answered our OPTIONS before are silent"."""
    silent = o.figures.silent
    if not silent:
        return ""
    return f"all {silent} contacts that answered our OPTIONS before are silent"


def breach_in_words(o: Observation) -> str:
    """ "3600 s granted, more than 120 s"."""
    return o.figures.breach or ""


def refresh_in_words(o: Observation) -> str:
    """ "its refresh is 4 min late, its registration ends in 20 min"."""
    late_by, left = o.figures.refresh_late_by, o.figures.refresh_left
    if not late_by or left is None:
        return ""
    ends = f"its registration ends in {_minutes(left)}"
    return f"its refresh is {_minutes(late_by)} late, {ends}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def mean_in_words(o: Observation) -> str:
    """ "612 ms on average"."""
    mean = o.figures.rtt_mean
    return "" if mean is None else f"{1000 * mean:.0f} ms on average"


def resent_in_words(o: Observation) -> str:
    """ "8 of 20 probes"."""
    resent = (o.figures.resent & ((1 << RESENT_BITS) - 1)).bit_count()
    return f"{resent} of {RESENT_BITS} probes"


def days_in_words(o: Observation) -> str:
    """ "in 13 days, on 4 Dec"; the day is that of UTC, as certificates have it.

    Of several addresses with certificates of their own it names the first to end.
    """
    days = o.figures.days
    if days is None:
        return ""
    whose = f" (that of {o.figures.days_at})" if o.figures.days_at else ""
    end = datetime.fromtimestamp(o.at + days * 86400, UTC)
    on = f"on {end.day} {end:%b}"
    if days < 0:
        return f"it ended {on}{whose}"
    if days < 1:
        return f"in {days * 24:.0f} h, at {end:%H:%M} UTC{whose}"
    return f"in {int(days)} day{'s' if days >= 2 else ''}, {on}{whose}"
