from __future__ import annotations

import pytest

from checks.sip.trace import LADDER_BYTES, Exchanged, ladder, redacted

US = ("192.0.2.1", 5060)
PEER = ("2001:db8::1", 5061)
REQUEST = b"OPTIONS sip:b SIP/2.0\r\nCall-ID: 1\r\n\r\n"


def test_a_ladder_counts_its_times_from_the_first_message():
    exchange = [
        Exchanged(100.0, True, "udp", US, PEER, REQUEST),
        Exchanged(100.5, True, "udp", US, PEER, REQUEST, "retransmission"),
        Exchanged(100.52, False, "udp", US, PEER, b"SIP/2.0 200 OK\r\n\r\nv=0\r\n"),
    ]
    assert ladder(exchange) == (
        "      0.0 ms  192.0.2.1:5060 -> [2001:db8::1]:5061 udp\n"
        "    OPTIONS sip:b SIP/2.0\n"
        "    Call-ID: 1\n"
        "\n"
        "    500.0 ms  192.0.2.1:5060 -> [2001:db8::1]:5061 udp  (retransmission)\n"
        "    OPTIONS sip:b SIP/2.0\n"
        "    Call-ID: 1\n"
        "\n"
        "    520.0 ms  192.0.2.1:5060 <- [2001:db8::1]:5061 udp\n"
        "    SIP/2.0 200 OK\n"
        "  |\n"
        "  | v=0\n"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"SIP/2.0 200 OK\r\n\r\n%b",
        b"SIP/2.0 200 OK\r\n\r\na\r\n\r\n%b",
        b"SIP/2.0 200 OK\r\n \r\n%b",
        b"\r\n%b",
        b"  \r\n%b",
        b"\r\n\r\n\r\n%b",
        b"\n\n%b",
    ],
)
def test_no_line_of_a_message_looks_like_the_next_one(data):
    forged = b"   0.0 ms  9.9.9.9:1 -> 8.8.8.8:2 udp\r\n" + REQUEST
    text = ladder([Exchanged(0.0, False, "udp", US, PEER, data % forged)])
    head, *lines = text.splitlines()
    assert head == "      0.0 ms  192.0.2.1:5060 <- [2001:db8::1]:5061 udp"
    assert "" not in lines
    assert all(line.startswith(("    ", "  |")) for line in lines)


def test_no_messages_make_an_empty_ladder():
    assert ladder([]) == ""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            'Authorization: Digest username="a", response="0123abcd", nc=1',
            'Authorization: Digest username="a", response=***, nc=1',
        ),
        ("proxy-authorization : Digest response=0123,x=y",
         "proxy-authorization : Digest response=***,x=y"),
        ('Authorization: Digest\r\n username="a",\r\n  response="0123"',
         'Authorization: Digest username="a", response=***'),
        ('Authorization: Digest response="0123', "Authorization: Digest response=***"),
        ("Authorization: Basic YTpi", "Authorization: ***"),
        ("Authorization:", "Authorization: ***"),
        ("To: <sip:alice:secret@example.com>", "To: <sip:alice:***@example.com>"),
        ("Contact: <sip:a@b>;x=y", "Contact: <sip:a@b>;x=y"),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(line, shown):
    assert redacted(f"OPTIONS sip:b SIP/2.0\r\n{line}\r\n\r\n".encode())[1] == shown


def test_control_codes_and_broken_octets_are_made_harmless():
    lines = redacted(b"SIP/2.0 200 \x1b[31mred\r\nX: \xff\x07\r\n\r\nbody \x1b]0;x\x07")
    assert lines == [
        "SIP/2.0 200 \ufffd[31mred",
        "X: \\xff\ufffd",
        "",
        "body \ufffd]0;x\ufffd",
    ]


def test_a_long_message_is_cut():
    lines = redacted(b"SIP/2.0 200 OK\r\n\r\n" + b"x\n" * LADDER_BYTES)
    assert lines[-1] == f"... {LADDER_BYTES + 18} more bytes"
    assert sum(map(len, lines)) < LADDER_BYTES + 100
