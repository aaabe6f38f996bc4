"""The HTTP interface: metrics, health, status; one application per listener."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from sipwatch import __version__
from sipwatch.people import People
from sipwatch.web.access import Anybody, Networks
from sipwatch.web.api import add_api
from sipwatch.web.api.answers import documented
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.doors import HERE, Doors
from sipwatch.web.events import Follows, add_events
from sipwatch.web.gate import Gated
from sipwatch.web.links import add_links
from sipwatch.web.pages import add_pages
from sipwatch.web.twilio import Public, add_twilio

METRICS = "text/plain; version=0.0.4; charset=utf-8"
# RFC 9110 12.5.3: a weight of 0 refuses it.
_GZIP = re.compile(r"(?:^|,)\s*(?:x-)?gzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.I)


class Watched(Daemon, Protocol):
    """What the daemon shows of itself."""

    def metrics(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """A rendering in slices; None while as many as allowed are under way."""


def application(
    watched: Watched,
    *,
    allow: Iterable[str] = (),
    metrics_only: bool = False,
    public_only: bool = False,
    operate: bool = False,
    doors: Doors | None = None,
    people: People | None = None,
    feed: Follows | None = None,
    twilio: Public | None = None,
) -> FastAPI:
    """The application of a listener.

    `doors` know who may ask, else all in the networks `allow` may read; with
    `metrics_only` it has nothing but /metrics, with `public_only` nothing but signed
    links; who may `operate` may change something (the Unix socket).
    """
    open_to_all = metrics_only or public_only
    app = Gated(
        Anybody(HERE) if operate else doors or Networks(allow),
        tls=bool(doors and doors.certificate),
        title="sipwatch",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None if open_to_all else "/openapi.json",
    )
    if people is not None and not metrics_only:
        add_links(app, people)
    if public_only:
        if twilio is not None:
            add_twilio(app, twilio)
        return app
    _add_metrics(app, watched)
    if not metrics_only:
        add_api(app, watched, people)
    if feed is not None and not metrics_only:
        add_events(app, feed)
    if people is not None and not metrics_only:
        add_pages(app, watched, people, feed)
    if not open_to_all:
        app.openapi()  # made here, with all that routes need, and not while others wait
    return app


def _add_metrics(app: FastAPI, watched: Watched) -> None:
    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=documented(text=METRICS),
        tags=["status"],
    )
    async def metrics(request: Request) -> Response:
        """All metrics, as Prometheus reads them."""
        gzip = bool(_GZIP.search(request.headers.get("accept-encoding", "")))
        slices = watched.metrics(gzip=gzip)
        if slices is None:
            text = "as many renderings as allowed are under way; ask again\n"
            return PlainTextResponse(text, 503, {"Retry-After": "1"})
        headers = {"Content-Encoding": "gzip"} if gzip else {}
        return StreamingResponse(slices, media_type=METRICS, headers=headers)
