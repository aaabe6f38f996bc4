"""Whether people would be told, as status shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alerting.incident import Incident
from alerting.routes import own_notifier
from sipwatch.answers.reasons import utc
from sipwatch.sources import Sources

Iso = Callable[[float], str]


def notifiers(sources: Sources, iso: Iso) -> list[dict[str, Any]]:
    """Each notifier: whether it works, and since when it does not."""
    about = _incidents(sources)
    return [_notifier(name, about.get(name), sources, iso) for name in sources.couriers]


def _incidents(sources: Sources) -> dict[str, Incident]:
    found = {own_notifier(one): one for one in sources.alarms.incidents}
    return {name: one for name, one in found.items() if name is not None}


def _notifier(
    name: str, about: Incident | None, sources: Sources, iso: Iso
) -> dict[str, Any]:
    at = sources.couriers[name].accepted_at
    failing = about is not None or sources.alarms.failing(name)
    return {
        "name": name,
        "state": "failing" if failing else "ok",
        "since": iso(about.since) if about else None,
        "detail": about.detail if about else "",
        "accepted_at": None if at is None else iso(at),
    }


def heartbeat(sources: Sources, iso: Iso) -> dict[str, Any] | None:
    """The dead-man's switch, where there is one."""
    beat = sources.heartbeat
    if beat.settings is None:
        return None
    state = "stopped" if beat.why else "unreachable" if beat.error else "beating"
    at = beat.succeeded_at
    return {
        "state": state,
        "detail": beat.why or beat.error,
        "arrived_at": None if at is None else iso(at),
    }


def vantage(sources: Sources, iso: Iso) -> dict[str, Any] | None:
    """Our own network, where it is watched."""
    shown = sources.outlook.shown()
    return shown and shown | {"since": iso(shown["since"])}


def silences(sources: Sources) -> int:
    """How many silences are in force."""
    now = sources.clock.to_wall(sources.clock.now())
    return sum(one.active(now) for one in sources.alarms.muting.silences.values())


def maintenance(sources: Sources) -> list[dict[str, Any]]:
    """The maintenance that is under way."""
    now = sources.clock.to_wall(sources.clock.now())
    return [
        {"name": window.name, "until": utc(until)}
        for window in sources.alarms.muting.windows
        if (until := window.until(now)) is not None
    ]
