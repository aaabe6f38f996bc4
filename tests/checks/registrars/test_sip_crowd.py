"""20,000 contacts at a registrar that is asked by SIP, and answers without an end."""

from __future__ import annotations

import asyncio
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from checks.observation import Cause, Kind, Scope, State, Subject
from checks.registrars.sip import Sip, SipSettings
from checks.registrations.judge import (
    Judge,
    ListEnd,
    RegistrarSettings,
    Unreadable,
)

EXTENSIONS = 18_000
CONTACTS = 20_000  # every ninth has two
AWAY = 10  # who have none
MEMORY = 10e6  # bytes on top, whatever is sent
COPIED = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
AORS = [f"{n:06}" for n in range(EXTENSIONS + AWAY)]


def head(request: bytes) -> bytes:
    """A 200 to a request, without what it lists."""
    lines = [
        line + (b";tag=1" if line.startswith(b"To:") else b"")
        for line in request.split(b"\r\n")
        if line.partition(b":")[0] in COPIED
    ]
    return b"\r\n".join([b"SIP/2.0 200 OK", *lines, b""])


def user(request: bytes) -> int:
    return int(request.partition(b"\r\nTo: <sip:")[2].partition(b"@")[0])


def listed(request: bytes) -> bytes:
    """The contacts of the one who is asked for: none, one, or two."""
    number = user(request)
    several = 2 if number % 9 == 0 else 1
    count = 0 if number >= EXTENSIONS else several
    rows = b"".join(
        b"Contact: <sip:%06d@10.0.%d.%d:%d>;expires=3600\r\n"
        % (number, number >> 8 & 255, number & 255, 5060 + n)
        for n in range(count)
    )
    return head(request) + rows + b"Content-Length: 0\r\n\r\n"


class Answering(asyncio.DatagramProtocol):
    """A registrar over UDP that does no more than it must."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.transport.sendto(self._answer(data), source)


@asynccontextmanager
async def answering(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """Its SIP URI."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Answering(answer), ("127.0.0.1", 0), family=socket.AF_INET
    )
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"sip:{host}:{port}"
    finally:
        transport.close()


def asking(uri: str, aors: list[str], **settings: Any) -> Sip:
    keys = {"timeout": 10.0, "interval": 3600.0, "subscribe": False} | settings
    made = SipSettings(domain="pbx.example.com", **keys)
    return Sip(made, uri, clock=time.monotonic, aors=lambda: aors)


def judge() -> Judge:
    settings = RegistrarSettings(
        type="sip", address="pbx", domain="pbx.example.com", interval=3600.0
    )
    subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
    now = time.monotonic()
    return Judge("hq", settings, subject, now, members=["pbx"], listed=())


async def test_twenty_thousand_contacts_are_asked_for_and_judged_right() -> None:
    judged, missing = judge(), set(AORS)
    async with answering(listed) as uri:
        async with aclosing(asking(uri, AORS).watch()) as readings:
            async for reading in readings:
                judged.apply("pbx", reading, time.monotonic())
                missing -= (isinstance(reading, ListEnd) and reading.aors) or set()
                if not missing:
                    break
    while judged.next_deadline() == 0.0:  # the rest of the first look at all of them
        judged.advance(time.monotonic())
    counts = {State.REGISTERED: EXTENSIONS, State.NEVER_REGISTERED: AWAY}
    assert judged.counts() == counts
    contacts = [len(e.contacts) for e in judged.extensions.values()]
    assert sum(contacts) == CONTACTS
    assert max(contacts) == 2


# --- answers without an end -----------------------------------------------------------

CONTACT = b"Contact: <sip:1001@10.0.0.1:5060>;expires=60\r\n"
BODY = b"Content-Type: application/reginfo+xml\r\nContent-Length: 200000000\r\n\r\n"
DONE = b"Content-Length: 0\r\n\r\n"
CHUNK, CHUNKS = 1400, 145_000  # 200 MB, if anybody takes them

# What follows the head, what is repeated, how often, and whether it then closes.
POURED: dict[str, tuple[bytes, bytes, int, bool]] = {
    "never ends": (b"", CONTACT * 30, CHUNKS, False),
    "breaks off": (CONTACT * 3, b"", 0, True),
    "stands still": (CONTACT * 3, b"", 0, False),
    "has a body of 200 MB": (BODY, b"x" * CHUNK, CHUNKS, True),
    "is one header of 200 MB": (b"Contact: <sip:", b"x" * CHUNK, CHUNKS, True),
    "has too many contacts": (CONTACT * 3000 + DONE, b"", 0, False),
}


CAUSES = {"breaks off": Cause.CONNECTION_RESET, "stands still": Cause.TIMEOUT}


@asynccontextmanager
async def pouring(name: str) -> AsyncIterator[str]:
    """A registrar over TCP whose answers are such; its SIP URI."""
    first, again, times, closes = POURED[name]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(head(request) + first)
            for _ in range(times):
                writer.write(again)
                await writer.drain()
            await (writer.drain() if closes else reader.read())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"sip:{host}:{port};transport=tcp"


async def failure(registrar: Sip) -> Unreadable:
    """How the first question fails; nothing may be told before."""
    try:
        async with aclosing(registrar.watch()) as readings:
            async for reading in readings:
                assert not isinstance(reading, ListEnd)
    except Unreadable as failed:
        return failed
    raise AssertionError("it ended")


@pytest.mark.parametrize("name", POURED)
async def test_an_answer_that_has_no_end_is_unreadable(name: str) -> None:
    tracemalloc.start()
    try:
        async with pouring(name) as uri:
            watched = asking(uri, ["1001"], timeout=1.0)
            failed = await failure(watched)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert failed.cause is CAUSES.get(name, Cause.MALFORMED)


@pytest.mark.parametrize("end", [b"", b"</reginfo>"])
async def test_a_datagram_that_is_all_contacts_is_unreadable(end: bytes) -> None:
    def crowded(request: bytes) -> bytes:
        return head(request) + CONTACT * 1300 + DONE + end

    async with answering(crowded) as uri:
        watched = asking(uri, ["1001"], timeout=0.5)
        failed = await failure(watched)
    assert failed.cause in (Cause.MALFORMED, Cause.TIMEOUT)
