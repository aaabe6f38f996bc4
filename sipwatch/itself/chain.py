"""Whether the whole chain is well, from the questions to the people: one sentence.

What is asked here is not whether all phones are well, but whether anybody would be
told if they were not. A PBX that cannot be read is an incident and the chain's work;
that no read is even tried any more is its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from alerting.alarms.desk import KNOWN
from alerting.incident import Delivery, Severity, Told
from checks.observation import State
from sipwatch import sources
from sipwatch.vantage import Outlook

HELD_UP = 5.0  # s that the loop, or its look at itself, may be late
OVERDUE = 300.0  # s that a read may be overdue, and three of its intervals


class Sources(sources.Sources, Protocol):
    """The daemon, and what it says of itself."""

    @property
    def outlook(self) -> Outlook:
        """Our own network, where it is watched."""

    def unwell(self) -> str:
        """Why the daemon does not do its work; empty while it does."""


def broken(seen: Sources, now: float, owed: float) -> str:
    """Why nobody can rely on being told; empty where all is well. Nobody may be
    without word of an incident for longer than `owed` s after it was due."""
    for link in LINKS:
        if why := link(seen, now):
            return why
    return _owed(seen, now, owed)


def _itself(seen: Sources, now: float) -> str:
    return seen.unwell() or ("" if seen.ready else "the first pass is under way")


def _loop(seen: Sources, now: float) -> str:
    late = max(seen.selfwatch.lag, now - seen.selfwatch.looked_at)
    return f"sipwatch was held up for {late:.0f} s" if late > HELD_UP else ""


def _store(seen: Sources, now: float) -> str:
    return "the database cannot be written" if seen.selfwatch.store_fails else ""


def _network(seen: Sources, now: float) -> str:
    """Cut off, we see no phone go, whomever we still reach."""
    check = seen.outlook.check
    cut = check is not None and check.judge.state is State.DOWN
    return "sipwatch is cut off from the network" if cut else ""


def _asked(seen: Sources, now: float) -> str:
    """One source that is asked in time is enough: others have incidents."""
    in_time = list(_in_time(seen, now))
    return "" if not in_time or any(in_time) else "no source is asked in time"


def _in_time(seen: Sources, now: float) -> Iterator[bool]:
    if any(subject is not None for subject in seen.options.judge.subjects):
        yield not seen.options.stalled(now)
    for following in seen.followings.values():
        patience = max(OVERDUE, 3 * following.settings.interval)
        yield now - following.tried_at <= patience


def _notifiers(seen: Sources, now: float) -> str:
    failing = [seen.alarms.failing(name) for name in seen.couriers]
    return "no notifier works" if failing and all(failing) else ""


LINKS: tuple[Callable[[Sources, float], str], ...] = (
    _itself,
    _loop,
    _store,
    _network,
    _asked,
    _notifiers,
)


def _owed(seen: Sources, now: float, most: float) -> str:
    """What nobody knows of; a notifier that lags behind another hides nothing."""
    for row in seen.alarms.owed():
        if _due_for(row, now) <= most or row.incident.severity < Severity.WARNING:
            continue
        if not any(r.told in KNOWN for r in seen.alarms.deliveries(row.incident)):
            minutes = _due_for(row, now) / 60
            return f"incident {row.incident.id} is told to nobody for {minutes:.0f} min"
    return ""


def _due_for(row: Delivery, now: float) -> float:
    """How long a firing is overdue, s; 0 for what else is owed, or not due yet."""
    if not row.incident.firing or row.told is not Told.NOTHING:
        return 0.0
    if row.batch:  # tried: `not_before` is when it is tried again
        return now - row.incident.opened_at
    return max(0.0, now - row.not_before)
