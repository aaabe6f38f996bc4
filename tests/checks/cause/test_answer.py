"""Who sent an answer, and what it says of itself: wire text in, whole value out."""

from __future__ import annotations

import pytest

from checks.cause import Answer, Sender
from checks.cause.answer import Known, answer_of, sender_of
from checks.sip.message import Response, parse

MD5 = "8ff40013a580b075140cdf58bf389064"


def response(*lines: str, status: str = "480 Temporarily Unavailable") -> Response:
    """A response to an INVITE with these lines."""
    head = (
        f"SIP/2.0 {status}",
        "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKa",
        "From: <sip:a@example.com>;tag=1",
        "Call-ID: x",
        "CSeq: 1 INVITE",
    )
    found = parse("\r\n".join([*head, *lines, "Content-Length: 0", "", ""]).encode())
    assert isinstance(found, Response)
    return found


def test_an_answer_is_read_whole() -> None:
    found = answer_of(
        response(
            "To: <sip:1001@example.com>;tag=2",
            "Server: Yealink SIP-T46U 108.86.0.75",
            'Reason: Q.850;cause=19;text="no answer", SIP;cause=480',
            'Warning: 399 10.0.0.5 "DND is on"',
            "Retry-After: 30 (in a call)",
            "Contact: <sip:1001@10.20.0.31:5062>",
        ),
        source="10.0.0.5:5060",
        at=7.0,
    )
    assert found == Answer(
        status=480,
        reason="Temporarily Unavailable",
        method="INVITE",
        sender=Sender.DEVICE,
        agent="Yealink SIP-T46U 108.86.0.75",
        source="10.0.0.5:5060",
        at=7.0,
        q850=19,
        sip=480,
        text="no answer",
        warning="DND is on",
        retry_after=30,
        contact="10.20.0.31:5062",
    )


def test_what_came_from_the_network_is_harmless_and_bounded() -> None:
    found = answer_of(
        response(
            "Server: evil\x1b[2J" + "x" * 500,
            f'Reason: Q.850;cause=99999;text="{"y" * 900}"',
            f'Warning: 399 a "{"z" * 900}"',
            "Retry-After: soon",
            "Contact: tel:+331",
            "CSeq: nonsense",
            status="480 " + "w" * 900,
        )
    )
    texts = (found.reason, found.agent, found.text, found.warning)
    assert all(len(text) <= 120 and text.isprintable() for text in texts)
    assert (found.retry_after, found.contact, found.q850) == (None, "", 99999)


@pytest.mark.parametrize(
    ("lines", "known", "sender"),
    [
        (["Server: LabKamailio"], Known(), Sender.PBX),
        (["Server: Asterisk PBX 22.1"], Known(), Sender.PBX),
        (["Server: FPBX-16.0.40(18.9)"], Known(), Sender.PBX),
        (["User-Agent: FreeSWITCH-mod_sofia/1.10"], Known(), Sender.PBX),
        (["Server: Twilio Gateway"], Known(), Sender.PROVIDER),
        (["User-Agent: baresip v1.0.0 (x86_64/linux)"], Known(), Sender.DEVICE),
        (["User-Agent: snomD785/10.1"], Known(), Sender.DEVICE),
        (["User-Agent: Cisco-CP-8851/12"], Known(), Sender.DEVICE),
        (["Server: something else"], Known(), None),
        # By its To tag: proxies that answer themselves write it in ways of their own.
        ([f"To: <sip:a@b>;tag={MD5}.6c7524a4"], Known(), Sender.PBX),
        ([f"To: <sip:a@b>;tag={MD5}-1f3c"], Known(), Sender.PBX),
        (["To: <sip:a@b>;tag=z9hG4bKa"], Known(), Sender.PBX),
        (["To: <sip:a@b>;tag=as6c752"], Known(), None),
        # By what is known of the phone and the PBX.
        (["Server: X"], Known(agents=("X",)), Sender.DEVICE),
        (["Server: X"], Known(server_agents=("X",)), Sender.PBX),
        (["Server: X"], Known(agents=("X",), server_agents=("X",)), Sender.PBX),
        (["Server: X"], Known(server_agents=("X",), provider=True), Sender.PROVIDER),
        (["Server: X"], Known(provider=True), Sender.PROVIDER),
        (["Contact: <sip:1@10.0.0.9>"], Known(devices=("10.0.0.9",)), Sender.DEVICE),
        (
            ["Contact: <sip:1@10.0.0.9:5062>", "Server: Asterisk"],
            Known(devices=("10.0.0.9:5062",)),
            Sender.DEVICE,
        ),
        ([], Known(servers=("10.0.0.5:5060",)), Sender.PBX),
        (["Server: X"], Known(servers=("10.0.0.5:5060",)), None),
        ([], Known(devices=("10.0.0.5",)), Sender.DEVICE),
        ([], Known(), None),
    ],
)
def test_who_sent_it(lines: list[str], known: Known, sender: Sender | None) -> None:
    if not any(line.startswith("To:") for line in lines):
        lines = ["To: <sip:a@b>;tag=1", *lines]
    assert sender_of(response(*lines), "10.0.0.5:5060", known) is sender


@pytest.mark.parametrize(
    ("lines", "forwarded"),
    [
        (["Diversion: <sip:1001@hq>;reason=no-answer"], "another number"),
        (
            [
                "History-Info: <sip:1001@hq>;index=1, "
                "<sip:204@hq?Reason=SIP%3Bcause%3D302>;index=1.1"
            ],
            "sip:204@hq",
        ),
        (["History-Info: <sip:1001@hq>;index=1"], ""),
        ([], ""),
    ],
)
def test_to_whom_the_call_had_gone_on(lines: list[str], forwarded: str) -> None:
    found = answer_of(response("To: <sip:a@b>;tag=1", *lines))
    assert found.forwarded == forwarded


def test_where_a_redirection_leads_is_not_who_sent_it() -> None:
    moved = response(
        "To: <sip:a@b>;tag=1",
        "Contact: <sip:1@10.0.0.9>",
        status="302 Moved Temporarily",
    )
    assert answer_of(moved, known=Known(devices=("10.0.0.9",))).sender is None
