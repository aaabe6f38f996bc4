from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.registrars import esl_session
from checks.registrars.esl import (
    HEADER_LIMIT,
    LIST_LIMIT,
    MESSAGE_LIMIT,
    EslParser,
    Part,
    event,
)
from checks.registrars.esl_session import EslSession
from checks.registrations.readings import Unreadable
from tests.wires import freeswitch as fs

RECORDINGS = [
    "1.10.12-auth-bad",
    "1.10.12-auth-ok-cmds",
    "1.10.12-events-plain",
    "1.11.1-acl-reject",
    "1.11.1-after-restart",
    "1.11.1-auth-bad",
    "1.11.1-auth-ok-cmds",
    "1.11.1-events-plain",
    "1.11.1-two-contacts",
]


def sent(name: str) -> bytes:
    return b"".join(turn.sent for turn in fs.turns(name))


def whole(parts: list[Part]) -> list[Part]:
    """The parts with the pieces of each block put together."""
    found: list[Part] = []
    for part in parts:
        if found and not found[-1].last:
            part = part._replace(body=found.pop().body + part.body)
        found.append(part)
    return found


def cut(data: bytes, seed: int) -> list[bytes]:
    places = sorted(random.Random(seed).sample(range(len(data)), min(len(data), 400)))
    ends = [*places, len(data)]
    return [data[a:b] for a, b in zip([0, *places], ends, strict=True)]


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("seed", range(3))
def test_a_recording_is_the_same_however_it_is_cut(name: str, seed: int) -> None:
    data = sent(name)
    at_once = whole(EslParser().feed(data))
    parser = EslParser()
    parts = [part for piece in cut(data, seed) for part in parser.feed(piece)]
    assert whole(parts) == at_once
    assert at_once[-1].kind == "text/disconnect-notice"
    assert all(part.last for part in at_once)


def test_a_recording_byte_by_byte() -> None:
    data = sent("1.11.1-auth-bad")
    parser = EslParser()
    parts = [p for n in range(len(data)) for p in parser.feed(data[n : n + 1])]
    assert parts == [
        Part("auth/request", "", b"", True),
        Part("command/reply", "-ERR invalid", b"", True),
        Part(
            "text/disconnect-notice",
            "",
            b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n",
            True,
        ),
    ]


def test_an_event_follows_a_body_without_an_empty_line() -> None:
    answer = fs.api("no line end here")
    happened = fs.event("HEARTBEAT", 1.5, Uptime_msec="1500")
    parts = EslParser().feed(fs.AUTH_REQUEST + answer + happened + answer)
    kinds = ["auth/request", "api/response", "text/event-plain", "api/response"]
    assert [part.kind for part in parts] == kinds
    assert parts[1].body == parts[3].body == b"no line end here"


def test_a_long_answer_comes_in_the_pieces_in_which_it_came() -> None:
    parser = EslParser()
    head = b"Content-Type: api/response\nContent-Length: 9\n\n"
    assert parser.feed(fs.AUTH_REQUEST + head + b"abc")[1:] == [
        Part("api/response", "", b"abc", False)
    ]
    assert parser.feed(b"defg") == [Part("api/response", "", b"defg", False)]
    assert parser.feed(b"hi") == [Part("api/response", "", b"hi", True)]


def test_an_empty_answer_is_one() -> None:
    parts = EslParser().feed(fs.AUTH_REQUEST + fs.api(""))
    assert parts[1] == Part("api/response", "", b"", True)


def test_a_recorded_event_is_read_and_decoded() -> None:
    recorded = fs.events("1.11.1-events-plain")
    found = [event(block.partition(b"\n\n")[2]) for block in recorded]
    registered = [e for e in found if e.get("Event-Subclass") == "sofia::register"]
    assert registered[0] == {
        "Event-Subclass": "sofia::register",
        "Event-Name": "CUSTOM",
        "Core-UUID": fs.RUN,
        "Event-Date-Timestamp": "1795167365753012",
        "profile-name": "internal",
        "from-user": "1001",
        "from-host": "fs.lab.test",
        "contact": '"" <sip:1001@127.0.50.4:6300>',
        "call-id": "9799c69ab2cae6b7@127.0.50.4",
        "status": "Registered(UDP)",
        "expires": "15",
        "network-ip": "127.0.50.4",
        "network-port": "6300",
        "user-agent": "LabPhone/1.1001",
    }


def test_of_a_header_given_twice_the_first_stands() -> None:
    # The directory's variables of a user are put behind the event's own headers.
    assert event(b"expires: 60\nvm-password: 1234\nexpires: 9\n") == {"expires": "60"}


@pytest.mark.parametrize(
    ("encoded", "meant"),
    [
        (b"Snom%C3%A9", "Snomé"),
        (b"Snom%E9", "Snomé"),  # Latin-1, as older phones send it
        ("Snomé".encode(), "Snomé"),
        (b"100%", "100%"),
        (b"%0A%00", "\n\x00"),
    ],
)
def test_values_are_url_encoded_in_whatever_encoding_a_phone_has(
    encoded: bytes, meant: str
) -> None:
    assert event(b"user-agent: " + encoded + b"\n") == {"user-agent": meant}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not greet"),
        (b"Content-Type: api/response\n\n", "does not greet"),
        (fs.AUTH_REQUEST + b"A" * (HEADER_LIMIT + 1), f"over {HEADER_LIMIT} bytes"),
        (
            fs.AUTH_REQUEST + b"Content-Type: api/response\nContent-Length: -1\n\n",
            "no number",
        ),
        (
            fs.AUTH_REQUEST + b"Content-Type: api/response\nContent-Length: 1e9\n\n",
            "no number",
        ),
        (
            fs.AUTH_REQUEST
            + b"Content-Type: api/response\nContent-Length: 209715200\n\n",
            f"an answer or event of over {LIST_LIMIT} bytes",
        ),
        (
            fs.AUTH_REQUEST
            + b"Content-Type: text/event-plain\nContent-Length: 65537\n\n",
            f"over {MESSAGE_LIMIT} bytes",
        ),
    ],
)
def test_what_no_freeswitch_sends_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EslParser().feed(data)


@given(st.lists(st.binary(max_size=300), max_size=20), st.booleans())
def test_whatever_comes_is_parts_or_a_value_error(
    pieces: list[bytes], greeted: bool
) -> None:
    parser = EslParser()
    if greeted:
        parser.feed(fs.AUTH_REQUEST)
    try:
        for piece in pieces:
            for part in parser.feed(piece):
                event(part.body)
    except ValueError:
        return
    assert len(parser._buffer) <= sum(map(len, pieces)) + 1


@given(st.data())
def test_a_recording_with_bytes_changed_is_parts_or_a_value_error(
    data: st.DataObject,
) -> None:
    recording = bytearray(sent("1.10.12-events-plain")[:6000])
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(recording) - 1))
        recording[place] = data.draw(st.integers(0, 255))
    parser = EslParser()
    try:
        for piece in cut(bytes(recording), data.draw(st.integers(0, 3))):
            for part in parser.feed(piece):
                event(part.body)
    except ValueError:
        pass


async def test_events_that_nobody_takes_have_a_bound_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = fs.event("sofia::register", 1000.0, user_agent="A" * 50_000)
    monkeypatch.setattr(esl_session, "FLOOD_LIMIT", 10 * len(large))
    session = EslSession(5.0, lambda: 1000.0)
    session.data_received(fs.AUTH_REQUEST)
    for _ in range(10):
        session.data_received(large)
        await session.gather(0.0)  # who takes them may have as many as there are
    for _ in range(11):
        session.data_received(large)
    with pytest.raises(Unreadable, match="a flood of events"):
        await session.rest(5.0)
