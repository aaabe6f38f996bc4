"""The answer of /api/v1/status: everything in short, bounded, in wall-clock time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

from alerting.incident import Batch, Delivery, Incident, Told
from alerting.notification.headline import Times, headline, tale
from checks.accounts.account import Account
from checks.observation import Subject
from checks.registrations.judge import Judge
from sipwatch import __version__, outbound
from sipwatch.answers import telling
from sipwatch.answers.reasons import over_at, utc
from sipwatch.config.settings import local_zone
from sipwatch.findings import finding_json
from sipwatch.sources import Sources, sliced
from sipwatch.subjects import key_of
from sipwatch.surroundings import Surroundings
from sipwatch.views import accounts, certificates, overview, registrars, schedules
from sipwatch.views.lens import Lens

INCIDENTS = 250  # listed; the count beside tells how many there are
WORDED = 25  # of them in one turn of the loop: some 5 ms
CERTIFICATES = 20  # listed, the first to end: the metrics have them all

_OF_REGISTRAR = ("name", "type", "state", "cause", "since", "detail", "extensions")
_UNTESTED = ("name", "registrar", "aor", "mode", "state", "cause", "since")
_OF_ACCOUNT = (
    *_UNTESTED,
    *("tested_at", "next_at", "detail", "next_step", "address", "transport", "rtt"),
    "bindings",
)


async def status(sources: Sources) -> dict[str, Any]:
    """What is shown of the daemon; times are ISO 8601 UTC."""
    lens = Lens(sources)
    incidents = sources.alarms.incidents
    worst = await _incidents(incidents, lens)
    return {
        "version": __version__,
        "ready": sources.ready,
        "since": lens.at(sources.started_at),
        "registrars": [_registrar(lens, one) for one in sources.judges.values()],
        "targets": overview.targets(lens),
        "accounts": [_account(lens, one) for one in sources.accounts.values()],
        "reload": sources.touched.shown(lens.at),
        "certificates": _certificates(lens),
        "incidents": worst,
        "incidents_open": len(incidents),
        "packets": {
            "kept": len(sources.gathering.kept),
            "missed": sources.gathering.missed,
            "error": sources.gathering.error,
        },
        "outbox": overview.outbox(lens),
        "notifiers": telling.notifiers(sources, lens.at),
        "heartbeat": telling.heartbeat(sources, lens.at),
        "vantage": telling.vantage(sources, lens.at),
        "twilio": sources.twilio.status(),
        "silences": telling.silences(sources),
        "maintenance": telling.maintenance(sources),
        "schedules": schedules.listed(sources),
    }


def _registrar(lens: Lens, judge: Judge) -> dict[str, Any]:
    row = registrars.row(lens, judge)
    shown: dict[str, Any] = {name: row[name] for name in _OF_REGISTRAR}  # type: ignore[literal-required]
    shown["registrations"] = outbound.shown(judge, lens.sources, lens.at)
    shown["registrations_kept"] = row["registrations"]
    if "contacts" in row:
        shown["contacts"] = row["contacts"]
    if row["members"]:
        shown["members"] = row["members"]
    return shown


def _account(lens: Lens, account: Account) -> dict[str, Any]:
    row = accounts.row(lens, account)
    names = _OF_ACCOUNT if account.outcome else _UNTESTED
    return {name: row[name] for name in names}  # type: ignore[literal-required]


def _certificates(lens: Lens) -> list[dict[str, Any]]:
    """Those that end first, by address."""
    return [
        {
            "target": row["key"],
            "address": row["address"],
            "transport": row["transport"],
            "not_after": row["not_after"],
        }
        for row in certificates.of_targets(lens, CERTIFICATES)
    ]


# --- incidents ------------------------------------------------------------------------


async def _incidents(incidents: list[Incident], lens: Lens) -> list[dict[str, Any]]:
    """The worst and oldest first."""
    first = heapq.nsmallest(
        INCIDENTS, incidents, key=lambda i: (-i.severity, i.since, i.id)
    )
    clock = lens.sources.clock
    times = Times(local_zone(), clock.now(), clock.skew)
    # One registrar's incidents share its count, which is a walk over its extensions.
    count = _Once(Surroundings(lens.sources).extensions)
    rows: list[dict[str, Any]] = []
    for part in sliced(first, WORDED):
        rows += [_incident(i, lens, _text(i, times, lens, count)) for i in part]
        await asyncio.sleep(0)
    return rows


def _incident(i: Incident, lens: Lens, text: str) -> dict[str, Any]:
    sources, iso = lens.sources, lens.at
    found = sources.findings.of(i.subject, i, around=False)
    return {
        "id": i.id,
        "subject": key_of(i.subject),
        "family": i.family,
        "rule": i.rule,
        "severity": str(i.severity),
        "state": "acknowledged" if i.acknowledged_by else "firing",
        "subject_state": i.state,
        "cause": i.cause,
        "since": iso(i.since),
        "opened_at": iso(i.opened_at),
        "acknowledged_by": i.acknowledged_by,
        "note": i.note,
        "muted_by": sources.alarms.silences.reason(i, lens.now),
        "over_at": None if (over := over_at(i, sources)) is None else utc(over),
        "text": text,
        "finding": None if found is None else finding_json(found, iso),
        "packets": sources.gathering.mentioned(i, sources.clock.to_wall(i.opened_at)),
    }


class _Once:
    """Remembers what was counted, for the length of one answer."""

    def __init__(self, count: Callable[[Subject], int | None]) -> None:
        self._count = count
        self._known: dict[Subject, int | None] = {}

    def __call__(self, subject: Subject) -> int | None:
        if subject not in self._known:
            self._known[subject] = self._count(subject)
        return self._known[subject]


def _text(
    incident: Incident,
    times: Times,
    lens: Lens,
    count: Callable[[Subject], int | None],
) -> str:
    """The subject that a mail of it has, without the severity."""
    row = Delivery(incident, "", "", Told.FIRING)
    instance = lens.sources.config.instance
    story = tale(Batch("", "", Told.FIRING, (row,), ""), times, instance, count)
    return headline(story).removeprefix(f"[{incident.severity}] ")
