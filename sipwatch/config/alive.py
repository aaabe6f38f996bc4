"""How others know that sipwatch lives and reaches people: heartbeat and self-tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from alerting.notifiers.http import HttpSettings, url_of
from checks.settings import Duration, Parsed, Secret, Zone

OFTEN = 10.0  # s; more often tells no service any more, and fills its log
DAILY = "daily"
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def _said(text: str) -> dict[str, str]:
    return {"description": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings(HttpSettings):
    """A URL that is asked for as long as all is well; who stops hearing it alarms."""

    url: Secret = field(metadata=_said("Asked at every beat; the address is a secret."))
    interval: Duration = field(default=60.0, metadata=_said("Between two beats."))
    method: Literal["GET", "POST"] = field(
        default="GET", metadata=_said("As the service at the URL wants it.")
    )
    fail_url: Secret | None = field(
        default=None,
        metadata=_said("Told once, by POST, why the beats stop; default: silence."),
    )
    owed: Duration = field(
        default=900.0,
        metadata=_said("For so long nobody may know of an incident that is due."),
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        example = "https://hc-ping.com/2f1c..."
        url_of(self.url, "url", example)
        if self.fail_url is not None:
            url_of(self.fail_url, "fail_url", example)
        if self.interval < OFTEN:
            raise ValueError(f"interval: must be {OFTEN:g}s or more")
        if self.timeout >= self.interval:
            raise ValueError("timeout: must be shorter than interval")
        if self.owed <= 0:
            raise ValueError("owed: must be longer than 0s")


def time_of_day(written: Any) -> tuple[int, int]:
    """Hour and minute of "09:30"."""
    found = _TIME.fullmatch(str(written).strip())
    if found is None:
        raise ValueError(f'{written} is not a time of day (write "09:30")')
    return int(found[1]), int(found[2])


TimeOfDay = Annotated[
    tuple[int, int],
    Parsed(time_of_day, (("type", "string"), ("pattern", r"^\d?\d:\d\d$"))),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestSettings:
    """When every route is tested: a marked notification to each of its notifiers."""

    day: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "daily"] = field(
        default="mon", metadata=_said("A day of the week, or daily.")
    )
    time: TimeOfDay = field(
        default=(9, 30), metadata=_said("When somebody is there to read it.")
    )
    timezone: Zone | None = field(
        default=None, metadata=_said("Of that time; default: this machine's zone.")
    )
