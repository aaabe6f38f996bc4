"""What was measured, for charts."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query
from fastapi.responses import Response

from sipwatch.views import points as measured
from sipwatch.web.api.answers import Json, documented, refused, router
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.api.reasons import Subject
from sipwatch.web.api.watched import Word

Hours = Annotated[
    int, Query(ge=1, le=measured.MOST, description="How long back; of 30 days.")
]


def add_points(app: FastAPI, daemon: Daemon) -> None:
    """One question."""
    api = router()

    @api.get("/points", responses=documented(measured.Points, 404, 409, 422))
    async def points(
        subject: Subject, registrar: Word = "", hours: Hours = measured.HOURS
    ) -> Response:
        """RTT and loss of the last hours: by the minute, what is older than a day by
        the quarter of an hour. Where nothing was seen there is no row."""
        with refused():
            return Json(
                await measured.shown(daemon, daemon.reader, subject, registrar, hours)
            )

    app.include_router(api, tags=["reasons"])
