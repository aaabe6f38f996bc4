"""What was measured of a subject: RTT and loss, for charts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from typing_extensions import TypedDict

from alerting.store.points import Point
from alerting.store.reader import Reader
from checks.observation import plain
from sipwatch.answers.reasons import utc
from sipwatch.charted import landmark_key
from sipwatch.sources import Sources
from sipwatch.subjects import named, unwatched

HOURS = 24  # that are told where nobody says otherwise
MOST = 30 * 24  # hours that are kept


class Measured(TypedDict):
    """A minute, or a quarter of an hour of what is older than a day."""

    at: str  # its beginning
    sent: int  # questions that have ended
    lost: int  # of them without an answer, or with one that means down
    rtt_min: float | None  # s, like all three; None: nothing was answered
    rtt_mean: float | None
    rtt_max: float | None


class Points(TypedDict):
    """The oldest first; of a time when nothing was seen there are none."""

    subject: str
    since: str
    until: str
    points: list[Measured]


async def shown(
    sources: Sources, reader: Reader, name: str, registrar: str, hours: int
) -> Points:
    """The last hours of a key or name; LookupError where nothing is kept of it."""
    if registrar and registrar not in sources.judges:
        raise LookupError(f"there is no registrar {plain(registrar)}")
    until = sources.clock.to_wall(sources.clock.now())
    since = until - hours * 3600
    keys = list(_keys(sources, name, registrar))
    found = await reader.points(keys, since, until)
    for key in keys:
        if (points := found.get(key)) is not None:
            return Points(
                subject=key,
                since=utc(since),
                until=utc(until),
                # Of a month there are thousands.
                points=await asyncio.to_thread(_rows, points),
            )
    said = plain(name) or "an empty name"
    raise LookupError(f"no RTT is kept of {said}: see `history` of targets, extensions")


def _keys(sources: Sources, name: str, registrar: str) -> Iterator[str]:
    if name.startswith(landmark_key("")):
        yield name
    elif (subject := named(sources, name, registrar)) is not None:
        yield subject.key
    else:
        yield from unwatched(sources, name, registrar)


def _rows(points: list[Point]) -> list[Measured]:
    return [_row(point) for point in points]


def _row(point: Point) -> Measured:
    return Measured(
        at=utc(point.at),
        sent=point.sent,
        lost=point.lost,
        rtt_min=_rounded(point.rtt_min),
        rtt_mean=_rounded(point.rtt_mean),
        rtt_max=_rounded(point.rtt_max),
    )


def _rounded(rtt: float | None) -> float | None:
    """By the microsecond."""
    return None if rtt is None else round(rtt, 6)
