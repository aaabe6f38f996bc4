"""What the test contact says to whom, on a timeline."""

from __future__ import annotations

import pytest

from checks.accounts.answering import (
    REQUEST_LIMIT,
    TRANSACTION_LIMIT,
    Answering,
    Reply,
)
from checks.sip.flows import Back
from checks.sip.message import Request, Response, parse

PBX = ("10.0.0.5", 5060)
SENT: list[bytes] = []
UDP, TCP = Back(PBX, False, SENT.append), Back(PBX, True, SENT.append)
INVITE = b"""INVITE sip:sipwatch-1@10.0.0.9:5070 SIP/2.0
Via: SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bKa
Via: SIP/2.0/UDP 10.0.0.7;branch=z9hG4bKb
Max-Forwards: 70
From: "Caller" <sip:1002@10.0.0.5>;tag=c
To: <sip:1001@10.0.0.5>
Call-ID: 1@pbx
CSeq: 7 INVITE
Contact: <sip:1002@10.0.0.5>
Content-Length: 0

""".replace(b"\n", b"\r\n")


@pytest.fixture
def contact() -> Answering:
    return Answering("sipwatch/1")


def request(data: bytes = INVITE, **changes: str) -> Request:
    """The INVITE, or another method with other header fields."""
    found = parse(data)
    assert isinstance(found, Request)
    for name, value in changes.items():
        if name == "method":
            found.method = value
            found.headers.set("CSeq", f"7 {value}")
        else:
            found.headers.set(name.replace("_", "-"), value)
    return found


def branch(number: int) -> str:
    return f"SIP/2.0/UDP 10.0.0.5:5060;rport;branch=z9hG4bK{number}"


def answers(replies: list[Reply]) -> list[Response]:
    found = [parse(reply.data) for reply in replies]
    assert all(isinstance(one, Response) for one in found)
    return found  # type: ignore[return-value]


def test_a_call_is_refused_with_a_word_on_who_refuses(contact: Answering) -> None:
    (said,) = answers(contact.receive(request(), UDP, 100.0))
    tag = said.to.tag
    assert bytes(said).decode() == (
        "SIP/2.0 480 Temporarily Unavailable\r\n"
        "Via: SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bKa;rport=5060;received=10.0.0.5"
        "\r\n"
        "Via: SIP/2.0/UDP 10.0.0.7;branch=z9hG4bKb\r\n"
        'From: "Caller" <sip:1002@10.0.0.5>;tag=c\r\n'
        "Call-ID: 1@pbx\r\n"
        "CSeq: 7 INVITE\r\n"
        f"To: <sip:1001@10.0.0.5>;tag={tag}\r\n"
        'Reason: SIP;text="sipwatch test contact"\r\n'
        "User-Agent: sipwatch/1\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    assert tag is not None
    assert len(tag) == 16


def test_over_udp_it_is_said_again_until_it_is_acknowledged(
    contact: Answering,
) -> None:
    (first,) = contact.receive(request(), UDP, 100.0)
    sent = []
    while contact.deadline is not None and contact.deadline < 110.0:
        at = contact.deadline
        sent += [(at, reply.data == first.data) for reply in contact.advance(at)]
    assert sent == [(at, True) for at in (100.5, 101.5, 103.5, 107.5)]
    assert contact.busy

    assert contact.receive(request(method="ACK"), UDP, 110.0) == []
    assert not contact.busy
    assert contact.receive(request(), UDP, 110.1) == []  # a late INVITE: absorbed
    assert contact.deadline == 115.0  # timer I
    assert contact.advance(115.0) == []
    assert contact.deadline is None


def test_who_never_acknowledges_is_given_up(contact: Answering) -> None:
    contact.receive(request(), UDP, 100.0)
    contact.advance(132.0)  # timer H, 64 T1
    assert not contact.busy
    assert contact.deadline is None


def test_over_a_connection_it_is_said_once(contact: Answering) -> None:
    contact.receive(request(), TCP, 100.0)
    assert contact.advance(120.0) == []
    contact.receive(request(method="ACK"), TCP, 120.0)
    contact.advance(120.0)
    assert contact.deadline is None


def test_the_same_invite_again_gets_the_same_answer(contact: Answering) -> None:
    (first,) = contact.receive(request(), UDP, 100.0)
    (again,) = contact.receive(request(), UDP, 100.2)
    assert again.data == first.data
    assert contact.invites == 1


@pytest.mark.parametrize(
    ("changes", "status", "fields"),
    [
        (
            {"method": "OPTIONS"},
            200,
            {"Allow": "INVITE, ACK, CANCEL, OPTIONS", "Accept": "application/sdp"},
        ),
        (
            {"method": "MESSAGE"},
            405,
            {"Allow": "INVITE, ACK, CANCEL, OPTIONS"},
        ),
        ({"method": "SUBSCRIBE"}, 405, {"Allow": "INVITE, ACK, CANCEL, OPTIONS"}),
        ({"method": "BYE", "To": "<sip:1001@a>;tag=x"}, 481, {}),
        ({"method": "INFO"}, 481, {}),
        ({"method": "CANCEL"}, 481, {}),
        ({"To": "<sip:1001@a>;tag=x"}, 481, {}),  # a call that we are not in
    ],
)
def test_every_method_has_its_answer(
    contact: Answering, changes: dict[str, str], status: int, fields: dict[str, str]
) -> None:
    (said,) = answers(contact.receive(request(**changes), UDP, 100.0))
    assert said.status == status
    assert {name: said.get(name) for name in fields} == fields
    assert said.call_id == "1@pbx"
    assert contact.deadline is None


def test_a_call_that_was_refused_can_still_be_cancelled(contact: Answering) -> None:
    contact.receive(request(), UDP, 100.0)
    (said,) = answers(contact.receive(request(method="CANCEL"), UDP, 100.1))
    assert said.status == 200


def test_an_ack_of_nothing_and_what_cannot_be_read_get_no_answer(
    contact: Answering,
) -> None:
    assert contact.receive(request(method="ACK"), UDP, 100.0) == []
    for changes in ({"Via": "nonsense"}, {"CSeq": "x"}, {"CSeq": "7 OPTIONS"}):
        assert contact.receive(request(**changes), UDP, 100.0) == []
    assert contact.requests == 0


def test_a_flood_of_calls_is_refused_without_being_remembered(
    contact: Answering,
) -> None:
    for number in range(TRANSACTION_LIMIT + 5):
        flood = request(Via=branch(number))
        assert len(contact.receive(flood, UDP, 100.0)) == 1
    assert len(contact.advance(100.5)) == TRANSACTION_LIMIT


def test_one_contact_answers_only_so_often(contact: Answering) -> None:
    asked = request(method="OPTIONS")
    said = sum(len(contact.receive(asked, UDP, 100.0)) for _ in range(2000))
    assert said == REQUEST_LIMIT
