"""/api/v1/events over real sockets: clients that stay, leave, hang, and come back."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sipwatch import backlog as bounds
from sipwatch.backlog import Backlog, Event
from sipwatch.web import events as streams
from sipwatch.web.app import application
from sipwatch.web.connection import UNSENT
from sipwatch.web.listen import Listener, tcp_socket
from tests.sipwatch.test_web import Shown, ask

CLIENTS = 200
BIG = "x" * 20_000


@dataclass
class Server:
    """A listener with a ring of events behind it."""

    backlog: Backlog
    listener: Listener
    port: int

    def tell(self, *several: Any) -> None:
        for one in several:
            self.backlog.add(Event("states", lambda one=one: one))  # type: ignore[misc]

    @property
    def connections(self) -> set[Any]:
        return set(self.listener._server.server_state.connections)

    @property
    def unwritten(self) -> int:
        """Bytes that wait for the slowest of them."""
        found = [c.transport.get_write_buffer_size() for c in self.connections]
        return max(found, default=0)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    backlog, sock = Backlog("b"), tcp_socket("127.0.0.1:0")
    listener = Listener(application(Shown(), feed=backlog), sock)
    listener.start()
    try:
        yield Server(backlog, listener, sock.getsockname()[1])
    finally:
        backlog.close()
        await listener.close()


class Client:
    """Somebody who follows; what was read is in `events` as (id, kind, data)."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self.writer = writer
        self.events: list[tuple[str, str, Any]] = []

    @classmethod
    async def connect(
        cls, port: int, after: str = "", room: int = 0, fields: str = ""
    ) -> Client:
        """With `room` for so many bytes in the kernel."""
        sock = socket.socket()
        if room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        limit = room or 2**20
        client = cls(*await asyncio.open_connection(sock=sock, limit=limit))
        last = f"Last-Event-ID: {after}\r\n" if after else ""
        head = f"GET {streams.PATH} HTTP/1.1\r\nHost: localhost\r\n{last}{fields}\r\n"
        client.writer.write(head.encode())
        return client

    async def begin(self) -> dict[str, str]:
        """The head of the answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        assert first == "HTTP/1.1 200 OK"
        return dict(line.lower().split(": ", 1) for line in lines)

    async def follow(self) -> None:
        """Read until the end."""
        text = b""
        while size := int(await self._reader.readline(), 16):
            text += (await self._reader.readexactly(size + 2))[:-2]
            *whole, text = text.split(b"\n\n")
            self.events += filter(None, map(_event, whole))

    def close(self) -> None:
        self.writer.close()


def _event(block: bytes) -> tuple[str, str, Any] | None:
    lines = [line.split(": ", 1) for line in block.decode().split("\n")]
    fields = {line[0]: line[1] for line in lines if len(line) == 2}
    if "event" not in fields:
        return None
    return fields.get("id", ""), fields["event"], json.loads(fields["data"])


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# --- what is answered -----------------------------------------------------------------


async def test_it_is_an_event_stream_that_nobody_keeps() -> None:
    async with serving() as server:
        client = await Client.connect(server.port)
        head = await client.begin()
        assert head["content-type"].startswith("text/event-stream")
        assert head["cache-control"] == "no-store"
        assert head["x-accel-buffering"] == "no"
        assert head["transfer-encoding"] == "chunked"
        client.close()
        await eventually(lambda: not server.backlog.followers)


async def test_one_that_comes_back_misses_nothing_and_hears_nothing_twice() -> None:
    async with serving() as server:
        heard: list[Any] = []
        after, told = "b-0", 0
        for cut in (3, 1, 200, 40):
            client = await Client.connect(server.port, after)
            await client.begin()
            reading = asyncio.create_task(client.follow())
            for _ in range(cut):
                told += 1
                server.tell(told)
            await eventually(lambda client=client: bool(client.events))  # type: ignore[misc]
            reading.cancel()
            client.close()
            heard += [data for _, kind, data in client.events if kind == "states"]
            after = client.events[-1][0]
            server.tell(*range(told + 1, told + cut))
            told += cut - 1
        server.tell("last")
        last = await Client.connect(server.port, after)
        await last.begin()
        reading = asyncio.create_task(last.follow())
        await eventually(lambda: bool(last.events and last.events[-1][2] == "last"))
        heard += [data for _, _, data in last.events]
        assert heard == [*range(1, told + 1), "last"]
        reading.cancel()
        last.close()


async def test_after_a_gap_everything_is_read_again_and_then_all_that_comes() -> None:
    async with serving() as server:
        server.tell(*range(bounds.RING + 10))
        client = await Client.connect(server.port, "b-3")
        await client.begin()
        reading = asyncio.create_task(client.follow())
        await eventually(lambda: bool(client.events))
        server.tell("next")
        await eventually(lambda: len(client.events) == 2)
        number = bounds.RING + 10
        assert client.events == [
            (f"b-{number}", "resync", {"scope": ""}),
            (f"b-{number + 1}", "states", "next"),
        ]
        reading.cancel()
        client.close()


async def test_an_id_may_be_in_the_address_and_a_long_one_is_refused() -> None:
    async with serving() as server:
        server.tell(1, 2)
        answer = asyncio.create_task(ask(server.port, f"{streams.PATH}?after=b-1"))
        await eventually(lambda: len(server.backlog.followers) == 1)
        server.backlog.close()
        assert b"data: 2" in (await answer).body
        answer_to_long = await ask(server.port, f"{streams.PATH}?after={'9' * 99}")
        assert answer_to_long.status == 422


async def test_there_are_only_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FOLLOWERS", 2)
    async with serving() as server:
        several = [await Client.connect(server.port) for _ in range(2)]
        for client in several:
            await client.begin()
        refused = await ask(server.port, streams.PATH)
        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
        several[0].close()
        await eventually(lambda: len(server.backlog.followers) == 1)
        (await Client.connect(server.port)).close()
        several[1].close()


# --- many -----------------------------------------------------------------------------


async def test_half_of_two_hundred_hang_and_the_others_do_not_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "SLOW", 5.0)
    async with serving() as server:
        clients = [
            await Client.connect(server.port, room=4096 if n % 2 else 0)
            for n in range(CLIENTS)
        ]
        await eventually(lambda: len(server.backlog.followers) == CLIENTS)
        assert (await ask(server.port, "/-/healthy")).status == 200
        alive, hung = clients[::2], clients[1::2]
        for client in alive:
            await client.begin()
        reading = [asyncio.create_task(client.follow()) for client in alive]
        told = 0
        while len(server.backlog.followers) > len(alive):
            told += 1
            server.tell([told, BIG])
            await eventually(lambda: all(len(c.events) == told for c in alive))  # noqa: B023
            assert server.unwritten <= UNSENT + 2 * bounds.PIECE
            await asyncio.sleep(0.05)
        numbers = [event[2][0] for event in alive[0].events]
        assert numbers == list(range(1, told + 1))
        await eventually(lambda: len(server.connections) == len(alive))
        for task in reading:
            task.cancel()
        for client in (*alive, *hung):
            client.close()


async def test_the_end_is_quick_for_all_that_read_leave_and_hang() -> None:
    async with serving() as server:
        clients = [await Client.connect(server.port, room=4096) for _ in range(CLIENTS)]
        await eventually(lambda: len(server.backlog.followers) == CLIENTS)
        for client in clients[: CLIENTS // 4]:
            client.writer.transport.abort()
        reading = [
            asyncio.create_task(_drained(client)) for client in clients[CLIENTS // 2 :]
        ]
        server.tell(*([BIG] * 40))
        await eventually(lambda: server.unwritten > UNSENT)
        began = time.monotonic()
        server.backlog.close()
        await server.listener.close()
        assert time.monotonic() - began < 2
        assert not server.connections
        assert not server.backlog.followers
        await asyncio.gather(*reading)
        for client in clients:
            client.close()


async def _drained(client: Client) -> None:
    """Read until the end, whatever that is."""
    try:
        while await client._reader.read(65536):
            pass
    except ConnectionError:
        pass
