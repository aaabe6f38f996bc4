"""Binding queries in few steps: the same questions and answers as the client's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Binding, Cause
from checks.register import Query, RefusedError, binding_query, bindings
from checks.registrars.queries import (
    AT_ONCE,
    WINDOW,
    PlainQueries,
    Told,
    plain_reply,
)
from checks.settings import Secret
from checks.sip.client import Client
from checks.sip.digest import Credentials
from checks.sip.errors import SipError
from checks.sip.message import Response, parse
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from sipwatch.demo.peer import Peer
from tests.checks.registrars.test_sip_crowd import answering, head

NOW = 1000.0
HEAD = (
    "SIP/2.0 200 OK\r\n"
    "Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK0123;rport=5060;received=10.0.0.9\r\n"
    "From: <sip:1001@pbx>;tag=1\r\nTo: <sip:1001@pbx>;tag=2\r\n"
    "Call-ID: abc\r\nCSeq: 1 REGISTER\r\n"
)
LAST = "Content-Length: 0\r\n\r\n"


def query(**keys: Any) -> Query:
    given = {"registrar": SipUri("pbx.example.com"), "timeout": 5.0, **keys}
    return Query(server_name="pbx", user_agent="sip%watch", **given)


def same(name: str) -> str:
    return name


# --- what is asked ----------------------------------------------------------------


def blurred(data: bytes) -> bytes:
    """A request without what is another in each."""
    return re.sub(rb"(branch=z9hG4bK|tag=|Call-ID: |0\.0\.1:)[0-9a-f]+", rb"\1", data)


@asynccontextmanager
async def listening(sent: list[bytes]) -> AsyncIterator[Address]:
    """An address that answers with no bindings, and keeps what it was asked."""

    def answer(request: bytes) -> bytes:
        sent.append(request)
        return head(request) + LAST.encode()

    async with answering(answer) as uri:
        where = SipUri.parse(uri)
        yield Address(where.host, where.port or 0, "udp")


@pytest.mark.parametrize(
    "registrar", ["sip:pbx.example.com", "sip:10.0.0.5:5070;transport=udp"]
)
async def test_it_asks_as_the_client_does(registrar: str) -> None:
    sent: list[bytes] = []
    clock = asyncio.get_running_loop().time
    asked = query(registrar=SipUri.parse(registrar))
    aors = ["1001", "1002@other.example.com", "*97", "a.b-c_d!~'()&=+$,;?/"]
    async with listening(sent) as address:
        plain, client = PlainQueries(asked, address, clock), Client(clock=clock)
        assert await plain.ask(aors, same) == {aor: [] for aor in aors}
        by_plain = [parse(data) for data in sent]
        first = [blurred(data) for data in sent]
        sent.clear()
        for aor in aors:
            await binding_query(client, asked, aor, address)
        plain.close()
        client.close()
    for one, other in zip(by_plain, map(parse, sent), strict=True):
        assert one.start_line == other.start_line
        assert str(one.from_.uri) == str(other.from_.uri)
        assert one.to == other.to
        assert (one.faults, one.agent) == ((), "sip%watch")
        names = [{name.lower() for name, _ in m.headers.rows} for m in (one, other)]
        assert names[0] == names[1]
    assert len(set(first)) == len(aors)


async def test_no_two_share_a_branch_a_tag_or_a_call_id() -> None:
    sent: list[bytes] = []
    async with listening(sent) as address:
        plain = PlainQueries(query(), address, asyncio.get_running_loop().time)
        await plain.ask([str(n) for n in range(8)], same)
        plain.close()
    messages = [parse(data) for data in sent]
    assert len({m.via.branch for m in messages}) == 8
    assert len({m.call_id for m in messages}) == 8
    assert len({m.from_.tag for m in messages}) == 8


@pytest.mark.parametrize("aor", ["a b", "1001@[::1]", "100%", "\u00e9", "", 'a"b'])
async def test_a_name_that_needs_care_is_left_to_the_client(aor: str) -> None:
    sent: list[bytes] = []
    async with listening(sent) as address:
        plain = PlainQueries(query(), address, asyncio.get_running_loop().time)
        assert await plain.ask([aor], same) == {}
        plain.close()
    assert sent == []


@pytest.mark.parametrize(
    ("asked", "address", "may"),
    [
        (query(), Address("10.0.0.5", 5060, "udp"), True),
        (query(), Address("10.0.0.5", 5060, "tcp"), False),
        (
            query(credentials=Credentials("u", Secret("p"))),
            Address("10.0.0.5", 1, "udp"),
            False,
        ),
        (query(registrar=SipUri("::1")), Address("::1", 5060, "udp"), False),
    ],
)
async def test_only_what_is_plain_is_asked_like_this(
    asked: Query, address: Address, may: bool
) -> None:
    assert PlainQueries.may_ask(asked, address) is may


# --- what is answered -------------------------------------------------------------


def whole(data: bytes) -> list[Binding]:
    """What the parser that reads everything makes of it."""
    message = parse(data)
    assert isinstance(message, Response)
    return bindings(message, "1001", NOW)


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:1001@10.0.0.1:5060>;expires=60",
        "<sip:1001@10.0.0.1>;expires=60",
        "<sip:1001@10.0.0.1:65535>;expires=0",
        "<sip:1001@10.0.0.1:50600;ob;transport=udp>;q=0.5;expires=60",
        "<sip:1001@10.0.0.1:5060>",
        "<sip:1001@10.0.0.1:5060>;expires=9999999999",
    ],
)
def test_a_plain_contact_is_read_as_the_whole_parser_does(contact: str) -> None:
    data = f"{HEAD}Contact: {contact}\r\n{LAST}".encode()
    reply = plain_reply(data)
    if reply is not None:
        assert (reply.branch, reply.call_id) == ("z9hG4bK0123", "abc")
        assert reply.bindings("1001", NOW) == whole(data)
    assert (reply is None) == (":65535" in contact)


@pytest.mark.parametrize(
    "row",
    [
        'Contact: "A" <sip:1001@10.0.0.1>;expires=60',
        'Contact: <sip:1001@10.0.0.1>;expires=60;+sip.instance="<urn:uuid:1>"',
        "Contact: <sip:1001@10.0.0.1>;expires=60, <sip:1001@10.0.0.2>;expires=60",
        "Contact: <sip:1001@[2001:db8::1]>;expires=60",
        "Contact: *",
        "Contact: <sip:1001@10.0.0.1>\r\nExpires: 60",
        "Contact: <sip:1001@10.0.0.1>\r\n ;expires=60",
        "no header",
    ],
)
def test_what_is_not_plain_is_for_the_whole_parser(row: str) -> None:
    assert plain_reply(f"{HEAD}{row}\r\n{LAST}".encode()) is None


_PARTS = ["<", ">", "sip:", "1001@", "10.0.0.1", ":5060", ";", "expires=", "60", "q=1"]
_PARTS += [
    ",",
    '"',
    " ",
    "transport=tcp",
    "=",
    "\t",
    ":0",
    "999999",
    "%41",
    "\r\n ",
    "?",
]


@given(st.lists(st.sampled_from(_PARTS), max_size=12).map("".join))
def test_whatever_is_taken_for_plain_means_the_same(contact: str) -> None:
    data = f"{HEAD}Contact: {contact}\r\n{LAST}".encode()
    if (reply := plain_reply(data)) is not None:
        assert reply.bindings("1001", NOW) == whole(data)


@pytest.mark.parametrize(
    "change",
    [
        ("200 OK", "202 Accepted"),
        ("SIP/2.0 200", "SIP/1.0 200"),
        ("CSeq: 1 REGISTER", "CSeq: 2 REGISTER"),
        ("CSeq: 1 REGISTER", "CSeq: 1 OPTIONS"),
        (";branch=z9hG4bK0123", ""),
        ("Call-ID: abc\r\n", "Call-ID: \u00e9\r\n"),
        (LAST, "Content-Length: 2\r\n\r\nab"),
        (LAST, ""),
    ],
)
def test_another_message_is_no_plain_answer(change: tuple[str, str]) -> None:
    assert plain_reply((HEAD + LAST).replace(*change).encode()) is None


async def told(answer: Callable[[bytes], bytes], **keys: Any) -> Told:
    """What becomes of one query that is answered like this."""
    async with answering(answer) as uri:
        where = SipUri.parse(uri)
        address = Address(where.host, where.port or 0, "udp")
        clock = asyncio.get_running_loop().time
        plain = PlainQueries(query(**keys), address, clock)
        try:
            return (await plain.ask(["1001"], lambda aor: f"<{aor}>"))["1001"]
        finally:
            plain.close()


async def test_a_binding_bears_the_canonical_name() -> None:
    row = b"Contact: <sip:1001@10.0.0.1:5060>;expires=0060\r\n"
    found = await told(lambda asked: head(asked) + row + LAST.encode())
    assert isinstance(found, list)
    assert [(b.aor, b.contact, b.received) for b in found] == [
        ("<1001>", "sip:1001@10.0.0.1:5060", "10.0.0.1:5060")
    ]


async def test_an_answer_with_quotes_is_read_as_well() -> None:
    row = b'Contact: "A" <sip:1001@10.0.0.1>;expires=60\r\n'
    found = await told(lambda asked: head(asked) + row + LAST.encode())
    assert isinstance(found, list)
    assert [b.contact for b in found] == ["sip:1001@10.0.0.1"]


async def test_a_refusal_tells_its_status() -> None:
    def refuse(asked: bytes) -> bytes:
        return head(asked).replace(b"200 OK", b"404 Not Found") + LAST.encode()

    found = await told(refuse)
    assert isinstance(found, RefusedError)
    assert (found.cause, found.response.status) == (Cause.NOT_FOUND, 404)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (b"SIP/2.0", b"HTTP/1.1", Cause.MALFORMED),
        (b"z9hG4bK", b"z9hG4bKx", Cause.TIMEOUT),
        (b"Call-ID: ", b"Call-ID: x", Cause.TIMEOUT),
        (b"200 OK", b"100 Trying", Cause.TIMEOUT),
    ],
)
async def test_what_does_not_answer_it_is_none(
    old: bytes, new: bytes, cause: Cause
) -> None:
    def answer(asked: bytes) -> bytes:
        return head(asked).replace(old, new) + LAST.encode()

    found = await told(answer, timeout=0.2)
    assert isinstance(found, SipError)
    assert found.cause is cause


async def test_a_lost_question_is_sent_again() -> None:
    sent: list[bytes] = []

    def second(asked: bytes) -> bytes:
        sent.append(asked)
        return b"" if len(sent) == 1 else head(asked) + LAST.encode()

    assert await told(second, timeout=30.0) == []
    assert sent == [sent[0]] * 2


async def test_a_closed_port_ends_all_of_them() -> None:
    peer = Peer()
    await peer.open()
    host, port = peer.address
    peer.close()
    await asyncio.sleep(0)
    clock = asyncio.get_running_loop().time
    plain = PlainQueries(query(), Address(host, port, "udp"), clock)
    found = await plain.ask(["1001", "1002"], same)
    plain.close()
    causes = {aor: isinstance(e, SipError) and e.cause for aor, e in found.items()}
    assert causes == dict.fromkeys(("1001", "1002"), Cause.ICMP_UNREACHABLE)


async def test_no_more_are_under_way_than_a_silent_registrar_deserves() -> None:
    sent: list[bytes] = []

    def silent(asked: bytes) -> bytes:
        sent.append(asked)
        return b""

    async with answering(silent) as uri:
        where = SipUri.parse(uri)
        address = Address(where.host, where.port or 0, "udp")
        clock = asyncio.get_running_loop().time
        plain = PlainQueries(query(timeout=0.2), address, clock)
        names = iter([str(n) for n in range(100)])
        found = await plain.ask(names, same)
        plain.close()
    assert len(found) == len(set(sent)) <= WINDOW
    assert next(names) == str(len(found))  # who was not asked was not taken


async def test_many_are_asked_one_window_after_the_other() -> None:
    sent: list[bytes] = []
    aors = [str(n) for n in range(500)]
    async with listening(sent) as address:
        plain = PlainQueries(query(), address, asyncio.get_running_loop().time)
        assert await plain.ask(aors, same) == {aor: [] for aor in aors}
        plain.close()
    assert len({parse(data).via.branch for data in sent}) == 500


async def test_nobody_else_is_asked_once_one_is_refused() -> None:
    def refuse(asked: bytes) -> bytes:
        return head(asked).replace(b"200 OK", b"503 Busy") + LAST.encode()

    async with answering(refuse) as uri:
        where = SipUri.parse(uri)
        address = Address(where.host, where.port or 0, "udp")
        clock = asyncio.get_running_loop().time
        plain = PlainQueries(query(), address, clock)
        found = await plain.ask((str(n) for n in range(100)), same)
        plain.close()
    assert len(found) == AT_ONCE
