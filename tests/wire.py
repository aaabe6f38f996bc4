"""Recorded sessions, and a server that answers as the recorded one did.

python -m tests.wire tests/data/ami/user_monitor.txt.gz     serves it on a free port
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.servers import within

DATA = Path(__file__).parent / "data"
GREETING = b"Asterisk Call Manager/11.0.0\r\n"
PATIENCE = 30.0  # s for what a test waits for
AHEAD = 1_000_000  # bytes that a server holds for a client that is slow
HANG = b"<hang>"  # an answer: nothing more comes
CLOSE = b"<close>"  # an answer: end of file
RESET = b"<reset>"

_HEADER = re.compile(rb"--- ([SC]) (\S+) (\d+) bytes\n")


def read(name: str) -> bytes:
    """A recorded file of tests/data."""
    data = (DATA / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def segments(recording: bytes) -> list[tuple[str, bytes]]:
    """Who sent which bytes in one piece: ("S", b"Response: Success\\r\\n")."""
    found = []
    at = 0
    while header := _HEADER.search(recording, at):
        start = header.end()
        at = start + int(header[3])
        found.append((header[1].decode(), recording[start:at]))
    return found


def lines(recording: bytes) -> bytes:
    """A log of `=== time` lines and LF as the bytes that a socket gave."""
    kept = [row for row in recording.split(b"\n") if not row.startswith(b"=== ")]
    return b"\r\n".join(kept)


def header(block: bytes, name: str) -> str:
    """One header of a message."""
    found = re.search(rb"^" + name.encode() + rb": ([^\r]*)", block, re.MULTILINE)
    return found[1].decode("latin-1") if found else ""


def answers(recording: bytes) -> dict[str, list[bytes]]:
    """What the server sent after each action, in the recorded pieces."""
    found: dict[str, list[bytes]] = {}
    current: list[bytes] = []
    for side, data in segments(recording):
        if side == "C":
            current = found.setdefault(header(data, "Action"), [])
            current.clear()
        else:
            current.append(data)
    return found


def renamed(pieces: Iterable[bytes], action_id: str) -> Iterator[bytes]:
    """The pieces with another ActionID."""
    line = b"ActionID: " + action_id.encode() + b"\r\n"
    return (re.sub(rb"ActionID: [^\r]*\r\n", lambda _: line, p) for p in pieces)


@dataclass
class AmiServer:
    """Asterisk's manager interface, by a table of what it answers to each action."""

    answers: dict[str, list[bytes]]
    greeting: bytes = GREETING
    after_login: list[bytes] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    actions: list[str] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    said: int = 0  # bytes

    async def __aenter__(self) -> Self:
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[Any]] = []
        self._stirred = asyncio.Condition()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.tls
        )
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        async with within(PATIENCE, "the end of the AMI server's connections"):
            await asyncio.gather(*self._serving)
            await self._server.wait_closed()

    async def push(self, *pieces: bytes) -> None:
        """Say something unasked to every client; CLOSE and RESET end it."""
        for writer in self._writers:
            await self._say(writer, pieces)

    async def asked(self, action: str, times: int = 1) -> None:
        """Wait until an action has come so many times."""
        what = f"{action} asked {times} times"
        async with within(PATIENCE, what), self._stirred:
            await self._stirred.wait_for(lambda: self.actions.count(action) >= times)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        if task := asyncio.current_task():
            self._serving.append(task)
        try:
            await self._say(writer, [self.greeting])
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                await self._answer(writer, request)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, request: bytes) -> None:
        action = header(request, "Action")
        self.requests.append(request)
        pieces = self.answers.get(action, [unknown(action)])
        await self._say(writer, renamed(pieces, header(request, "ActionID")))
        if action == "Login":
            await self._say(writer, self.after_login)
        async with self._stirred:
            self.actions.append(action)
            self._stirred.notify_all()

    async def _say(self, writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if piece == CLOSE:
                writer.close()
            elif piece == RESET:
                writer.transport.abort()
            elif piece != HANG:
                writer.write(piece)
                self.said += len(piece)
                await asyncio.sleep(0)
                if writer.transport.get_write_buffer_size() > AHEAD:
                    await writer.drain()
        if not writer.is_closing():
            await writer.drain()


def message(**fields: str) -> bytes:
    """One message: message(Event="Reload", Module="All")."""
    rows = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{rows}\r\n".encode()


def unknown(action: str) -> bytes:
    """What Asterisk says while a module is not loaded, or when it has no such."""
    return error(
        f"Invalid/unknown command: {action}. Use Action: ListCommands to show "
        "available commands."
    )


def error(text: str) -> bytes:
    """An Error to an action."""
    return message(Response="Error", ActionID="x", Message=text)


def listing(event: str, rows: Iterable[Mapping[str, str]]) -> list[bytes]:
    """A whole list as Asterisk sends it."""
    pieces = [message(Response="Success", ActionID="x", EventList="start", Message="")]
    pieces += [message(Event=event, ActionID="x", **row) for row in rows]
    end = {"EventList": "Complete", "ListItems": str(len(pieces) - 1)}
    return [*pieces, message(Event=f"{event}Complete", ActionID="x", **end)]


@dataclass
class Rpc:
    """A JSON-RPC server that answers each method with a status and a body.

    A body may be made when it is asked for.
    """

    answers: dict[str, tuple[int, bytes | Callable[[], bytes]]]
    calls: list[str] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/RPC", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        scheme = "https" if self.tls else "http"
        self.address = f"{scheme}://{host}:{port}/RPC"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        method = (await request.json())["method"]
        self.calls.append(method)
        self.headers.append(request.headers)
        status, body = self.answers.get(method, (500, fault("Method Not Found")))
        if body == HANG:
            await asyncio.Event().wait()
        return web.Response(status=status, body=body() if callable(body) else body)


def fault(text: str) -> bytes:
    """An Error to a JSON-RPC call."""
    error = {"code": 500, "message": text}
    return json.dumps({"jsonrpc": "2.0", "error": error, "id": 1}).encode()


async def serve(recording: bytes) -> None:
    """Serve one recording until interrupted."""
    async with AmiServer(answers(recording)) as server:
        print(server.address)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(read(str(Path(sys.argv[1]).resolve()))))
