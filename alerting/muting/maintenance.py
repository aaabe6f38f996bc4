"""Maintenance windows: when work is done on purpose, nobody is woken for it.

Once (from, until), by hours of the week, or as cron writes them; times are UTC s of
the wall clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from alerting.incident import Incident
from alerting.matching import RoutePatterns
from alerting.muting.cron import WrittenCron
from alerting.muting.hours import WrittenWeek
from alerting.muting.schedule import Schedule, ScheduleSettings, moment
from alerting.routes import fits
from checks.settings import Duration, Parsed, Zone

LONGEST = 14 * 86400.0  # s that one may last each time

_WRITTEN = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d):(\d\d)")


def local_time(written: Any) -> str:
    """A moment of a local clock, as text: "2026-03-07 20:00"."""
    text = str(written).strip()
    found = _WRITTEN.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        datetime.fromisoformat(f"{found[1]}T{found[2]}:{found[3]}")
    except ValueError:
        raise ValueError(f'{text} is not a time (write "2026-03-07 20:00")') from None
    return text


LocalTime = Annotated[str, Parsed(local_time, (("type", "string"),))]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSettings:
    """A time of work, once or again and again, and what it is done on."""

    match: RoutePatterns = field(default_factory=dict)  # default: all
    from_: LocalTime = field(default="", metadata={"alias": "from"})  # once
    until: LocalTime = ""  # its end, with `from`
    hours: WrittenWeek | None = None  # each week: {sun: "02:00-04:00"}
    cron: WrittenCron | None = None  # or as cron has it: "0 2 1 * *"
    lasts: Duration = 0.0  # after each time of `cron`
    timezone: Zone = ""  # of these times; default: this machine's
    reason: str = ""  # for those who wonder later

    def __post_init__(self) -> None:
        once = bool(self.from_ or self.until)
        if once + (self.hours is not None) + (self.cron is not None) != 1:
            raise ValueError("write from and until, or hours, or cron and lasts")
        if once and not (self.from_ and self.until):
            raise ValueError("write both from and until")
        if once and self.from_.replace("T", " ") >= self.until.replace("T", " "):
            raise ValueError(f"ends at {self.until}, before it begins")
        if (self.cron is not None) != bool(self.lasts):
            raise ValueError("write both cron and lasts")
        if self.lasts > LONGEST:
            raise ValueError("lasts longer than two weeks")


class Window:
    """One maintenance window of the configuration."""

    def __init__(
        self, name: str, settings: MaintenanceSettings, zone: ZoneInfo
    ) -> None:
        self.name = name
        self.settings = settings
        self._zone = ZoneInfo(settings.timezone) if settings.timezone else zone
        self._hours: Schedule | None = None
        self._once: tuple[float, float] | None = None
        self._looked: tuple[float, float | None] = (-1.0, None)  # at this minute
        if settings.hours is not None:
            weekly = ScheduleSettings(hours=settings.hours)
            self._hours = Schedule(weekly, self._zone)
        elif settings.from_:
            self._once = self._moment(settings.from_), self._moment(settings.until)

    def fits(self, incident: Incident) -> bool:
        """Whether it is about this incident."""
        return fits(incident, self.settings.match)

    def until(self, wall: float) -> float | None:
        """Until when it lasts, where it is under way."""
        if self._once is not None:
            begin, end = self._once
            return end if begin <= wall < end else None
        if self._hours is not None:
            span = self._hours.span(wall)
            return span.end if span.open else None
        began = self._began(wall)
        end = began + self.settings.lasts if began is not None else 0.0
        return end if wall < end else None

    def _began(self, wall: float) -> float | None:
        """When cron last began it; a matter of whole minutes, so once for each."""
        minute = wall // 60
        if self._looked[0] != minute and self.settings.cron is not None:
            days = int(self.settings.lasts // 86400) + 1
            began = self.settings.cron.last(wall, self._zone, days)
            self._looked = minute, began
        return self._looked[1]

    def _moment(self, written: str) -> float:
        at = datetime.fromisoformat(written.replace(" ", "T"))
        return moment(at.date(), 60 * at.hour + at.minute, self._zone)
