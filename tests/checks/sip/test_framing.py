from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.sip.framing import Framer
from checks.sip.message import HEADER_LIMIT, MESSAGE_LIMIT


def message(body: bytes = b"", length: str = "Content-Length: %d") -> bytes:
    head = b"SIP/2.0 200 OK\r\nCall-ID: a\r\n"
    return head + (length % len(body)).encode() + b"\r\n\r\n" + body


ONE = message()
TWO = message(b"v=0\r\n\r\no=x", "l:%d")
THREE = message(b"\r\n\r\nINVITE", "CONTENT-LENGTH  :\r\n  %d")
STREAM = b"\r\n\r\n" + ONE + b"\r\n" + TWO + THREE + b"\r\n\r\n\r\n\r\n" + ONE


def test_a_stream_cut_in_any_two_places_gives_the_same_messages():
    for first in range(len(STREAM)):
        second = random.Random(first).randint(first, len(STREAM))
        framer = Framer()
        parts = (STREAM[:first], STREAM[first:second], STREAM[second:])
        found = [found for part in parts for found in framer.feed(part)]
        assert found == [ONE, TWO, THREE, ONE]
        assert framer.held == 0


def test_a_stream_of_single_octets_gives_the_same_messages():
    framer = Framer()
    found = [m for octet in STREAM for m in framer.feed(bytes([octet]))]
    assert found == [ONE, TWO, THREE, ONE]


def test_lines_that_end_in_a_bare_line_feed_are_framed():
    data = TWO.replace(b"\r\n", b"\n").replace(b"l:10", b"l:8")
    assert Framer().feed(data + ONE) == [data, ONE]


def test_a_message_without_content_length_ends_with_its_header():
    bare = b"SIP/2.0 200 OK\r\nCall-ID: a\r\n\r\n"
    assert Framer().feed(bare + ONE) == [bare, ONE]


def test_the_same_content_length_twice_is_borne():
    data = b"SIP/2.0 200 OK\r\nl: 2\r\nContent-Length: 2\r\n\r\nab"
    assert Framer().feed(data) == [data]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -1",
        b"Content-Length: x",
        b"Content-Length:",
        b"Content-Length: 1\r\nl: 2",
        b"Content-Length: 99999",
        b"Content-Length: 9999999999",
    ],
)
def test_a_length_that_cannot_be_followed_is_refused(head):
    with pytest.raises(ValueError):
        Framer().feed(b"SIP/2.0 200 OK\r\n" + head + b"\r\n\r\n")


def test_a_header_without_end_is_refused_before_it_grows():
    framer = Framer()
    line = b"X: " + b"y" * 95 + b"\r\n"
    for _ in range(HEADER_LIMIT // len(line)):
        framer.feed(line)
    with pytest.raises(ValueError, match="header section"):
        framer.feed(line)


def test_keep_alives_are_not_collected():
    framer = Framer()
    for _ in range(1000):
        assert framer.feed(b"\r\n\r\n" * 100) == []
    assert framer.held == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200) | st.sampled_from([ONE, TWO[:40], TWO[40:]])))
def test_any_octets_are_framed_or_refused_and_never_grow(parts):
    framer = Framer()
    try:
        for part in parts:
            for found in framer.feed(part):
                assert len(found) <= MESSAGE_LIMIT
            assert framer.held <= HEADER_LIMIT + MESSAGE_LIMIT
    except ValueError:
        pass
