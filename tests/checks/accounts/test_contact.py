"""The test contact on real sockets: who calls it is answered there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from checks.accounts.contact import ACCEPT_LIMIT, Contact, OwnContact, is_test
from checks.sip.client import Client
from checks.sip.message import Response, parse
from checks.sip.uri import NameAddr, SipUri
from tests.checks.sip.peer import answering, ok

OWN = OwnContact.of("watcher.example.com", "line1")


def asking(method: str, transport: str, branch: str = "z9hG4bK1") -> bytes:
    return (
        f"{method} sip:{OWN.user}@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} 127.0.0.1:9;rport;branch={branch}\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:1002@pbx>;tag=c\r\nTo: <sip:1001@pbx>\r\n"
        f"Call-ID: 1@pbx\r\nCSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@asynccontextmanager
async def reachable(transport: str) -> AsyncIterator[tuple[Contact, SipUri]]:
    """A contact that is open towards a registrar of this transport."""
    async with answering(ok, transport) as peer:
        contact = Contact("sipwatch/1", time.time)
        client = Client(clock=time.time, asked=contact.asked)
        try:
            uri = await contact.open(
                client, OWN.user, peer.address, server_name="pbx", timeout=2.0
            )
            yield contact, uri
        finally:
            contact.close()
            client.close()


class Caller(asyncio.DatagramProtocol):
    """Whoever sends datagrams to the contact."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Response] = asyncio.Queue()

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        found = parse(data)
        assert isinstance(found, Response)
        self.heard.put_nowait(found)


@asynccontextmanager
async def calling(
    uri: SipUri,
) -> AsyncIterator[tuple[asyncio.DatagramTransport, Caller]]:
    loop = asyncio.get_running_loop()
    transport, caller = await loop.create_datagram_endpoint(
        Caller, remote_addr=(uri.host, uri.port or 0)
    )
    try:
        yield transport, caller
    finally:
        transport.close()


async def test_over_udp_options_and_a_call_are_answered_by_the_socket() -> None:
    async with reachable("udp") as (contact, uri), calling(uri) as (line, caller):
        line.sendto(asking("OPTIONS", "UDP"))
        assert (await caller.heard.get()).status == 200

        line.sendto(asking("INVITE", "UDP", "z9hG4bK2"))
        first, again = [await caller.heard.get() for _ in range(2)]
        assert [(r.status, r.reasons[0].text) for r in (first, again)] == [
            (480, "sipwatch test contact")
        ] * 2
        waiting = asyncio.create_task(contact.settle())
        line.sendto(asking("ACK", "UDP", "z9hG4bK2"))
        async with asyncio.timeout(2):
            await waiting
        assert not contact.answering.busy


async def test_over_tcp_who_connects_to_it_is_answered() -> None:
    async with reachable("tcp") as (_, uri):
        assert uri.params["transport"] == "tcp"
        reader, writer = await asyncio.open_connection(uri.host, uri.port)
        writer.write(asking("OPTIONS", "TCP") + asking("INVITE", "TCP", "z9hG4bK2"))
        found = [parse(await reader.readuntil(b"\r\n\r\n")) for _ in range(2)]
        assert [r.status for r in found if isinstance(r, Response)] == [200, 480]
        writer.close()


async def test_nonsense_and_too_many_connections_are_hung_up_on() -> None:
    async with reachable("tcp") as (_, uri):
        several = [
            await asyncio.open_connection(uri.host, uri.port)
            for _ in range(ACCEPT_LIMIT + 1)
        ]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await several[-1][0].readexactly(1)
        reader, writer = several[0]
        writer.write(b"nonsense\r\nContent-Length: x\r\n\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        for _, one in several:
            one.close()


def test_a_contact_of_ours_is_known_again() -> None:
    def listed(text: str) -> bool:
        return OWN.owns(NameAddr.parse(text))

    assert listed(f"<sip:{OWN.user}@10.0.0.9:5070>;expires=3")
    assert listed(f"<sip:{OWN.user}@192.0.2.1:1;x-rewritten=1>")  # by an SBC
    assert listed(f'<sip:x@10.0.0.9>;+sip.instance="<{OWN.instance}>"')
    assert not listed("<sip:line1@10.0.0.31:5060>;expires=3")
    assert not listed('<sip:x@10.0.0.9>;+sip.instance="<urn:uuid:0>"')
    assert not listed("<tel:+331234>")
    other = OwnContact.of("watcher.example.com", "line2")
    assert not listed(f"<sip:{other.user}@10.0.0.9:5070>")


def test_the_same_account_has_the_same_instance_ever_after() -> None:
    assert OwnContact.of("watcher.example.com", "line1") == OWN
    assert OWN.instance.startswith("urn:uuid:")
    assert OwnContact.of("other.example.com", "line1").user != OWN.user


def test_test_contacts_of_any_sipwatch_are_known_as_such() -> None:
    assert is_test(f"sip:{OWN.user}@10.0.0.9:5070")
    assert is_test(f'"x" <sips:{OWN.user}@10.0.0.9>')
    assert not is_test("sip:line1@10.0.0.31:5060")
