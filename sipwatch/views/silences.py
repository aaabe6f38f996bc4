"""Silences, and what they hold now."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from alerting.muting.silences import Silence
from sipwatch.sources import Sources
from sipwatch.views.lens import Lens


class SilenceRow(TypedDict):
    """A silence; `incidents` are those that it holds now."""

    id: str
    state: Literal["pending", "active", "ended"]
    matchers: list[str]
    author: str
    reason: str
    starts: str
    ends: str
    created: str
    incidents: int


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
    lens = Lens(sources)
    wall = sources.clock.to_wall(lens.now)
    known = sources.alarms.muting.silences.values()
    several = [one for one in known if ended or one.ends > wall]
    several.sort(key=lambda one: (one.starts, one.ends, one.id))
    return [row(sources, one, wall) for one in several]


def row(sources: Sources, one: Silence, wall: float) -> SilenceRow:
    """One of them, by the wall clock."""
    incidents = sources.alarms.incidents if one.active(wall) else []
    begun: Literal["pending", "active"] = "pending" if wall < one.starts else "active"
    return {
        "id": one.id,
        "state": begun if wall < one.ends else "ended",
        "matchers": [str(matcher) for matcher in one.matchers],
        "author": one.author,
        "reason": one.reason,
        "starts": Lens.wall(one.starts) or "",
        "ends": Lens.wall(one.ends) or "",
        "created": Lens.wall(one.created) or "",
        "incidents": sum(map(one.fits, incidents)),
    }
