"""The HTTP interface over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alerting.store.reader import ReaderError
from sipwatch import __version__
from sipwatch.commands import testing
from sipwatch.metrics.exposition import Exposition, Family
from sipwatch.subjects import AmbiguousError
from sipwatch.web.app import application
from sipwatch.web.listen import Listener, tcp_socket, unix_socket

HISTORY_ERRORS = {
    "1009": LookupError("nothing is known of 1009"),
    "1002": AmbiguousError("several are named 1002: a, b"),
    "1003": ReaderError("32 others are reading the database; ask again"),
}


@dataclass
class Shown:
    """A daemon as the web application sees it."""

    ready: bool = True
    why: str = ""
    lines: int = 10
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exposition = Exposition(lambda: b"", self._families)

    def _families(self) -> Iterable[Family]:
        pieces = (f'sipwatch_line{{n="{n}"}} 1\n' for n in range(self.lines))
        yield Family("sipwatch_line", "gauge", "A line.", pieces)

    def unwell(self) -> str:
        return self.why

    async def status(self) -> dict[str, Any]:
        return {"version": __version__, "incidents": []}

    async def audit(self, registrar: str) -> dict[str, Any]:
        if registrar == "nosuch":
            raise LookupError("there is no registrar nosuch")
        return {"registrars": [{"name": registrar}]}

    def metrics(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        return self.exposition.render(gzip=gzip)

    async def history(self, subject: str, registrar: str) -> dict[str, Any]:
        if (error := HISTORY_ERRORS.get(subject)) is not None:
            raise error
        return {"subject": f"extension:{registrar or 'hq'}/{subject}", "rows": []}

    async def test_notify(self, notifiers: Iterable[str]) -> dict[str, str]:
        self.told = list(notifiers)
        return {"oncall": "", "night": "550 no such user"}

    async def test_routes(self, numbers: Sequence[int]) -> dict[str, Any]:
        if 9 in numbers:
            raise LookupError("there is no route 9 (1 to 2)")
        steps = [("oncall", "", ""), ("boss", "10m", "550 no such user")]
        told = [
            dict(zip(("notifier", "after", "error"), s, strict=True)) for s in steps
        ]
        match = {"severity": ["warning", "critical"]}
        return {"routes": [{"route": 1, "match": match, "notifiers": told}]}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def serving(
    shown: Shown, sock: socket.socket | None = None, **rights: Any
) -> AsyncIterator[int]:
    """A listener on loopback, or on the socket; its port."""
    sock = sock or tcp_socket("127.0.0.1:0")
    listener = Listener(application(shown, **rights), sock)
    listener.start()
    name = sock.getsockname()
    try:
        yield name[1] if isinstance(name, tuple) else 0
    finally:
        await listener.close()


async def ask(
    where: int | str, path: str, method: str = "GET", body: bytes = b"", **more: str
) -> Answer:
    """One request on a connection of its own."""
    if isinstance(where, str):
        reader, writer = await asyncio.open_unix_connection(where)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", where)
    fields = {
        "Host": "localhost",
        "Connection": "close",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    return _answer(answer)


def _answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _dechunked(body)
    return Answer(int(first.split()[1]), headers, body)


def _dechunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body


# --- what is answered -----------------------------------------------------------------


async def test_the_paths_answer_over_tcp() -> None:
    async with serving(Shown()) as port:
        metrics = await ask(port, "/metrics")
        assert metrics.status == 200
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert metrics.body.count(b"sipwatch_line{") == 10
        assert (await ask(port, "/-/healthy")).body == b"well\n"
        assert (await ask(port, "/-/ready")).body == b"ready\n"
        status = await ask(port, "/api/v1/status")
        assert json.loads(status.body)["version"] == __version__
        assert (await ask(port, "/nothing")).status == 404


async def test_the_audit_is_that_of_the_registrar_asked_for() -> None:
    async with serving(Shown()) as port:
        audit = await ask(port, "/api/v1/audit?registrar=hq%20two")
        assert json.loads(audit.body) == {"registrars": [{"name": "hq two"}]}
        unknown = await ask(port, "/api/v1/audit?registrar=nosuch")
        assert (unknown.status, json.loads(unknown.body)) == (
            404,
            {"detail": "there is no registrar nosuch"},
        )


@pytest.mark.parametrize(
    ("query", "status", "answer"),
    [
        ("subject=1001", 200, {"subject": "extension:hq/1001", "rows": []}),
        (
            "subject=1001&registrar=lab",
            200,
            {"subject": "extension:lab/1001", "rows": []},
        ),
        ("subject=1009", 404, {"detail": "nothing is known of 1009"}),
        ("subject=1002", 409, {"detail": "several are named 1002: a, b"}),
        (
            "subject=1003",
            503,
            {"detail": "32 others are reading the database; ask again"},
        ),
    ],
)
async def test_a_history_is_told_or_why_not(
    query: str, status: int, answer: dict[str, Any]
) -> None:
    async with serving(Shown()) as port:
        history = await ask(port, f"/api/v1/history?{query}")
        assert (history.status, json.loads(history.body)) == (status, answer)
        assert (await ask(port, "/api/v1/history")).status == 422


async def test_unwell_and_not_ready_are_503_with_the_reason() -> None:
    async with serving(Shown(ready=False, why="the sweep stands still")) as port:
        healthy = await ask(port, "/-/healthy")
        assert (healthy.status, healthy.body) == (503, b"the sweep stands still\n")
        ready = await ask(port, "/-/ready")
        assert (ready.status, ready.body) == (503, b"the first pass is under way\n")


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.8", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, identity", False),
        ("br;q=0, GZIP;q=1.0", True),
        ("gzipped", False),
        ("", False),
    ],
)
async def test_metrics_are_compressed_for_who_asks(accepted: str, packed: bool) -> None:
    async with serving(Shown(lines=5000)) as port:
        answer = await ask(port, "/metrics", Accept_Encoding=accepted)
    assert (answer.headers.get("content-encoding") == "gzip") is packed
    text = gzip.decompress(answer.body) if packed else answer.body
    assert text.count(b"sipwatch_line{") == 5000


async def test_every_answer_carries_the_headers_that_keep_browsers_careful() -> None:
    async with serving(Shown()) as port:
        for path in ("/", "/metrics", "/nothing", "/api/v1/status"):
            headers = (await ask(port, path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


async def test_a_third_rendering_at_once_is_told_to_come_again() -> None:
    shown = Shown()
    async with serving(shown) as port:
        held = [shown.metrics(gzip=False) for _ in range(2)]
        refused = await ask(port, "/metrics")
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        for rendering in held:
            assert rendering is not None
            _ = [piece async for piece in rendering]
        assert (await ask(port, "/metrics")).status == 200


async def test_a_reader_that_leaves_frees_its_rendering() -> None:
    shown = Shown(lines=400_000)
    async with serving(shown) as port:
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await reader.read(100)
            writer.transport.abort()
            await _eventually(lambda: not shown.exposition._under_way)


async def _eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)


# --- who may ask ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "status"),
    [
        ((), 200),
        (("127.0.0.0/8",), 200),
        (("10.0.0.0/24", "127.0.0.1"), 200),
        (("10.0.0.0/24",), 403),
        (("::1",), 403),
    ],
)
async def test_only_networks_that_are_allowed_may_ask(
    allow: tuple[str, ...], status: int
) -> None:
    async with serving(Shown(), allow=allow) as port:
        answer = await ask(port, "/metrics")
        assert answer.status == status
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_ipv4_over_an_ipv6_socket_is_told_by_its_own_address() -> None:
    sock = tcp_socket("[::]:0")
    async with serving(Shown(), sock, allow=("127.0.0.0/8",)):
        assert (await ask(sock.getsockname()[1], "/metrics")).status == 200


async def test_a_metrics_listener_has_nothing_else() -> None:
    async with serving(Shown(), metrics_only=True) as port:
        assert (await ask(port, "/metrics")).status == 200
        for path in ("/", "/-/healthy", "/api/v1/status", "/openapi.json", "/docs"):
            assert (await ask(port, path)).status == 404


async def test_tcp_cannot_send_a_test_notification() -> None:
    async with serving(Shown()) as port:
        answer = await ask(port, "/api/v1/test-notify", "POST", b"[]")
    assert answer.status == 403


# --- the Unix socket ------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "sipwatch" / "api.sock")


def mode(path: str) -> int:
    """The permissions of a file; 0 where there is none."""
    return stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0


async def test_the_unix_socket_is_for_owner_and_group_alone(path: str) -> None:
    async with serving(Shown(), unix_socket(path), operate=True):
        assert mode(path) == 0o660
        # Its folder can be entered by others than root.
        assert mode(str(Path(path).parent)) & 0o110 == 0o110
        assert (await ask(path, "/-/healthy")).body == b"well\n"
    assert mode(path) == 0


async def test_a_dead_daemons_socket_is_replaced_a_living_ones_is_not(
    path: str,
) -> None:
    unix_socket(path).close()
    assert mode(path)
    async with serving(Shown(), unix_socket(path)):
        with pytest.raises(OSError, match=r"cannot listen on .*api\.sock"):
            unix_socket(path)
        assert (await ask(path, "/-/ready")).status == 200


async def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot listen on .*: AF_UNIX path too long"):
        unix_socket(str(tmp_path / ("x" * 120)))


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(OSError, match="cannot listen on"):
        unix_socket(str(file))
    assert file.read_text() == "precious"


async def test_the_command_line_sends_a_test_over_it(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Shown()
    async with serving(shown, unix_socket(path), operate=True):
        status = await asyncio.to_thread(
            testing.notifiers, path, ("oncall",), as_json=False
        )
    assert (status, shown.told) == (2, ["oncall"])
    assert capsys.readouterr().out == ("oncall  accepted\nnight   550 no such user\n")


async def test_the_command_line_tests_routes_over_it(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(Shown(), unix_socket(path), operate=True):
        status = await asyncio.to_thread(testing.routes, path, (1,), as_json=False)
        out = capsys.readouterr().out
        unknown = await asyncio.to_thread(testing.routes, path, (9,), as_json=False)
    assert status == 2
    assert out.splitlines() == [
        "route 1: severity=warning,critical",
        "  oncall  at once     accepted",
        "  boss    after 10m   550 no such user",
    ]
    assert unknown == 3
    expected = "there is no route 9 (1 to 2)\n"
    assert capsys.readouterr().err == expected


# --- the end --------------------------------------------------------------------------


async def test_an_open_connection_does_not_hold_up_the_end() -> None:
    sock = tcp_socket("127.0.0.1:0")
    listener = Listener(application(Shown(lines=400_000)), sock)
    listener.start()
    port = sock.getsockname()[1]
    idle, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await idle.read(15) == b"HTTP/1.1 200 OK"
    slow, busy = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    busy.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await slow.read(15) == b"HTTP/1.1 200 OK"
    began = time.monotonic()
    await listener.close()
    assert time.monotonic() - began < 2
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    for each in (writer, busy):
        each.close()


async def test_a_listener_may_be_closed_before_it_has_begun() -> None:
    sock = tcp_socket("127.0.0.1:0")
    listener = Listener(application(Shown()), sock)
    listener.start()
    await listener.close()
    assert sock.fileno() == -1


async def test_a_port_that_is_taken_is_named() -> None:
    taken = tcp_socket("127.0.0.1:0")
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address"):
        tcp_socket(f"127.0.0.1:{port}")
    taken.close()
