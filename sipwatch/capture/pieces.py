"""Octets, and where in which frame they lie: so that a change can be made there too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from sipwatch.capture.frames import TCP, UDP, Frame, Packet, packet_of

FRAGMENTED = 256  # IP packets in pieces at once; the oldest is given up
PIECES = 64  # of one packet: 65,535 octets in pieces of 1,024
PACKET_LIMIT = 65_535  # octets of one packet

_UDP, _TCP = Struct("!HHHH"), Struct("!HHLLBB")

SYN, FIN, RST = 0x02, 0x01, 0x04


class Place(NamedTuple):
    """Consecutive octets of a frame."""

    frame: int  # its number
    begin: int
    size: int


class Octets(NamedTuple):
    """Octets that were on the wire, and their places in order."""

    data: bytes
    places: tuple[Place, ...]

    def cut(self, begin: int, end: int) -> Octets:
        """Some of them, with where these lie."""
        return Octets(self.data[begin:end], tuple(between(self.places, begin, end)))


class Segment(NamedTuple):
    """What one UDP datagram or one TCP segment carries."""

    at: float
    transport: str  # udp, tcp
    source: tuple[str, int]
    target: tuple[str, int]
    octets: Octets
    sequence: int = 0
    flags: int = 0


def between(places: tuple[Place, ...], begin: int, end: int) -> Iterator[Place]:
    """The places of the octets from `begin` to `end`."""
    at = 0
    for frame, start, size in places:
        first, last = max(begin - at, 0), min(end - at, size)
        if first < last:
            yield Place(frame, start + first, last - first)
        at += size


class Segments:
    """UDP and TCP out of frames, IP fragments put together."""

    def __init__(self) -> None:
        self.skipped = 0  # frames with nothing of the kind, or cut ones
        self._parts: OrderedDict[tuple[str, str, int, int], _Parts] = OrderedDict()

    def take(self, number: int, frame: Frame) -> Segment | None:
        """What a frame carries, or completes."""
        try:
            packet = packet_of(frame)
            octets = _payload(number, frame, packet)
            if packet.fragment is not None:
                whole = self._join(packet, octets)
                if whole is None:
                    return None
                octets = whole
            return _segment(frame.at, packet, octets)
        except ValueError:
            self.skipped += 1
            return None

    def _join(self, packet: Packet, octets: Octets) -> Octets | None:
        fragment = packet.fragment
        if fragment is None:
            return octets
        key = packet.source, packet.target, packet.protocol, fragment.id
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = _Parts()
            if len(self._parts) > FRAGMENTED:
                self._parts.popitem(last=False)
        whole = parts.add(fragment.offset, octets, more=fragment.more)
        if whole is not None or len(parts.held) > PIECES:
            self._parts.pop(key, None)
        return whole


class _Parts:
    """One IP packet in the making."""

    def __init__(self) -> None:
        self.held: dict[int, Octets] = {}  # by offset
        self._size: int | None = None

    def add(self, offset: int, octets: Octets, *, more: bool) -> Octets | None:
        """Put a piece in its place; the packet, once it is whole."""
        if offset + len(octets.data) > PACKET_LIMIT:
            raise ValueError("fragments of more than a packet can be")
        self.held[offset] = octets
        if not more:
            self._size = offset + len(octets.data)
        if self._size is None:
            return None
        data, places = bytearray(), list[Place]()
        for begin in sorted(self.held):
            piece = self.held[begin]
            if begin > len(data):
                return None
            new = piece.cut(len(data) - begin, len(piece.data))  # what overlaps is old
            data += new.data
            places += new.places
        if len(data) < self._size:
            return None
        return Octets(bytes(data), tuple(places))


def _payload(number: int, frame: Frame, packet: Packet) -> Octets:
    data = frame.data[packet.begin : packet.end]
    return Octets(data, (Place(number, packet.begin, len(data)),))


def _segment(at: float, packet: Packet, octets: Octets) -> Segment:
    data = octets.data
    if packet.protocol == UDP and len(data) >= _UDP.size:
        source, target, length, _ = _UDP.unpack_from(data)
        end = min(len(data), length) if length >= _UDP.size else len(data)
        ends = (packet.source, source), (packet.target, target)
        return Segment(at, "udp", *ends, octets.cut(_UDP.size, end))
    if packet.protocol == TCP and len(data) >= 20:
        source, target, sequence, _, offset, flags = _TCP.unpack_from(data)
        begin = 4 * (offset >> 4)
        if not 20 <= begin <= len(data):
            raise ValueError("a cut TCP header")
        ends = (packet.source, source), (packet.target, target)
        payload = octets.cut(begin, len(data))
        return Segment(at, "tcp", *ends, payload, sequence, flags)
    raise ValueError("neither UDP nor TCP")
