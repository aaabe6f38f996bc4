"""The answers of explain: why there is an alarm, or why there is none.

What can be said by the configuration in force (rules, routes) is said by it; what was
observed, considered, held and attempted is as it was written down at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from alerting.alarms.restoring import incident_of, snapshot
from alerting.incident import Above, Incident, Terms
from alerting.notification.headline import alone, brief
from alerting.routes import Routes, RouteSettings
from alerting.rules.inforce import Rules
from alerting.rules.words import graded, matched, settings
from alerting.store.reader import Reader
from alerting.store.rows import (
    AttemptRow,
    DeliveryRow,
    HistoryRow,
    IncidentRow,
    TrailRow,
    What,
    shifted,
)
from checks.observation import Fact, Kind, Subject, plain
from checks.settings import written_duration
from sipwatch.sources import Sources
from sipwatch.subjects import KEY, named

BEFORE = 3600.0  # s before an incident began that are told of its subject
AFTER = 600.0  # s after its end
OBSERVED = 20  # changes of state that are told; the history has them all
FOREVER = float("inf")

Iso = Callable[[float], str]

# What a rule is counted from, in the order of its formula.
TERMS = {
    "since": "it began",
    "well_since": "all that it is seen through is well",
    "not_before": "the grace after a restart or a return of the PBX ends",
    "over_since": "the mass event that it was part of ended",
    "in_hours": "the hours of its rule began, and 30 min to settle",
}


async def of_incident(sources: Sources, reader: Reader, id: int) -> dict[str, Any]:
    """Why an incident is, and who was told of it; LookupError, ReaderError."""
    row = await _row(sources, reader, id)
    subject = watched_as(sources, row.key)
    incident = incident_of(row)
    incident.subject = subject or incident.subject
    trail = await reader.trail(row.key)
    return {
        "incident": shown(incident, row, sources),
        "packets": sources.gathering.mentioned(incident, row.opened_at),
        "rule": in_words(sources.alarms.rules, row.rule),
        "observations": around(
            await reader.history(row.key), trail, row.since, row.resolved_at
        ),
        "considered": counted(row.terms, utc) if row.terms else None,
        "suppressed": list(map(noted, _of(row, trail))),
        "routes": _routes(incident, sources),
        "deliveries": list(map(_delivery, await reader.outbox(id))),
        "attempts": list(map(_attempt, await reader.attempts(id))),
    }


async def _row(sources: Sources, reader: Reader, id: int) -> IncidentRow:
    """The incident by the wall clock; one that is open as it is now."""
    for incident in sources.alarms.incidents:
        if incident.id == id:
            row = shifted(snapshot(incident), sources.clock.skew)
            assert isinstance(row, IncidentRow)  # noqa: S101 - it was one before
            return row
    found = await reader.incident(id)
    if found is None:
        raise LookupError(f"no incident {id} is known")
    return found


def watched_as(sources: Sources, key: str) -> Subject | None:
    """The subject of this key; sites, our network and ourselves as well."""
    kind = key.partition(":")[0]
    if kind in (Kind.SITE, Kind.VANTAGE, Kind.SELF):
        return sources.alarms.find(Kind(kind), key)
    return named(sources, key) if ":" in key else None


# --- an incident ----------------------------------------------------------------------


def shown(incident: Incident, row: IncidentRow, sources: Sources) -> dict[str, Any]:
    now = sources.clock.now()
    muted = sources.alarms.silences.reason(incident, now) if incident.firing else ""
    state = "acknowledged" if row.acknowledged_by else "firing"
    return {
        "id": row.id,
        "text": brief(alone(incident, sources.config.instance)),
        "subject": plain(row.key, KEY),
        "title": plain(row.title),
        "family": row.family,
        "rule": row.rule,
        "severity": str(row.severity),
        "state": state if incident.firing else "resolved",
        "subject_state": row.state,
        "cause": row.cause,
        "loss": row.loss,
        "since": utc(row.since),
        "opened_at": utc(row.opened_at),
        "ended_at": _maybe(row.ended_at),
        "resolved_at": _maybe(row.resolved_at),
        "over_at": _maybe(over_at(incident, sources)),
        "closed": row.closed,
        "detail": plain(row.detail),
        "last_seen": plain(row.last_seen),
        "evidence": facts(row.evidence, utc),
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": _maybe(row.acknowledged_at),
        "note": row.note,
        "muted_by": muted,
        "part_of": row.part_of,
        "crowd": _crowd(row),
    }


def over_at(incident: Incident, sources: Sources) -> float | None:
    """When one that is open is over by the wall clock, if its subject stays well.

    None: it is not well, or what it had is no state (a mass event ends otherwise).
    """
    clock = sources.clock
    if not incident.firing or incident.crowd is not None:
        return None
    standing = sources.alarms.standing(incident.subject, clock.now())
    ends = [
        one.until
        for one in (standing.considered if standing else ())
        if one.fires and one.rule.family == incident.family
    ]
    known = [end for end in ends if end is not None]
    return clock.to_wall(max(known)) if known and len(known) == len(ends) else None


def _crowd(row: IncidentRow) -> dict[str, Any] | None:
    crowd = row.crowd
    if crowd is None:
        return None
    return {
        "lost": crowd.lost,
        "of": crowd.of,
        "missing": crowd.missing,
        "common": plain(crowd.common),
        "listed": facts(crowd.listed, utc),
    }


def in_words(rules: Rules, name: str) -> dict[str, Any]:
    """A rule in words; one that is in force no more has none."""
    rule = rules.get(name)
    if rule is None:
        return {"name": name, "on": [], "in_force": False, "grades": [], "settings": []}
    return {
        "name": name,
        "on": [rule.kind, *rule.also],
        "in_force": True,
        "grades": list(graded(rule)),
        "settings": list(settings(rule)),
    }


def _of(row: IncidentRow, trail: Iterable[TrailRow]) -> Iterator[TrailRow]:
    """What of a trail is about an incident, or happened while it was."""
    until = FOREVER if row.resolved_at is None else row.resolved_at
    for one in trail:
        if one.incident is None:
            if one.what is What.SUPPRESSED and row.since <= one.at <= until:
                yield one
        elif one.incident == row.id:
            yield one


def _routes(incident: Incident, sources: Sources) -> list[dict[str, Any]]:
    """Every route, whether it is taken, and why not; by today's configuration."""
    alarms, config = sources.alarms, sources.config
    routes = Routes(config.routes, list(config.notifiers))
    rule = alarms.rules.get(incident.rule)
    if rule and rule.notify:
        notify = list(routes.of(incident, rule.notify))
        return [_route(0, f"the rule says notify: {', '.join(rule.notify)}", notify)]
    if not config.routes:
        notify = list(routes.of(incident))
        said = "no routes: every warning and critical to every notifier"
        why = "" if notify else f"severity is {incident.severity}"
        return [_route(0, said, notify, why)]
    return [
        _taken(number, route, why, sources)
        for number, (route, why) in enumerate(routes.considered(incident), 1)
    ]


def _taken(
    number: int, route: RouteSettings, why: str, sources: Sources
) -> dict[str, Any]:
    now, muting = sources.clock.now(), sources.alarms.muting
    waits = (route.during and muting.outside(route.during, now)) or (
        route.outside and muting.within(route.outside, now)
    )
    said = matched(route.match) or "all"
    found = _route(number, said, list(route.notify), why)
    found["escalate"] = [
        {"after": written_duration(step.after), "notify": list(step.notify)}
        for step in route.escalate
    ]
    found["waits"] = waits.reason if waits and not why else ""
    return found


def _route(number: int, match: str, notify: list[str], why: str = "") -> dict[str, Any]:
    return {
        "number": number,
        "match": match,
        "taken": not why,
        "why": why,
        "notify": notify,
        "escalate": [],
        "waits": "",
    }


def _delivery(row: DeliveryRow) -> dict[str, Any]:
    return {
        "notifier": row.notifier,
        "step": row.step,
        "wanted": str(row.wanted),
        "told": str(row.told),
        "thread": row.thread,
        "batch": row.batch,
        "not_before": _maybe(row.not_before or None),
        "attempts": row.attempts,
        "error": plain(row.error),
        "dead": row.dead,
    }


def _attempt(row: AttemptRow) -> dict[str, Any]:
    return {
        "notifier": row.notifier,
        "step": row.step,
        "telling": str(row.telling),
        "batch": row.batch,
        "attempts": row.attempts,
        "begun": utc(row.begun),
        "at": utc(row.at),
        "outcome": row.outcome,
        "error": plain(row.error),
    }


# --- what both have -------------------------------------------------------------------


def counted(terms: Terms, iso: Iso) -> dict[str, Any]:
    """The due formula with the value of each term; null where it does not count."""
    return {
        "terms": [
            {"what": name, "words": words, "at": iso(at) if at else None}
            for name, words in TERMS.items()
            for at in (getattr(terms, name),)
        ],
        "for": terms.for_,
        "due": iso(terms.due),
        "above": [seen_through(one, iso) for one in terms.above],
    }


def seen_through(one: Above, iso: Iso) -> dict[str, Any]:
    return {
        "subject": plain(one.subject, KEY),
        "state": one.state,
        "well_at": iso(one.well_at) if one.well_at else None,
        "asked_at": None if one.asked_at is None else iso(one.asked_at),
    }


def around(
    past: Iterable[HistoryRow],
    trail: Iterable[TrailRow],
    since: float,
    until: float | None,
) -> list[dict[str, Any]]:
    """The changes of state around a time, the last of them; the oldest first."""
    begin, end = since - BEFORE, FOREVER if until is None else until + AFTER
    found = [
        (
            r.at,
            {"state": r.state, "cause": r.cause, "loss": r.loss, "why": plain(r.why)},
        )
        for r in _changed(past)
        if begin <= r.at <= end
    ]
    found += [
        (r.at, {"state": None, "cause": None, "loss": None, "why": plain(r.text)})
        for r in trail
        if r.what is What.STATE and begin <= r.at <= end
    ]
    found.sort(key=lambda one: one[0])
    return [{"at": utc(at), **said} for at, said in found[-OBSERVED:]]


def _changed(past: Iterable[HistoryRow]) -> Iterator[HistoryRow]:
    """Those that say something else of the state; not of the contacts alone."""
    last = None
    for row in past:
        said = (row.state, row.cause, row.loss, row.why)
        if said != last:
            yield row
        last = said


def noted(row: TrailRow) -> dict[str, Any]:
    return {
        "at": utc(row.at),
        "what": row.what,
        "rule": row.rule,
        "why": plain(row.text),
        "incident": row.incident,
    }


def facts(facts: Iterable[Fact], iso: Iso) -> list[dict[str, Any]]:
    return [
        {"at": None if fact.at is None else iso(fact.at), "text": plain(fact.text)}
        for fact in facts
    ]


class Wall:
    """Our times as the wall clock tells them."""

    def __init__(self, sources: Sources) -> None:
        self._to_wall = sources.clock.to_wall

    def __call__(self, at: float) -> str:
        return utc(self._to_wall(at))


def _maybe(at: float | None) -> str | None:
    return None if at is None else utc(at)


def utc(at: float) -> str:
    """A moment of the wall clock: 2026-03-01T10:02:14.250Z."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
