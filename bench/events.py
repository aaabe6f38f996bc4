"""What does it cost to tell 200 pages what happens, and does it hold up the loop?

The yardstick is FastAPI's own event stream in the same run: the same events to as many
clients, from a queue for each. The clients are a process of their own; what counts is
the CPU of the server, and the longest for which its loop did not look at its sockets.

python -m bench.events 200
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from bench.stalls import MeteredLoop, Stall
from sipwatch.backlog import Backlog, Event
from sipwatch.web.access import KEY, Caller, Role
from sipwatch.web.events import PATH, add_events
from sipwatch.web.listen import Listener, tcp_socket

CLIENTS = 200
EVENTS = 200  # one at a time: what comes at once is one piece, and far cheaper
PAUSE = 0.02  # s between two
RATIO = 3.0  # times cheaper than the yardstick
MOST = 0.050  # s of CPU for which the loop may not look at its sockets
LAST = b'"last"'
ROW = {
    "kind": "extension",
    "name": "1001@example.com",
    "registrar": "hq",
    "site": "lyon",
    "state": "unregistered",
    "since": "2026-03-01T10:02:14.250Z",
    "cause": None,
}


def rows(n: int) -> dict[str, Any]:
    """One event of one change; the last one is known by its key."""
    key = "last" if n == EVENTS else f"extension:hq/{n}@example.com"
    return {"rows": [{"key": key, **ROW}]}


def clients(port: int, count: int) -> None:
    """Follow with so many, and say when all have read the last event."""
    looks = selectors.DefaultSelector()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        looks.register(sock, selectors.EVENT_READ, [b""])
    left = count
    while left:
        for key, _ in looks.select():
            data = key.fileobj.recv(262_144)  # type: ignore[union-attr]
            key.data[0] = (key.data[0] + data)[-4096:]
            if LAST in key.data[0]:
                looks.unregister(key.fileobj)
                left -= 1
    print("all", flush=True)


class Ours:
    """The ring that the daemon has."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.app = FastAPI()
        add_events(self.app, self.backlog)

    @property
    def following(self) -> int:
        return len(self.backlog.followers)

    def tell(self, n: int) -> None:
        self.backlog.add(Event("states", lambda: rows(n)))

    def close(self) -> None:
        self.backlog.close()


class Theirs:
    """FastAPI's event stream, with a queue for each client."""

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[tuple[int, Any]]] = set()
        self.app = FastAPI()

        @self.app.get(PATH, response_class=EventSourceResponse)
        async def events() -> AsyncIterator[ServerSentEvent]:
            queue: asyncio.Queue[tuple[int, Any]] = asyncio.Queue(256)
            self.queues.add(queue)
            while True:
                n, data = await queue.get()
                yield ServerSentEvent(data=data, event="states", id=str(n))

    @property
    def following(self) -> int:
        return len(self.queues)

    def tell(self, n: int) -> None:
        data = rows(n)
        for queue in self.queues:
            queue.put_nowait((n, data))

    def close(self) -> None:
        """They end with their connections."""


async def deliver(make: Callable[[], Ours | Theirs], count: int) -> tuple[float, Stall]:
    """CPU of one delivery in s, and the longest stall."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MeteredLoop)
    server, sock = make(), tcp_socket("127.0.0.1:0")
    listener = Listener(Let(server.app), sock)
    listener.start()
    port = str(sock.getsockname()[1])
    readers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.events", "clients", port, str(count)),
        stdout=asyncio.subprocess.PIPE,
    )
    while server.following < count:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    loop.forget()
    began = time.process_time()
    for n in range(1, EVENTS + 1):
        server.tell(n)
        await asyncio.sleep(PAUSE)
    assert readers.stdout is not None
    await readers.stdout.readline()
    took = time.process_time() - began
    worst = loop.worst
    await readers.wait()
    server.close()
    await listener.close()
    return took / (EVENTS * count), worst


class Let:
    """Whoever comes may read: what a gate costs is not measured here."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[KEY] = Caller("", Role.READ)
        await self._app(scope, receive, send)


def main(count: int) -> int:
    """Measure both; 1 where ours costs too much or holds up the loop."""
    found = {}
    for name, make in (("sipwatch", Ours), ("fastapi", Theirs)):
        with asyncio.Runner(loop_factory=MeteredLoop) as runner:
            cost, worst = runner.run(deliver(make, count))
        found[name] = cost, worst
        print(
            f"  {name:9} {1e6 * cost:6.1f} us a delivery, {1 / cost:8.0f} a CPU-second;"
            f" longest stall {worst}"
        )
    ratio = found["fastapi"][0] / found["sipwatch"][0]
    print(f"  {ratio:.1f} times cheaper (bound {RATIO})")
    return int(ratio < RATIO or found["sipwatch"][1].cpu > MOST)


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        clients(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS))
