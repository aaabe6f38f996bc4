"""Hours of the week and days of the year, as people write them.

Minutes of a local day are whole numbers; 1440 is its end, and more than that is the
morning of the next one: "22:00-06:00" is (1320, 1800).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

from checks.settings import Parsed

DAY = 1440  # minutes
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CLOSED = ("closed", "off")
SPANS = 24  # of one day; more is a slip of a generator
LONGEST = 400  # days of one exception

_SPAN = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)")
_DATE = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)")

Spans = tuple[tuple[int, int], ...]  # minutes from, until; sorted, apart
Week = tuple[Spans, ...]  # by weekday, Monday first


def spans(written: Any) -> Spans:
    """Spans of "08:30-12:00, 13:30-18:00", of a list of such, or of "closed"."""
    several = written if isinstance(written, list | tuple) else str(written).split(",")
    texts = [str(one).strip() for one in several]
    if len(texts) == 1 and texts[0] in CLOSED:
        return ()
    found = sorted(_span(text) for text in texts[: SPANS + 1])
    if len(found) > SPANS:
        raise ValueError(f"has more than {SPANS} spans")
    for (_, until), (begin, _) in pairwise(found):
        if begin < until:
            raise ValueError(f"{', '.join(texts)}: the spans overlap")
    return tuple(found)


def _span(text: str) -> tuple[int, int]:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f'{text} is not a span of hours (write "08:30-18:00")')
    begin = _minute(match[1], match[2], text)
    until = _minute(match[3], match[4], text)
    if begin in (DAY, until):
        raise ValueError(f"{text} is empty (write 00:00-24:00 for a whole day)")
    return begin, until if until > begin else until + DAY


def _minute(hour: str, minute: str, text: str) -> int:
    found = 60 * int(hour) + int(minute)
    if int(minute) > 59 or found > DAY:
        raise ValueError(f"{text}: there is no {hour}:{minute}")
    return found


def weekdays(written: str) -> list[int]:
    """Numbers of "mon-fri", "sat,sun", "fri-mon" (0 is Monday)."""
    found: list[int] = []
    for part in written.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        try:
            begin, end = DAYS.index(first), DAYS.index(last or first)
        except ValueError:
            text = f"{written} is not a day (write mon, mon-fri or sat,sun)"
            raise ValueError(text) from None
        count = (end - begin) % 7 + 1
        found += [(begin + n) % 7 for n in range(count)]
    return found


def week(written: Any) -> Week:
    """The hours of each weekday of a mapping: {mon-fri: "08:30-18:00"}."""
    if not isinstance(written, Mapping):
        text = 'is a mapping of days to hours (write {mon-fri: "08:30-18:00"})'
        raise ValueError(text)
    days: list[Spans | None] = [None] * 7
    for name, hours in written.items():
        found = spans(hours)
        for day in weekdays(str(name)):
            if days[day] is not None:
                raise ValueError(f"{DAYS[day]} is there twice")
            days[day] = found
    return tuple(one or () for one in days)


class Dates(NamedTuple):
    """Days from `first` to `last`, both included; a year of 0 means every year."""

    first: tuple[int, int, int]
    last: tuple[int, int, int]

    def __contains__(self, day: object) -> bool:
        if not isinstance(day, date):
            return False
        if self.first[0]:
            return self.first <= (day.year, day.month, day.day) <= self.last
        this, first, last = (day.month, day.day), self.first[1:], self.last[1:]
        if first <= last:
            return first <= this <= last
        return this >= first or this <= last  # over New Year


def dates(written: str) -> Dates:
    """The days of 2026-12-24, 12-24 (every year), 2026-08-01..2026-08-15."""
    first, dots, last = (part.strip() for part in written.partition(".."))
    begin = _day(first)
    end = _day(last) if dots else begin
    if bool(begin[0]) != bool(end[0]):
        raise ValueError(f"{written}: write the year in both dates, or in none")
    if begin[0]:
        length = date(*end) - date(*begin)
        if not timedelta(0) <= length <= timedelta(days=LONGEST):
            raise ValueError(f"{written} does not end within {LONGEST} days")
    return Dates(begin, end)


def _day(text: str) -> tuple[int, int, int]:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is not a date (write 2026-12-24, or 12-24)")
    year, month, day = int(match[1] or 0), int(match[2]), int(match[3])
    try:
        date(year or 2000, month, day)  # a leap year: 02-29 may come
    except ValueError:
        raise ValueError(f"{text}: there is no such day") from None
    return year, month, day


Exceptions = tuple[tuple[Dates, Spans], ...]


def exceptions(written: Any) -> Exceptions:
    """Hours of single days: {2026-12-24: "08:30-12:00", 12-31: closed}."""
    if not isinstance(written, Mapping):
        raise ValueError("is a mapping of dates to hours (write {12-24: closed})")
    return tuple((dates(str(day)), spans(hours)) for day, hours in written.items())


_SPANS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
    ]
}
_SCHEMA = (("type", "object"), ("additionalProperties", _SPANS_SCHEMA))

WrittenWeek = Annotated[Week, Parsed(week, _SCHEMA)]
WrittenExceptions = Annotated[Exceptions, Parsed(exceptions, _SCHEMA)]
