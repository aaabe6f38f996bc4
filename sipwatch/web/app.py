"""The HTTP interface: metrics, health, status; one application per listener."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from alerting.store.reader import ReaderError
from checks.observation import plain
from sipwatch import __version__
from sipwatch.people import People
from sipwatch.subjects import AmbiguousError
from sipwatch.web.access import Caller, Gate, Role
from sipwatch.web.evidence import Keeps, add_evidence
from sipwatch.web.links import add_links
from sipwatch.web.people import add_acts, add_silences
from sipwatch.web.reasons import Explains, add_reasons
from sipwatch.web.runbook import HasRunbook, add_runbook
from sipwatch.web.twilio import Public, add_twilio

# s for all notifiers, each of which has 60; the command line waits longer
TEST_PATIENCE = 75
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


class Watched(Explains, HasRunbook, Keeps, Protocol):
    """What the daemon shows of itself."""

    @property
    def ready(self) -> bool:
        """Whether every source has been read, or tried, once."""

    def unwell(self) -> str:
        """Why the daemon does not do its work; empty while it does."""

    def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""

    async def audit(self, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/audit; LookupError for what is no registrar."""

    def metrics(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """A rendering in slices; None while as many as allowed are under way."""

    def diagnose(self, subject: str, *, call: bool) -> AsyncIterator[bytes]:
        """Look at something, its lines as they come; LookupError."""

    def finding(self, subject: str, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/finding; LookupError."""

    async def history(self, subject: str, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/history; LookupError, ReaderError."""

    async def test_notify(self, notifiers: Iterable[str]) -> dict[str, str]:
        """Send a test by each; the error of each, empty where it was accepted."""

    async def test_routes(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Send a test to all of these routes, or of all; LookupError."""

    def register(self, name: str, *, verbose: bool) -> AsyncIterator[bytes] | None:
        """Test an account, its lines as they come; None where there is none."""

    async def bindings(self, aor: str) -> dict[str, Any]:
        """What is known of who is registered for an AOR."""


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
    links; `operate` adds what changes something (the Unix socket).
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
        _add_status(app, watched)
        add_reasons(app, watched)
        add_runbook(app, watched)
    if people is not None and not metrics_only:
        add_silences(app, people)
    if operate:
        _add_operations(app, watched)
        add_evidence(app, watched)
    if operate and people is not None:
        add_acts(app, people)
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
    @app.get("/metrics", response_class=PlainTextResponse, summary="Prometheus")
    async def metrics(request: Request) -> Response:
        gzip = bool(_GZIP.search(request.headers.get("accept-encoding", "")))
        slices = watched.metrics(gzip=gzip)
        if slices is None:
            text = "as many renderings as allowed are under way; ask again\n"
            return PlainTextResponse(text, 503, {"Retry-After": "1"})
        headers = {"Content-Encoding": "gzip"} if gzip else {}
        return StreamingResponse(slices, media_type=METRICS, headers=headers)


def _add_status(app: FastAPI, watched: Watched) -> None:
    @app.get("/-/healthy", response_class=PlainTextResponse)
    async def healthy() -> Response:
        """200 while the daemon does its work, 503 with the reason otherwise."""
        why = watched.unwell()
        return PlainTextResponse(f"{why or 'well'}\n", 503 if why else 200)

    @app.get("/-/ready", response_class=PlainTextResponse)
    async def ready() -> Response:
        """200 after the first pass over every source."""
        is_ready = watched.ready
        text = "ready\n" if is_ready else "the first pass is under way\n"
        return PlainTextResponse(text, 200 if is_ready else 503)

    @app.get("/api/v1/status")
    async def status() -> Response:
        """The state of everything in short; times are ISO 8601 UTC."""
        return JSONResponse(watched.status())

    @app.get("/api/v1/audit")
    async def audit(registrar: str = "") -> Response:
        """How phones register, by kind, and what of it is outside the policy."""
        try:
            return JSONResponse(await watched.audit(registrar))
        except LookupError as unknown:
            raise HTTPException(404, str(unknown)) from None

    @app.get("/api/v1/finding")
    async def finding(subject: str, registrar: str = "") -> Response:
        """Why a subject cannot be called, by all that is known of it now."""
        try:
            return JSONResponse(watched.finding(subject, registrar))
        except AmbiguousError as several:
            raise HTTPException(409, str(several)) from None
        except LookupError as unknown:
            raise HTTPException(404, str(unknown)) from None

    @app.get("/api/v1/history")
    async def history(subject: str, registrar: str = "") -> Response:
        """What changed of a subject, by its key or its name; the oldest first."""
        try:
            return JSONResponse(await watched.history(subject, registrar))
        except AmbiguousError as several:
            raise HTTPException(409, str(several)) from None
        except LookupError as unknown:
            raise HTTPException(404, str(unknown)) from None
        except ReaderError as error:
            raise HTTPException(503, str(error)) from None

    @app.get("/", response_class=PlainTextResponse, include_in_schema=False)
    async def index() -> str:
        return "sipwatch: /metrics /-/healthy /-/ready /api/v1/status\n"


def _add_accounts(app: FastAPI, watched: Watched) -> None:
    @app.post("/api/v1/accounts/{name}/register")
    async def register(name: str, verbose: bool = False) -> Response:
        """Test an account now: one JSON text a line, the last one is the outcome."""
        lines = watched.register(name, verbose=verbose)
        if lines is None:
            raise HTTPException(404, f"no account is named {plain(name)}")
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @app.post("/api/v1/bindings")
    async def bindings(aor: str) -> dict[str, Any]:
        """What the registrars hold for an AOR, and what its account is told."""
        return await watched.bindings(aor)


def _add_operations(app: FastAPI, watched: Watched) -> None:
    _add_accounts(app, watched)

    @app.post("/api/v1/diagnose")
    async def diagnose(subject: str, call: bool = False) -> Response:
        """Look at a subject from its name to its phone: one JSON text a line, the
        last one is the verdict. `call` makes the phone ring for a moment."""
        try:
            lines = watched.diagnose(subject, call=call)
        except AmbiguousError as several:
            raise HTTPException(409, str(several)) from None
        except LookupError as unknown:
            raise HTTPException(404, str(unknown)) from None
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @app.post("/api/v1/test-notify")
    async def test_notify(notifier: list[str] | None = None) -> dict[str, str]:
        """Send a test notification by each named notifier, or by all."""
        try:
            async with asyncio.timeout(TEST_PATIENCE):
                return await watched.test_notify(notifier or ())
        except TimeoutError:
            why = f"the notifiers took longer than {TEST_PATIENCE} s"
            raise HTTPException(504, why) from None

    @app.post("/api/v1/test-routes")
    async def test_routes(route: list[int] | None = None) -> dict[str, Any]:
        """Send a test to every notifier of these routes, or of all; of each the
        error, empty where it was accepted."""
        try:
            async with asyncio.timeout(TEST_PATIENCE):
                return await watched.test_routes(route or ())
        except TimeoutError:
            why = f"the notifiers took longer than {TEST_PATIENCE} s"
            raise HTTPException(504, why) from None
        except LookupError as unknown:
            raise HTTPException(404, str(unknown.args[0])) from None
