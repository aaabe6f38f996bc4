"""The charts of a day: small ones of the trunks, large ones of one subject."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from alerting.store.points import MINUTE, Point
from alerting.store.reader import ReaderError
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.charts import Change, rtt_chart, sparkline, state_strip
from sipwatch.web.pages.words import Clockwork, seconds

DAY = 86400.0
NONE = Markup()


@dataclass(frozen=True, slots=True)
class Chart:
    """SVG, empty where there is nothing to draw."""

    rtt: Markup
    states: Markup


@dataclass
class Sparks:
    """By key of the target."""

    charts: dict[str, Markup] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)  # shares of all questions


async def charts_of(
    daemon: Daemon, key: str, past: list[dict[str, Any]], now: Clockwork
) -> Chart:
    """A day of it: its RTT where that is kept, else its states alone."""
    points = (await _points(daemon, [key], now)).get(key)
    changes = [Change(seconds(row["at"]) or 0.0, row["state"]) for row in past]
    span = now.now - DAY, now.now
    if points is not None:
        drawn = rtt_chart(points, changes, now.zone, *span)
        return Chart(Markup(drawn), NONE)  # noqa: S704 - numbers and words of ours
    if not changes:
        return Chart(NONE, NONE)
    drawn = state_strip(changes, *span, now.zone)
    return Chart(NONE, Markup(drawn))  # noqa: S704 - likewise


async def sparks(daemon: Daemon, keys: Sequence[str], now: Clockwork) -> Sparks:
    """A day of these."""
    found = Sparks()
    for key, points in (await _points(daemon, keys, now)).items():
        drawn = sparkline(points, now.now - DAY, now.now)
        found.charts[key] = Markup(drawn)  # noqa: S704 - likewise
        if sent := sum(point.sent for point in points):
            found.losses[key] = sum(point.lost for point in points) / sent
        await asyncio.sleep(0)  # each takes some 2 ms
    return found


async def _points(
    daemon: Daemon, keys: Sequence[str], now: Clockwork
) -> dict[str, list[Point]]:
    """Of these, for a day; nothing where the store cannot be read now."""
    begin = now.now - DAY - MINUTE
    try:
        return await daemon.reader.points(keys, begin, now.now)
    except ReaderError:
        return {}
