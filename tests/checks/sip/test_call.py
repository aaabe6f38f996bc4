"""One call that ends as soon as it is known whether it would ring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from checks.observation import Cause
from checks.settings import Secret
from checks.sip.call import Caller, Outcome
from checks.sip.digest import Credentials
from checks.sip.errors import SipError
from checks.sip.message import Request
from checks.sip.uri import SipUri
from tests.checks.sip.peer import Peer, answering, respond
from tests.servers import eventually

CHALLENGE = 'Digest realm="pbx", nonce="n1", qop="auth", algorithm=MD5'
Script = Callable[[Request, int], Sequence[bytes]]


def phone(invited: Callable[[Request], Sequence[bytes]]) -> Script:
    """Answers INVITE as told, CANCEL with 200 and 487, BYE with 200, ACK not."""
    invites: list[Request] = []

    def script(request: Request, number: int) -> Sequence[bytes]:
        if request.method == "INVITE":
            invites.append(request)
            return invited(request)
        if request.method == "CANCEL":
            ended = respond(invites[-1], 487, "Request Terminated")
            return [respond(request, 200, "OK"), ended]
        return [respond(request, 200, "OK")] if request.method == "BYE" else []

    return script


async def called(
    peer: Peer,
    credentials: Credentials | None = None,
    timeout: float = 10.0,
    caller: Caller | None = None,
) -> Outcome:
    """Call 1001 at a peer."""
    uri = SipUri("127.0.0.1", "1001", peer.address.port)
    return await (caller or Caller(user_agent="sipwatch")).call(
        uri,
        peer.address,
        from_uri="sip:sipwatch@127.0.0.1",
        credentials=credentials,
        timeout=timeout,
    )


def methods(peer: Peer) -> list[str]:
    """What the peer was sent, repetitions once."""
    found: list[str] = []
    for request in peer.requests:
        if not found or found[-1] != request.method:
            found.append(request.method)
    return found


async def acknowledged(peer: Peer) -> None:
    """The last thing that a caller sends has come."""
    await eventually(lambda: methods(peer)[-1] == "ACK", 5, "an ACK")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_phone_that_rings_is_cancelled_at_once(transport: str) -> None:
    script = phone(
        lambda invite: [respond(invite, 100, "Trying"), respond(invite, 180, "Ringing")]
    )
    async with answering(script, transport) as peer:
        outcome = await called(peer)
        await acknowledged(peer)
    assert outcome.response is not None
    assert (outcome.response.status, outcome.rings) == (180, True)
    assert outcome.ended == "cancelled"
    assert methods(peer) == ["INVITE", "CANCEL", "ACK"]
    invite, cancel, ack = peer.requests
    assert cancel.via == invite.via == ack.via  # RFC 3261 9.1 and 17.1.1.3
    assert (cancel.call_id, cancel.uri) == (invite.call_id, invite.uri)
    assert [one.cseq.number for one in (cancel, ack)] == [invite.cseq.number] * 2
    assert cancel.to.tag is None
    assert ack.to.tag == "peer"
    assert b"a=inactive" in invite.body


@pytest.mark.parametrize("status", [404, 480, 486, 503, 603])
async def test_a_refusal_is_acknowledged_and_told(status: int) -> None:
    script = phone(lambda invite: [respond(invite, status, "No", retry_after="30")])
    async with answering(script) as peer:
        outcome = await called(peer)
        await acknowledged(peer)
    assert outcome.response is not None
    assert (outcome.response.status, outcome.rings) == (status, False)
    assert outcome.response.retry_after == 30
    assert outcome.ended == "refused"
    assert methods(peer) == ["INVITE", "ACK"]
    assert peer.requests[1].via == peer.requests[0].via


async def test_who_picks_up_at_once_is_hung_up() -> None:
    contact = "<sip:1001@127.0.0.1:{}>"
    script: Script = phone(lambda invite: [])
    async with answering(lambda r, n: script(r, n)) as peer:
        here = contact.format(peer.address.port)
        route = f"<sip:127.0.0.1:{peer.address.port};lr>"
        script = phone(
            lambda invite: [
                respond(invite, 200, "OK", contact=here, record_route=route)
            ]
        )
        outcome = await called(peer)
    assert (outcome.rings, outcome.ended) == (True, "hung up")
    assert methods(peer) == ["INVITE", "ACK", "BYE"]
    invite, ack, bye = peer.requests
    assert ack.uri == bye.uri == f"sip:1001@127.0.0.1:{peer.address.port}"
    assert (ack.get("route"), bye.get("route")) == (route, route)
    assert ack.cseq.number == invite.cseq.number
    assert bye.cseq.number == invite.cseq.number + 1
    assert len({one.via.branch for one in (invite, ack, bye)}) == 3
    assert ack.to.tag == bye.to.tag == "peer"


async def test_who_picks_up_while_we_cancel_is_hung_up() -> None:
    invites: list[Request] = []

    def script(request: Request, number: int) -> Sequence[bytes]:
        if request.method == "INVITE":
            invites.append(request)
            return [respond(request, 180, "Ringing")]
        if request.method == "CANCEL":
            picked_up = respond(invites[-1], 200, "OK")
            return [respond(request, 200, "OK"), picked_up]
        return [respond(request, 200, "OK")] if request.method == "BYE" else []

    async with answering(script) as peer:
        outcome = await called(peer)
    assert outcome.ended == "hung up"
    assert methods(peer) == ["INVITE", "CANCEL", "ACK", "BYE"]


async def test_a_challenge_is_acknowledged_and_answered() -> None:
    def invited(invite: Request) -> Sequence[bytes]:
        if invite.get("authorization") is None:
            return [respond(invite, 401, "Unauthorized", www_authenticate=CHALLENGE)]
        return [respond(invite, 180, "Ringing")]

    async with answering(phone(invited)) as peer:
        outcome = await called(peer, Credentials("1001", Secret("secret")))
        await acknowledged(peer)
    assert outcome.rings
    assert methods(peer) == ["INVITE", "ACK", "INVITE", "CANCEL", "ACK"]
    first, again = (one for one in peer.requests if one.method == "INVITE")
    assert again.cseq.number == first.cseq.number + 1
    assert again.call_id == first.call_id
    assert again.from_.tag == first.from_.tag
    assert 'username="1001"' in (again.get("authorization") or "")


async def test_credentials_that_are_refused_are_not_tried_for_ever() -> None:
    script = phone(
        lambda invite: [respond(invite, 401, "No", www_authenticate=CHALLENGE)]
    )
    async with answering(script) as peer:
        outcome = await called(peer, Credentials("1001", Secret("wrong")))
        await acknowledged(peer)
    assert outcome.response is not None
    assert outcome.response.status == 401
    assert methods(peer) == ["INVITE", "ACK", "INVITE", "ACK"]


async def test_a_call_that_went_on_elsewhere_says_so() -> None:
    script = phone(
        lambda invite: [
            respond(invite, 181, "Call Is Being Forwarded"),
            respond(invite, 480, "Temporarily Unavailable"),
        ]
    )
    async with answering(script) as peer:
        outcome = await called(peer)
    assert outcome.forwarded


async def test_nothing_at_all_is_a_timeout_and_nothing_is_cancelled() -> None:
    async with answering(phone(lambda invite: [])) as peer:
        with pytest.raises(SipError) as failed:
            await called(peer, timeout=1.2)
    assert failed.value.cause is Cause.TIMEOUT
    assert "no answer to INVITE from 127.0.0.1" in failed.value.detail
    assert methods(peer) == ["INVITE"]  # RFC 3261 9.1: no CANCEL before a response
    assert len(failed.value.exchange) == len(peer.requests)


async def test_a_call_that_is_taken_and_never_rings_is_cancelled() -> None:
    script = phone(lambda invite: [respond(invite, 100, "Trying")])
    async with answering(script) as peer:
        outcome = await called(peer, timeout=1.0)
        await acknowledged(peer)
    assert (outcome.response, outcome.rings) == (None, False)
    assert methods(peer) == ["INVITE", "CANCEL", "ACK"]


async def test_who_is_stopped_while_it_rings_cancels_first() -> None:
    caller = Caller(user_agent="sipwatch")
    script = phone(lambda invite: [respond(invite, 183, "Session Progress")])
    async with answering(script) as peer:
        task = asyncio.create_task(called(peer, caller=caller))
        await eventually(lambda: len(caller.exchange) == 2, 5, "a provisional answer")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await acknowledged(peer)
    assert methods(peer) == ["INVITE", "CANCEL", "ACK"]
