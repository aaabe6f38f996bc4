"""Incidents: who has which, why, and who is on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.responses import Response

from sipwatch.people import People
from sipwatch.views import incidents
from sipwatch.views.paging import LIMIT, Page
from sipwatch.web.access import OPERATE, signed
from sipwatch.web.api.answers import Json, documented, refused, router
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.api.watched import Cursor, Limit, Search, Word

LARGEST = (1 << 63) - 1  # that the database can hold

Number = Annotated[int, Path(ge=1, le=LARGEST)]


@dataclass
class Taken:
    """Who takes an incident, and what they say; without a name it is the caller."""

    by: str = ""
    note: str = ""


def add_incidents(app: FastAPI, daemon: Daemon, people: People | None) -> None:
    """Ask of them; take one."""
    api = router()

    @api.get("/incidents", responses=documented(Page[incidents.IncidentRow], 422))
    async def listed(
        state: incidents.Wanted = "open",
        severity: Literal["info", "warning", "critical", ""] = "",
        rule: Word = "",
        registrar: Word = "",
        site: Word = "",
        since: Annotated[
            str, Query(max_length=40, description="Opened then or later; ISO 8601.")
        ] = "",
        search: Search = "",
        limit: Limit = LIMIT,
        cursor: Cursor = "",
    ) -> Response:
        """Incidents, the newest first; open is what fires, acknowledged or not."""
        with refused():
            found = await incidents.listed(
                daemon,
                daemon.reader,
                state=state,
                severity=severity,
                rule=rule,
                registrar=registrar,
                site=site,
                since=_moment(since) if since else None,
                search=search,
                limit=limit,
                cursor=cursor,
            )
        return Json(found)

    @api.get("/incidents/{id}", responses=documented(incidents.OneIncident, 404, 422))
    async def one(id: Number) -> Response:
        """An incident with its cause, history, deliveries and what was considered."""
        with refused():
            return Json(await daemon.incident(id))

    _add_why(api, daemon)
    if people is not None:
        _add_taking(api, people)
    app.include_router(api, tags=["incidents"])


def _add_why(api: APIRouter, daemon: Daemon) -> None:
    @api.get("/incidents/{id}/explain", responses=documented(dict[str, Any], 404, 422))
    async def explain(id: Number) -> Response:
        """Rule, observations, what was considered and suppressed, routes, attempts."""
        with refused():
            return Json(await daemon.explain_incident(id))

    @api.get(
        "/incidents/{id}/evidence",
        responses=documented(dict[str, Any], 404, 422),
        dependencies=[OPERATE],
    )
    async def evidence(id: Number, file: bool = False) -> Response:
        """Size, SHA-256 and text of an exchange; with `file` the pcapng in base64.
        Packets hold more than is shown to all, so this needs the role operate."""
        with refused():
            return Json(await daemon.evidence(id, file=file))


def _add_taking(api: APIRouter, people: People) -> None:
    @api.post(
        "/incidents/{id}/acknowledge",
        responses=documented(dict[str, Any], 400, 404, 422),
        dependencies=[OPERATE],
    )
    async def acknowledge(id: Number, taken: Taken, request: Request) -> Response:
        """Take an open incident: it is not repeated, nor escalated, any more."""
        by = signed(taken.by, request)
        with refused():
            return Json(await people.acknowledge(id, by, taken.note))


def _moment(written: str) -> float:
    """Of the wall clock; ValueError with a sentence."""
    try:
        at = datetime.fromisoformat(written)
        if at.tzinfo is None:
            raise ValueError
        return at.timestamp()
    except (ValueError, OverflowError):
        text = f"since: {written} is not a time (write 2026-03-07T20:00:00Z)"
        raise ValueError(text) from None
