"""The ring: bounded by number and by octets; and what is found in it."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipwatch.capture.frames import ETHERNET, FRAME_LIMIT, Frame
from sipwatch.capture.protocol import Question
from sipwatch.capture.ring import SMALLEST, Ring
from sipwatch.capture.searching import SLICE, Found, search
from tests.sipwatch.capture.packets import (
    AT,
    PBX,
    PHONE,
    fragments,
    frame,
    sip,
    tcp_frame,
)

ASK = sip("REGISTER sip:pbx.example.com SIP/2.0")
NO = sip("SIP/2.0 403 Forbidden")
OTHERS = sip("OPTIONS sip:pbx.example.com SIP/2.0", user="2002", call="other")


def filled(*frames: Frame, packets: int = 1000) -> Ring:
    """A ring that saw these."""
    ring = Ring(packets, SMALLEST)
    for one in frames:
        ring.add(one)
    return ring


def held(ring: Ring) -> list[Frame]:
    """All that is in it."""
    return [ring.frame(n) for n in range(ring.first, ring.received)]


def test_a_ring_gives_what_was_added() -> None:
    frames = [frame(ASK), frame(NO, PBX, PHONE, AT + 0.001)]
    ring = filled(*frames)

    assert held(ring) == frames
    assert (len(ring), ring.received, ring.oldest) == (2, 2, AT)
    assert ring.held == sum(len(one.data) for one in frames)


def test_an_empty_ring_has_nothing() -> None:
    ring = filled()

    assert (held(ring), ring.oldest, ring.held) == ([], None, 0)
    with pytest.raises(LookupError):
        ring.frame(0)


def test_the_oldest_gives_way_by_number() -> None:
    frames = [Frame(AT + n, ETHERNET, b"%d" % n) for n in range(25)]
    ring = filled(*frames, packets=10)

    assert held(ring) == frames[15:]
    assert (ring.first, ring.oldest) == (15, AT + 15)
    with pytest.raises(LookupError):
        ring.frame(14)


def test_the_oldest_give_way_by_octets() -> None:
    frames = [Frame(AT + n, ETHERNET, bytes([n]) * 60_000) for n in range(40)]
    ring = filled(*frames)

    assert held(ring) == frames[-len(ring) :]
    assert len(ring) == SMALLEST // 60_000
    assert ring.held <= SMALLEST


@settings(max_examples=30)
@given(st.integers(1, 60), st.lists(st.integers(0, FRAME_LIMIT), max_size=200))
def test_what_is_held_is_the_last_and_within_its_bounds(
    packets: int, sizes: list[int]
) -> None:
    ring, last = Ring(packets, SMALLEST), deque[Frame](maxlen=packets)
    for n, size in enumerate(sizes):
        one = Frame(float(n), n % 3, bytes([n % 256]) * size)
        ring.add(one)
        last.append(one)
        assert ring.held <= SMALLEST
        assert ring.frame(n) == one
    assert held(ring) == list(last)[len(last) - len(ring) :]


@pytest.mark.parametrize(("packets", "size"), [(0, SMALLEST), (1, SMALLEST - 1)])
def test_a_ring_without_room_is_refused(packets: int, size: int) -> None:
    with pytest.raises(ValueError, match="too small"):
        Ring(packets, size)


def test_a_frame_that_no_network_carries_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        filled(Frame(AT, ETHERNET, bytes(FRAME_LIMIT + 1)))


# --- what is found --------------------------------------------------------------------


def found(ring: Ring, **wanted: object) -> Found:
    """The answer to a question about a minute around AT."""
    span = {"since": AT - 30, "until": AT + 30}
    *slices, last = search(ring, Question(**{**span, **wanted}))  # type: ignore[arg-type]
    assert all(one is None for one in slices)
    assert last is not None
    return last


def datas(answer: Found) -> list[bytes]:
    """Their contents."""
    return [one.data for one in answer.frames]


def test_who_is_named_is_found_with_what_belongs_to_the_call() -> None:
    bare = sip("SIP/2.0 100 Trying").replace(b"1001@", b"...@")
    exchange = [frame(ASK), frame(bare, PBX, PHONE), frame(NO, PBX, PHONE)]
    ring = filled(exchange[0], frame(OTHERS), *exchange[1:], frame(OTHERS))

    answer = found(ring, users=("1001",))

    assert answer == Found(exchange, cut=False, seen=5)


def test_a_call_id_is_found() -> None:
    ring = filled(frame(ASK), frame(OTHERS))

    assert datas(found(ring, call_ids=("other",))) == [frame(OTHERS).data]


def test_an_address_is_found_whoever_it_speaks_of() -> None:
    far = frame(OTHERS, ("10.99.0.1", 5060), PBX)
    ring = filled(frame(ASK), far)

    assert found(ring, addresses=("10.99.0.1",)).frames == [far]


def test_without_a_name_all_of_the_time_is_found() -> None:
    frames = [frame(ASK, at=AT + n) for n in range(-60, 61, 20)]

    answer = found(filled(*frames))

    assert [one.at - AT for one in answer.frames] == [-20, 0, 20]
    assert answer.seen == 3


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    frames = [frame(ASK, at=AT), frame(NO, at=AT - 500), frame(NO, at=AT + 1)]

    assert found(filled(*frames), users=("1001",)).frames == [frames[0], frames[2]]


def test_the_rest_of_a_connection_and_of_a_packet_is_found() -> None:
    halves = [tcp_frame(ASK[:60], 1), tcp_frame(ASK[60:], 61)]
    back = tcp_frame(NO[:20], 1, PBX, PHONE)
    long = sip("INVITE sip:1002@pbx.example.com SIP/2.0", body="v=0\r\n" * 700)
    pieces = fragments(long, 1480)

    ring = filled(*halves, back, frame(OTHERS), *pieces)

    assert found(ring, users=("1001",)).frames == [*halves, back, *pieces]


def test_the_compact_and_the_odd_form_of_a_call_id_are_known() -> None:
    compact = OTHERS.replace(b"Call-ID:", b"i:")
    odd = OTHERS.replace(b"Call-ID:", b"CALL-ID:").replace(b"2002", b"3003")
    ring = filled(frame(compact), frame(odd))

    assert len(found(ring, users=("2002",)).frames) == 2


def test_what_does_not_fit_is_cut_from_the_front() -> None:
    frames = [frame(ASK, at=AT + n / 100) for n in range(50)]
    size = len(frames[0].data)

    answer = found(filled(*frames), users=("1001",), most=10 * size + 5)

    assert answer == Found(frames[-10:], cut=True, seen=50)


def test_a_ring_that_goes_on_meanwhile_does_no_harm() -> None:
    ring = filled(*(frame(ASK) for _ in range(900)), packets=900)
    search_ = search(ring, Question(since=AT, until=AT, users=("1001",)))
    answer: Found | None = None
    for turn, one in enumerate(search_):
        answer = one
        for _ in range(SLICE + 50):
            ring.add(frame(OTHERS, at=AT + turn))

    assert answer is not None
    assert 0 < len(answer.frames) < 900
    assert {one.data for one in answer.frames} == {frame(ASK).data}


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        found(filled(), addresses=("nonsense",))
