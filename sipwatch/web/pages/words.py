"""How states, times and figures are put into words on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from alerting.alarms.standins import STAND_IN
from alerting.notification.headline import Times
from alerting.notification.wording import span

# State -> the class of its mark, which has a shape and a colour of its own.
MARKS = {
    "up": "good",
    "registered": "good",
    "ok": "good",
    "readable": "good",
    "degraded": "warn",
    "unreachable": "warn",
    "down": "bad",
    "unregistered": "bad",
    "rejected": "bad",
    "failing": "bad",
    "unreadable": "bad",
    "never_registered": "never",
    "unknown": "unknown",
}
# How states of many are counted.
WORST_FIRST = (
    *("down", "unregistered", "rejected", "failing", "unreadable"),
    *("degraded", "unreachable", "unknown", "never_registered"),
    *("up", "registered", "ok", "readable"),
)
PATHS = {"extension": "/e/", "target": "/t/"}


def mark(state: object) -> str:
    """The class of a state's mark; of what is not known that of unknown."""
    return MARKS.get(str(state), "unknown")


def words(state: object) -> str:
    """A state or cause as people say it: "never registered"."""
    return str(state or "unknown").replace("_", " ")


def owed(step: int) -> str:
    """What a row of the outbox is about, where it is not the incident itself."""
    if step > 0:
        return "reminder"
    return "step of the ladder" if step > STAND_IN else "stand-in"


def path_of(key: object) -> str:
    """Where the page of a subject is; empty for what has none."""
    kind = str(key).partition(":")[0]
    return PATHS[kind] + quote(str(key), safe="/:@") if kind in PATHS else ""


def milliseconds(seconds: float | None) -> str:
    """0.0382 is "38 ms"; of what is quick one decimal."""
    if seconds is None:
        return ""
    found = 1000 * seconds
    return f"{found:.1f} ms" if found < 10 else f"{found:,.0f} ms"


def percent(share: float | None) -> str:
    """0.013 is "1.3 %"; nothing is only said where there is nothing."""
    if share is None:
        return ""
    if share == 0 or share >= 0.0995:
        return f"{100 * share:.0f} %"
    return f"{max(0.1, 100 * share):.1f} %"


def counted(number: int, one: str, many: str = "") -> str:
    """1 incident, 2 incidents, 20,000 extensions."""
    return f"{number:,d} {one if number == 1 else many or one + 's'}"


def by_state(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """What there is of each state, the worst first."""
    known = [(state, counts[state]) for state in WORST_FIRST if counts.get(state)]
    return known + [(s, n) for s, n in counts.items() if n and s not in MARKS]


@dataclass(frozen=True)
class Clockwork:
    """The times of one rendering, in the zone of this machine."""

    now: float  # UTC s by the wall clock
    zone: ZoneInfo

    def clock(self, moment: str | float | None) -> str:
        """10:02:14, with its date where that is not today."""
        at = seconds(moment)
        return "" if at is None else Times(self.zone, self.now).full(at)

    def ago(self, moment: str | float | None) -> str:
        """12 min, for what was; the same for what will be."""
        at = seconds(moment)
        return "" if at is None else span(abs(self.now - at))

    def since(self, moment: str | float) -> float:
        """How many s ago it was."""
        at = seconds(moment)
        return 0.0 if at is None else self.now - at


def seconds(moment: str | float | None) -> float | None:
    """UTC s of a time as the views tell it."""
    if moment is None or moment == "":
        return None
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).timestamp()
    return moment


def stamp(moment: str | float) -> str:
    """The same as ISO 8601 for machines."""
    if isinstance(moment, str):
        return moment
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z"
