"""The buttons: acknowledge, silence, end a silence, ask now; each leads back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from sipwatch.answers.verifying import TooSoonError
from sipwatch.people import NotStoredError, People
from sipwatch.web.access import OPERATE, signed
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.shell import HEADERS

BODY = 8192  # octets of a form: names, a reason, a key
FIELDS = 10
SEE_OTHER = 303
PATIENCE = 3.0  # s that a button may take
LASTS = ("30m", "2h", "8h", "1d", "7d")


def add_acts(app: FastAPI, daemon: Daemon, people: People) -> None:
    """Forms that work without JavaScript."""

    @app.post("/i/{id}/acknowledge", include_in_schema=False, dependencies=[OPERATE])
    async def acknowledge(id: int, request: Request) -> Response:
        form = await _form(request)
        by = signed(form.get("by", ""), request)
        note = form.get("note", "")
        return await _done(form, "taken", people.acknowledge(id, by, note))

    @app.post("/silences", include_in_schema=False, dependencies=[OPERATE])
    async def silence(request: Request) -> Response:
        form = await _form(request)
        if form.get("lasts") not in LASTS:
            return _back(form, "incomplete")
        made = people.silence(
            matchers_of(form.get("subject", "")),
            author=signed(form.get("author", ""), request),
            reason=form.get("reason", ""),
            lasts=form["lasts"],
        )
        return await _done(form, "silenced", made)

    @app.post("/silences/{id}/end", include_in_schema=False, dependencies=[OPERATE])
    async def end(id: str, request: Request) -> Response:
        return await _done(await _form(request), "ended", people.unsilence(id))

    for kind in ("e", "t"):
        path = f"/{kind}/{{key:path}}/verify"

        @app.post(path, include_in_schema=False, dependencies=[OPERATE])
        async def verify(key: str, request: Request) -> Response:
            form = await _form(request)
            return await _done(form, "verified", _asked(daemon, key))


def matchers_of(key: str) -> list[str]:
    """What fits a subject and nothing else: `extension=1001@x`, `registrar=hq`."""
    kind, _, rest = key.partition(":")
    scope, slash, name = rest.partition("/")
    if kind in ("extension", "registration") and slash:
        return [f"{kind}={name}", f"registrar={scope}"]
    return [f"{kind}={name if slash else rest}"]


async def _asked(daemon: Daemon, key: str) -> None:
    """Ask now, and wait for a moment: what is slow shows on the page later."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await daemon.verify(key, "")


async def _done(form: dict[str, str], said: str, act: Awaitable[Any]) -> Response:
    try:
        await act
    except LookupError:
        said = "over"
    except TooSoonError:
        said = "soon"
    except ValueError:
        said = "incomplete"
    except NotStoredError:
        said = "unstored"
    return _back(form, said)


def _back(form: dict[str, str], said: str) -> Response:
    """To the page that had the button; never to another host."""
    return RedirectResponse(
        f"{own_path(form.get('back', ''))}?{urlencode({'said': said})}",
        SEE_OTHER,
        HEADERS,
    )


def own_path(back: str) -> str:
    """A path of ours, or the first page."""
    ours = back.startswith("/") and not back.startswith("//")
    if not ours or not back.isprintable() or "\\" in back:
        return "/"
    return quote(back.partition("#")[0].partition("?")[0], safe="/:@%")


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, each once."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY:
            raise HTTPException(413, "that is too much to say here")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=FIELDS)
    except ValueError:
        raise HTTPException(422, "that is no form of ours") from None
    return {name: values[0] for name, values in fields.items()}
