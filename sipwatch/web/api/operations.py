"""What the daemon does at once, because somebody wants to see it now."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, HTTPException, Path, Query
from fastapi.responses import Response, StreamingResponse

from checks.observation import plain
from sipwatch.answers.verifying import Verified
from sipwatch.web.access import OPERATE
from sipwatch.web.api.answers import LINES, Json, documented, refused, router
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.api.reasons import Subject
from sipwatch.web.api.watched import WORD, Word

# s for all notifiers, each of which has 60; the command line waits longer
TEST_PATIENCE = 75
NAMED = 1000  # notifiers or routes in one request
BEGUN = 202


def add_operations(app: FastAPI, daemon: Daemon) -> None:
    """Look, ask, test."""
    api = router()
    _add_looking(api, daemon)
    _add_testing(api, daemon)
    app.include_router(api, tags=["operations"], dependencies=[OPERATE])


def _add_looking(api: APIRouter, daemon: Daemon) -> None:
    begun = {"model": Verified, "description": "Begun; it was not seen to end yet."}

    @api.post(
        "/subjects/verify",
        responses=documented(Verified, 404, 409, 422) | {BEGUN: begun},
    )
    async def verify(subject: Subject, registrar: Word = "") -> Response:
        """Test a subject now: OPTIONS to a target, a list of a registrar, for an
        extension both, a REGISTER of an account. 429 where it may not be asked yet."""
        with refused():
            found = await daemon.verify(subject, registrar)
        return Json(found, 200 if found["ended"] else BEGUN)

    @api.post("/diagnose", responses=documented(None, 404, 409, 422) | {200: _LINES})
    async def diagnose(subject: Subject, call: bool = False) -> Response:
        """Look at a subject from its name to its phone: one JSON text a line, the
        last one is the verdict. `call` makes the phone ring for a moment."""
        with refused():
            lines = daemon.diagnose(subject, call=call)
        return StreamingResponse(lines, media_type=LINES)

    @api.post(
        "/accounts/{name}/register",
        responses=documented(None, 404, 422) | {200: _LINES},
    )
    async def register(
        name: Annotated[str, Path(max_length=WORD)], verbose: bool = False
    ) -> Response:
        """Test an account now: one JSON text a line, the last one is the outcome."""
        with refused():
            lines = daemon.register(name, verbose=verbose)
            if lines is None:
                raise LookupError(f"no account is named {plain(name)}")
        return StreamingResponse(lines, media_type=LINES)

    @api.post("/bindings", responses=documented(dict[str, Any], 422))
    async def bindings(aor: Annotated[str, Query(max_length=WORD)]) -> Response:
        """What the registrars hold for an AOR, and what its account is told."""
        return Json(await daemon.bindings(aor))


def _add_testing(api: APIRouter, daemon: Daemon) -> None:
    @api.post("/test-notify", responses=documented(dict[str, str], 400, 422, 504))
    async def test_notify(
        notifier: Annotated[list[str] | None, Body(max_length=NAMED)] = None,
    ) -> Response:
        """Send a test notification by each named notifier, or by all; of each the
        error, empty where it was accepted."""
        with refused():
            return Json(await _patiently(daemon.test_notify(notifier or ())))

    @api.post("/test-routes", responses=documented(dict[str, Any], 400, 404, 422, 504))
    async def test_routes(
        route: Annotated[list[int] | None, Body(max_length=NAMED)] = None,
    ) -> Response:
        """Send a test to every notifier of these routes, or of all; of each the
        error, empty where it was accepted."""
        with refused():
            return Json(await _patiently(daemon.test_routes(route or ())))


async def _patiently(test: Any) -> Any:
    try:
        async with asyncio.timeout(TEST_PATIENCE):
            return await test
    except TimeoutError:
        why = f"the notifiers took longer than {TEST_PATIENCE} s"
        raise HTTPException(504, why) from None


_LINES = {
    "description": "One JSON text a line.",
    "content": {LINES: {"schema": {"type": "string"}}},
}
