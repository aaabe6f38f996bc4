"""Schedules: whether each is open, until when, and the maintenance of today."""

from __future__ import annotations

from math import isfinite

from typing_extensions import TypedDict

from checks.observation import plain
from sipwatch.sources import Sources
from sipwatch.views.lens import Lens


class ScheduleRow(TypedDict):
    """A schedule; `until` is null where it never changes."""

    name: str
    open: bool
    until: str | None


class WindowRow(TypedDict):
    """A maintenance window of the configuration."""

    name: str
    active: bool
    until: str | None  # of the one that is under way
    reason: str


class Schedules(TypedDict):
    """What is said by hours and dates."""

    schedules: list[ScheduleRow]
    maintenance: list[WindowRow]


def both(sources: Sources) -> Schedules:
    """Schedules and maintenance windows."""
    return {"schedules": listed(sources), "maintenance": windows(sources)}


def listed(sources: Sources) -> list[ScheduleRow]:
    """All schedules, as they are configured."""
    lens, muting = Lens(sources), sources.alarms.muting
    rows: list[ScheduleRow] = []
    for name in muting.schedules:
        shut = muting.outside(name, lens.now)
        ends = shut or muting.within(name, lens.now)
        until = lens.at(ends.until) if ends and isfinite(ends.until) else None
        rows.append({"name": name, "open": shut is None, "until": until})
    return rows


def windows(sources: Sources) -> list[WindowRow]:
    """All maintenance windows, as they are configured."""
    lens = Lens(sources)
    now = sources.clock.to_wall(lens.now)
    return [
        {
            "name": window.name,
            "active": (until := window.until(now)) is not None,
            "until": lens.wall(until),
            "reason": plain(window.settings.reason),
        }
        for window in sources.alarms.muting.windows
    ]
