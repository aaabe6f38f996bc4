"""Reg events on the wire: a real Kamailio, and a server of ours over each transport."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from checks.observation import Kind, Loss, Scope, State, Subject
from checks.registrars.sip import Sip, SipSettings
from checks.registrars.subscriber import Subscriber
from checks.registrations.judge import Judge
from checks.registrations.readings import (
    Added,
    Gone,
    ListEnd,
    Reading,
    RegistrarSettings,
)
from checks.registrations.roster import Listed
from checks.settings import Secret
from checks.sip.client import Client
from checks.sip.digest import Credentials
from checks.sip.flows import Back
from checks.sip.headers import Headers
from checks.sip.message import Request
from checks.sip.requests import register_request
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from tests.checks.sip.peer import answering, respond
from tests.conftest import StartKamailio
from tests.servers import eventually
from tests.servers.kamailio_parts import regevent
from tests.servers.loopback import Loopback

PHONE = "sip:1001@10.0.0.31:5060"


@asynccontextmanager
async def watching(
    address: str, aors: list[str], **settings: Any
) -> AsyncIterator[list[Reading]]:
    """What a watcher reads, as it comes; queries are far between."""
    registrar = Sip(
        SipSettings(**{"interval": 60.0, **settings}),
        address,
        clock=time.time,
        aors=lambda: aors,
    )
    read: list[Reading] = []

    async def follow() -> None:
        async with aclosing(registrar.watch()) as readings:
            async for reading in readings:
                read.append(reading)  # noqa: PERF401 - each as it comes

    following = asyncio.create_task(follow())
    try:
        yield read
        if following.done():
            following.result()
    finally:
        following.cancel()
        await asyncio.wait([following])


def of(read: list[Reading], kind: type) -> list[Any]:
    return [reading for reading in read if isinstance(reading, kind)]


class Phone:
    """Registers at a Kamailio by hand."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = Client()

    async def register(self, seconds: int, contact: str = PHONE) -> None:
        request = register_request(
            SipUri(self.address),
            aor=SipUri(self.address, "1001"),
            user_agent="Phone 1.0",
            contact=contact,
            expires=seconds,
        )
        answer = await self.client.request(
            request,
            Address(self.address, 5060, "udp"),
            timeout=5,
            credentials=Credentials("1001", Secret("secret")),
        )
        assert answer.response.status == 200


@pytest.fixture
async def phone(loopback: Loopback) -> AsyncIterator[Phone]:
    made = Phone(loopback.address())
    yield made
    made.client.close()


@pytest.fixture
def notified(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that reach a watcher."""
    seen: list[Request] = []
    asked = Subscriber.asked

    def note(self: Subscriber, request: Request, back: Back) -> None:
        seen.append(request)
        asked(self, request, back)

    monkeypatch.setattr(Subscriber, "asked", note)
    return seen


@pytest.mark.real("kamailio")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_kamailio_tells_of_each_change_as_it_happens(
    kamailio: StartKamailio,
    folders: Callable[[str], Path],
    phone: Phone,
    notified: list[Request],
    transport: str,
) -> None:
    address, folder = phone.address, folders("presence")
    part = regevent(address, folder, user="1001", password="secret")
    kamailio({"1001": "secret"}, address=address, parts=[part])
    async with watching(
        f"sip:{address};transport={transport}",
        ["1001"],
        domain=address,
        username="1001",
        password=Secret("secret"),
    ) as read:
        await eventually(lambda: notified, what="the subscription")
        await phone.register(60)
        await eventually(lambda: of(read, Added), what="the registration")
        await phone.register(30)
        await eventually(lambda: len(of(read, Added)) == 2, what="the refresh")
        await phone.register(0)
        await eventually(lambda: of(read, Gone), what="the end")
    came, again = of(read, Added)
    assert (came.binding.aor, came.binding.contact) == ("1001", PHONE)
    assert (came.binding.granted, came.binding.user_agent) == (60, "Phone 1.0")
    assert came.binding.expires_at == pytest.approx(came.at + 60, abs=1)
    assert again.binding.granted == 30
    [gone] = of(read, Gone)
    assert (gone.aor, gone.contact, gone.loss) == ("1001", PHONE, Loss.DEREGISTERED)


@pytest.mark.real("kamailio")
async def test_the_judge_knows_of_a_logout_long_before_the_next_query(
    kamailio: StartKamailio,
    folders: Callable[[str], Path],
    phone: Phone,
    notified: list[Request],
) -> None:
    address = phone.address
    part = regevent(address, folders("presence"))
    kamailio({"1001": "secret"}, address=address, parts=[part])
    settings = RegistrarSettings(type="sip", address=address, interval=60.0)
    subject = Subject(Kind.REGISTRAR, "edge", Scope("edge"))
    judge = Judge("edge", settings, subject, time.time(), listed=[Listed("1001")])

    def state(read: list[Reading]) -> State | None:
        for reading in read:
            judge.apply(address, reading, time.time())
        read.clear()
        return judge.extensions["1001"].state

    async with watching(
        f"sip:{address}",
        ["1001"],
        domain=address,
        username="1001",
        password=Secret("secret"),
    ) as read:
        await eventually(lambda: notified, what="the subscription")
        assert state(read) is State.NEVER_REGISTERED
        await phone.register(3600)
        await eventually(lambda: state(read) is State.REGISTERED)
        await phone.register(0)
        left = time.time()
        await eventually(lambda: state(read) is State.UNREGISTERED)
    extension = judge.extensions["1001"]
    assert extension.since == pytest.approx(left, abs=1)
    assert extension.lost is not None
    assert extension.lost.loss is Loss.DEREGISTERED


@pytest.mark.real("kamailio")
async def test_kamailio_without_the_package_is_queried_and_nothing_is_said(
    kamailio: StartKamailio, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kamailio({"1001": "secret"}, address=phone.address)
    await phone.register(60)
    async with watching(
        f"sip:{phone.address}",
        ["1001"],
        domain=phone.address,
        username="1001",
        password=Secret("secret"),
        interval=0.2,
    ) as read:
        await eventually(lambda: len(of(read, ListEnd)) >= 3)
    assert of(read, Added) == of(read, Gone) == []
    assert caplog.text == ""


# --- a server of ours -----------------------------------------------------------------


class Presence:
    """Answers queries, grants subscriptions, and notifies over the way they came."""

    def __init__(self, transport: str, documents: list[str]) -> None:
        self.transport = transport
        self.documents = documents
        self.cseq = 0
        self.subscribes: list[Request] = []
        self.hang_up = False

    def __call__(self, request: Request, number: int) -> list[bytes] | None:
        if request.method == "REGISTER":
            return [respond(request, 200)]
        assert request.method == "SUBSCRIBE"
        if self.hang_up:
            self.hang_up = False
            return None
        self.subscribes.append(request)
        granted = respond(
            request, 200, contact="<sip:presence@127.0.0.1>", expires="600"
        )
        return [granted, *(self.notify(request, body) for body in self.documents)]

    def notify(self, request: Request, body: str) -> bytes:
        self.cseq += 1
        headers = Headers(
            [
                ("Via", f"SIP/2.0/{self.transport.upper()} p.invalid;branch=z9hG4bKn"),
                ("Max-Forwards", "70"),
                ("From", f"<{request.to.uri}>;tag=peer"),
                ("To", request.get("from") or ""),
                ("Call-ID", request.call_id),
                ("CSeq", f"{self.cseq} NOTIFY"),
                ("Event", "reg"),
                ("Subscription-State", "active;expires=600"),
                ("Content-Type", "application/reginfo+xml"),
            ]
        )
        [contact] = request.contacts
        return bytes(Request("NOTIFY", contact.uri, headers, body.encode()))


def document(version: int, event: str, state: str, kind: str = "partial") -> str:
    return (
        f'<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="{version}" '
        f'state="{kind}"><registration aor="sip:1001@pbx.example.com" id="a" '
        f'state="active"><contact id="c" state="{state}" event="{event}" expires="60">'
        f"<uri>{PHONE}</uri></contact></registration></reginfo>"
    )


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
async def test_events_come_over_the_way_that_was_subscribed(transport: str) -> None:
    presence = Presence(
        transport,
        [
            document(0, "registered", "active", "full"),
            document(1, "refreshed", "active"),
            document(2, "expired", "terminated"),
        ],
    )
    async with answering(presence, transport) as peer:
        uri = f"sip:{peer.address};transport={transport}"
        async with watching(uri, ["1001"], domain="pbx.example.com") as read:
            await eventually(lambda: of(read, Gone))
            await eventually(lambda: len(peer.responses) == 3)
    assert [r.status for r in peer.responses] == [200, 200, 200]
    assert [type(r) for r in read[-2:]] == [Added, Gone]
    [gone] = of(read, Gone)
    assert (gone.aor, gone.loss) == ("1001", Loss.EXPIRED)
    [asked] = presence.subscribes
    assert asked.faults == ()
    [contact] = asked.contacts
    expected = {"udp": None, "tcp": "tcp", "ws": "ws"}[transport]
    assert contact.sip.params.get("transport") == expected
    assert contact.sip.host.endswith(".invalid") == (transport == "ws")


async def test_after_a_gap_the_state_is_asked_for_and_the_aor_is_queried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("checks.registrars.regevent.LEAST", 0.05)
    presence = Presence("udp", [document(4, "registered", "active", "full")])

    def script(request: Request, number: int) -> list[bytes] | None:
        answers = presence(request, number)
        if len(presence.subscribes) == 1 and request.method == "SUBSCRIBE":
            skipped = document(6, "expired", "terminated")
            return [*(answers or ()), presence.notify(request, skipped)]
        return answers

    async with answering(script) as peer:
        uri = f"sip:{peer.address}"
        settings = {"domain": "pbx.example.com", "interval": 0.4}
        async with watching(uri, ["1001"], **settings) as read:
            await eventually(lambda: len(presence.subscribes) == 2)
            await eventually(lambda: len(of(read, ListEnd)) >= 2)
    first, second = presence.subscribes
    assert second.call_id == first.call_id
    assert second.to.tag == "peer"
    assert of(read, Gone) == []


@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_over_a_connection_that_was_lost_all_are_subscribed_anew(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.registrars.regevent.LEAST", 0.05)
    presence = Presence(transport, [document(0, "registered", "active", "full")])
    queries = 0

    def script(request: Request, number: int) -> list[bytes] | None:
        nonlocal queries
        if request.method == "REGISTER":
            queries += 1
            if queries == 3:
                return None  # hangs up; the query is asked again, over another
        return presence(request, number)

    async with answering(script, transport) as peer:
        uri = f"sip:{peer.address};transport={transport}"
        settings = {"domain": "pbx.example.com", "interval": 0.2}
        async with watching(uri, ["1001"], **settings):
            await eventually(lambda: len(presence.subscribes) >= 2)
    first, second = presence.subscribes[:2]
    assert peer.connections >= 2
    assert second.call_id == first.call_id
    assert second.contacts[0].uri != first.contacts[0].uri


async def test_a_server_that_is_silent_about_subscribe_delays_no_query() -> None:
    def script(request: Request, number: int) -> list[bytes]:
        return [respond(request, 200)] if request.method == "REGISTER" else []

    async with answering(script) as peer:
        settings = {"domain": "pbx.example.com", "interval": 0.1, "timeout": 5.0}
        began = time.monotonic()
        async with watching(f"sip:{peer.address}", ["1001"], **settings) as read:
            await eventually(lambda: len(of(read, ListEnd)) >= 5)
        assert time.monotonic() - began < 5.0
    assert any(r.method == "SUBSCRIBE" for r in peer.requests)


async def test_where_it_is_switched_off_nobody_subscribes() -> None:
    async with answering(lambda r, n: [respond(r, 200)]) as peer:
        settings = {"domain": "pbx.example.com", "interval": 0.1, "subscribe": False}
        async with watching(f"sip:{peer.address}", ["1001"], **settings) as read:
            await eventually(lambda: len(of(read, ListEnd)) >= 3)
    assert {r.method for r in peer.requests} == {"REGISTER"}
