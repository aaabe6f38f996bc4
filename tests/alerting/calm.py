"""A site on paper with schedules, maintenance, silences and people who acknowledge.

site = Calm.starting("2026-03-02 08:00", office={"mon-fri": "08:30-18:00"})
phone = site.phone()
site.at(site.time("10:00"), phone, UNREGISTERED)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerting.incident import Incident
from alerting.matching import routed
from alerting.muting.cron import cron
from alerting.muting.hours import exceptions, week
from alerting.muting.maintenance import MaintenanceSettings, Window
from alerting.muting.muting import Muting
from alerting.muting.schedule import Schedule, ScheduleSettings
from alerting.muting.silences import Silence
from alerting.routes import RouteSettings, StepSettings
from alerting.store.rows import Memo, Restored
from checks.observation import State, Subject

from .test_alarms_properties import Disk
from .timeline import Site

PARIS = ZoneInfo("Europe/Paris")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Memory(Disk):
    """What a store keeps, silences and limits as well."""

    def load(self) -> Restored:
        memos = {r.name: r.json for r in self.rows.values() if isinstance(r, Memo)}
        return replace(super().load(), memos=memos)


def moment(text: str, fold: int = 0) -> float:
    """UTC s of a local time in Paris."""
    at = datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold)
    return at.timestamp()


def schedule(hours: Mapping[str, str], **more: Any) -> Schedule:
    if "exceptions" in more:
        more["exceptions"] = exceptions(more["exceptions"])
    return Schedule(ScheduleSettings(hours=week(hours), **more), PARIS)


def window(name: str, **written: Any) -> Window:
    reads = {"match": routed, "hours": week, "cron": cron}
    values = {key: reads.get(key, _same)(value) for key, value in written.items()}
    return Window(name, MaintenanceSettings(**values), PARIS)


def _same(value: Any) -> Any:
    return value


def route(*notify: str, **more: Any) -> RouteSettings:
    """A route; `escalate` is [(after, notifier, ...)]."""
    steps = [StepSettings(after, who) for after, *who in more.pop("escalate", ())]  # type: ignore[arg-type]
    match = routed(more.pop("match", {}))
    return RouteSettings(notify, match, escalate=tuple(steps), **more)


@dataclass
class Calm(Site):
    """What happens to alarms that nobody wants to hear now."""

    start: str = "2026-03-02 00:00"  # a Monday
    wall_ahead: float = 0.0
    schedules: dict[str, Schedule] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.muting = Muting(
            self.schedules, self.windows, ahead=lambda: self.wall_ahead
        )
        self.now = self.now or moment(self.start)
        super().__post_init__()
        self.readable(self.now)

    def time(self, text: str) -> float:
        """Of a time of the first day, or of a later one: "10:00", "+1 08:30"."""
        days, _, clock = text.rpartition(" ")
        day = date.fromisoformat(self.start[:10]) + timedelta(days=int(days or 0))
        return moment(f"{day}T{clock}")

    def phone(self, name: str = "1001") -> Subject:
        """A phone that is registered since before it all began."""
        phone = self.extension(name)
        began = self.now - DAY
        self.at(self.now, phone, State.REGISTERED, since=began)
        return phone

    def lost(self, text: str, phone: Subject) -> None:
        self.at(self.time(text), phone, State.UNREGISTERED)

    def back(self, text: str, phone: Subject) -> None:
        self.at(self.time(text), phone, State.REGISTERED)

    def silence(self, text: str, *matchers: str, until: str) -> Silence:
        self.until(self.time(text))
        made = self.alarms.silences.add(
            matchers,
            author="Anna", reason="new switch",
            starts=None, ends=self.time(until), now=self.now,
        )  # fmt: skip
        self._settle()
        return made

    def unsilence(self, text: str, silence: Silence) -> None:
        self.until(self.time(text))
        assert self.alarms.silences.end(silence.id, self.now) is not None
        self._settle()

    def acknowledge(self, text: str, who: str = "Sam") -> Incident:
        """Take the one open incident."""
        self.until(self.time(text))
        (incident,) = self.alarms.incidents
        taken = self.alarms.acknowledge(incident.id, who, self.now)
        assert taken is incident
        self._settle()
        return incident

    def set_clock(self, by: float) -> None:
        """The wall clock is set; ours goes on."""
        self.wall_ahead += by
        self.alarms.clock_set(self.now)
        self._settle()

    def story(self, notifier: str = "oncall") -> list[tuple[str, str]]:
        """What somebody was told, each with the local time of our clock."""
        return [
            (self.local(mail.at), mail.text.split(" ")[0])
            for mail in self.mails.get(notifier, ())
        ]

    def local(self, at: float) -> str:
        first = date.fromisoformat(self.start[:10])
        found = datetime.fromtimestamp(at + 0.5, PARIS)
        days = (found.date() - first).days
        return (f"+{days} " if days else "") + f"{found:%H:%M}"
