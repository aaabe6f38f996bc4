"""The answer of /api/v1/status: everything in short, bounded, in wall-clock time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from alerting.incident import Batch, Delivery, Incident, Told
from alerting.notification.headline import Times, headline, tale
from checks.accounts.account import Account
from checks.cause import Finding
from checks.observation import State, Subject
from checks.options.rows import STATES
from checks.registrations.judge import Judge
from checks.registrations.reaching import reach
from sipwatch import __version__, outbound, telling
from sipwatch.config.settings import local_zone
from sipwatch.findings import Findings, finding_json
from sipwatch.sources import Sight, Sources, owed_since, readable
from sipwatch.surroundings import Surroundings

INCIDENTS = 250  # listed: 10 ms to word them; the count beside tells how many there are
CERTIFICATES = 20  # listed, the first to end: the metrics have them all
UNKNOWN = "unknown"  # not seen yet, or not to be seen now

_TARGETS = (State.UP, State.DEGRADED, State.DOWN)
_EXTENSIONS = (
    State.REGISTERED,
    State.UNREACHABLE,
    State.UNREGISTERED,
    State.NEVER_REGISTERED,
)


def status(sources: Sources) -> dict[str, Any]:
    """What is shown of the daemon; times are ISO 8601 UTC."""
    iso = _Iso(sources.clock.to_wall)
    incidents = sources.alarms.incidents
    return {
        "version": __version__,
        "ready": sources.ready,
        "since": iso(sources.started_at),
        "registrars": [
            _registrar(judge, sources, iso) for judge in sources.judges.values()
        ],
        "targets": _targets(sources),
        "accounts": [_account(account, iso) for account in sources.accounts.values()],
        "reload": sources.touched.shown(iso),
        "certificates": _certificates(sources),
        "incidents": _incidents(incidents, sources, iso),
        "incidents_open": len(incidents),
        "packets": {
            "kept": len(sources.gathering.kept),
            "missed": sources.gathering.missed,
            "error": sources.gathering.error,
        },
        "outbox": _outbox(sources, iso),
        "notifiers": telling.notifiers(sources, iso),
        "heartbeat": telling.heartbeat(sources, iso),
        "vantage": telling.vantage(sources, iso),
        "twilio": sources.twilio.status(),
        "silences": telling.silences(sources),
        "maintenance": telling.maintenance(sources),
        "schedules": telling.schedules(sources, iso),
    }


class _Iso:
    """Our times as the wall clock tells them: 2026-03-01T10:02:14.250Z."""

    def __init__(self, to_wall: Callable[[float], float]) -> None:
        self._to_wall = to_wall

    def __call__(self, at: float) -> str:
        return _utc(self._to_wall(at))


def _utc(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


# --- registrars -----------------------------------------------------------------------


def _registrar(judge: Judge, sources: Sources, iso: _Iso) -> dict[str, Any]:
    members = list(judge.members.values())
    shown: dict[str, Any] = {
        "name": judge.name,
        "type": judge.settings.type,
        "state": judge.state or UNKNOWN,
        "cause": judge.cause,
        "since": iso(judge.since),
        "detail": _detail(judge),
        "extensions": _extensions(judge, sources),
        "registrations": outbound.shown(judge, sources, iso),
        "registrations_kept": len(judge.outgoing.registrations),
    }
    if judge.settings.probe_contacts and readable(judge, sources.alarms):
        shown["contacts"] = reach(judge.extensions.values())
    if len(members) > 1:
        shown["members"] = [
            {
                "address": member.name,
                "state": _member_state(member.readable),
                "cause": member.cause,
                "since": iso(member.since) if member.since else None,
                "detail": member.detail,
            }
            for member in members
        ]
    return shown


def _detail(judge: Judge) -> str:
    """Why it, or a member of it, cannot be read."""
    members = judge.members.values()
    why = [(m.name, m.detail) for m in members if m.detail and not m.readable]
    if len(members) == 1:
        return why[0][1] if why else ""
    return "; ".join(f"{name}: {detail}" for name, detail in why)


def _member_state(readable: bool | None) -> str:
    if readable is None:
        return UNKNOWN
    return State.READABLE if readable else State.UNREADABLE


def _extensions(judge: Judge, sources: Sources) -> dict[str, int]:
    """How many are in each state; all are unknown while nobody can see them."""
    total = len(judge.extensions)
    if not readable(judge, sources.alarms):
        return {UNKNOWN: total}
    counts = judge.counts()
    shown = {str(state): counts.get(state, 0) for state in _EXTENSIONS}
    return {**shown, UNKNOWN: total - sum(shown.values())}


# --- targets --------------------------------------------------------------------------


def _targets(sources: Sources) -> dict[str, int]:
    judge, sight = sources.options.judge, Sight(sources.alarms)
    counts = [0] * len(STATES)
    # Files of targets put thousands of one scope behind each other.
    scope, seen = None, True
    for subject, state in zip(judge.subjects, judge.state, strict=True):
        if subject is None:
            continue
        if subject.scope is not scope:
            scope, seen = subject.scope, sight.of(subject)
        counts[state if seen else 0] += 1
    found = dict(zip(STATES, counts, strict=True))
    return {**{str(state): found[state] for state in _TARGETS}, UNKNOWN: found[None]}


def _certificates(sources: Sources) -> list[dict[str, Any]]:
    """Those that end first, by address; their ends are of the wall clock already."""
    return [
        {
            "target": subject.key,
            "address": str(link),
            "transport": link.address.transport,
            "not_after": _utc(link.not_after or 0.0),
        }
        for subject, link in sources.options.certificates(CERTIFICATES)
    ]


# --- accounts -------------------------------------------------------------------------


def _account(account: Account, iso: _Iso) -> dict[str, Any]:
    outcome, settings = account.outcome, account.settings
    shown: dict[str, Any] = {
        "name": account.name,
        "registrar": settings.registrar,
        "aor": settings.identity.aor,
        "mode": settings.mode,
        "state": account.state or UNKNOWN,
        "cause": None,
        "since": None,
    }
    if outcome is None:
        return shown
    return shown | {
        "cause": outcome.cause,
        "since": iso(account.since),
        "tested_at": iso(outcome.at),
        "next_at": iso(account.due),
        "detail": outcome.sentence,
        "next_step": outcome.step,
        "address": outcome.address,
        "transport": outcome.transport,
        "rtt": outcome.rtt,
        "bindings": len(outcome.bindings),
    }


# --- incidents and outbox -------------------------------------------------------------


def _incidents(
    incidents: list[Incident], sources: Sources, iso: _Iso
) -> list[dict[str, Any]]:
    """The worst and oldest first."""
    first = heapq.nsmallest(
        INCIDENTS, incidents, key=lambda i: (-i.severity, i.since, i.id)
    )
    clock = sources.clock
    times = Times(local_zone(), clock.now(), clock.skew)
    # One registrar's incidents share its count, which is a walk over its extensions.
    count = _Once(Surroundings(sources).extensions)
    findings = Findings(sources)
    return [
        {
            "id": i.id,
            "subject": i.subject.key,
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
            "muted_by": sources.alarms.silences.reason(i, clock.now()),
            "text": _text(i, times, sources.config.instance, count),
            "finding": _finding(findings.of(i.subject, i, around=False), iso),
            "packets": sources.gathering.mentioned(i, clock.to_wall(i.opened_at)),
        }
        for i in first
    ]


def _finding(found: Finding | None, iso: _Iso) -> dict[str, Any] | None:
    return None if found is None else finding_json(found, iso)


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
    instance: str,
    count: Callable[[Subject], int | None],
) -> str:
    """The subject that a mail of it has, without the severity."""
    row = Delivery(incident, "", "", Told.FIRING)
    story = tale(Batch("", "", Told.FIRING, (row,), ""), times, instance, count)
    return headline(story).removeprefix(f"[{incident.severity}] ")


def _outbox(sources: Sources, iso: _Iso) -> dict[str, Any]:
    now, owed = sources.clock.now(), sources.alarms.owed()
    oldest = min((owed_since(row, now) for row in owed), default=None)
    return {"pending": len(owed), "oldest": None if oldest is None else iso(oldest)}
