"""Charts as SVG strings, made on the server: pure, the same for the same values.

They bear no colour and no style: the page gives both by these classes.

    svg.chart          all of them; also `spark`, `rtt` or `strip`
    .line .band        mean RTT (stroke), least to greatest (fill, of low opacity)
    .loss              a mark below, the higher the more was lost (fill)
    .axis .grid        lines (stroke)
    .tick              text of axes (fill); 11 units high
    .state             a stretch of one state (fill), also one of
                       `good warn bad never unknown`; not by colour alone: the worse the
                       higher, and each with its own words as a title

    svg.chart { display: block; width: 100%; height: auto }
    .chart .line { fill: none; stroke: ... } .chart .band { opacity: .25 }

Nothing is drawn where nothing was measured. Of more points than there are columns each
column keeps the least and the greatest, so that no peak is lost: a chart of a day has
some 9 kB, and of no time more than 20.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from html import escape
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from alerting.store.points import MINUTE, QUARTER, Point, joined, merged
from checks.observation import State

DAY = 86400.0
COARSE = 1.5 * DAY  # s; a longer time is drawn by quarters of an hour
MISSING = 2.0  # times the usual distance between points: one may slip over its minute
CHANGES = 200  # stretches of a strip; the store keeps 50 rows of a subject
PAD = 1.0  # units that a line needs above it

SPARK = (160.0, 32.0)
WIDTH, HEIGHT = 480.0, 184.0  # of a chart; on a phone 1 unit is 0.7 pixels
LEFT, TOP, RIGHT = 50.0, 8.0, 474.0
PLOT, LOSSES, STATES, FOOT = 116.0, 140.0, 160.0, 178.0  # lower edges
LOSS = 14.0  # units: all was lost
STRIP = (480.0, 14.0)
COLUMN = 2.0  # units

_GRADES: dict[str, str] = {
    State.UP: "good",
    State.OK: "good",
    State.REGISTERED: "good",
    State.READABLE: "good",
    State.DEGRADED: "warn",
    State.UNREACHABLE: "warn",
    State.DOWN: "bad",
    State.UNREGISTERED: "bad",
    State.REJECTED: "bad",
    State.FAILING: "bad",
    State.UNREADABLE: "bad",
    State.NEVER_REGISTERED: "never",
}
_HIGH = {"good": 0.4, "never": 0.4, "unknown": 0.4, "warn": 0.7, "bad": 1.0}
# Between two ticks of time, s; a day and more counts in days of the zone.
_STEPS = (60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAYS = (1, 2, 5, 7, 14)
TICKS = 6  # of time, at most


class Change(NamedTuple):
    """A state that is held since a moment of the wall clock (UTC s)."""

    at: float
    state: str


class _Frame(NamedTuple):
    """Where a time and a value are in the picture."""

    since: float
    until: float
    left: float
    right: float
    top: float
    bottom: float
    most: float  # the value at the top

    def x(self, at: float) -> float:
        share = (at - self.since) / max(1.0, self.until - self.since)
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.most


def sparkline(
    points: Sequence[Point], since: float | None = None, until: float | None = None
) -> str:
    """RTT and loss of a time in small: no axes; times are of the wall clock."""
    width, height = SPARK
    found = _Drawn.of(points, since, until, (PAD, width - PAD))
    frame = _Frame(*found.span, PAD, width - PAD, 2.0, height - 7.0, found.peak)
    body = [
        *_curves(found, frame),
        _losses(found, frame, height, 5.0),
    ]
    return _svg("spark", width, height, "RTT and loss", found.words(), body)


def rtt_chart(
    points: Sequence[Point],
    states: Sequence[Change],
    zone: tzinfo,
    since: float | None = None,
    until: float | None = None,
) -> str:
    """RTT with axes, losses below it, and the states below these."""
    found = _Drawn.of(points, since, until, (LEFT, RIGHT))
    most = _round_up(found.peak)
    frame = _Frame(*found.span, LEFT, RIGHT, TOP, PLOT, most)
    body = [
        *(_values(frame) if found.sent else ()),
        *_times(frame, zone),
        *_curves(found, frame),
        _text(LEFT - 6, LOSSES - 2, "lost", "end"),
        _text(LEFT - 6, STATES - 2, "state", "end"),
        _line("axis", LEFT, LOSSES, RIGHT, LOSSES),
        _losses(found, frame, LOSSES, LOSS),
        *_stretches(states, frame._replace(top=STATES - 12, bottom=STATES), zone),
    ]
    if not found.sent:
        middle = (LEFT + RIGHT) / 2
        body.append(_text(middle, PLOT / 2, "nothing measured", "middle"))
    return _svg("rtt", WIDTH, HEIGHT, "RTT, loss and states", found.words(), body)


def state_strip(
    changes: Sequence[Change], since: float, until: float, zone: tzinfo = UTC
) -> str:
    """How a subject stood, as one strip; before its first change nothing is drawn."""
    width, height = STRIP
    frame = _Frame(since, until, 0.0, width, 0.0, height, 1.0)
    told = "; ".join(_told(one, frame, zone) for one in _held(changes, frame)[-5:])
    body = _stretches(changes, frame, zone)
    return _svg("strip", width, height, "States", told or "nothing is known", body)


class _Loss(NamedTuple):
    """What was asked in a column of the picture, the first of it then, and lost."""

    at: int
    sent: int
    lost: int


class _Drawn(NamedTuple):
    """The points of a time as columns of the picture; what is to be said of them."""

    span: tuple[float, float]
    runs: list[list[Point]]  # columns that follow each other without a gap
    losses: list[_Loss]
    sent: int
    lost: int

    @classmethod
    def of(
        cls,
        points: Sequence[Point],
        since: float | None,
        until: float | None,
        sides: tuple[float, float],
    ) -> _Drawn:
        """Drawn between two sides; without times, from the first to the last point."""
        begin = since if since is not None else points[0].at if points else 0.0
        last = points[-1].at + MINUTE if points else begin + DAY
        end = last if until is None else until
        inside = [point for point in points if begin <= point.at < end]
        if end - begin > COARSE:
            inside = joined(inside, QUARTER)
        left, right = sides
        scale = (right - left) / max(1.0, end - begin) / COLUMN
        columns = [
            int(left / COLUMN + max(0.0, point.at - begin) * scale) for point in inside
        ]
        return cls(
            (begin, end),
            _runs(inside, columns),
            _lost(inside, columns),
            sum(point.sent for point in inside),
            sum(point.lost for point in inside),
        )

    @property
    def peak(self) -> float:
        """The greatest RTT, s; never 0."""
        found = (one.rtt_max for run in self.runs for one in run if one.rtt_max)
        return max(found, default=0.001)

    def words(self) -> str:
        """What it shows, for those who cannot see it."""
        if not self.sent:
            return "nothing measured"
        share = _percent(self.lost / self.sent)
        loss = f"{self.lost:,} of {self.sent:,} questions lost ({share})"
        if not self.runs:
            return f"no answer; {loss}"
        whole = merged([one for run in self.runs for one in run])
        least, mean = seconds(whole.rtt_min or 0.0), seconds(whole.rtt_mean or 0.0)
        return f"RTT {least} to {seconds(self.peak)}, mean {mean}; {loss}"


def _runs(points: Sequence[Point], columns: Sequence[int]) -> list[list[Point]]:
    """Points with an RTT that follow each other without a gap, column by column."""
    far = MISSING * _distance(points)
    runs: list[list[Point]] = []
    run: list[Point] = []
    group: list[Point] = []
    place, before = -1, 0
    for point, column in zip(points, columns, strict=True):
        broken = point.rtt_mean is None or point.at - before > far
        if group and (broken or column != place):
            run.append(merged(group))
            group = []
        if run and broken:
            runs.append(run)
            run = []
        if point.rtt_mean is not None:
            group.append(point)
        place, before = column, point.at
    if group:
        run.append(merged(group))
    return [*runs, run] if run else runs


def _distance(points: Sequence[Point]) -> float:
    """How far points usually are from each other, s."""
    apart = [b.at - a.at for a, b in pairwise(points)]
    return max(MINUTE, median(apart)) if apart else MINUTE


def _lost(points: Sequence[Point], columns: Sequence[int]) -> list[_Loss]:
    """The columns in which something was lost."""
    wanted = {c for point, c in zip(points, columns, strict=True) if point.lost}
    found: dict[int, _Loss] = {}
    for point, column in zip(points, columns, strict=True):
        if column in wanted:
            at, sent, lost = found.get(column, (point.at, 0, 0))
            found[column] = _Loss(at, sent + point.sent, lost + point.lost)
    return list(found.values())


def _curves(found: _Drawn, frame: _Frame) -> Iterator[str]:
    """The band from least to greatest, and the mean in it."""
    bands, lines = [], []
    for columns in found.runs:
        if any(c.rtt_min != c.rtt_max for c in columns) and len(columns) > 1:
            upper = [(frame.x(c.at), frame.y(c.rtt_max or 0.0)) for c in columns]
            lower = [(frame.x(c.at), frame.y(c.rtt_min or 0.0)) for c in columns]
            bands.append(_path([*upper, *reversed(lower)]) + "Z")
        mean = [(frame.x(c.at), frame.y(c.rtt_mean or 0.0)) for c in columns]
        if len(columns) == 1:  # a point alone: from its least to its greatest
            (only,), x = columns, mean[0][0]
            high, low = frame.y(only.rtt_max or 0.0), frame.y(only.rtt_min or 0.0)
            mean = [(x, high), (x + 0.1, low)]
        lines.append(_path(mean))
    if bands:
        yield f'<path class="band" d="{"".join(bands)}"/>'
    if lines:
        yield (
            '<path class="line" fill="none" stroke-linecap="round"'
            f' stroke-linejoin="round" d="{"".join(lines)}"/>'
        )


def _losses(found: _Drawn, frame: _Frame, bottom: float, height: float) -> str:
    """Marks where something was lost, one for each column."""
    marks = []
    for column in found.losses:
        high = max(0.25, column.lost / column.sent) * height
        x = frame.x(column.at)
        marks.append(f"M{_n(x)} {_n(bottom)}v{_n(-high)}h{_n(COLUMN)}v{_n(high)}z")
    return f'<path class="loss" d="{"".join(marks)}"/>' if marks else ""


# --- states ---------------------------------------------------------------------------


class _Stretch(NamedTuple):
    state: str
    since: float
    until: float


def _held(changes: Sequence[Change], frame: _Frame) -> list[_Stretch]:
    """Who stood how, from when to when, as far as it is in the picture."""
    found: list[_Stretch] = []
    for change in changes:
        if found and found[-1].state == change.state:
            continue
        if found:
            found[-1] = found[-1]._replace(until=change.at)
        found.append(_Stretch(change.state, change.at, frame.until))
    shown = [s for s in found if s.until > frame.since and s.since < frame.until]
    return shown[-CHANGES:]


def _stretches(changes: Sequence[Change], frame: _Frame, zone: tzinfo) -> Iterator[str]:
    for one in _held(changes, frame):
        grade = _GRADES.get(one.state, "unknown")
        left, right = frame.x(one.since), frame.x(one.until)
        high = _HIGH[grade] * (frame.bottom - frame.top)
        yield (
            f'<rect class="state {grade}" x="{_n(left)}" y="{_n(frame.bottom - high)}"'
            f' width="{_n(max(1.0, right - left))}" height="{_n(high)}">'
            f"<title>{_told(one, frame, zone)}</title></rect>"
        )


def _told(one: _Stretch, frame: _Frame, zone: tzinfo) -> str:
    word = escape(one.state.replace("_", " "))
    since = f" since {_moment(one.since, zone)}"
    if one.until >= frame.until:
        return word + since
    return f"{word} {_moment(one.since, zone)} to {_moment(one.until, zone)}"


def _moment(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%d %b %H:%M")


# --- axes -----------------------------------------------------------------------------


def _values(frame: _Frame) -> Iterator[str]:
    """Lines at 0, half and all of it."""
    for value in (0.0, frame.most / 2, frame.most):
        y = frame.y(value)
        yield _line("grid" if value else "axis", frame.left, y, frame.right, y)
        said = seconds(value) if value else "0"
        yield _text(frame.left - 6, y + 4, said, "end")


def _times(frame: _Frame, zone: tzinfo) -> Iterator[str]:
    for at, said in ticks(frame.since, frame.until, zone):
        x = frame.x(at)
        yield _line("grid", x, frame.top, x, STATES)
        place = "end" if x > frame.right - 14 else "middle"
        yield _text(x, FOOT, said, place)


def ticks(since: float, until: float, zone: tzinfo) -> list[tuple[float, str]]:
    """Round times of a zone, at most TICKS; with the date where a day begins."""
    long = until - since
    step = next((s for s in _STEPS if long / s <= TICKS), None)
    days = next((d for d in _DAYS if long / (d * DAY) <= TICKS), _DAYS[-1])
    start = datetime.fromtimestamp(since, zone)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    apart = timedelta(seconds=step) if step else timedelta(days=days)
    found: list[tuple[float, str]] = []
    while len(found) <= 2 * TICKS and (at := midnight.timestamp()) < until:
        # Of a night with another hour, one that is there twice is one tick.
        if at >= since and (not found or at > found[-1][0]):
            local = datetime.fromtimestamp(at, zone)  # of an hour that is left out
            dated = step is None or (local.hour, local.minute) == (0, 0)
            day = f"{local.day} {local:%b}"
            found.append((at, day if dated else f"{local:%H:%M}"))
        midnight += apart
    return found


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10 times a power of ten."""
    power = 1e-6
    while True:
        for digit in (1, 2, 5):
            if digit * power >= value * 0.999:
                return digit * power
        power *= 10


def seconds(value: float) -> str:
    """A time as one reads it: 0.4 ms, 21 ms, 1.5 s."""
    if value < 0.9995:
        ms = value * 1000
        return f"{ms:.2g} ms" if ms < 10 else f"{ms:.0f} ms"
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def _percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %")


# --- SVG ------------------------------------------------------------------------------


def _svg(
    kind: str, width: float, height: float, title: str, said: str, body: Iterable[str]
) -> str:
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {_n(width)} {_n(height)}" role="img"'
        f' font-size="11"><title>{title}</title><desc>{said}</desc>'
        f"{''.join(body)}</svg>"
    )


def _path(places: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in places)


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    way = f"h{_n(x2 - x1)}" if y1 == y2 else f"v{_n(y2 - y1)}"
    return f'<path class="{name}" d="M{_n(x1)} {_n(y1)}{way}"/>'


def _text(x: float, y: float, said: str, anchor: str) -> str:
    return (
        f'<text class="tick" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">'
        f"{said}</text>"
    )


def _n(value: float) -> str:
    """A number in one tenth, as short as it goes."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
