"""FreeSWITCH's event socket, as recorded or from a table of registrations.

python -m tests.wires.freeswitch 1.11.1     serves a recorded session on a free port

A server answers by a table of commands; what it does not know it refuses in
FreeSWITCH's words. What it sends is cut anywhere.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple, Self
from urllib.parse import quote, unquote

from tests import wire

VERSIONS = ("1.10.12", "1.11.1")
PASSWORD = "labpw"
RUN = "db615d56-a019-4bd8-a56c-9e212a2943a8"

AUTH_REQUEST = b"Content-Type: auth/request\n\n"
GOODBYE = (
    b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\n"
    b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
)
REJECTED = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\n" + (
    b"Access Denied, go away.\n"
)
HANG = b"<hang>"  # an answer: nothing more comes
CLOSE = b"<close>"  # an answer: what was said, and end of file

REG = "api sofia xmlstatus profile internal reg"
OVERVIEW = "api sofia xmlstatus"
GATEWAYS = "api sofia xmlstatus gateway"
USERS = "api list_users"
CLOCK = "api strmicroepoch"
UPTIME = "api uptime s"
CORE = "api global_getvar core_uuid"

_TURN = re.compile(rb"(?m)^(?:>>> '(.*)'\n<<<\n|### .*\n|<<< \(server\)\n|<<< \[EOF)")
_HEADING = b'<?xml version="1.0" encoding="ISO-8859-1"?>\n'


class Turn(NamedTuple):
    """What a recorded server sent after a command; "" for what nobody asked for."""

    command: str
    sent: bytes


def turns(name: str) -> list[Turn]:
    """A recorded session: tests/data/freeswitch/<name>.txt.gz."""
    recording = wire.read(f"freeswitch/{name}.txt.gz")
    found = list(_TURN.finditer(recording))
    if not found:
        return [Turn("", recording.partition(b"[EOF]")[0])]
    ends = [*(match.start() for match in found[1:]), len(recording)]
    return [
        # The recorder ended each turn with a line end of its own.
        Turn(
            (match[1] or b"").decode(), recording[match.end() : end].removesuffix(b"\n")
        )
        for match, end in zip(found, ends, strict=True)
        if not match[0].startswith(b"<<< [EOF")
    ]


def answers(name: str) -> dict[str, bytes]:
    """The recorded answers by their commands; of one asked twice the first."""
    return {turn.command: turn.sent for turn in reversed(turns(name)) if turn.command}


def events(name: str) -> list[bytes]:
    """All recorded events of a session, whole blocks, in order."""
    text = b"".join(turn.sent for turn in turns(name))
    heads = re.finditer(
        rb"Content-Length: (\d+)\nContent-Type: text/event-plain\n\n", text
    )
    return [text[head.start() : head.end() + int(head[1])] for head in heads]


def fields(block: bytes) -> dict[str, str]:
    """The headers of an event."""
    body = block.partition(b"\n\n")[2].decode("latin-1")
    pairs = (line.partition(": ") for line in body.splitlines() if line)
    return {name: unquote(value) for name, _, value in pairs}


# --- what it says --------------------------------------------------------------------


def api(body: str | bytes) -> bytes:
    """The answer to an `api` command."""
    data = body.encode() if isinstance(body, str) else body
    return b"Content-Type: api/response\nContent-Length: %d\n\n" % len(data) + data


def reply(text: str) -> bytes:
    """The answer to any other command."""
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def event(name: str, at: float, **values: str) -> bytes:
    """An event of the PBX's time; `_` in names stand for `-`, but in `sip_contact`."""
    headers = {"Event-Subclass": name, "Event-Name": "CUSTOM"}
    if not name.startswith("sofia::"):
        headers = {"Event-Name": name}
    headers |= {"Core-UUID": RUN, "Event-Date-Timestamp": str(round(at * 1e6))}
    dashed = {key.replace("_", "-"): value for key, value in values.items()}
    headers |= {key.replace("sip-", "sip_"): value for key, value in dashed.items()}
    body = "".join(f"{k}: {quote(v, safe=',@/')}\n" for k, v in headers.items())
    return (
        f"Content-Length: {len(body) + 1}\nContent-Type: text/event-plain\n\n{body}\n"
    ).encode()


def xmlstatus(rows: Iterable[bytes]) -> bytes:
    """The registrations of a profile."""
    head = _HEADING + b"<profile>\n  <registrations>\n"
    return head + b"".join(rows) + b"  </registrations>\n</profile>\n"


def registration(
    aor: str,
    contact: str = "",
    *,
    end: float = 0.0,
    left: int = 0,
    call: str = "",
    ping: tuple[str, str] = ("Reachable", "0.80"),
    agent: str = "Phone 1.0",
    transport: str = "UDP",
    encoding: str = "utf-8",
) -> bytes:
    """A row, with what FreeSWITCH escapes escaped and all else as it is."""
    user, _, host = aor.partition("@")
    contact = contact or f"sip:{user}@10.0.0.31:5060"
    shown = contact if "<" in contact else f'"" <{contact}>'
    status = f"Registered({transport})(unknown) exp({zoned(end)}) expsecs({left})"
    elements = {
        "call-id": call or f"call-{user}",
        "user": f"{user}@{host}",
        "contact": escape(shown),
        "agent": escape(agent),
        "status": status,
        "ping-status": ping[0],
        "ping-time": ping[1],
        "host": "fslab",
        "network-ip": "10.0.0.31",
        "network-port": "5060",
        "sip-auth-user": user,
        "sip-auth-realm": host,
        "mwi-account": aor,
    }
    lines = "".join(f"        <{k}>{v}</{k}>\n" for k, v in elements.items())
    return f"    <registration>\n{lines}    </registration>\n".encode(encoding)


def zoned(end: float, ahead: float = 2 * 3600) -> str:
    """A whole second in the zone of a PBX that is two hours ahead of UTC."""
    moment = datetime.fromtimestamp(end + ahead, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def overview(*profiles: str, aliases: Mapping[str, str] | None = None) -> bytes:
    """`sofia xmlstatus`, with a gateway and its stray text."""
    parts = [
        f"<profile>\n<name>{name}</name>\n<type>profile</type>\n"
        f"<data>sip:mod_sofia@10.0.0.5:5060</data>\n<state>RUNNING (0){also}</state>\n"
        "</profile>\n"
        for name in profiles
        for also in ("", " (TLS)")
    ]
    parts += [
        f"<alias>\n<name>{name}</name>\n<type>alias</type>\n<data>{data}</data>\n"
        "<state>ALIASED</state>\n</alias>\n"
        for name, data in (aliases or {}).items()
    ]
    parts.append(
        "<gateway>\n<name>trunk</name>\n<type>gateway</type>\n"
        "<data>sip:u@10.0.0.9</data>\n<state>FAIL_WAIT</state>\n</gateway>\n"
        " (retry: 7s)\n"
    )
    return _HEADING + f"<profiles>\n{''.join(parts)}</profiles>\n".encode()


def gateways(*rows: Mapping[str, str]) -> bytes:
    """`sofia xmlstatus gateway`."""
    text = ""
    for row in rows:
        lines = "".join(f"    <{k}>{v}</{k}>\n" for k, v in row.items())
        text += f"  <gateway>\n{lines}  </gateway>\n"
    return _HEADING + f"<gateways>\n{text}</gateways>\n".encode()


def users(*rows: str) -> str:
    """`list_users`, by `1001@example.com|Reception`."""
    head = (
        "userid|context|domain|group|contact|callgroup|effective_caller_id_name|"
        "effective_caller_id_number\n"
    )
    text = ""
    for row in rows:
        aor, _, title = row.partition("|")
        user, _, domain = aor.partition("@")
        contact = "error/user_not_registered"
        text += (
            f"{user}|default|{domain}|default|{contact}|techsupport|{title}|{user}\n"
        )
    return f"{head}{text}\n+OK\n"


def crowd(count: int, now: float, *, domain: str = "example.com") -> Iterator[bytes]:
    """So many registrations: every tenth has two contacts, every 50th is silent."""
    for n in range(count):
        user = f"{n - 1 if n % 10 == 9 else n:06}"
        silent = n % 50 == 7
        yield registration(
            f"{user}@{domain}",
            f"sip:{user}@10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:5060",
            end=now + 100 + n % 60,
            left=100 + n % 60,
            call=f"{n:016x}@10.0.0.31",
            ping=("Unreachable" if silent else "Reachable", "0.80"),
            agent=f"Phone {n % 7}.0",
        )


# --- the server ----------------------------------------------------------------------


Answer = bytes | list[bytes] | Callable[[], bytes]


@dataclass
class EslServer:
    """An event socket, by a table of what it answers to each command.

    An answer may hold events before or after it, HANG and CLOSE, or be made when it is
    asked for. With `seed` all is sent in pieces of random lengths.
    """

    answers: Mapping[str, Answer]
    greeting: list[bytes] = field(default_factory=lambda: [AUTH_REQUEST])
    password: str = PASSWORD
    seed: int | None = None
    port: int = 0
    commands: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._random = random.Random(self.seed)
        self._writers: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[Any]] = []
        self._stirred = asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    async def push(self, *pieces: bytes) -> None:
        """Say something unasked to every client."""
        for writer in self._writers:
            await self._say(writer, pieces)

    async def asked(self, command: str, times: int = 1) -> None:
        """Wait until a command has come so many times."""
        async with self._stirred:
            await self._stirred.wait_for(lambda: self.commands.count(command) >= times)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        if task := asyncio.current_task():
            self._serving.append(task)
        try:
            await self._say(writer, self.greeting)
            while True:
                block = await reader.readuntil(b"\n\n")
                await self._answer(writer, block.decode().strip())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, command: str) -> None:
        async with self._stirred:
            self.commands.append(command)
            self._stirred.notify_all()
        said = self.answers.get(command) or self._by_itself(command)
        if callable(said):
            said = said()
        await self._say(writer, said if isinstance(said, list) else [said])

    def _by_itself(self, command: str) -> bytes | list[bytes]:
        verb, _, rest = command.partition(" ")
        if verb == "auth" and rest != self.password:
            return [reply("-ERR invalid"), GOODBYE, CLOSE]
        if verb == "auth":
            return reply("+OK accepted")
        if verb == "event":
            return reply(f"+OK event listener enabled {rest.partition(' ')[0]}")
        if verb == "exit":
            return [reply("+OK bye"), GOODBYE, CLOSE]
        if verb == "api" and rest.startswith("sofia xmlstatus profile "):
            return api("Invalid Profile!\n")
        if verb == "api":
            return api(f"-ERR {rest.partition(' ')[0]} Command not found!\n")
        return reply("-ERR command not found")

    async def _say(self, writer: asyncio.StreamWriter, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if piece == CLOSE:
                writer.close()
            elif piece != HANG:
                for part in self._cut(piece):
                    writer.write(part)
                    await asyncio.sleep(0)
        if not writer.is_closing():
            await writer.drain()

    def _cut(self, piece: bytes) -> Iterator[bytes]:
        if self.seed is None:
            yield piece
            return
        at = 0
        while at < len(piece):
            size = self._random.choice((1, 2, 7, 100, 1460))
            yield piece[at : at + size]
            at += size


@dataclass
class Phone:
    """One registration of a `Switch`."""

    call: str
    contact: str
    end: float  # with the margin
    ping: tuple[str, str] = ("Reachable", "0.80")


class Switch(EslServer):
    """A FreeSWITCH of one profile that lives: phones come, go and end by the clock."""

    def __init__(self, margin: float = 3.0, **how: Any) -> None:
        super().__init__(self._table(), **how)
        self.margin = margin
        self.phones: dict[str, Phone] = {}  # by AOR, one contact each
        self.users = [f"{n}@example.com|Phone {n}" for n in (1001, 1002)]
        self.trunk = {"name": "trunk", "from": "&lt;sip:u9@lab.test&gt;"} | {
            "proxy": "sip:127.0.0.1:9",
            "freq": "60",
            "pingfreq": "5",
            "state": "REGED",
            "status": "UP",
        }
        self.start()

    def start(self) -> None:
        """Another run begins."""
        self.run = (
            f"{self.port:08x}-{time.time_ns() % 2**16:04x}-4000-8000-000000000001"
        )
        self.started = time.time() - 60

    def _table(self) -> dict[str, Answer]:
        return {
            OVERVIEW: api(overview("internal")),
            REG: lambda: api(xmlstatus(self._rows())),
            GATEWAYS: lambda: api(gateways(self.trunk)),
            USERS: lambda: api(users(*self.users)),
            CLOCK: lambda: api(str(round(time.time() * 1e6))),
            UPTIME: lambda: api(f"{int(time.time() - self.started)}\n"),
            CORE: lambda: api(self.run),
        }

    def _rows(self) -> Iterator[bytes]:
        for aor, phone in self.phones.items():
            yield registration(
                aor,
                phone.contact,
                end=phone.end,
                left=int(phone.end - time.time()),
                call=phone.call,
                ping=phone.ping,
            )

    async def register(self, aor: str, expires: int) -> float:
        """A REGISTER, the first or a refresh; when what it granted ends."""
        now = time.time()
        user, _, host = aor.partition("@")
        contact = f"sip:{user}@10.0.0.31:5060"
        self.phones[aor] = Phone(
            f"call-{user}", contact, int(now) + expires + self.margin
        )
        await self.push(
            event(
                "sofia::register",
                now,
                profile_name="internal",
                from_user=user,
                from_host=host,
                contact=f'"" <{contact}>',
                call_id=f"call-{user}",
                status="Registered(UDP)",
                expires=str(expires),
                network_ip="10.0.0.31",
                network_port="5060",
                user_agent="Phone 1.0",
            )
        )
        return now + expires

    async def sweep(self) -> None:
        """Its registration thread passes: what has ended is removed."""
        now = time.time()
        for aor, phone in list(self.phones.items()):
            if phone.end <= now:
                del self.phones[aor]
                user, _, host = aor.partition("@")
                await self.push(
                    event(
                        "sofia::expire",
                        now,
                        profile_name="internal",
                        call_id=phone.call,
                        user=user,
                        host=host,
                        contact=f'"" <{phone.contact}>',
                        expires=str(int(phone.end)),
                    )
                )

    async def steps(self, *several: tuple[str, int, str]) -> None:
        """The trunk goes through states: ("FAILED", 403, "Forbidden")."""
        for state, code, phrase in several:
            up = state in ("REGED", "REGISTER")
            self.trunk |= {"state": state, "status": "UP" if up else "DOWN"}
            told = {"Status": str(code), "Phrase": phrase} if code else {}
            await self.push(
                event(
                    "sofia::gateway_state",
                    time.time(),
                    Gateway="trunk",
                    State=state,
                    Ping_Status=self.trunk["status"],
                    **told,
                )
            )

    async def drop(self) -> None:
        """It ends, with a word, and is there again."""
        await self.push(event("SHUTDOWN", time.time()), GOODBYE, CLOSE)
        self._writers.clear()
        self.start()


def recorded(version: str) -> dict[str, bytes]:
    """All that a recorded FreeSWITCH answered."""
    return answers(f"{version}-auth-ok-cmds")


async def serve(version: str) -> None:
    """Serve one recorded session until interrupted."""
    async with EslServer(recorded(version)) as server:
        print(server.address)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
