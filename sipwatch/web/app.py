"""The HTTP interface: metrics, health, status; one application per listener."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from sipwatch import __version__
from sipwatch.people import People
from sipwatch.web.access import Caller, Gate, Role
from sipwatch.web.api import add_api
from sipwatch.web.api.answers import documented
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.links import add_links
from sipwatch.web.twilio import Public, add_twilio

METRICS = "text/plain; version=0.0.4; charset=utf-8"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
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
    people: People | None = None,
    twilio: Public | None = None,
) -> FastAPI:
    """The application of a listener.

    `allow` are the networks that may ask (empty: all that can connect); with
    `metrics_only` it has nothing but /metrics, with `public_only` nothing but signed
    links; who may `operate` may change something (the Unix socket).
    """
    app = FastAPI(
        title="sipwatch",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None if metrics_only or public_only else "/openapi.json",
    )
    app.add_middleware(Gate, caller=Caller("", Role.OPERATE if operate else Role.READ))
    networks = [ipaddress.ip_network(n) for n in allow]
    app.middleware("http")(_guard(networks))
    if people is not None and not metrics_only:
        add_links(app, people)
    if public_only:
        if twilio is not None:
            add_twilio(app, twilio)
        return app
    _add_metrics(app, watched)
    if not metrics_only:
        add_api(app, watched, people)
        _add_index(app)
    return app


def _guard(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> Callable[..., Awaitable[Response]]:
    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if networks and not _inside(request, networks):
            return PlainTextResponse("not allowed from here\n", 403, HEADERS)
        response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return guard


def _inside(
    request: Request,
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    if request.client is None:
        return False
    address = ipaddress.ip_address(request.client.host)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address  # IPv4 over an IPv6 socket
    return any(address in n for n in networks)


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


def _add_index(app: FastAPI) -> None:
    @app.get("/", response_class=PlainTextResponse, include_in_schema=False)
    async def index() -> str:
        return "sipwatch: /metrics /-/healthy /-/ready /api/v1/status\n"
