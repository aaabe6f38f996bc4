"""The one question: may a human be told of this now, and if not, why and until when?

Pure: `now` is the daemon's time, which never jumps; silences, windows and schedules
live by the wall clock, which is `ahead` of it once it was set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from alerting.incident import Incident
from alerting.muting.maintenance import Window
from alerting.muting.schedule import Schedule
from alerting.muting.silences import Silences
from checks.observation import Cause, State

SETTLE = 1800.0  # s after a schedule begins until a rule may open: phones are let start
LOOK_AGAIN = 60.0  # s; of what has no known end
LIVENESS = "liveness"  # the family of incidents that do not disturb explains

# Whoever is told so is not reachable on purpose, and that is no alarm.
ON_PURPOSE = {
    Cause.DO_NOT_DISTURB: "do not disturb is on",
    Cause.OUT_OF_HOURS: "it is out of hours",
    Cause.MAINTENANCE: "it is in maintenance",
}
UNREACHABLE = "ExtensionUnreachable"


def on_purpose(incident: Incident) -> str | None:
    """Why it is so on purpose, by its cause, or as the PBX says of its subject.

    Who wants no calls may be unreachable, and loses none if the phone is not there
    either; but one that must be there must be there.
    """
    cause = incident.cause
    if cause not in ON_PURPOSE:
        cause = incident.subject.paused
        if cause is Cause.DO_NOT_DISTURB and not _wants_no_calls(incident):
            cause = None
    return ON_PURPOSE.get(cause) if cause else None


def _wants_no_calls(incident: Incident) -> bool:
    """Whether do not disturb explains it: it says nothing of expiries or refreshes."""
    if incident.family != LIVENESS:
        return False
    # Until a rule says that it is gone, what opened as unreachable is no more.
    gone = incident.state is State.UNREGISTERED and incident.rule != UNREACHABLE
    return not (gone and incident.subject.required)


class Mute(NamedTuple):
    """Why nobody is told now, and when that is to be looked at again."""

    reason: str
    until: float


class Muting:
    """Silences, maintenance windows and schedules."""

    def __init__(
        self,
        schedules: Mapping[str, Schedule] | None = None,
        windows: Sequence[Window] = (),
        *,
        ahead: Callable[[], float] = lambda: 0.0,
        silences: Silences | None = None,
    ) -> None:
        self.schedules = dict(schedules or {})
        self.windows = tuple(windows)
        self.silences = Silences() if silences is None else silences
        self.ahead = ahead
        # What else is known to be so on purpose: the answer of a target says why.
        self.purpose: Callable[[Incident], Cause | None] = lambda incident: None

    def replace(
        self, schedules: Mapping[str, Schedule], windows: Sequence[Window]
    ) -> None:
        """Go on by another configuration; silences stay."""
        self.schedules, self.windows = dict(schedules), tuple(windows)

    def muted_by(self, incident: Incident, now: float) -> Mute | None:
        """Why nobody is to hear of an incident now, if it is so."""
        reason = on_purpose(incident)
        if reason is None and (cause := self.purpose(incident)) is not None:
            reason = ON_PURPOSE.get(cause)
        if reason is not None:
            return Mute(reason, now + LOOK_AGAIN)
        if not (self.silences or self.windows):
            return None
        ahead = self.ahead()
        wall = now + ahead
        if (found := self.silences.of(incident, wall)) is not None:
            reason = f"silenced by {found.author}: {found.reason}"
            return Mute(reason, found.ends - ahead)
        for window in self.windows:
            end = window.until(wall)
            if end is not None and window.fits(incident):
                return Mute(f"maintenance {window.name}", end - ahead)
        return None

    def outside(self, schedule: str, now: float) -> Mute | None:
        """Why a schedule forbids it now, if it does."""
        found = self.schedules.get(schedule)
        if found is None:
            return None
        ahead = self.ahead()
        span = found.span(now + ahead)
        return None if span.open else Mute(f"outside {schedule}", span.end - ahead)

    def within(self, schedule: str, now: float) -> Mute | None:
        """Why a schedule that must not be open forbids it now, if it does."""
        found = self.schedules.get(schedule)
        if found is None:
            return None
        ahead = self.ahead()
        span = found.span(now + ahead)
        return Mute(f"within {schedule}", span.end - ahead) if span.open else None

    def settled_at(self, schedule: str, now: float) -> float:
        """From when on a rule with this schedule counts: its start, and patience."""
        found = self.schedules.get(schedule)
        if found is None:
            return 0.0
        ahead = self.ahead()
        span = found.span(now + ahead)
        return (span.begin if span.open else span.end) + SETTLE - ahead
