"""Incidents, open and past: a list, and one of them with all that is known of it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from typing_extensions import TypedDict

from alerting.alarms.restoring import incident_of, snapshot
from alerting.incident import Incident
from alerting.notification.headline import alone
from alerting.notification.render import next_step
from alerting.store.reader import Past, Reader
from alerting.store.rows import IncidentRow as Stored
from alerting.store.rows import shifted
from checks.observation import Subject, plain
from sipwatch.answers.reasons import of_incident, shown
from sipwatch.answers.retelling import retold
from sipwatch.findings import finding_json
from sipwatch.sources import Sources, sliced
from sipwatch.views.lens import NAME, Lens, Told, matches, site_of
from sipwatch.views.paging import LIMIT, Page, Paging, place_of

MADE = 50  # rows made in one turn of the loop: some 3 ms
HIGHEST = 1 << 53  # numbers beyond it are none in JavaScript

IncidentState = Literal["firing", "acknowledged", "resolved"]
# What may be asked for: open is firing and acknowledged.
Wanted = Literal["open", "firing", "acknowledged", "resolved", "all"]


class Crowd(TypedDict):
    """Of a mass event: how many, and what they have in common."""

    lost: int
    of: int
    missing: int
    common: str
    listed: list[Told]


class IncidentRow(TypedDict):
    """An incident in short."""

    id: int
    key: str  # of its subject
    text: str  # a sentence, as the subject of its mail
    kind: str
    name: str
    title: str
    registrar: str
    site: str
    family: str
    rule: str
    severity: Literal["info", "warning", "critical"]
    state: IncidentState
    subject_state: str
    cause: str | None
    loss: str | None
    since: str
    opened_at: str
    ended_at: str | None
    resolved_at: str | None
    over_at: str | None  # of an open one that is well again: then, if that stays so
    closed: str
    detail: str
    last_seen: str
    evidence: list[Told]
    acknowledged_by: str
    acknowledged_at: str | None
    note: str
    muted_by: str
    part_of: int | None
    crowd: Crowd | None


class OneIncident(TypedDict):
    """An incident in full: `sipwatch.answers.reasons` makes most of it."""

    incident: IncidentRow
    finding: dict[str, Any] | None
    next_step: str
    packets: dict[str, Any]  # what is kept of its exchange, or why nothing is
    rule: dict[str, Any]
    observations: list[dict[str, Any]]
    considered: dict[str, Any] | None
    suppressed: list[dict[str, Any]]
    routes: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    history: list[dict[str, Any]]  # of its subject, the oldest first
    parts: list[int]  # open incidents that this one covers


async def listed(
    sources: Sources,
    reader: Reader,
    *,
    state: Wanted = "open",
    severity: str = "",
    rule: str = "",
    registrar: str = "",
    site: str = "",
    since: float | None = None,
    search: str = "",
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Page[IncidentRow]:
    """A page of the incidents, the newest first; ValueError for a bad cursor,
    ReaderError where past ones are wanted and cannot be read.

    `since` is of the wall clock: those that opened then or later. `search` is part of
    subject, title, detail or where it was seen last.
    """
    past = Past(severity, rule, registrar, site, since, search.lower())
    paging = Paging[Incident | Stored](limit, cursor)
    if state != "resolved":
        for part in sliced(sources.alarms.incidents, 1000):
            open_ = (i for i in part if state in ("open", "all", _state(i)))
            paging.take([(_place(i.id), i) for i in open_ if _fits(i, past, sources)])
            await asyncio.sleep(0)
    if state in ("resolved", "all"):
        before = HIGHEST - _number(cursor) if cursor else HIGHEST
        count, rows = await reader.past(past, before, limit + 1)
        paging.take([(_place(one.id), one) for one in rows])
        paging.total += count - len(rows)
    items: list[IncidentRow] = []
    lens = Lens(sources)
    for some in sliced(paging.found, MADE):
        items += [row(lens, one) for one in some]
        await asyncio.sleep(0)
    return paging.page(items)


async def one(sources: Sources, reader: Reader, id: int) -> OneIncident:
    """An incident, open or past; LookupError, ReaderError."""
    told = await of_incident(sources, reader, id)
    key = told["incident"]["subject"]
    live = next((i for i in sources.alarms.incidents if i.id == id), None)
    found = sources.findings.of(live.subject, live, around=False) if live else None
    try:
        past = (await retold(sources, reader, key))["rows"]
    except LookupError:  # of sites and ourselves none is kept
        past = []
    lens = Lens(sources)
    return {
        **told,  # type: ignore[typeddict-item]
        "incident": _named(told["incident"], live and live.subject),
        "finding": None if found is None else finding_json(found, lens.at),
        "next_step": step_of(sources, live) if live else "",
        "history": past,
        "parts": [i.id for i in sources.alarms.incidents if i.part_of == id],
    }


def step_of(sources: Sources, open_: Incident) -> str:
    """What to do first, as its mail says it."""
    return plain(next_step(alone(open_, sources.config.instance)))


def row(lens: Lens, one: Incident | Stored) -> IncidentRow:
    """One of them in short."""
    if isinstance(one, Incident):
        stored = shifted(snapshot(one), lens.sources.clock.skew)
        assert isinstance(stored, Stored)  # noqa: S101 - it was one before
        return _named(shown(one, stored, lens.sources), one.subject)
    incident = incident_of(one)
    return _named(shown(incident, one, lens.sources), incident.subject)


def _named(told: dict[str, Any], subject: Subject | None) -> IncidentRow:
    """With the names of its subject, which may be watched no more."""
    key = told.pop("subject")
    kind, _, rest = key.partition(":")
    labels = subject.scope.labels if subject else {}
    return {
        **told,  # type: ignore[typeddict-item]
        "key": key,
        "kind": kind,
        "name": plain(
            subject.name if subject else rest.partition("/")[2] or rest, NAME
        ),
        "registrar": labels.get("registrar", ""),
        "site": labels.get("site", ""),
    }


def _state(incident: Incident) -> IncidentState:
    return "acknowledged" if incident.acknowledged_by else "firing"


def _fits(i: Incident, past: Past, sources: Sources) -> bool:
    labels = i.subject.scope.labels
    return (
        past.severity in ("", str(i.severity))
        and past.rule in ("", i.rule)
        and past.registrar in ("", labels.get("registrar", ""))
        and past.site in ("", site_of(i.subject))
        and (past.since is None or sources.clock.to_wall(i.opened_at) >= past.since)
        and (
            not past.search
            or matches(
                past.search, i.subject.name, i.subject.title, i.detail, i.last_seen
            )
        )
    )


def _place(id: int) -> str:
    """The newest first."""
    return f"{HIGHEST - id:016d}"


def _number(cursor: str) -> int:
    place = place_of(cursor)
    if not (place.isascii() and place.isdecimal()):
        raise ValueError("cursor: this is none of this list")
    return int(place)
