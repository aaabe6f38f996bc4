from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from checks.observation import Cause
from checks.settings import Secret
from checks.sip.client import Answer, Client
from checks.sip.digest import Challenge, Credentials, _schemes, answer
from checks.sip.errors import SipError
from checks.sip.message import Request, parse
from checks.sip.params import Params
from checks.sip.requests import options_request, register_request
from checks.sip.resolver import Address
from checks.sip.trace import ladder
from checks.sip.uri import SipUri
from tests.checks.sip.peer import Script, answering, ok, respond

TARGET = SipUri.parse("sip:probe@example.com")
ALICE = Credentials("alice", Secret("wonderland"))


def options() -> Request:
    return options_request(
        TARGET, from_uri="sip:sipwatch@example.com", user_agent="sipwatch"
    )


@asynccontextmanager
async def client(**settings):
    made = Client(**settings)
    try:
        yield made
    finally:
        made.close()


async def asked(
    script: Script,
    transport: str = "udp",
    *,
    timeout: float = 5.0,
    ip="127.0.0.1",
    **how,
) -> Answer:
    async with answering(script, transport, ip=ip) as peer, client() as c:
        return await c.request(options(), peer.address, timeout=timeout, **how)


async def failure(script: Script, transport: str = "udp", **how) -> SipError:
    with pytest.raises(SipError) as caught:
        await asked(script, transport, **how)
    return caught.value


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_a_request_is_answered(transport, ip):
    async with answering(ok, transport, ip=ip) as peer, client() as c:
        got = await c.request(options(), peer.address, timeout=5)
    assert got.response.status == 200
    assert got.source == (ip, peer.address.port)
    assert (got.sends, got.via_other_address, got.not_after) == (1, False, None)
    assert 0 < got.rtt < 5
    assert [m.sent for m in got.exchange] == [True, False]
    sent = peer.requests[0]
    assert sent.faults == ()
    assert sent.via.transport == transport.upper()
    if transport == "ws":  # RFC 7118 5.3: no address, a name that is nobody's
        assert sent.via.host.endswith(".invalid")
        assert sent.via.port is None
    else:
        assert sent.via.host.strip("[]") == ip
    assert sent.via.branch.startswith("z9hG4bK")
    assert len(sent.via.branch) == 7 + 16
    assert "rport" in sent.via.params
    assert sent.get("max-forwards") == "70"
    assert sent.from_.tag
    assert sent.to.tag is None


async def test_the_request_given_is_left_as_it_was():
    request = options()
    before = bytes(request)
    async with answering(ok) as peer, client() as c:
        await c.request(request, peer.address, timeout=5)
    assert bytes(request) == before


async def test_a_lost_request_is_sent_again():
    def second_time(request: Request, number: int) -> list[bytes]:
        return [respond(request, 200)] if number == 2 else []

    got = await asked(second_time)
    assert got.sends == 2
    assert [m.note for m in got.exchange] == ["", "retransmission", ""]
    assert got.exchange[0].data == got.exchange[1].data
    assert got.rtt > 0.4  # from the first send


async def test_silence_is_a_timeout_and_says_how_often_it_was_asked():
    error = await failure(lambda request, number: [], timeout=0.6)
    assert error.cause is Cause.TIMEOUT
    assert "no final response from 127.0.0.1:" in error.detail
    assert error.detail.endswith("to 2 sends")
    assert [m.sent for m in error.exchange] == [True, True]


async def test_a_provisional_response_is_no_answer():
    def ringing(request: Request, number: int) -> list[bytes]:
        return [respond(request, 100, "Trying")]

    assert (await failure(ringing, timeout=0.1)).cause is Cause.TIMEOUT


async def test_a_provisional_response_is_waited_past():
    def both(request: Request, number: int) -> list[bytes]:
        return [respond(request, 100, "Trying"), respond(request, 486, "Busy Here")]

    got = await asked(both)
    assert got.response.status == 486
    assert len(got.exchange) == 3


def _forged(**changes: str) -> Script:
    def script(request: Request, number: int) -> list[bytes]:
        forged = request.copy()
        for name, value in changes.items():
            forged.headers.set(name.replace("_", "-"), value)
        return [respond(forged, 200)]

    return script


@pytest.mark.parametrize(
    "script",
    [
        _forged(via="SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK0123456789abcdef"),
        _forged(call_id="another"),
        _forged(cseq="2 OPTIONS"),
        _forged(cseq="1 INVITE"),
    ],
    ids=["branch", "call-id", "cseq number", "cseq method"],
)
async def test_an_answer_to_another_request_does_not_count(script):
    error = await failure(script, timeout=0.1)
    assert error.cause is Cause.TIMEOUT
    assert "; 1 that were not to this request" in error.detail


async def test_octets_that_are_not_sip_are_named_when_nothing_better_comes():
    error = await failure(
        lambda request, number: [b"HTTP/1.1 400 No\r\n\r\n"], timeout=0.1
    )
    assert error.cause is Cause.MALFORMED
    assert "is not SIP" in error.detail
    assert error.exchange[-1].note == "not SIP"


async def test_octets_that_are_not_sip_do_not_hide_an_answer():
    def both(request: Request, number: int) -> list[bytes]:
        return [b"\x00\xff garbage", b"\r\n\r\n", respond(request, 200)]

    assert (await asked(both)).response.status == 200


async def test_an_answer_from_another_address_is_taken_and_flagged():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        def from_elsewhere(request: Request, number: int) -> list[bytes]:
            other.sendto(respond(request, 200), ("127.0.0.1", request.via.port))
            return []

        got = await asked(from_elsewhere)
        assert got.via_other_address
        assert got.source == other.getsockname()
        assert got.exchange[-1].note == "from another address"


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_a_closed_udp_port_is_told_by_icmp_at_once(ip):
    with socket.socket(
        socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM
    ) as probe:
        probe.bind((ip, 0))
        port = probe.getsockname()[1]
    async with client() as c:
        with pytest.raises(SipError) as caught:
            await c.request(options(), Address(ip, port, "udp"), timeout=10)
    assert caught.value.cause is Cause.ICMP_UNREACHABLE
    assert "ICMP: port unreachable" in caught.value.detail


async def test_an_icmp_error_of_one_destination_spares_the_others():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        closed = Address("127.0.0.1", probe.getsockname()[1], "udp")
    async with answering(ok) as peer, client() as c:
        results = await asyncio.gather(
            *(
                c.request(options(), address, timeout=5)
                for address in [closed, peer.address] * 10
            ),
            return_exceptions=True,
        )
    assert [isinstance(r, SipError) for r in results] == [True, False] * 10


async def test_a_refused_connection_is_told():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", probe.getsockname()[1], "tcp")
    async with client() as c:
        with pytest.raises(SipError) as caught:
            await c.request(options(), address, timeout=5)
    assert caught.value.cause is Cause.CONNECTION_REFUSED


@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_a_connection_that_ends_without_an_answer_is_told(transport):
    error = await failure(lambda request, number: None, transport)
    assert error.cause is Cause.CONNECTION_RESET
    assert "the peer closed the " in error.detail


@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_a_connection_is_kept_between_requests(transport):
    async with answering(ok, transport) as peer, client() as c:
        for _ in range(3):
            await c.request(options(), peer.address, timeout=5)
    assert (len(peer.requests), peer.connections) == (3, 1)


@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_requests_at_once_share_one_connection(transport):
    async with answering(ok, transport) as peer, client() as c:
        answers = await asyncio.gather(
            *(c.request(options(), peer.address, timeout=5) for _ in range(20))
        )
    assert len({a.response.call_id for a in answers}) == 20
    assert peer.connections == 1


@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_a_kept_connection_that_the_peer_closed_is_opened_anew(transport):
    def second_hangs_up(request: Request, number: int):
        return None if number == 2 else [respond(request, 200)]

    async with answering(second_hangs_up, transport) as peer, client() as c:
        await c.request(options(), peer.address, timeout=5)
        got = await c.request(options(), peer.address, timeout=5)
    assert got.response.status == 200
    assert peer.connections == 2


async def test_a_stream_that_is_not_sip_is_malformed():
    error = await failure(lambda r, n: [b"SSH-2.0-x\r\n\r\n"], "tcp", timeout=0.2)
    assert error.cause is Cause.MALFORMED
    error = await failure(
        lambda r, n: [b"SIP/2.0 200 OK\r\nContent-Length: 9999999\r\n\r\n"], "tcp"
    )
    assert error.cause is Cause.MALFORMED
    assert "Content-Length" in error.detail


async def test_the_source_address_is_the_one_configured():
    async with answering(ok) as peer, client(source=("127.0.0.2", 0)) as c:
        got = await c.request(options(), peer.address, timeout=5)
    assert peer.requests[0].via.host == "127.0.0.2"
    assert got.exchange[0].local[0] == "127.0.0.2"


async def test_a_source_address_that_is_not_ours_is_told():
    async with answering(ok) as peer, client(source=("192.0.2.1", 0)) as c:
        with pytest.raises(SipError) as caught:
            await c.request(options(), peer.address, timeout=5)
    assert "Cannot assign requested address" in caught.value.detail


async def test_closing_the_client_ends_what_waits():
    async with answering(lambda r, n: []) as peer:
        c = Client()
        task = asyncio.ensure_future(c.request(options(), peer.address, timeout=5))
        await peer.asked.wait()
        c.close()
        with pytest.raises(SipError, match="the client was closed"):
            await task


async def test_a_cancelled_request_leaves_nothing_behind():
    async with answering(lambda r, n: []) as peer, client() as c:
        task = asyncio.ensure_future(c.request(options(), peer.address, timeout=5))
        await peer.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert c._pending == {}


class Registrar:
    """Asks for a digest, and checks it."""

    def __init__(self, *challenges: str, status: int = 401, stale_after: int = 99):
        self.challenges = challenges
        self.status = status
        self.stale_after = stale_after
        self.uses = 0
        self.counts: list[str] = []

    @property
    def fields(self) -> tuple[str, str]:
        if self.status == 401:
            return "www_authenticate", "authorization"
        return "proxy_authenticate", "proxy-authorization"

    def __call__(self, request: Request, number: int) -> list[bytes]:
        field, given = self.fields
        authorization = request.get(given)
        if authorization is None:
            return [respond(request, self.status, **{field: list(self.challenges)})]
        self.uses += 1
        if self.uses > self.stale_after:
            self.uses, self.stale_after = 0, 99
            fresh = self.challenges[0].replace('nonce="', 'stale=true, nonce="new')
            self.challenges = (fresh,)
            return [respond(request, self.status, **{field: [fresh]})]
        if not self.is_right(authorization, request):
            return [respond(request, self.status, **{field: list(self.challenges)})]
        return [respond(request, 200)]

    def is_right(self, authorization: str, request: Request) -> bool:
        given = Params(_schemes(authorization)[0][1])
        self.counts.append(given.get("nc", ""))
        for text in self.challenges:
            challenge = Challenge.parse(text)
            if challenge.algorithm == given["algorithm"]:
                nc = int(given["nc"], 16) if "nc" in given else 1
                expected = answer(
                    challenge,
                    ALICE,
                    request.method,
                    request.uri,
                    nc=nc,
                    cnonce=given.get("cnonce") or "",
                )
                wanted = Params(_schemes(expected)[0][1])["response"]
                return wanted == given["response"]
        return False


MD5 = 'Digest realm="example.com", nonce="m1", qop="auth", algorithm=MD5'
SHA = 'Digest realm="example.com", nonce="s1", qop="auth", algorithm=SHA-256'


@pytest.mark.parametrize("status", [401, 407])
async def test_a_challenge_is_answered_with_the_strongest_algorithm(status):
    registrar = Registrar(MD5, SHA, status=status)
    async with answering(registrar) as peer, client() as c:
        got = await c.request(options(), peer.address, timeout=5, credentials=ALICE)
    assert got.response.status == 200
    first, second = peer.requests
    assert "algorithm=SHA-256" in second.get(registrar.fields[1])
    assert first.call_id == second.call_id
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    assert first.from_.tag == second.from_.tag
    assert first.via.branch != second.via.branch


async def test_a_nonce_is_used_again_with_its_count_going_up():
    registrar = Registrar(MD5)
    async with answering(registrar) as peer, client() as c:
        for _ in range(3):
            got = await c.request(options(), peer.address, timeout=5, credentials=ALICE)
            assert got.response.status == 200
    assert registrar.counts == ["00000001", "00000002", "00000003"]
    assert len(peer.requests) == 4


async def test_a_stale_nonce_is_replaced_once():
    registrar = Registrar(MD5, stale_after=1)
    async with answering(registrar) as peer, client() as c:
        for _ in range(2):
            got = await c.request(options(), peer.address, timeout=5, credentials=ALICE)
            assert got.response.status == 200
    assert registrar.counts == ["00000001", "00000001"]


async def test_wrong_credentials_are_tried_once():
    registrar = Registrar(MD5)
    wrong = Credentials("alice", Secret("guess"))
    async with answering(registrar) as peer, client() as c:
        got = await c.request(options(), peer.address, timeout=5, credentials=wrong)
    assert got.response.status == 401
    assert len(peer.requests) == 2


async def test_a_server_that_calls_every_nonce_stale_is_left():
    def always_stale(request: Request, number: int) -> list[bytes]:
        challenge = f'Digest realm="r", nonce="n{number}", stale=true'
        return [respond(request, 401, www_authenticate=challenge)]

    async with answering(always_stale) as peer, client() as c:
        got = await c.request(options(), peer.address, timeout=5, credentials=ALICE)
    assert got.response.status == 401
    assert len(peer.requests) == 2


async def test_a_server_with_ever_new_realms_is_left():
    def new_realm(request: Request, number: int) -> list[bytes]:
        challenge = f'Digest realm="r{number}", nonce="n"'
        return [respond(request, 401, www_authenticate=challenge)]

    async with answering(new_realm) as peer, client() as c:
        await c.request(options(), peer.address, timeout=5, credentials=ALICE)
    assert len(peer.requests) == 4


async def test_without_credentials_a_challenge_is_the_answer():
    got = await asked(Registrar(MD5))
    assert got.response.status == 401


async def test_a_binding_query_names_the_domain_and_has_no_contact():
    aor = SipUri.parse("sip:1001@example.com")
    request = register_request(
        SipUri.parse("sip:example.com;transport=tcp"), aor=aor, user_agent="sipwatch"
    )
    async with answering(ok, "tcp") as peer, client() as c:
        await c.request(request, peer.address, timeout=5)
    sent = peer.requests[0]
    assert sent.start_line == "REGISTER sip:example.com;transport=tcp SIP/2.0"
    assert sent.get("contact") is None
    assert sent.to.uri == sent.from_.uri == "sip:1001@example.com"


async def test_the_ladder_of_an_answer_shows_no_digest():
    registrar = Registrar(MD5)
    async with answering(registrar) as peer, client() as c:
        got = await c.request(options(), peer.address, timeout=5, credentials=ALICE)
    text = ladder(got.exchange)
    assert text.count(" -> ") == 2
    assert "Authorization: Digest username=" in text
    secret = parse(got.exchange[2].data).get("authorization").partition("response=")[2]
    assert secret[:34].strip('"') not in text
