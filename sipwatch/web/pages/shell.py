"""What all pages have: templates, static files, and how an answer is written."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sipwatch.web.access import Role, caller_of
from sipwatch.web.pages import words
from sipwatch.web.turns import Turnstile

BUSY = 0.004  # s of writing before others on the loop have a turn
PIECE = 16_384  # characters that are sent together
SENT = 65_536  # bytes of what is written already
HTML = "text/html; charset=utf-8"
STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "mark-good.svg": "image/svg+xml",
    "mark-critical.svg": "image/svg+xml",
    "mark-warning.svg": "image/svg+xml",
    "mark-info.svg": "image/svg+xml",
    "mark-unknown.svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
# Where a template leaves room for what is written without one; nobody can guess it.
HOLE = f"\0{secrets.token_hex(8)}"

Hole = Iterator[str] | AsyncIterator[str]


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """One of our files and its hash; KeyError for what is none."""
    STATIC[name]
    data = (files("sipwatch.web") / "static" / name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:16]


def static(name: str) -> str:
    """Where a file is: another one after every change of it."""
    return f"/static/{name}?v={static_file(name)[1]}"


@cache
def environment() -> Environment:
    """The templates; whatever they are given is escaped."""
    made = Environment(
        loader=PackageLoader("sipwatch.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        static=static,
        marks=words.mark,
        words=words.words,
        owed=words.owed,
        stamp=words.stamp,
        path_of=words.path_of,
        by_state=words.by_state,
        counted=words.counted,
        ms=words.milliseconds,
        percent=words.percent,
        hole=hole,
    )
    return made


def hole(number: int) -> Markup:
    """What a template writes where something else is to be put."""
    return Markup(f"{HOLE}{number:04d}")  # noqa: S704 - a number


@cache
def load() -> None:
    """Make all templates and files ready, some 10 ms each: before anybody waits."""
    for name in environment().list_templates(extensions=["html"]):
        environment().get_template(name)
    for name in STATIC:
        static_file(name)


async def pieces(
    name: str, values: Mapping[str, Any], holes: Iterable[Hole] = ()
) -> AsyncIterator[str]:
    """A template as it is written; the loop has a turn every few milliseconds."""
    fills = list(holes)
    kept: list[str] = []
    size, began = 0, time.perf_counter()
    async for part in _parts(environment().get_template(name).generate(values), fills):
        kept.append(part)
        size += len(part)
        if size > PIECE:
            yield "".join(kept)
            kept, size = [], 0
        if time.perf_counter() - began > BUSY:
            await asyncio.sleep(0)
            began = time.perf_counter()
    yield "".join(kept)


async def _parts(written: Iterable[str], fills: list[Hole]) -> AsyncIterator[str]:
    for text in written:
        head, *rest = text.split(HOLE)
        yield head
        for one in rest:
            fill = fills[int(one[:4])]
            if isinstance(fill, AsyncIterator):
                async for part in fill:
                    yield part
            else:
                for part in fill:
                    yield part
            yield one[4:]


async def page(
    name: str,
    values: Mapping[str, Any],
    holes: Iterable[Hole] = (),
    *,
    status: int = 200,
) -> Response:
    """A page that is written while it is sent; what fails in its first lines is an
    error as any other."""
    written = pieces(name, values, holes)
    first = await anext(written)

    async def rest() -> AsyncIterator[str]:
        yield first
        async for part in written:
            yield part

    return StreamingResponse(rest(), status, HEADERS, media_type=HTML)


async def whole(
    name: str, values: Mapping[str, Any], holes: Iterable[Hole] = ()
) -> bytes:
    """A template as it is when all is written."""
    return "".join([part async for part in pieces(name, values, holes)]).encode()


def fragment(written: bytes, turnstile: Turnstile) -> Response:
    """A part of a page; of a large one each reader has a piece at a time."""

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(written), SENT):
            await turnstile.passed()
            yield written[at : at + SENT]

    if len(written) <= SENT:
        return HTMLResponse(written, headers=HEADERS)
    return StreamingResponse(parts(), headers=HEADERS, media_type=HTML)


def last_change(request: Request) -> str:
    """The last event that was told."""
    feed = request.app.state.feed
    return feed.id if feed else ""


def asker(request: Request) -> dict[str, Any]:
    """Who asks, whether what changes something is offered, and which event was last."""
    caller = caller_of(request)
    return {
        "who": caller.name,
        "operates": caller.role >= Role.OPERATE,
        "events": last_change(request) or None,
    }
