"""Messages out of frames: datagrams, fragments, TCP that comes late, twice, or not."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sipwatch.capture.frames import ETHERNET, RAW, Frame
from sipwatch.capture.heard import Heard, Hearing
from sipwatch.capture.pieces import FRAGMENTED, Octets, Place
from sipwatch.capture.streams import AHEAD, FLOWS
from tests.sipwatch.capture.packets import (
    AT,
    PBX,
    PHONE,
    PHONE6,
    ethernet,
    fragments,
    frame,
    ip,
    ip6,
    said,
    sip,
    tcp_frame,
    udp,
)

ASK = sip("REGISTER sip:pbx.example.com SIP/2.0")
OK = sip("SIP/2.0 200 OK")
LONG = sip("INVITE sip:1002@pbx.example.com SIP/2.0", body="v=0\r\n" * 700)
SYN, FIN = 0x02, 0x01


def cut(data: bytes, *places: int) -> list[bytes]:
    """The pieces between these places."""
    ends = [0, *places, len(data)]
    return [data[a:b] for a, b in pairwise(ends)]


def segments(data: bytes, *places: int, start: int = 1000) -> list[Frame]:
    """TCP segments that carry these octets."""
    found, sequence = [], start
    for piece in cut(data, *places):
        found.append(tcp_frame(piece, sequence % (1 << 32)))
        sequence += len(piece)
    return found


def test_a_datagram_is_a_message() -> None:
    hearing = Hearing()

    [message] = hearing.take(3, frame(ASK))

    place = Place(3, 42, len(ASK))
    assert message == Heard(AT, "udp", PHONE, PBX, Octets(ASK, (place,)))


def test_a_datagram_over_ipv6_is_a_message() -> None:
    [message] = Hearing().take(0, Frame(AT, RAW, ip6(udp(OK))))

    assert (message.source, message.data) == (PHONE6, OK)


@pytest.mark.parametrize("payload", [b"\r\n\r\n", b"", b"\0" * 4, b"hello", b"\x80\0"])
def test_keep_alives_and_other_protocols_are_no_messages(payload: bytes) -> None:
    assert said([frame(payload)]) == []


def test_blank_lines_before_a_message_are_no_part_of_it() -> None:
    assert said([frame(b"\r\n\r\n" + ASK)]) == [ASK]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_fragments_are_joined_in_any_order(order: tuple[int, ...]) -> None:
    pieces = fragments(LONG, 1480)
    assert len(pieces) == 3

    hearing = Hearing()
    found = [m for i in order for m in hearing.take(i, pieces[i])]

    assert [m.data for m in found] == [LONG]
    assert {place.frame for place in found[0].octets.places} == {0, 1, 2}


def test_a_fragment_that_comes_twice_does_no_harm() -> None:
    first, second, third = fragments(LONG, 1480)

    assert said([first, first, second, third]) == [LONG]


def test_fragments_that_overlap_keep_what_came_first() -> None:
    data = udp(LONG)
    pieces = [(0, 1600, True), (1480, len(data), False)]
    frames = [
        Frame(AT, RAW, ip(data[a:b], id=9, offset=a, more=more))
        for a, b, more in pieces
    ]

    assert said(frames) == [LONG]


def test_a_lost_fragment_is_no_message() -> None:
    first, _, third = fragments(LONG, 1480)

    assert said([first, third]) == []


def test_packets_in_pieces_are_bounded() -> None:
    hearing = Hearing()
    flood = [fragments(LONG, 1480, id=n)[0] for n in range(1, FRAGMENTED + 50)]
    for n, one in enumerate([fragments(LONG, 1480, id=0)[0], *flood]):
        assert hearing.take(n, one) == []

    rest = fragments(LONG, 1480, id=0)[1:]
    assert [m for one in rest for m in hearing.take(0, one)] == []  # it was given up


def test_a_packet_of_more_than_there_can_be_is_skipped() -> None:
    hearing = Hearing()

    hearing.take(0, Frame(AT, RAW, ip(b"x" * 1400, id=1, offset=65_528, more=False)))

    assert hearing.skipped == 1


def test_a_message_in_one_segment() -> None:
    assert said(segments(ASK)) == [ASK]


def test_a_message_cut_anywhere_after_its_first_line_is_read() -> None:
    for place in range(ASK.index(b"\r\n") + 2, len(ASK)):
        assert said(segments(ASK, place)) == [ASK], place


def test_several_messages_in_one_segment() -> None:
    assert said(segments(ASK + b"\r\n\r\n" + OK)) == [ASK, OK]


@pytest.mark.parametrize("seed", range(8))
def test_segments_out_of_order_and_twice_are_put_right(seed: int) -> None:
    chance = random.Random(seed)
    frames = segments(ASK + LONG + OK, *range(500, len(LONG), 500), start=4294967000)
    first, rest = frames[0], frames[1:] + chance.sample(frames, 3)
    chance.shuffle(rest)

    assert said([first, *rest]) == [ASK, LONG, OK]


def test_a_retransmission_that_is_longer_gives_what_is_new() -> None:
    both = ASK + OK
    frames = [tcp_frame(both[: len(ASK) + 15], 1000), tcp_frame(both, 1000)]

    assert said(frames) == [ASK, OK]


def test_a_capture_that_begins_within_a_message_finds_the_next() -> None:
    assert said([tcp_frame(ASK[200:], 1200), tcp_frame(OK, 1000 + len(ASK))]) == [OK]


def test_after_a_gap_it_goes_on_with_the_next_message() -> None:
    lost = segments(ASK + OK * 70, *range(len(ASK), len(ASK) + 69 * len(OK), len(OK)))
    del lost[1]

    assert said(lost)[:1] == [ASK]
    assert len(said(lost)) == 70  # all but the lost one
    assert len(lost) > AHEAD


def test_another_connection_of_the_same_ports_begins_anew() -> None:
    frames = [
        tcp_frame(b"", 99, flags=SYN),
        tcp_frame(ASK, 100),
        tcp_frame(b"", 100 + len(ASK), flags=FIN),
        tcp_frame(b"", 7_000_000, flags=SYN),
        tcp_frame(OK, 7_000_001),
    ]

    assert said(frames) == [ASK, OK]


def test_both_ways_of_a_connection_are_read() -> None:
    frames = [tcp_frame(ASK, 1), tcp_frame(OK, 1, PBX, PHONE)]

    assert said(frames) == [ASK, OK]


def test_the_places_of_a_message_over_two_segments_are_told() -> None:
    hearing = Hearing()
    first, second = segments(ASK, 150)
    assert hearing.take(0, first) == []

    [message] = hearing.take(1, second)

    assert message.octets.places == (Place(0, 54, 150), Place(1, 54, len(ASK) - 150))


def test_a_stream_of_garbage_is_left_alone() -> None:
    garbage = b"INVITE sip:x SIP/2.0\r\nContent-Length: -1\r\n\r\n"

    assert said([tcp_frame(garbage, 1), tcp_frame(OK, 1 + len(garbage))]) == [OK]


def test_connections_are_bounded() -> None:
    hearing = Hearing()
    for n in range(FLOWS + 10):
        hearing.take(n, tcp_frame(ASK[:150], 1, (PHONE[0], 1024 + n)))

    assert hearing.take(0, tcp_frame(ASK[150:], 151, (PHONE[0], 1024))) == []
    late = (PHONE[0], 1024 + FLOWS + 9)
    assert [m.data for m in hearing.take(0, tcp_frame(ASK[150:], 151, late))] == [ASK]


def test_tls_is_said_to_be_unreadable() -> None:
    hearing = Hearing()
    hello = b"\x16\x03\x01\x02\x00\x01" + bytes(100)

    hearing.take(0, tcp_frame(hello, 1, (PHONE[0], 40_000), (PBX[0], 5061)))

    assert hearing.encrypted == {(PBX[0], 5061)}


def test_frames_of_others_are_skipped_and_counted() -> None:
    hearing = Hearing()
    arp = Frame(AT, ETHERNET, bytes(12) + b"\x08\x06" + bytes(28))
    icmp = Frame(AT, ETHERNET, ethernet(ip(bytes(8), protocol=1)))

    assert [*hearing.take(0, arp), *hearing.take(1, icmp)] == []
    assert (hearing.frames, hearing.skipped) == (2, 2)
