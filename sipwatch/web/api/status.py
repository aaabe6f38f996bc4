"""How the daemon does, in short: for probes, and for whoever looks first."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from sipwatch.views.overview import Overview, overview
from sipwatch.web.api.answers import Json, documented, router
from sipwatch.web.api.daemon import Daemon

PLAIN = "text/plain; charset=utf-8"


def add_status(app: FastAPI, daemon: Daemon) -> None:
    """Two probes, two summaries."""

    @app.get(
        "/-/healthy",
        response_class=PlainTextResponse,
        responses=documented(text=PLAIN),
        tags=["status"],
    )
    async def healthy() -> Response:
        """200 while the daemon does its work, 503 with the reason otherwise."""
        why = daemon.unwell()
        return PlainTextResponse(f"{why or 'well'}\n", 503 if why else 200)

    @app.get(
        "/-/ready",
        response_class=PlainTextResponse,
        responses=documented(text=PLAIN),
        tags=["status"],
    )
    async def ready() -> Response:
        """200 after the first pass over every source."""
        is_ready = daemon.ready
        text = "ready\n" if is_ready else "the first pass is under way\n"
        return PlainTextResponse(text, 200 if is_ready else 503)

    api = router()

    @api.get("/status", responses=documented(dict[str, Any]), tags=["status"])
    async def status() -> Response:
        """The state of everything in short; times are ISO 8601 UTC."""
        return Json(await daemon.status())

    @api.get("/overview", responses=documented(Overview), tags=["status"])
    async def summary() -> Response:
        """How many are well and how many are not, in a line."""
        return Json(overview(daemon))

    app.include_router(api)
