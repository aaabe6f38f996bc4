"""Packets of a stranger: whatever they hold, nothing breaks, and no secret leaks."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.capture import export
from sipwatch.capture.frames import ETHERNET, LINUX_SLL, RAW, Frame
from sipwatch.capture.heard import messages
from sipwatch.capture.look import Passing
from sipwatch.capture.story import Story
from tests.sipwatch.capture.packets import (
    AT,
    PBX,
    PHONE,
    ethernet,
    fragments,
    fragments6,
    frame,
    ip,
    ip6,
    sip,
    tcp_frame,
    udp,
)

SECRET = b"6629fae49393a05397450978507c4ef1"
DIGEST = f'Authorization: Digest username="1001", response="{SECRET.decode()}"'
ASK = sip("REGISTER sip:pbx.example.com SIP/2.0", DIGEST)
NO = sip("SIP/2.0 480 Temporarily Unavailable", cseq="1 INVITE")
CALL = sip("INVITE sip:1001@pbx.example.com SIP/2.0", cseq="1 INVITE")
LONG = ASK[:-2] + b"X-Pad: " + b"p" * 2501 + b"\r\n\r\n"
FRAMES = [
    frame(ASK),
    frame(CALL),
    frame(NO, PBX, PHONE),
    Frame(AT, ETHERNET, ethernet(ip6(udp(ASK)), 100, 200)),
    Frame(AT, RAW, ip(udp(NO), options=bytes(8))),
    tcp_frame(b"", 99, flags=0x02),
    tcp_frame(ASK[:150], 100),
    tcp_frame(ASK[150:], 250),
    *fragments(LONG, 1480),
    *fragments6(LONG, 1232),
]
Change = tuple[int, float, int]  # frame, where in it, what is there instead

changes = st.lists(
    st.tuples(
        st.integers(0, len(FRAMES) - 1), st.floats(0, 0.999), st.integers(0, 255)
    ),
    max_size=12,
)


def changed(what: list[Change]) -> list[Frame]:
    """The frames with some octets wrong."""
    frames = list(FRAMES)
    for number, where, value in what:
        data = bytearray(frames[number].data)
        data[int(where * len(data))] = value
        frames[number] = frames[number]._replace(data=bytes(data))
    return frames


@settings(max_examples=300)
@given(changes, st.permutations(range(len(FRAMES))))
def test_wrong_octets_in_any_order_break_nothing(
    what: list[Change], order: list[int]
) -> None:
    frames = changed(what)
    shuffled = [frames[n] for n in order]

    exported = export.of_frames(shuffled, numbers=True)
    assert exported.frames <= len(frames)
    found = Story()
    found.take_all(messages(shuffled))
    for one in found.registrations:
        assert one.ok is not False or one.diagnosis.sentence
    for call in found.calls:
        assert not call.failed or call.finding.sentence
    passing = Passing()
    for passed in shuffled:
        passing.look(passed.data)


@given(st.lists(st.tuples(st.sampled_from([1, 101, LINUX_SLL, 0, 999]), st.binary())))
def test_any_frames_are_exported(several: list[tuple[int, bytes]]) -> None:
    frames = [Frame(AT, link, data) for link, data in several]

    export.of_frames(frames)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary())))
def test_any_segments_are_heard(several: list[tuple[int, int, bytes]]) -> None:
    for sequence, flags, data in several:
        one = tcp_frame(b"SIP/2.0 200 OK\r\n" + data, sequence, flags=flags)
        list(messages([one, one]))


@settings(max_examples=200)
@given(
    st.permutations(range(len(FRAMES))),
    st.lists(st.integers(0, len(FRAMES) - 1), max_size=8),
)
def test_a_secret_never_leaves_in_whatever_order_it_comes(
    order: list[int], again: list[int]
) -> None:
    """Late, early, twice: what was not looked through stays away."""
    exported = export.of_frames([FRAMES[n] for n in [*order, *again]])

    assert SECRET not in exported.pcapng
    assert SECRET.decode() not in exported.text


@given(st.lists(st.integers(1, len(ASK) - 1), max_size=6), st.randoms())
def test_a_secret_in_segments_never_leaves(places: list[int], chance: object) -> None:
    ends = [0, *sorted(set(places)), len(ASK)]
    frames = [tcp_frame(ASK[a:b], 1000 + a) for a, b in pairwise(ends)]
    chance.shuffle(frames)  # type: ignore[attr-defined]

    exported = export.of_frames(frames)

    assert _longest_piece(exported.pcapng) < 12
    assert SECRET.decode() not in exported.text


def _longest_piece(data: bytes) -> int:
    """How much of the secret is there in one piece."""
    for size in range(len(SECRET), 0, -1):
        pieces = (SECRET[at : at + size] for at in range(len(SECRET) - size + 1))
        if any(piece in data for piece in pieces):
            return size
    return 0
