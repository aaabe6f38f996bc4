"""OpenSIPS' MI over HTTP and its events, as recorded or from a table of contacts.

python -m tests.wires.opensips 4.0.1     serves a recorded session on a free port

What was measured on real ones is kept to: one process answers all, an answer that does
not fit into httpd's buffer never comes, and a request on a connection that is used
again is lost where its head and body came apart.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from tests import wire

BUFFER = 2_000_000  # bytes of httpd's answers with -M 8
PUBLISHED = [
    *("E_UL_AOR_INSERT", "E_UL_AOR_DELETE", "E_UL_CONTACT_INSERT"),
    *("E_UL_CONTACT_UPDATE", "E_UL_CONTACT_DELETE", "E_UL_CONTACT_REFRESH"),
    "E_UL_LATENCY_UPDATE",
]
_REGISTRANT = [
    *("REGISTERING", "AUTHENTICATING", "REGISTERED", "REGISTER_TIMEOUT"),
    *("INTERNAL_ERROR", "WRONG_CREDENTIALS", "REGISTRAR_ERROR", "UNREGISTERING"),
    "AUTHENTICATING_UNREGISTER",
]
EVENTS = {
    "3.6.8": PUBLISHED,
    "4.0.1": [*PUBLISHED, *(f"E_REGISTRANT_{state}" for state in _REGISTRANT)],
}

_HTTP = re.compile(
    rb">>> POST /mi (\{.*\})\nHTTP/1\.1 (\d{3}) .*\r\n(?:\S.*\r\n)*\r\n(.*)\n"
)
_DATAGRAM = re.compile(rb">>> (\{.*\})\n<<< (?:\[\d+ bytes\] )?(\{.*\})\n")
_EVENT = re.compile(
    rb"^\[[\d:]+\] EVENT from \('[\d.]+', \d+\): (b'.*')$", re.MULTILINE
)


class Hang:
    """An answer: nothing ever comes."""


class Stream(NamedTuple):
    """An answer of so many chunks; then the connection is closed, or just silent."""

    chunk: bytes
    times: int
    length: int  # said in the head
    closes: bool = False


class Status(NamedTuple):
    """An answer with another status than 200."""

    code: int
    body: bytes = b""


Answer = bytes | Hang | Stream | Status
Answers = Callable[[str, Any], Answer]


def result(value: object) -> bytes:
    """A JSON-RPC result."""
    return json.dumps({"jsonrpc": "2.0", "result": value, "id": 1}).encode()


def fault(code: int, message: str) -> bytes:
    """A JSON-RPC error, which rides on HTTP 200."""
    error = {"code": code, "message": message}
    return json.dumps({"jsonrpc": "2.0", "error": error, "id": 1}).encode()


UNKNOWN = fault(-32601, "Method not found")
NO_AOR = fault(404, "AOR not found")


# --- what was recorded --------------------------------------------------------------


def key(method: str, params: object) -> tuple[str, str]:
    """What two calls that mean the same have in common."""
    return method, json.dumps(params, sort_keys=True)


def recorded(version: str) -> Answers:
    """What a real one answered to each call; what it was not asked it has not."""
    text = wire.read(f"opensips/{version}-mi_http.txt.gz")
    answers: dict[tuple[str, str], Answer] = {}
    for call, status, body in _HTTP.findall(text):
        asked = json.loads(call)
        name = key(asked["method"], asked.get("params"))
        answers[name] = body if status == b"200" else Status(int(status), body)
    statistics = key("get_statistics", {"statistics": ["usrloc:", "registrar:"]})
    told = json.loads(answers[statistics])["result"]  # type: ignore[arg-type]
    of_usrloc = {n: v for n, v in told.items() if n.startswith("usrloc:")}
    answers[key("get_statistics", {"statistics": ["usrloc:"]})] = result(of_usrloc)
    return lambda method, params: answers.get(key(method, params), UNKNOWN)


def lists(name: str, method: str) -> list[bytes]:
    """Every answer to a method in a session over datagrams, in its order."""
    found = _DATAGRAM.findall(wire.read(f"opensips/{name}.txt.gz"))
    return [body for call, body in found if json.loads(call)["method"] == method]


def events(version: str = "4.0.1") -> list[bytes]:
    """The datagrams of a recorded session, in their order."""
    text = wire.read(f"opensips/{version}-events_datagram.txt.gz")
    return [ast.literal_eval(found.decode()) for found in _EVENT.findall(text)]


def event(method: str, **params: object) -> bytes:
    """A datagram."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


# --- a table of contacts ------------------------------------------------------------


@dataclass
class Contact:
    """One contact of the table; `ends` in UTC s, 0: never."""

    aor: str
    uri: str
    ends: float
    user_agent: str = "LabPhone/1.0"
    latency: int = 0
    bflags: int = 0


def shown(contact: Contact, now: float) -> dict[str, Any]:
    """A contact as ul_dump has it."""
    left: int | str = "permanent"
    if contact.ends:
        left = "expired" if now > contact.ends else int(contact.ends - int(now))
    row = {
        "Contact": contact.uri,
        "ContactID": str(abs(hash(contact.uri))),
        "Expires": left,
        "Q": "",
        "Callid": f"{abs(hash(contact.uri)):x}@10.0.0.1",
        "Cseq": 2,
        "User-agent": contact.user_agent,
        "State": "CS_NEW",
        "Flags": 0,
        "Cflags": "",
        "Socket": "udp:127.0.40.1:5060",
        "Methods": 4294967295,
    }
    return row | ({"Ping-Latency": contact.latency} if contact.latency else {})


@dataclass
class Usrloc:
    """What is registered, by AOR; answers as an OpenSIPS whose table it is."""

    use_domain: bool = True
    buffer: int = BUFFER
    records: dict[str, list[Contact]] = field(default_factory=dict)
    registrations: list[dict[str, Any]] | None = None  # None: uac_registrant is out
    up_since: float = field(default_factory=lambda: time.time() - 3600)
    clock: Callable[[], float] = time.time

    def add(self, *contacts: Contact) -> None:
        """Register."""
        for contact in contacts:
            self.records.setdefault(contact.aor, []).append(contact)

    def __call__(self, method: str, params: Any) -> Answer:
        call = getattr(self, f"_{method}", None)
        if call is None:
            return UNKNOWN
        body: bytes = call(params)
        return body if len(body) <= self.buffer else Hang()

    def _uptime(self, _: object) -> bytes:
        up = int(self.clock() - self.up_since)
        since, now = time.ctime(self.up_since), time.ctime(self.clock())
        return result({"Now": now, "Up since": since, "Up time": f"{up} [sec]"})

    def _ul_dump(self, params: Any) -> bytes:
        now, brief = self.clock(), bool(params and params.get("brief"))
        aors = [
            {"AOR": aor} if brief else self._record(aor, now) for aor in self.records
        ]
        table = {"name": "location", "hash_size": 512, "AORs": aors}
        return result({"Domains": [table]})

    def _ul_show_contact(self, params: Any) -> bytes:
        aor = params["aor"]
        if params["table_name"] != "location":
            return fault(404, "Table not found")
        if self.use_domain and "@" not in aor:
            return fault(400, "Domain missing in AOR")
        aor = aor if self.use_domain else aor.partition("@")[0]
        if aor not in self.records:
            return NO_AOR
        return result(self._record(aor, self.clock()))

    def _get_statistics(self, _: object) -> bytes:
        users = len(self.records)
        names = {"registered_users": users, "location-users": users}
        contacts = sum(map(len, self.records.values()))
        names |= {"location-contacts": contacts, "location-expires": 0}
        return result({f"usrloc:{name}": value for name, value in names.items()})

    def _reg_list(self, _: object) -> bytes:
        if self.registrations is None:
            return UNKNOWN
        return result({"Records": self.registrations})

    def _record(self, aor: str, now: float) -> dict[str, Any]:
        return {"AOR": aor, "Contacts": [shown(c, now) for c in self.records[aor]]}


def crowd(count: int, ends: float) -> Iterator[Contact]:
    """So many phones, for tests of size and for the bench."""
    for n in range(count):
        host = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        yield Contact(f"u{n}@lab.test", f"sip:u{n}@{host}:5060", ends + n % 60)


# --- the server ---------------------------------------------------------------------


@dataclass
class OpenSips:
    """An OpenSIPS by what it answers to each call."""

    answers: Answers
    version: str = "4.0.1"
    segment: int = 0  # bytes of each piece of an answer; 0: it comes in one
    events: bool = True  # event_datagram is loaded
    overrides: dict[str, Answer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    subscribers: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    lost: int = 0  # requests that were, on a connection used again
    at_once: int = 0  # calls in work, and how many were at most
    most_at_once: int = 0

    async def __aenter__(self) -> Self:
        self._process = asyncio.Lock()
        self._working: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._stirred = asyncio.Condition()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await self.start(0)
        return self

    async def start(self, port: int) -> None:
        """Listen, as at first or after `stop`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/mi"

    async def stop(self) -> None:
        """End the process, and its subscriptions with it."""
        self.subscribers.clear()
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._working)
        await self._server.wait_closed()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._socket.close()

    async def asked(self, method: str, times: int = 1) -> None:
        """Wait until a call has come so many times."""
        async with self._stirred:
            await self._stirred.wait_for(lambda: self.calls.count(method) >= times)

    def emit(self, *datagrams: bytes) -> None:
        """Send events to those who subscribed to them."""
        for data in datagrams:
            for place in self.subscribers.get(json.loads(data)["method"], ()):
                self._socket.sendto(data, place)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if task := asyncio.current_task():
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        self._writers.add(writer)
        try:
            served = 0
            while (request := await _request(reader)) is not None:
                if request.apart and served:
                    self.lost += 1
                    continue
                if not await self._respond(request, writer):
                    await reader.read()  # until the client gives up
                served += 1
                if request.closes:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer; whether that is all of an answer."""
        if not request.head.startswith(b"POST "):
            answer: Answer = Status(405)
        elif b"content-type: application/json" not in request.head.lower():
            answer = Status(400)
        else:
            answer = await self._call(request.body)
        if isinstance(answer, Stream):
            await self._pour(answer, writer)
        if isinstance(answer, Hang | Stream):
            return False
        code, body = answer if isinstance(answer, Status) else (200, answer)
        head = _head(code, len(body))
        size = self.segment or len(head) + len(body)
        for piece in _pieces(head + body, size):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return True

    async def _pour(self, stream: Stream, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(200, stream.length))
        for _ in range(stream.times):
            writer.write(stream.chunk)
            await writer.drain()
        if stream.closes:
            raise ConnectionAbortedError

    async def _call(self, body: bytes) -> Answer:
        call = json.loads(body)
        if "id" not in call:
            return Status(202)
        method, params = call["method"], call.get("params")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            async with self._process:
                await asyncio.sleep(0)
                return await self._answer(method, params)
        finally:
            self.at_once -= 1

    async def _answer(self, method: str, params: Any) -> Answer:
        self.requests.append((method, params))
        async with self._stirred:
            self.calls.append(method)
            self._stirred.notify_all()
        brief = method == "ul_dump" and params
        name = "ul_dump brief" if brief else method
        if name in self.overrides:
            return self.overrides[name]
        if method == "event_subscribe":
            return self._subscribe(**params)
        return self.answers(method, params)

    def _subscribe(self, event: str, socket: str, expire: int) -> bytes:
        published = self.events and event in EVENTS[self.version]
        kind, host, port = socket.split(":")
        if kind != "udp" or not published or expire < 0:
            return fault(400, "Bad parameter value")
        self.subscribers.setdefault(event, set()).add((host, int(port)))
        return result("OK")


class Request(NamedTuple):
    """One request, and whether its head and body came apart."""

    head: bytes
    body: bytes
    apart: bool

    @property
    def closes(self) -> bool:
        """Whether the client wants no more of this connection."""
        return b"connection: close" in self.head.lower()


async def _request(reader: asyncio.StreamReader) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := await reader.read(65536)):
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head.lower())
    length = int(found[1]) if found else 0
    apart = len(body) < length
    while len(body) < length:
        if not (more := await reader.read(65536)):
            return None
        body += more
    return Request(head, body, apart)


def _head(code: int, length: int) -> bytes:
    return (
        f"HTTP/1.1 {code} OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def _pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[n : n + size] for n in range(0, len(data), size))


async def serve(version: str) -> None:
    """Serve one recording until interrupted."""
    async with OpenSips(recorded(version), version) as server:
        print(server.address)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
