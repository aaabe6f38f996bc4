"""A notification as JSON: what programs are given, in a shape that is documented.

Keys are added, none is renamed or dropped while `version` stays. Times are ISO 8601 in
UTC, by the wall clock. What is not known is null, an empty text or an empty list.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from alerting.incident import Crowd, Incident, Notification, Told
from alerting.notification.headline import NAME_LIMIT, alone, brief
from alerting.notification.render import next_step, why
from checks.observation import Fact, plain

VERSION = 1
INCIDENTS_LIMIT = 500  # in one notification, some 600 kB; `count` says how many in all
SLICE = 50  # incidents in one turn of the loop, some 3 ms
FACTS_LIMIT = 20  # in one list; evidence has 4, a mass event names 20
LABELS_LIMIT = 32  # of one incident; ours are fewer

Shape = dict[str, Any]


async def document(notification: Notification, now: float) -> bytes:
    """The whole notification, sent at `now` (wall time), as JSON in UTF-8."""
    n, told = notification, notification.incidents[:INCIDENTS_LIMIT]
    incidents: list[Shape] = []
    for some in sliced(told):
        incidents += [incident_shape(i, n) for i in some]
        await asyncio.sleep(0)  # others wait for the loop
    return encoded({**_head(n, now), "incidents": incidents})


def encoded(value: object) -> bytes:
    """JSON in UTF-8, whatever a peer has called itself."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def sliced(incidents: Sequence[Incident]) -> Iterator[Sequence[Incident]]:
    """What one turn of the loop may hold of a mass event."""
    for first in range(0, len(incidents), SLICE):
        yield incidents[first : first + SLICE]


def _head(n: Notification, now: float) -> Shape:
    return {
        "version": VERSION,
        "id": n.id,
        "thread": n.thread,
        "instance": n.instance,
        "change": change(n),
        "sent_at": iso(now),
        "subject": n.subject,
        "text": n.text,
        "labels": dict(n.labels),
        "links": {name: url for name, url in _links(n).items() if url},
        "count": len(n.incidents),
    }


def change(n: Notification) -> str:
    """firing, worse or resolved; test where there is no incident."""
    return "test" if n.change is Told.NOTHING else str(n.change)


def incident_shape(i: Incident, n: Notification) -> Shape:
    """One incident of a notification."""
    subject, story = i.subject, alone(i, n.instance)
    return {
        "id": i.id,
        "subject": plain(subject.key),
        "kind": str(subject.kind),
        "name": plain(subject.name),
        "title": plain(subject.title),
        "role": plain(subject.scope.role),
        "labels": labels(subject.scope.labels),
        "rule": plain(i.rule, NAME_LIMIT),
        "family": plain(i.family, NAME_LIMIT),
        "severity": str(i.severity),
        "state": str(i.state),
        "firing": i.firing,
        "since": moment(i.since, n),
        "opened_at": moment(i.opened_at, n),
        "ended_at": moment(i.ended_at, n),
        "resolved_at": moment(i.resolved_at, n),
        "closed": plain(i.closed),
        "cause": str(i.cause) if i.cause else None,
        "loss": str(i.loss) if i.loss else None,
        "summary": brief(story),
        "why": plain(why(i)),
        "next_step": plain(next_step(story)) if i.firing else "",
        "detail": plain(i.detail),
        "last_seen": plain(i.last_seen),
        "evidence": facts(i.evidence, n),
        "acknowledged_by": plain(i.acknowledged_by, NAME_LIMIT),
        "acknowledged_at": moment(i.acknowledged_at, n),
        "note": plain(i.note),
        "part_of": i.part_of,
        "crowd": crowd_shape(i.crowd, n) if i.crowd else None,
        "links": links(i, n),
    }


def crowd_shape(crowd: Crowd, n: Notification) -> Shape:
    """The extensions that were lost together."""
    return {
        "lost": crowd.lost,
        "of": crowd.of,
        "missing": crowd.missing,
        "through": [plain(name, NAME_LIMIT) for name in crowd.through],
        "common": plain(crowd.common),
        "listed": facts(crowd.listed, n),
    }


def facts(several: Iterable[Fact], n: Notification) -> list[Shape]:
    """What happened when; the first ones."""
    some = islice(several, FACTS_LIMIT)
    return [{"at": moment(fact.at, n), "text": plain(fact.text)} for fact in some]


def labels(written: Mapping[str, str]) -> dict[str, str]:
    """The labels of a subject, harmless and bounded."""
    some = list(written.items())[:LABELS_LIMIT]
    return {plain(name, NAME_LIMIT): plain(value) for name, value in some}


def _links(n: Notification) -> dict[str, str]:
    return {"page": n.page, "acknowledge": n.acknowledge}


def links(i: Incident, n: Notification) -> dict[str, str]:
    """Where people read on: page, runbook."""
    found = {"page": n.page, "runbook": n.runbooks.get(i.rule, "")}
    return {name: url for name, url in found.items() if url}


def moment(at: float | None, n: Notification) -> str | None:
    """A time of an incident as the wall clock tells it."""
    return None if at is None else iso(at + n.skew)


def iso(at: float) -> str:
    """UTC s as 2026-11-21T09:02:14.000Z."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
