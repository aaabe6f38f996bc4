"""When a schedule is open: hours of the week in a zone, holidays, single days.

A span is a pair of moments, so that every instant is in it or not, once. Wall clocks
that are put forward skip an hour, and a span that begins or ends in it does so at the
jump; an hour that comes twice counts when it comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from alerting.muting.hours import (
    DAY,
    Exceptions,
    Spans,
    Week,
    WrittenExceptions,
    WrittenWeek,
)
from checks.settings import Parsed, Zone

AHEAD = 400  # days looked at for the next opening: the longest exception, and a year
BACK = 8  # days looked back for how long it is open: open all week is open always

IsHoliday = Callable[[date], bool]


def holidays(written: Any) -> str:
    """A country of the `holidays` library, or one of its parts: FR, DE-BY, US-CA."""
    text = str(written)
    country, _, part = text.partition("-")
    try:
        _holidays(country, part, 2000)
    except NotImplementedError:
        raise ValueError(
            f"{text}: no holidays are known of it (write FR, or DE-BY for a part)"
        ) from None
    return text


@lru_cache(maxsize=256)
def _holidays(country: str, part: str, year: int) -> Collection[date]:
    # Imported where it is asked for: it takes 0.2 s, and most need none.
    import holidays as library

    found = library.country_holidays(country, subdiv=part or None, years=year)
    return frozenset(day for day in found if day.year == year)


def is_holiday(of: str, day: date) -> bool:
    """Whether a day is a public holiday there."""
    country, _, part = of.partition("-")
    return day in _holidays(country, part, day.year)


Holidays = Annotated[str, Parsed(holidays, (("type", "string"),))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """Hours of the week, such as those of an office."""

    hours: WrittenWeek  # by day: {mon-fri: "08:30-12:00, 13:30-18:00"}
    timezone: Zone = ""  # of these hours; default: this machine's
    holidays: Holidays = ""  # closed on those of a country (FR) or a part (DE-BY)
    exceptions: WrittenExceptions = field(default_factory=tuple)  # {12-24: closed}


class Span(NamedTuple):
    """Wall-clock moments, UTC s: open or closed from `begin` until `end`."""

    begin: float
    end: float
    open: bool


class Schedule:
    """Hours of the week in a zone; times are UTC s of the wall clock."""

    def __init__(self, settings: ScheduleSettings, zone: ZoneInfo) -> None:
        self._week: Week = settings.hours
        self._exceptions: Exceptions = settings.exceptions
        self._holidays = settings.holidays
        self._zone = ZoneInfo(settings.timezone) if settings.timezone else zone
        self._last = Span(0.0, 0.0, open=False)  # asked for again and again

    def is_open(self, at: float) -> bool:
        """Whether it is open at this moment."""
        return self.span(at).open

    def span(self, at: float) -> Span:
        """The time around a moment in which it does not open or close."""
        if not self._last.begin <= at < self._last.end:
            self._last = self._find(at)
        return self._last

    def _find(self, at: float) -> Span:
        today = datetime.fromtimestamp(at, self._zone).date()
        since = self._moment(today - timedelta(days=BACK), 0)
        for begin, end in self._open_spans(today):
            if at < begin:
                return Span(since, begin, open=False)
            if at < end:
                return Span(begin, end, open=True)
            since = end
        return Span(since, self._moment(today + timedelta(days=AHEAD), 0), open=False)

    def _open_spans(self, today: date) -> Iterator[tuple[float, float]]:
        """Around a day, in order; what touches is one."""
        held: tuple[float, float] | None = None
        for n in range(-BACK, AHEAD):
            day = today + timedelta(days=n)
            for begin, end in self._of_day(day):
                if held is not None and begin <= held[1]:
                    held = held[0], max(end, held[1])
                    continue
                if held is not None:
                    yield held
                held = begin, end
        if held is not None:
            yield held

    def _of_day(self, day: date) -> Iterator[tuple[float, float]]:
        for begin, end in self._hours(day):
            opens, closes = self._moment(day, begin), self._moment(day, end)
            if opens < closes:
                yield opens, closes

    def _hours(self, day: date) -> Spans:
        for days, hours in self._exceptions:
            if day in days:
                return hours
        if self._holidays and is_holiday(self._holidays, day):
            return ()
        return self._week[day.weekday()]

    def _moment(self, day: date, minute: int) -> float:
        return moment(day, minute, self._zone)


def moment(day: date, minute: int, zone: ZoneInfo) -> float:
    """When a local clock first shows this minute of a day, or has skipped it."""
    days, minute = divmod(minute, DAY)
    clock = time(minute // 60, minute % 60)
    local = datetime.combine(day + timedelta(days=days), clock)
    at = local.replace(tzinfo=zone).timestamp()
    shown = datetime.fromtimestamp(at, zone).replace(tzinfo=None)
    return at if shown == local else _jump(local, zone)


def _jump(skipped: datetime, zone: ZoneInfo) -> float:
    """When the clock was put forward over a local time (PEP 495: in a gap the later
    fold has the later offset, which gives the earlier moment)."""
    before = int(skipped.replace(tzinfo=zone, fold=1).timestamp())
    after = int(skipped.replace(tzinfo=zone, fold=0).timestamp())
    old = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return float(after)
