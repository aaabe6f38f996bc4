"""Silences, and what they hold now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from alerting.alarms.core import Alarms
from alerting.muting.silences import Silence
from sipwatch.sources import Sources


class SilenceRow(TypedDict):
    """A silence; it holds so many `incidents` now. Of one that was just made it is
    told how many `subjects` it is about."""

    id: str
    state: Literal["pending", "active", "ended"]
    matchers: list[str]
    author: str
    reason: str
    starts: str
    ends: str
    created: str
    incidents: int
    subjects: NotRequired[int]


class Maintenance(TypedDict):
    """A window that is under way."""

    name: str
    until: str
    reason: str


class Silences(TypedDict):
    """Silences, and what else mutes now."""

    silences: list[SilenceRow]
    maintenance: list[Maintenance]


def listed(sources: Sources, *, ended: bool = False) -> list[SilenceRow]:
    """Those that begin first at the top; with `ended` those that were, as well."""
    wall = sources.clock.to_wall(sources.clock.now())
    return rows(sources.alarms, wall, ended=ended)


def rows(alarms: Alarms, wall: float, *, ended: bool = False) -> list[SilenceRow]:
    """The same at this moment of the wall clock."""
    known = alarms.muting.silences.values()
    several = [one for one in known if ended or one.ends > wall]
    several.sort(key=lambda one: (one.starts, one.ends, one.id))
    return [row(alarms, one, wall) for one in several]


def row(alarms: Alarms, one: Silence, wall: float) -> SilenceRow:
    """One of them, by the wall clock."""
    incidents = alarms.incidents if one.active(wall) else []
    begun: Literal["pending", "active"] = "pending" if wall < one.starts else "active"
    return {
        "id": one.id,
        "state": begun if wall < one.ends else "ended",
        "matchers": [str(matcher) for matcher in one.matchers],
        "author": one.author,
        "reason": one.reason,
        "starts": seconds(one.starts),
        "ends": seconds(one.ends),
        "created": seconds(one.created),
        "incidents": sum(map(one.fits, incidents)),
    }


def seconds(at: float) -> str:
    """A moment of the wall clock as people write it: 2026-03-07T20:00:00Z."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z"
