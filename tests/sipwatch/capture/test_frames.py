"""Frames: links, VLAN tags, IPv4 and IPv6 headers, and what is cut."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipwatch.capture.frames import (
    ETHERNET,
    LINUX_SLL,
    LINUX_SLL2,
    NULL,
    RAW,
    Fragment,
    Frame,
    Packet,
    packet_of,
)
from tests.sipwatch.capture.packets import AT, PBX, PHONE, ethernet, ip, ip6, udp

DATA = udp(b"x" * 20)
FOUR, SIX = ip(DATA), ip6(DATA)
SLL = bytes(14)


@pytest.mark.parametrize(
    ("link", "data", "header"),
    [
        (ETHERNET, ethernet(FOUR), 14),
        (ETHERNET, ethernet(FOUR, 100), 18),
        (ETHERNET, ethernet(FOUR, 100, 200), 22),
        (ETHERNET, ethernet(FOUR, 100, tag=0x88A8), 18),
        (ETHERNET, ethernet(SIX), 14),
        (ETHERNET, ethernet(SIX, 100, 200), 22),
        (RAW, FOUR, 0),
        (RAW, SIX, 0),
        (12, FOUR, 0),
        (14, SIX, 0),
        (NULL, b"\x02\0\0\0" + FOUR, 4),
        (LINUX_SLL, SLL + b"\x08\0" + FOUR, 16),
        (LINUX_SLL2, bytes(20) + FOUR, 20),
    ],
)
def test_a_packet_is_found_behind_its_link(link: int, data: bytes, header: int) -> None:
    packet = packet_of(Frame(AT, link, data))

    assert packet.header == header
    assert data[packet.begin : packet.end] == DATA
    assert packet.protocol == socket.IPPROTO_UDP


def test_a_packet_is_between_two_addresses() -> None:
    assert packet_of(Frame(AT, RAW, FOUR)) == Packet(
        PHONE[0], PBX[0], 17, 20, 48, None, 0
    )


def test_padding_after_the_packet_is_no_part_of_it() -> None:
    packet = packet_of(Frame(AT, ETHERNET, ethernet(FOUR) + bytes(18)))

    assert packet.end == 14 + len(FOUR)


def test_options_of_ipv4_are_passed_over() -> None:
    packet = packet_of(Frame(AT, RAW, ip(DATA, options=bytes(8))))

    assert packet.begin == 28


def test_a_fragment_of_ipv4_knows_its_place() -> None:
    packet = packet_of(Frame(AT, RAW, ip(DATA, id=77, offset=1480, more=True)))

    assert packet.fragment == Fragment(77, 1480, True)


@pytest.mark.parametrize(
    ("protocol", "chain", "fragment"),
    [
        (0, b"\x11\x00" + bytes(6), None),
        (43, b"\x3c\x01" + bytes(14) + b"\x11\x00" + bytes(6), None),
        (51, b"\x11\x04" + bytes(22), None),
        (44, b"\x11\x00\x00\x09\x00\x00\x00\x4d", Fragment(77, 8, True)),
    ],
    ids=["hop by hop", "routing, options", "authentication", "fragment"],
)
def test_extension_headers_of_ipv6_are_looked_through(
    protocol: int, chain: bytes, fragment: Fragment | None
) -> None:
    data = ip6(DATA, protocol=protocol, chain=chain)
    packet = packet_of(Frame(AT, RAW, data))

    assert (packet.protocol, packet.fragment) == (17, fragment)
    assert data[packet.begin : packet.end] == DATA


@pytest.mark.parametrize(
    ("link", "data"),
    [
        (ETHERNET, b""),
        (ETHERNET, bytes(12)),
        (ETHERNET, bytes(12) + b"\x08\x06" + bytes(28)),
        (ETHERNET, ethernet(FOUR, 1, 2, 3)),
        (ETHERNET, ethernet(FOUR)[:20]),
        (RAW, b""),
        (RAW, b"\x45"),
        (RAW, b"\x41" + FOUR[1:]),
        (RAW, FOUR[:2] + b"\0\x05" + FOUR[4:]),
        (RAW, SIX[:39]),
        (RAW, ip6(b"", protocol=0)),
        (RAW, b"\x75" + FOUR[1:]),
        (147, FOUR),
    ],
)
def test_what_is_cut_or_no_ip_is_refused(link: int, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        packet_of(Frame(AT, link, data))


@given(st.sampled_from([ETHERNET, RAW, NULL, LINUX_SLL]), st.binary(max_size=200))
def test_any_octets_are_a_packet_or_refused(link: int, data: bytes) -> None:
    try:
        packet = packet_of(Frame(AT, link, data))
    except ValueError:
        return
    assert 0 <= packet.header < packet.begin <= packet.end <= len(data)


@given(st.integers(0, 47), st.integers(0, 255))
def test_a_header_with_one_wrong_octet_is_a_packet_or_refused(
    at: int, value: int
) -> None:
    data = bytearray(ip6(DATA, protocol=0, chain=b"\x11\x00" + bytes(6)))
    data[at] = value
    try:
        packet = packet_of(Frame(AT, RAW, bytes(data)))
    except ValueError:
        return
    assert packet.begin <= packet.end <= len(data)
