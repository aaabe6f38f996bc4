from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.registrars import session
from checks.registrars.ami import (
    GREETING_LIMIT,
    MESSAGE_LIMIT,
    AmiParser,
    Message,
    action,
)
from checks.registrars.aside import Aside
from checks.registrars.session import Session
from checks.registrations.readings import Unreadable
from tests import wire

SESSIONS = [
    "no_contacts_at_all",
    "odd_useragents_and_uris",
    "user_monitor",
    "user_filtered_listen12s",
    "user_read_system_only",
    "shutdown_seen_by_client",
    "login_bad_secret",
    "action_before_login",
    "originate_1008_inuse",
]


def server_segments(name: str) -> list[bytes]:
    recording = wire.read(f"ami/{name}.txt.gz")
    return [data for side, data in wire.segments(recording) if side == "S"]


def parsed(*pieces: bytes) -> list[Message]:
    parser = AmiParser()
    return [message for piece in pieces for message in parser.feed(piece)]


def greeted(*pieces: bytes) -> list[Message]:
    return parsed(wire.GREETING, *pieces)


def test_reads_a_message_and_leaves_the_greeting_aside() -> None:
    parser = AmiParser()
    data = b"Asterisk Call Manager/11.0.0\r\nResponse: Success\r\nPing: Pong\r\n\r\n"

    assert parser.feed(data) == [{"Response": "Success", "Ping": "Pong"}]
    assert parser.greeting == "Asterisk Call Manager/11.0.0"


@pytest.mark.parametrize("odd", [b"", b"no colon\r\n"])
def test_a_name_is_one_object_in_all_messages(odd: bytes) -> None:
    one, other = greeted(*2 * [b"Event: Registry\r\n" + odd + b"Domain: a\r\n\r\n"])

    assert one == other == {"Event": "Registry", "Domain": "a"}
    assert [*map(id, one)] == [*map(id, other)]


@pytest.mark.parametrize("name", SESSIONS)
def test_recorded_sessions_read_the_same_however_tcp_cuts_them(name: str) -> None:
    pieces = server_segments(name)
    whole = b"".join(pieces)
    by_piece = parsed(*pieces)

    assert by_piece == parsed(whole)
    assert by_piece == parsed(*(whole[n : n + 1] for n in range(len(whole))))
    assert all("Response" in m or "Event" in m for m in by_piece)


def test_a_bare_line_feed_stays_in_its_value() -> None:
    messages = parsed(*server_segments("no_contacts_at_all"))
    assert messages[1] == {
        "Response": "Error",
        "ActionID": "a0",
        "Message": "No Contacts found\n",
    }


@pytest.mark.parametrize(
    ("wire_text", "expected"),
    [
        (b"Contacts: \r\n", {"Contacts": ""}),
        (b"Contacts:\r\n", {"Contacts": ""}),
        (b"Odd line\r\nA: 1\r\n", {"A": "1"}),
        (b"UserAgent: X: y; Event: Fake\r\n", {"UserAgent": "X: y; Event: Fake"}),
        (b"A: 1\r\nA: 2\r\n", {"A": "2"}),
        (b"\r\nA: 1\r\n", {"A": "1"}),
        (b"UserAgent: \xff\xfe\r\n", {"UserAgent": r"\xff\xfe"}),
        ("UserAgent: Größe\r\n".encode(), {"UserAgent": "Größe"}),
    ],
)
def test_reads_odd_lines(wire_text: bytes, expected: Message) -> None:
    assert greeted(wire_text + b"\r\n") == [expected]


@pytest.mark.parametrize(
    "wire_text",
    [
        b"Event: AuthDetail\r\nUsername: 1009\r\nPassword: pw1009\r\n",
        b"Event: AuthDetail\r\nUsername: 1009\r\n",
        b"Event: Odd\r\nPassword: pw1009\r\n",
        b"Event: Odd\r\nMd5Cred: 0123\r\n",
        b"Secret: pw\r\nEvent: Odd\r\n",
    ],
)
def test_a_message_that_carries_a_password_ends_in_the_reader(wire_text: bytes) -> None:
    after = {"Event": "Reload"}
    assert greeted(wire_text + b"\r\nEvent: Reload\r\n\r\n") == [after]


def test_no_password_of_the_recorded_states_passes() -> None:
    recording = wire.read("ami/states/04_dnd480_two_contacts_unreachable.txt.gz")
    pieces = [data for side, data in wire.segments(recording) if side == "S"]
    assert b"Password: pw1009" in b"".join(pieces)
    assert "pw1009" not in repr(parsed(*pieces))


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"A" * (GREETING_LIMIT + 1),
        b"Asterisk Call Manager/" + b"1" * GREETING_LIMIT + b"\r\n",
    ],
)
def test_what_does_not_greet_as_asterisk_is_refused(greeting: bytes) -> None:
    with pytest.raises(ValueError, match="greet"):
        parsed(greeting)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_message_has_a_bound(end: bytes) -> None:
    with pytest.raises(ValueError, match="over"):
        greeted(b"UserAgent: " + b"A" * MESSAGE_LIMIT + end)


def test_the_recorded_list_of_two_thousand_contacts_is_whole() -> None:
    recording = wire.read("ami/2000_contacts_noqualify.raw.gz")
    pieces = [data for side, data in wire.segments(recording) if side == "S"]
    messages = parsed(*pieces)

    rows = [m for m in messages if m.get("Event") == "ContactStatusDetail"]
    end = [m for m in messages if m.get("Event") == "ContactStatusDetailComplete"]
    assert [m["ListItems"] for m in end] == [str(len(rows))]
    assert len(rows) == 2007
    assert all(m["URI"].startswith("sip:") and m["RegExpire"].isdigit() for m in rows)


def test_an_action_is_written_and_never_carries_a_second_header() -> None:
    expected = b"Action: Login\r\nActionID: 1\r\nUsername: a\r\n\r\n"
    assert action("Login", "1", Username="a") == expected
    with pytest.raises(ValueError, match="Secret must be one line"):
        action("Login", "1", Secret="x\r\nAction: Command")


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_any_bytes_are_messages_or_a_value_error(
    pieces: list[bytes], greets: bool
) -> None:
    parser = AmiParser()
    try:
        for piece in [wire.GREETING, *pieces] if greets else pieces:
            for message in parser.feed(piece):
                assert all(isinstance(value, str) for value in message.values())
    except ValueError:
        return
    assert len(parser._buffer) <= MESSAGE_LIMIT


HEADERS = st.sampled_from([b"Event", b"Password", b"AOR", b"", b"A: B", b"\xff"])
VALUES = st.binary(max_size=30).filter(lambda value: b"\r\n" not in value)


@given(
    st.lists(st.lists(st.tuples(HEADERS, VALUES), min_size=1, max_size=5), max_size=8),
    st.integers(min_value=1, max_value=40),
)
def test_where_tcp_cuts_never_changes_what_is_read(
    blocks: list[list[tuple[bytes, bytes]]], size: int
) -> None:
    data = wire.GREETING + b"".join(
        b"".join(name + b": " + value + b"\r\n" for name, value in block) + b"\r\n"
        for block in blocks
    )
    cut = parsed(*(data[n : n + size] for n in range(0, len(data), size)))
    assert cut == parsed(data)
    assert all("Password" not in message for message in cut)


async def test_events_that_nobody_takes_have_a_bound_in_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = wire.message(Event="ContactStatus", URI="A" * 50_000)
    monkeypatch.setattr(session, "FLOOD_LIMIT", 10 * len(large))
    asterisk = Session(5.0, lambda: 1000.0, {"ContactStatus"})
    asterisk.data_received(wire.GREETING)
    for _ in range(10):
        asterisk.data_received(large)
        await asterisk.gather(0.0)  # who takes them may have as many as there are
    for _ in range(11):
        asterisk.data_received(large)
    with pytest.raises(Unreadable, match="a flood of events"):
        await asterisk.ask("Ping")


def test_events_set_aside_are_as_they_were_and_gone_when_they_are_read() -> None:
    contact = [
        {"Event": "ContactStatus", "AOR": f"{n}", "URI": ""} for n in (1001, 1002, 1003)
    ]
    boot, bare = {"Event": "FullyBooted"}, {"Event": ""}
    events = [*contact[:2], boot, contact[2], bare, boot]
    aside = Aside()
    for event in events:
        aside.add(event)
    assert (len(aside), list(aside), list(aside)) == (6, events, events)
    left = [(event, len(aside)) for event in aside.drain()]
    assert left == [(event, 5 - n) for n, event in enumerate(events)]
    assert list(aside) == []
    aside.add(boot)
    assert list(aside) == [boot]
