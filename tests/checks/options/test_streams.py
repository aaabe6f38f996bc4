"""WebSockets in the sweep, and certificates by address."""

from __future__ import annotations

import datetime
import ssl
from contextlib import AsyncExitStack

import pytest
import trustme

from checks.observation import Cause, State
from checks.options.targets import TargetTls
from checks.sip.message import Request
from checks.sip.resolver import Address
from tests.checks.peers import Names, free_port, target, tls_server, watching
from tests.checks.sip.peer import Peer, answering, ok, respond

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def leads_to(*peers: Peer) -> Names:
    return Names(pbx_example_com=[peer.address for peer in peers])


def certificate(authority: trustme.CA, days: float) -> ssl.SSLContext:
    end = NOW + datetime.timedelta(days=days)
    return tls_server(authority.issue_cert("pbx.example.com", not_after=end))


async def test_a_websocket_is_kept_between_questions() -> None:
    async with answering(ok, "ws") as peer:
        pbx = target(
            "pbx", "sip:pbx.example.com;transport=ws", interval=0.3, timeout=0.2
        )
        async with watching(pbx, names=leads_to(peer)) as watch:
            view = await watch.view("target:pbx", lambda v: v.figures.successes >= 3)
    assert view.addresses[0].transport == "ws"
    assert watch.told[0].last_seen == f"{peer.address} over WS"
    assert peer.connections == 1
    asked = peer.requests[0]
    assert asked.uri == "sip:pbx.example.com;transport=ws"
    assert asked.via.transport == "WS"
    assert asked.via.host.endswith(".invalid")
    [contact] = asked.contacts
    assert contact.sip.host == asked.via.host
    assert contact.sip.params["transport"] == "ws"
    assert peer.handshakes[0].host == f"pbx.example.com:{peer.address.port}"


async def test_the_path_is_asked_for_and_stands_in_no_request() -> None:
    async with answering(ok, "ws") as peer:
        address = Address("127.0.0.1", peer.address.port, "ws", "/ws")
        uri = "sip:1001@pbx.example.com;transport=ws;path=/ws"
        names = Names(pbx_example_com=[address])
        async with watching(target("pbx", uri), names=names) as watch:
            await watch.view("target:pbx", lambda v: v.state is State.UP)
    asked = peer.requests[0]
    assert asked.uri == "sip:1001@pbx.example.com;transport=ws"
    assert asked.to.uri == "sip:1001@pbx.example.com"


async def test_a_websocket_that_the_server_closed_is_opened_anew() -> None:
    def second_hangs_up(request: Request, number: int) -> list[bytes] | None:
        return None if number == 2 else [respond(request, 200)]

    async with answering(second_hangs_up, "ws") as peer:
        pbx = target("pbx", "sip:pbx.example.com;transport=ws")
        async with watching(pbx, names=leads_to(peer)) as watch:
            await watch.view("target:pbx")
            watch.check.probe_now("target:pbx")
            await watch.view("target:pbx", lambda v: v.figures.successes == 2)
    assert (peer.connections, len(peer.requests)) == (2, 3)


async def test_a_path_without_a_websocket_is_down_and_says_so() -> None:
    async with answering(ok, "ws") as peer:
        elsewhere = Address("127.0.0.1", peer.address.port, "ws", "/sip")
        pbx = target("pbx", "sip:pbx.example.com;transport=ws;path=/sip")
        names = Names(pbx_example_com=[elsewhere])
        async with watching(pbx, names=names) as watch:
            view = await watch.view("target:pbx")
    assert (view.state, view.cause) == (State.DOWN, Cause.WEBSOCKET_HANDSHAKE)
    assert view.detail == (
        f"no WebSocket at {elsewhere}: HTTP 404 Not Found: there is no WebSocket at"
        " /sip: name the right one as `;path=/...`"
    )


async def test_a_refused_websocket_is_asked_again_and_recovers() -> None:
    port = free_port()
    names = Names(pbx_example_com=[Address("127.0.0.1", port, "ws", "/ws")])
    pbx = target("pbx", "sip:pbx.example.com;transport=ws", confirm=0.3)
    async with watching(pbx, names=names) as watch:
        view = await watch.view("target:pbx")
        assert (view.state, view.cause) == (State.DOWN, Cause.CONNECTION_REFUSED)
        async with answering(ok, "ws", port=port):
            await watch.view("target:pbx", lambda v: v.state is State.UP)


async def test_each_address_has_the_days_of_its_own_certificate(
    authority: trustme.CA, trusted: str
) -> None:
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(
                answering(ok, over, tls=certificate(authority, days))
            )
            for over, days in (("wss", 61), ("tls", 5), ("wss", 90))
        ]
        pbx = target(
            "pbx", "sips:pbx.example.com", tls=TargetTls(ca=trusted, verify=True)
        )
        async with watching(pbx, names=leads_to(*peers)) as watch:
            view = await watch.view(
                "target:pbx", lambda v: all(a.not_after for a in v.addresses)
            )
            ending = watch.check.certificates(2)
    ends = [(a.transport, a.not_after) for a in view.addresses]
    assert ends == [
        (over, (NOW + datetime.timedelta(days=days)).timestamp())
        for over, days in (("wss", 61), ("tls", 5), ("wss", 90))
    ]
    assert view.figures.days == pytest.approx(5, abs=0.01)
    assert view.figures.days_at == str(peers[1].address)
    assert [(s.key, str(link)) for s, link in ending] == [
        ("target:pbx", str(peers[1].address)),
        ("target:pbx", str(peers[0].address)),
    ]


async def test_addresses_with_one_certificate_are_not_told_apart(
    authority: trustme.CA, trusted: str
) -> None:
    context = certificate(authority, 5)
    async with (
        answering(ok, "tls", tls=context) as first,
        answering(ok, "tls", tls=context) as second,
    ):
        pbx = target("pbx", "sips:pbx.example.com", tls=TargetTls(ca=trusted))
        async with watching(pbx, names=leads_to(first, second)) as watch:
            view = await watch.view(
                "target:pbx", lambda v: all(a.not_after for a in v.addresses)
            )
    assert view.figures.days == pytest.approx(5, abs=0.01)
    assert view.figures.days_at == ""
