"""Why something is as it is, and how it was."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import HTMLResponse, Response

from sipwatch.runbook.page import html, markdown
from sipwatch.web.api.answers import Json, documented, refused, router
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.api.watched import Word

KEY = 640  # characters of a key: an AOR, its registrar and the kind

Subject = Annotated[
    str, Query(max_length=KEY, description="A key, or a name: extension:hq/1001, 1001.")
]
Format = Literal["markdown", "html", "json"]
# Its own style alone: no script, no picture, nothing from elsewhere.
RUNBOOK = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
}


def add_reasons(app: FastAPI, daemon: Daemon) -> None:
    """Questions of a subject, of a registrar, of all."""
    api = router()
    _add_of_subject(api, daemon)

    @api.get("/audit", responses=documented(dict[str, Any], 404, 422))
    async def audit(registrar: Word = "") -> Response:
        """How phones register, by kind, and what of it is outside the policy."""
        with refused():
            return Json(await daemon.audit(registrar))

    @api.get(
        "/runbook",
        response_class=Response,
        responses=documented(None, 422) | {200: _RUNBOOK},
    )
    async def runbook(format: Format = "markdown") -> Response:
        """Every PBX, trunk, account and device; where secrets are, never what."""
        page = daemon.runbook()
        if format == "json":
            return Json(page.json())
        if format == "html":
            return HTMLResponse(html(page), headers=RUNBOOK)
        return Response(markdown(page), media_type="text/markdown; charset=utf-8")

    app.include_router(api, tags=["reasons"])


def _add_of_subject(api: APIRouter, daemon: Daemon) -> None:
    told = documented(dict[str, Any], 404, 409, 422)

    @api.get("/finding", responses=told)
    async def finding(subject: Subject, registrar: Word = "") -> Response:
        """Why a subject cannot be called, by all that is known of it now."""
        with refused():
            return Json(daemon.finding(subject, registrar))

    @api.get("/explain", responses=told)
    async def explain(subject: Subject, registrar: Word = "") -> Response:
        """Why there is no alarm of a subject now, or which; by its key or name."""
        with refused():
            return Json(await daemon.explain(subject, registrar))

    @api.get("/history", responses=told)
    async def history(subject: Subject, registrar: Word = "") -> Response:
        """What changed of a subject, by its key or its name; the oldest first."""
        with refused():
            return Json(await daemon.history(subject, registrar))


_RUNBOOK = {
    "description": "One page.",
    "content": {
        "text/markdown; charset=utf-8": {"schema": {"type": "string"}},
        "text/html; charset=utf-8": {"schema": {"type": "string"}},
        "application/json": {"schema": {"type": "object"}},
    },
}
