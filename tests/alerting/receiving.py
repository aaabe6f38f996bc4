"""Servers that notifiers send to: one that keeps what it gets, one of raw bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import CIMultiDict


@dataclass
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers each request with the next of `answers`, then with 200."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        headers = CIMultiDict(request.headers)
        self.got.append(Got(request.path, headers, await request.read()))
        return self.answers.pop(0) if self.answers else web.Response(text="ok")


@asynccontextmanager
async def receiving(*answers: web.Response, ssl: Any = None) -> AsyncIterator[Receiver]:
    """A web server on a port of its own."""
    receiver = Receiver(answers=list(answers))
    app = web.Application(client_max_size=64_000_000)
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
    await site.start()
    _, port = runner.addresses[0][:2]
    receiver.url = f"{'https' if ssl else 'http'}://127.0.0.1:{port}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(talk: Talk) -> AsyncIterator[str]:
    """A server that reads a request's head, then says what it likes."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
