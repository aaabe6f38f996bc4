"""The runbook over HTTP."""

from __future__ import annotations

from typing import Literal, Protocol

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response

from sipwatch.runbook.page import Page, html, markdown

Format = Literal["markdown", "html", "json"]
# Its own style alone: no script, no picture, nothing from elsewhere.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
}


class HasRunbook(Protocol):
    """What the daemon says of all that it watches."""

    def runbook(self) -> Page:
        """One page of it."""


def add_runbook(app: FastAPI, daemon: HasRunbook) -> None:
    """Show the page."""

    @app.get("/api/v1/runbook", response_class=Response)
    async def runbook(format: Format = "markdown") -> Response:
        """Every PBX, trunk, account and device; where secrets are, never what."""
        page = daemon.runbook()
        if format == "json":
            return JSONResponse(page.json())
        if format == "html":
            return HTMLResponse(html(page), headers=HEADERS)
        return Response(markdown(page), media_type="text/markdown; charset=utf-8")
