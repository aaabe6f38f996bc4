"""The answers of explain: why there is an alarm, or why there is none.

What can be said by the configuration in force (rules, routes) is said by it; what was
observed, considered, held and attempted is as it was written down at the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from alerting.alarms.explaining import Considered, Standing
from alerting.alarms.restoring import incident_of, snapshot
from alerting.incident import Above, Incident, Terms
from alerting.muting.muting import ON_PURPOSE
from alerting.notification.headline import alone, brief
from alerting.routes import Routes, RouteSettings
from alerting.rules.builtin import BUILT_IN
from alerting.rules.rule import Rules
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
from checks.observation import Fact, Kind, Loss, State, Subject, plain
from checks.registrations.extension import Extension
from checks.settings import written_duration
from sipwatch.sources import Sources
from sipwatch.subjects import named, unwatched

BEFORE = 3600.0  # s before an incident began that are told of its subject
AFTER = 600.0  # s after its end
OBSERVED = 20  # changes of state that are told; the history has them all
FOREVER = float("inf")

Iso = Callable[[float], str]

# What a rule is counted from, in the order of its formula.
TERMS = {
    "since": "it began",
    "well_since": "all that it is seen through is well",
    "not_before": "the grace after a restart ends",
    "over_since": "the mass event that it was part of ended",
    "in_hours": "the hours of its rule began, and 30 min to settle",
}


async def of_incident(sources: Sources, reader: Reader, id: int) -> dict[str, Any]:
    """Why an incident is, and who was told of it; LookupError, ReaderError."""
    row = await _row(sources, reader, id)
    subject = _watched(sources, row.key)
    incident = incident_of(row)
    incident.subject = subject or incident.subject
    trail = await reader.trail(row.key)
    return {
        "incident": _incident(incident, row, sources),
        "rule": _rule(sources.alarms.rules, row.rule),
        "observations": _around(
            await reader.history(row.key), trail, row.since, row.resolved_at
        ),
        "considered": _terms(row.terms, utc) if row.terms else None,
        "suppressed": list(map(_noted, _of(row, trail))),
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


async def of_subject(
    sources: Sources, reader: Reader, name: str, registrar: str = ""
) -> dict[str, Any]:
    """Why there is no alarm of a subject, or which; LookupError, ReaderError."""
    subject = named(sources, name, registrar) or _watched(sources, name)
    if subject is None:
        return await _gone(sources, reader, name, registrar)
    now, iso = sources.clock.now(), _Iso(sources)
    standing = sources.alarms.standing(subject, now)
    trail = await reader.trail(subject.key)
    past = await reader.history(subject.key)
    last = standing.last if standing else None
    state = standing.state if standing else None
    return _head(subject.key, subject) | {
        "state": state,
        "since": iso(standing.since) if standing and state else None,
        "cause": last.cause if last else None,
        "loss": last.loss if last else None,
        "detail": plain(last.detail) if last else "",
        "last_seen": plain(last.last_seen) if last else "",
        "evidence": _facts(last.evidence, iso) if last else [],
        "why": list(_why(subject, standing, sources, iso)),
        "incidents": [
            _open(incident, sources)
            for incident in sources.alarms.incidents
            if incident.subject is subject
        ],
        "rules": _standings(standing, sources, iso),
        "above": [_above(one, iso) for one in standing.above] if standing else [],
        "observations": _around(past, trail, -FOREVER, None),
        "suppressed": [_noted(row) for row in trail if row.what is not What.STATE],
    }


async def _gone(
    sources: Sources, reader: Reader, name: str, registrar: str
) -> dict[str, Any]:
    """What is left of one that is watched no more."""
    for key in unwatched(sources, name, registrar):
        trail, past = await reader.trail(key), await reader.history(key)
        if trail or past:
            return _head(key, None) | {
                "why": ["it is no longer watched"],
                "observations": _around(past, trail, -FOREVER, None),
                "suppressed": [_noted(r) for r in trail if r.what is not What.STATE],
            }
    raise LookupError(f"nothing is known of {plain(name) or 'an empty name'}")


def _watched(sources: Sources, key: str) -> Subject | None:
    """The subject of this key; sites, our network and ourselves as well."""
    kind = key.partition(":")[0]
    if kind in (Kind.SITE, Kind.VANTAGE, Kind.SELF):
        return sources.alarms.find(Kind(kind), key)
    return named(sources, key) if ":" in key else None


def _head(key: str, subject: Subject | None) -> dict[str, Any]:
    kind, _, name = key.partition(":")
    return {
        "subject": key,
        "kind": kind,
        "name": subject.name if subject else name.rpartition("/")[2],
        "title": subject.title if subject else "",
        "watched": subject is not None,
        "state": None,
        "since": None,
        "cause": None,
        "loss": None,
        "detail": "",
        "last_seen": "",
        "evidence": [],
        "incidents": [],
        "rules": [],
        "above": [],
    }


# --- an incident ----------------------------------------------------------------------


def _incident(incident: Incident, row: IncidentRow, sources: Sources) -> dict[str, Any]:
    now = sources.clock.now()
    muted = sources.alarms.silences.reason(incident, now) if incident.firing else ""
    state = "acknowledged" if row.acknowledged_by else "firing"
    return {
        "id": row.id,
        "text": brief(alone(incident, sources.config.instance)),
        "subject": row.key,
        "title": row.title,
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
        "closed": row.closed,
        "detail": plain(row.detail),
        "last_seen": plain(row.last_seen),
        "evidence": _facts(row.evidence, utc),
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": _maybe(row.acknowledged_at),
        "note": row.note,
        "muted_by": muted,
        "part_of": row.part_of,
        "crowd": _crowd(row),
    }


def _crowd(row: IncidentRow) -> dict[str, Any] | None:
    crowd = row.crowd
    if crowd is None:
        return None
    return {
        "lost": crowd.lost,
        "of": crowd.of,
        "missing": crowd.missing,
        "common": plain(crowd.common),
        "listed": _facts(crowd.listed, utc),
    }


def _rule(rules: Rules, name: str) -> dict[str, Any]:
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


# --- a subject ------------------------------------------------------------------------


def _why(
    subject: Subject, standing: Standing | None, sources: Sources, iso: Iso
) -> Iterator[str]:
    """Why there is no alarm, or that there is one: the weightiest first."""
    blind = sources.alarms.blind(subject)
    if blind is not None:
        yield f"{plain(blind.key)} is not well: how this is, is not known now"
    if standing is None or standing.state is None:
        if blind is None:
            yield "it was not seen yet"
        return
    for incident in sources.alarms.incidents:
        if incident.subject is subject:
            yield _told_of(incident, sources)
    if standing.doubted is not None:
        said = standing.doubted.state
        yield f"it is said to be {said}, which is not believed: we may be cut off"
    yield from _of_extension(subject, standing, sources)
    pending = [one for one in standing.considered if not one.fires]
    for one in pending:
        yield _pending(one, iso)
    if subject.paused is not None:
        yield f"{ON_PURPOSE[subject.paused]}: nobody is told while that is so"
    yield from _off(subject, sources)
    if not (standing.considered or standing.doubted):
        yield f"it is {_word(standing.state)}: no rule in force matches"


def _told_of(incident: Incident, sources: Sources) -> str:
    said = f"incident {incident.id} is open: {incident.rule}"
    if muted := sources.alarms.silences.reason(incident, sources.clock.now()):
        return f"{said}, not told: {plain(muted)}"
    by = incident.acknowledged_by
    return f"{said}, taken by {plain(by)}" if by else said


def _of_extension(
    subject: Subject, standing: Standing, sources: Sources
) -> Iterator[str]:
    """What of its registration explains that there is no alarm."""
    if subject.kind is not Kind.EXTENSION:
        return
    found = _extension(subject, sources)
    if standing.state is State.NEVER_REGISTERED and not subject.required:
        yield (
            "it has not registered since it is watched: no alarm, unless it is listed"
            " under extensions.required"
        )
    if found is not None and found.dormant:
        yield (
            "it is dormant: it was unregistered for 7 days, and its next REGISTER"
            " wakes it"
        )
    last = standing.last
    if subject.logout_ok and last is not None and last.loss is Loss.DEREGISTERED:
        yield "it logged out, as it may (extensions.logout_ok)"


def _extension(subject: Subject, sources: Sources) -> Extension | None:
    judge = sources.judges.get(subject.scope.name)
    return judge.extensions.get(subject.name) if judge else None


def _pending(one: Considered, iso: Iso) -> str:
    due = iso(one.terms.due)
    if one.why:
        return f"{one.rule.name} is due since {due}, and does not open: {one.why}"
    return f"{one.rule.name} is pending: due at {due}"


def _off(subject: Subject, sources: Sources) -> Iterator[str]:
    """The built-in rules of its kind that do not watch it."""
    for name, form in BUILT_IN.items():
        if subject.kind not in (form.kind, *form.also):
            continue
        rule = sources.alarms.rules.get(name)
        if rule is None:
            yield f"{name} is switched off (rules.{name}.enabled)"
        elif not rule.applies(subject) and subject.kind is not Kind.SELF:
            yield f"{name} does not watch it (where {matched(rule.where)})"


def _standings(
    standing: Standing | None, sources: Sources, iso: Iso
) -> list[dict[str, Any]]:
    if standing is None:
        return []
    considered = {one.rule: one for one in standing.considered}
    shown = []
    for rule in standing.rules:
        one = considered.get(rule)
        found = _rule(sources.alarms.rules, rule.name)
        found["state"] = _state(one)
        found["why"] = one.why if one else ""
        found["considered"] = _terms(one.terms, iso) if one else None
        shown.append(found)
    return shown


def _state(one: Considered | None) -> str:
    if one is None:
        return "not matching"
    if one.fires:
        return "firing"
    return "suppressed" if one.why else "pending"


def _open(incident: Incident, sources: Sources) -> dict[str, Any]:
    row = shifted(snapshot(incident), sources.clock.skew)
    assert isinstance(row, IncidentRow)  # noqa: S101 - it was one before
    return _incident(incident, row, sources)


# --- what both have -------------------------------------------------------------------


def _terms(terms: Terms, iso: Iso) -> dict[str, Any]:
    """The due formula with the value of each term; null where it does not count."""
    return {
        "terms": [
            {"what": name, "words": words, "at": iso(at) if at else None}
            for name, words in TERMS.items()
            for at in (getattr(terms, name),)
        ],
        "for": terms.for_,
        "due": iso(terms.due),
        "above": [_above(one, iso) for one in terms.above],
    }


def _above(one: Above, iso: Iso) -> dict[str, Any]:
    return {
        "subject": one.subject,
        "state": one.state,
        "well_at": iso(one.well_at) if one.well_at else None,
        "asked_at": None if one.asked_at is None else iso(one.asked_at),
    }


def _around(
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
        for r in past
        if begin <= r.at <= end
    ]
    found += [
        (r.at, {"state": None, "cause": None, "loss": None, "why": plain(r.text)})
        for r in trail
        if r.what is What.STATE and begin <= r.at <= end
    ]
    found.sort(key=lambda one: one[0])
    return [{"at": utc(at), **said} for at, said in found[-OBSERVED:]]


def _noted(row: TrailRow) -> dict[str, Any]:
    return {
        "at": utc(row.at),
        "what": row.what,
        "rule": row.rule,
        "why": plain(row.text),
        "incident": row.incident,
    }


def _facts(facts: Iterable[Fact], iso: Iso) -> list[dict[str, Any]]:
    return [
        {"at": None if fact.at is None else iso(fact.at), "text": plain(fact.text)}
        for fact in facts
    ]


def _word(state: State) -> str:
    return str(state).replace("_", " ")


class _Iso:
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
