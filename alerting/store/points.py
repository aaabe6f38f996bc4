"""What was measured of a subject: points in time, an hour of them as a few octets.

An hour of one subject is one blob: an octet with the version, then its points in the
order of their time, each one record. The first octet of a record has its minute in the
low six bits and its form in the high two:

    answered   1 sent, 1 answered: RTT                              3 octets
    silent     none of N answered: N                                3 octets
    several    sent, lost, least, mean and greatest RTT            11 octets

Counts have 16 bits; an RTT is a half-precision float of ms (11 significant bits: it is
kept to 0.05 %, from 0.00006 ms to 65 s). A minute in which nothing was asked has no
record: a gap, never a zero.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MINUTE, QUARTER, HOUR = 60, 900, 3600  # s
VERSION = 1
COUNT_LIMIT = 0xFFFF  # of one point; a target is asked once a second at the most
RTT_LIMIT = 65504.0  # ms, the greatest half-precision float
LARGEST = 1 + 60 * 11  # octets of an hour: each minute a record of the longest form

_ANSWERED, _SILENT, _SEVERAL = 0, 1, 2
_ONE = struct.Struct("<Be")
_NONE = struct.Struct("<BH")
_FULL = struct.Struct("<BHHeee")
_FORMS = {_ANSWERED: _ONE, _SILENT: _NONE, _SEVERAL: _FULL}


class Point(NamedTuple):
    """What was asked of a subject in a minute or a quarter of an hour."""

    at: int  # its beginning, UTC s of the wall clock
    sent: int  # questions that have ended; never 0
    lost: int  # of them without an answer, or with one that means down
    rtt_min: float | None  # s, like all three; None: nothing was answered
    rtt_mean: float | None
    rtt_max: float | None


def merged(points: Sequence[Point]) -> Point:
    """Several as one, at the time of the first: what was asked twice counts twice."""
    first = points[0]
    if len(points) == 1:
        return first
    sent = lost = answered = 0
    total, least, most = 0.0, float("inf"), 0.0
    for _, questions, failed, low, mean, high in points:
        sent += questions
        lost += failed
        if low is not None and mean is not None and high is not None:
            weight = questions - failed or 1
            answered += weight
            total += mean * weight
            least = low if low < least else least
            most = high if high > most else most
    if not answered:
        return Point(first.at, sent, lost, None, None, None)
    return Point(first.at, sent, lost, least, total / answered, most)


def joined(points: Iterable[Point], step: int = MINUTE) -> list[Point]:
    """Points of any order, one for each step in which there are some."""
    found: dict[int, list[Point]] = {}
    for point in points:
        found.setdefault(point.at - point.at % step, []).append(point)
    return [merged(found[at])._replace(at=at) for at in sorted(found)]


def record(point: Point) -> bytes:
    """A point of a minute as one record of its hour."""
    minute = point.at % HOUR // MINUTE
    sent, lost = min(point.sent, COUNT_LIMIT), min(point.lost, COUNT_LIMIT)
    if point.rtt_mean is None:
        return _NONE.pack(minute | _SILENT << 6, sent)
    if (sent, lost) == (1, 0):
        return _ONE.pack(minute | _ANSWERED << 6, _ms(point.rtt_mean))
    return _FULL.pack(
        minute | _SEVERAL << 6,
        sent,
        lost,
        _ms(point.rtt_min),
        _ms(point.rtt_mean),
        _ms(point.rtt_max),
    )


def packed(points: Iterable[Point]) -> bytes:
    """The points of one hour, in the order of their time."""
    return bytes([VERSION]) + b"".join(map(record, points))


def unpacked(blob: bytes, hour: int) -> Iterator[Point]:
    """The points of an hour, which is counted since 1970; ValueError."""
    if blob[:1] != bytes([VERSION]):
        raise ValueError(f"points of version {blob[:1].hex() or 'none'}")
    place = 1
    while place < len(blob):
        minute, kind = blob[place] & 0x3F, blob[place] >> 6
        form = _FORMS.get(kind)
        if form is None or minute >= 60 or place + form.size > len(blob):
            raise ValueError(f"points that cannot be read at octet {place}")
        values = form.unpack_from(blob, place)
        place += form.size
        yield _point(hour * HOUR + minute * MINUTE, kind, values)


def _point(at: int, kind: int, values: tuple[float, ...]) -> Point:
    if kind == _ANSWERED:
        rtt = values[1] / 1000
        return Point(at, 1, 0, rtt, rtt, rtt)
    if kind == _SILENT:
        return Point(at, int(values[1]), int(values[1]), None, None, None)
    _, sent, lost, least, mean, most = values
    return Point(at, int(sent), int(lost), least / 1000, mean / 1000, most / 1000)


def _ms(rtt: float | None) -> float:
    return min(_known(rtt) * 1000, RTT_LIMIT)


def _known(rtt: float | None) -> float:
    return 0.0 if rtt is None else rtt
