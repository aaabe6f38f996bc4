"""Frames of a network: link, VLAN, IPv4 or IPv6, and what of UDP or TCP is in them."""

from __future__ import annotations

import socket
from struct import Struct
from typing import NamedTuple

FRAME_LIMIT = 65_535 + 64  # octets: an IP packet as large as they come, and its link
EXTENSIONS = 8  # IPv6 extension headers that are looked through; more is an attack
VLANS = 2  # tags of one frame: IEEE 802.1ad has two

ETHERNET, RAW, LINUX_SLL, LINUX_SLL2 = 1, 101, 113, 276  # tcpdump.org/linktypes.html
NULL, LOOP, IPV4, IPV6, RAW_BSD = 0, 108, 228, 229, (12, 14)

UDP, TCP = socket.IPPROTO_UDP, socket.IPPROTO_TCP

_SHORT, _LONG = Struct("!H"), Struct("!L")
_TAGS = (0x8100, 0x88A8, 0x9100)
_ETHERTYPES = (0x0800, 0x86DD)
# IPv6 extension headers that another may follow: hop by hop, routing, options.
_PASSED = (0, 43, 60)
_FRAGMENT, _AUTHENTICATION = 44, 51


class Frame(NamedTuple):
    """What was on the wire at one moment."""

    at: float
    "UTC seconds."

    link: int
    "Its link type: ETHERNET, LINUX_SLL ..."

    data: bytes


class Fragment(NamedTuple):
    """Where a piece of an IP packet belongs."""

    id: int
    offset: int  # octets
    more: bool


class Packet(NamedTuple):
    """The payload of IP in a frame: where it lies, and between whom."""

    source: str
    target: str
    protocol: int
    begin: int  # in the frame
    end: int
    fragment: Fragment | None = None
    header: int = 0  # where the IP header begins


def packet_of(frame: Frame) -> Packet:
    """The IP packet of a frame; ValueError where there is none, or no whole header."""
    data = frame.data
    begin = _network(data, frame.link)
    version = data[begin] >> 4 if begin < len(data) else 0
    if version == 4:
        return _ipv4(data, begin)
    if version == 6:
        return _ipv6(data, begin)
    raise ValueError("no IP packet")


def _network(data: bytes, link: int) -> int:
    """Where the network header begins."""
    if link == ETHERNET:
        return _after_tags(data, 12)
    if link == LINUX_SLL:
        return _after_tags(data, 14)
    if link == LINUX_SLL2:
        return 20
    if link in (RAW, IPV4, IPV6, *RAW_BSD):
        return 0
    if link in (NULL, LOOP):
        return 4
    raise ValueError(f"link type {link} is none that is read here")


def _after_tags(data: bytes, at: int) -> int:
    """Where the packet begins whose EtherType is there, VLAN tags passed over."""
    for _ in range(VLANS + 1):
        kind = _at(_SHORT, data, at)
        at += 2
        if kind in _ETHERTYPES:
            return at
        if kind not in _TAGS:
            break
        at += 2
    raise ValueError("neither IPv4 nor IPv6")


def _ipv4(data: bytes, begin: int) -> Packet:
    size = 4 * (data[begin] & 0xF)
    total = _at(_SHORT, data, begin + 2)
    if size < 20 or begin + size > len(data):
        raise ValueError("a cut IPv4 header")
    if 0 < total < size:
        raise ValueError("an IPv4 packet shorter than its header")
    # 0: the network card was to fill it in, which cuts what is larger than it says.
    end = min(len(data), begin + total) if total else len(data)
    flags = _at(_SHORT, data, begin + 6)
    more, offset = bool(flags & 0x2000), 8 * (flags & 0x1FFF)
    fragment = None
    if more or offset:
        fragment = Fragment(_at(_SHORT, data, begin + 4), offset, more)
    source, target = data[begin + 12 : begin + 16], data[begin + 16 : begin + 20]
    return Packet(
        socket.inet_ntop(socket.AF_INET, source),
        socket.inet_ntop(socket.AF_INET, target),
        data[begin + 9],
        begin + size,
        end,
        fragment,
        begin,
    )


def _ipv6(data: bytes, begin: int) -> Packet:
    at = begin + 40
    if at > len(data):
        raise ValueError("a cut IPv6 header")
    length, following = _at(_SHORT, data, begin + 4), data[begin + 6]
    end = min(len(data), at + length) if length else len(data)
    fragment = None
    for _ in range(EXTENSIONS):
        if following in _PASSED or following == _AUTHENTICATION:
            unit, more = (4, 2) if following == _AUTHENTICATION else (8, 1)
            following, size = _byte(data, at), unit * (_byte(data, at + 1) + more)
            at += size
        elif following == _FRAGMENT and fragment is None:
            following, where = _byte(data, at), _at(_SHORT, data, at + 2)
            id_ = _at(_LONG, data, at + 4)
            fragment = Fragment(id_, where & 0xFFF8, bool(where & 1))
            at += 8
        else:
            break
    if at > end:
        raise ValueError("a cut IPv6 packet")
    source, target = data[begin + 8 : begin + 24], data[begin + 24 : begin + 40]
    return Packet(
        socket.inet_ntop(socket.AF_INET6, source),
        socket.inet_ntop(socket.AF_INET6, target),
        following,
        at,
        end,
        fragment,
        begin,
    )


def _at(wanted: Struct, data: bytes, at: int) -> int:
    if at + wanted.size > len(data):
        raise ValueError("a cut frame")
    value: int = wanted.unpack_from(data, at)[0]
    return value


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise ValueError("a cut frame")
    return data[at]
