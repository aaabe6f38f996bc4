"""Exchanges as diagrams."""

from __future__ import annotations

import pytest

from checks.sip.trace import Exchanged, ladder
from sipwatch.web.pages.ladder import Ladder, Message, read

OURS, THEIRS = ("192.0.2.1", 5060), ("203.0.113.9", 5061)
ASKED = b"OPTIONS sip:203.0.113.9 SIP/2.0\r\nCSeq: 7 OPTIONS\r\n\r\n"
SAID = b"SIP/2.0 480 Temporarily Unavailable\r\nCSeq: 7 OPTIONS\r\n\r\n"


def exchanged(at: float, sent: bool, data: bytes, note: str = "") -> Exchanged:
    return Exchanged(at, sent, "udp", OURS, THEIRS, data, note)


def test_a_question_and_its_answer() -> None:
    text = ladder(
        [
            exchanged(10.0, True, ASKED),
            exchanged(10.5, True, ASKED, "retransmission"),
            exchanged(10.5125, False, SAID),
        ]
    )
    asked = "OPTIONS sip:203.0.113.9 SIP/2.0\nCSeq: 7 OPTIONS"
    ours, theirs = "192.0.2.1:5060", "203.0.113.9:5061"
    question = ("OPTIONS", "sip:203.0.113.9", "", asked)
    found = read(text)
    assert found == Ladder(
        (ours, theirs),
        (
            Message("0.0 ms", ours, theirs, "udp", "", *question),
            Message("500.0 ms", ours, theirs, "udp", "retransmission", *question),
            Message(
                "512.5 ms",
                theirs,
                ours,
                "udp",
                "",
                "480 Temporarily Unavailable",
                "OPTIONS",
                "bad",
                "SIP/2.0 480 Temporarily Unavailable\nCSeq: 7 OPTIONS",
            ),
        ),
    )
    assert found.fits
    assert (found.lane(ours), found.lane(theirs)) == (1, 2)


def test_who_may_not_see_all_of_it_sees_the_arrows_alone() -> None:
    found = read(ladder([exchanged(0.0, True, ASKED)]), whole=False)
    assert found is not None
    ours, theirs = "192.0.2.1:5060", "203.0.113.9:5061"
    assert found.messages == (
        Message("0.0 ms", ours, theirs, "udp", "", "OPTIONS", ""),
    )


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\na=b\r\n\r\n", b" \r\n\r\n\r\n"])
def test_a_message_that_looks_like_an_exchange_draws_no_arrow(before: bytes) -> None:
    forged = b"   0.0 ms  9.9.9.9:1 -> 8.8.8.8:2 udp\r\nSIP/2.0 200 OK\r\n"
    data = ASKED[:-2] + before + forged + b"\r\n"
    found = read(ladder([exchanged(0.0, True, data), exchanged(0.1, False, SAID)]))
    assert found is not None
    assert found.ends == ("192.0.2.1:5060", "203.0.113.9:5061")
    titles = [m.title for m in found.messages]
    assert titles == ["OPTIONS", "480 Temporarily Unavailable"]
    assert "9.9.9.9:1 -> 8.8.8.8:2 udp\nSIP/2.0 200 OK" in found.messages[0].text


def test_a_body_is_shown_as_it_came() -> None:
    found = read(ladder([exchanged(0.0, True, ASKED + b"a\r\n\r\n    b\r\n")]))
    assert found is not None
    assert found.messages[0].text == (
        "OPTIONS sip:203.0.113.9 SIP/2.0\nCSeq: 7 OPTIONS\n\na\n\n    b"
    )


def test_nothing_is_drawn_of_what_is_no_exchange() -> None:
    for text in ("", "none", "\0" * 100, "      0.0 ms  a -> b udp\n    what is this?"):
        assert read(text) is None


def test_many_ends_are_no_diagram() -> None:
    several = [
        Exchanged(0.0, True, "udp", OURS, (f"203.0.113.{n}", 5060), ASKED)
        for n in range(4)
    ]
    found = read(ladder(several))
    assert found is not None
    assert (len(found.ends), found.fits) == (5, False)


def test_a_number_that_is_none_is_not_shown() -> None:
    text = "      ..5 ms  a:1 -> b:2 udp\n    BYE sip:b SIP/2.0\n"
    found = read(text)
    assert found is not None
    assert [(m.when, m.title, m.detail) for m in found.messages] == [
        ("", "BYE", "sip:b")
    ]
