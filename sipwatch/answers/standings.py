"""The answer of explain for a subject: why there is no alarm of it, or which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alerting.alarms.explaining import Considered, Standing
from alerting.alarms.restoring import snapshot
from alerting.incident import Incident
from alerting.muting.muting import ON_PURPOSE
from alerting.rules.builtin import BUILT_IN
from alerting.rules.words import matched
from alerting.store.reader import Reader
from alerting.store.rows import IncidentRow, What, shifted
from checks.observation import Cause, Kind, Loss, State, Subject, plain
from checks.registrations.extension import Extension
from sipwatch.answers.reasons import (
    FOREVER,
    Iso,
    Wall,
    around,
    counted,
    facts,
    in_words,
    noted,
    seen_through,
    shown,
    watched_as,
)
from sipwatch.sources import Sources
from sipwatch.subjects import KEY, named, unwatched


async def of_subject(
    sources: Sources, reader: Reader, name: str, registrar: str = ""
) -> dict[str, Any]:
    """Why there is no alarm of a subject, or which; LookupError, ReaderError."""
    subject = named(sources, name, registrar) or watched_as(sources, name)
    if subject is None:
        return await _gone(sources, reader, name, registrar)
    now, iso = sources.clock.now(), Wall(sources)
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
        "evidence": facts(last.evidence, iso) if last else [],
        "why": list(_why(subject, standing, sources, iso)),
        "incidents": [
            _open(incident, sources)
            for incident in sources.alarms.incidents
            if incident.subject is subject
        ],
        "rules": _standings(standing, sources, iso),
        "above": [seen_through(one, iso) for one in standing.above] if standing else [],
        "observations": around(past, trail, -FOREVER, None),
        "suppressed": [noted(row) for row in trail if row.what is not What.STATE],
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
                "observations": around(past, trail, -FOREVER, None),
                "suppressed": [noted(r) for r in trail if r.what is not What.STATE],
            }
    raise LookupError(f"nothing is known of {plain(name) or 'an empty name'}")


def _head(key: str, subject: Subject | None) -> dict[str, Any]:
    kind, _, name = key.partition(":")
    return {
        "subject": plain(key, KEY),
        "kind": kind,
        "name": plain(subject.name if subject else name.rpartition("/")[2], KEY),
        "title": plain(subject.title) if subject else "",
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
    for one in standing.considered:
        if one.until is not None:
            yield (
                f"{one.rule.name} matches no more: its incident is over at"
                f" {iso(one.until)}, if that stays so"
            )
    if standing.doubted is not None:
        said = standing.doubted.state
        yield f"it is said to be {said}, which is not believed: we may be cut off"
    yield from _of_extension(subject, standing, sources)
    pending = [one for one in standing.considered if not one.fires]
    for one in pending:
        yield _pending(one, iso)
    if subject.paused is not None:
        yield f"{ON_PURPOSE[subject.paused]}: {_while_paused(subject)}"
    yield from _off(subject, sources)
    if not (standing.considered or standing.doubted):
        yield f"it is {_word(standing.state)}: no rule in force matches"


def _while_paused(subject: Subject) -> str:
    if subject.required and subject.paused is Cause.DO_NOT_DISTURB:
        return "that its phone does not answer is told to nobody while that is so"
    return "nobody is told while that is so"


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
        found = in_words(sources.alarms.rules, rule.name)
        found["state"] = _state(one)
        found["why"] = one.why if one else ""
        found["considered"] = counted(one.terms, iso) if one else None
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
    return shown(incident, row, sources)


def _word(state: State) -> str:
    return str(state).replace("_", " ")
