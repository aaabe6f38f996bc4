"""What is on top of every page: how it is, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sipwatch.views.overview import Overview
from sipwatch.web.pages.words import Clockwork, counted

OVERDUE = 300.0  # s that a notifier may owe something before the page says so
NAMES = {"critical": "critical incident", "warning": "warning", "info": "notice"}


@dataclass(frozen=True, slots=True)
class Head:
    """The badge, and the words beside it."""

    worst: str  # of a static picture: critical warning info good unknown
    sentence: str
    more: str
    notices: tuple[str, ...]
    title: str
    instance: str
    version: str

    @property
    def look(self) -> str:
        """The class of its box."""
        return self.worst

    @property
    def mark(self) -> str:
        """The class of its mark."""
        return self.worst


def head_of(told: Overview, now: Clockwork) -> Head:
    """By what is on top of everything."""
    open_ = {s: n for s, n in told["incidents"].items() if n}
    worst = told["worst"] or ("good" if told["ready"] else "unknown")
    sentence = _sentence(open_, told["ready"])
    where = told["instance"]
    return Head(
        worst,
        sentence,
        " · ".join(_more(told)),
        tuple(_notices(told, now)),
        f"{_short(open_, told['ready'])} · {where}",
        where,
        told["version"],
    )


def _sentence(open_: dict[str, int], ready: bool) -> str:
    if open_:
        return f"{', '.join(counted(n, NAMES[s]) for s, n in open_.items())} open"
    return "All is well" if ready else "The first pass is under way"


def _short(open_: dict[str, int], ready: bool) -> str:
    if open_:
        return ", ".join(f"{n:,d} {severity}" for severity, n in open_.items())
    return "well" if ready else "starting"


def _more(told: Overview) -> Iterator[str]:
    for what, well, many in (
        (told["extensions"], "registered", "extensions"),
        (told["targets"], "up", "targets"),
    ):
        if total := sum(what.values()):
            yield f"{what.get(well, 0):,d} of {total:,d} {many} {well}"
    if unread := told["registrars"]["unreadable"]:
        yield f"{counted(unread, 'registrar')} cannot be read"
    if told["acknowledged"]:
        yield f"{counted(told['acknowledged'], 'incident')} acknowledged"


def _notices(told: Overview, now: Clockwork) -> Iterator[str]:
    vantage: dict[str, Any] = told["vantage"] or {}
    if vantage.get("state") == "cut off":
        since = now.clock(vantage["since"])
        yield (
            f"This host is cut off from the network since {since}:"
            " what it watches is unknown, not down."
        )
    for name in told["notifiers_failing"]:
        yield f"Notifier {name} fails: what it should tell is not told by it."
    oldest = told["outbox"]["oldest"]
    if oldest and now.since(oldest) > OVERDUE:
        owed = counted(told["outbox"]["pending"], "notification")
        yield f"{owed} not delivered yet, the oldest for {now.ago(oldest)}."
    for window in told["maintenance"]:
        yield f"Maintenance {window['name']} until {now.clock(window['until'])}."
