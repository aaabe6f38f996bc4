"""Times as cron writes them: minute hour day month weekday."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from alerting.muting.hours import DAYS
from alerting.muting.schedule import moment
from checks.settings import Parsed

MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
# Name, first and last number, and the words that stand for numbers from the first on.
_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("weekday", 0, 7, (DAYS[-1], *DAYS[:-1])),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """When something begins; as in cron, one of two restricted days is enough."""

    text: str
    minutes: tuple[int, ...]  # of a day, the latest first
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    either: bool  # day and weekday are both restricted

    def on(self, day: date) -> bool:
        """Whether it begins on this day."""
        if day.month not in self.months:
            return False
        by_day, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_day or by_week if self.either else by_day and by_week

    def last(self, at: float, zone: ZoneInfo, within: int) -> float | None:
        """When it last began, at the latest now, within so many days."""
        today = datetime.fromtimestamp(at, zone).date()
        # One day ahead: where a day is skipped, its times are those of the jump.
        for n in range(-1, within + 1):
            day = today - timedelta(days=n)
            if not self.on(day):
                continue
            for minute in self.minutes:
                if (began := moment(day, minute, zone)) <= at:
                    return began
        return None


def cron(written: Any) -> Cron:
    """Five fields of cron: "0 2 * * sun", "30 1 1-7 * *"."""
    text = str(written).strip().lower()
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f'{text} is not a time of cron (write "0 2 * * sun")')
    found = [_numbers(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = found
    return Cron(
        text,
        tuple(sorted((60 * h + m for h in hours for m in minutes), reverse=True)),
        frozenset(days),
        frozenset(months),
        frozenset(day % 7 for day in weekdays),
        either=parts[2][0] != "*" and parts[4][0] != "*",
    )


def _numbers(
    text: str, name: str, first: int, last: int, words: Sequence[str]
) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        begin, dash, end = span.partition("-")
        try:
            if span == "*":
                low, high = first, last
            else:
                low = _number(begin, first, words)
                high = _number(end, first, words) if dash else (last if slash else low)
            every = int(step) if slash else 1
        except ValueError:
            raise ValueError(f"{part} is no {name} of cron") from None
        if not (first <= low <= high <= last and 0 < every <= last):
            raise ValueError(f"{part} is no {name} of cron ({first} to {last})")
        found.update(range(low, high + 1, every))
    return found


def _number(text: str, first: int, words: Sequence[str]) -> int:
    return first + words.index(text) if text in words else int(text)


WrittenCron = Annotated[Cron, Parsed(cron, (("type", "string"),))]
