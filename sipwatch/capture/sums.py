"""Checksums of frames whose content was changed, so that they look as if sent so."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from struct import pack, pack_into, unpack_from

from sipwatch.capture.frames import TCP, UDP, Frame, Packet, packet_of

_LITTLE = pack("=H", 1) == b"\1\0"
_AT = {UDP: 6, TCP: 16}  # where the checksum is

Key = tuple[str, str, int, int]


class Sums:
    """Knows what was changed of all the fragments of a packet."""

    def __init__(self, frames: Sequence[Frame], changed: Sequence[bytes]) -> None:
        self._added: Counter[Key] = Counter()
        for frame, data in zip(frames, changed, strict=True):
            if data != frame.data:
                packet = packet_of(frame)
                if packet.fragment is not None:
                    self._added[_key(packet)] += _difference(packet, frame.data, data)

    def repaired(self, frame: Frame, data: bytes) -> bytes:
        """A frame with the checksum that its content has now, and nothing behind it.

        Network cards compute it after the capture, so those of a sender are wrong
        anyway. Of a packet in fragments it is in the first one, and is changed by what
        was changed in all (RFC 1624); 0 says that there is none (RFC 768).
        """
        packet = packet_of(frame)
        changed = bytearray(data[: packet.end])
        at = _AT.get(packet.protocol)
        if at is None or packet.begin + at + 2 > packet.end:
            return bytes(changed)
        where, fragment = packet.begin + at, packet.fragment
        if fragment is None:
            changed[where : where + 2] = b"\0\0"
            value = checksum(_pseudo_header(packet) + changed[packet.begin :])
        elif fragment.offset or not (old := unpack_from("!H", data, where)[0]):
            return bytes(changed)
        else:
            value = ~_folded((~old & 0xFFFF) + self._added[_key(packet)]) & 0xFFFF
        pack_into("!H", changed, where, value or 0xFFFF)
        return bytes(changed)


def checksum(data: bytes | bytearray) -> int:
    """The Internet checksum (RFC 1071)."""
    return ~_folded(_total(data)) & 0xFFFF


def _total(data: bytes | bytearray) -> int:
    """The sum of its 16-bit words, as they go over the wire."""
    if len(data) % 2:
        data = bytes(data) + b"\0"
    total = _folded(sum(memoryview(bytes(data)).cast("H")))
    return (total >> 8 | total << 8) & 0xFFFF if _LITTLE else total


def _folded(total: int) -> int:
    """In one's complement of 16 bits."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _difference(packet: Packet, old: bytes, new: bytes) -> int:
    """What is to be added to a sum; fragments begin at even octets of their packet."""
    begin, end = packet.begin, packet.end
    return _total(new[begin:end]) + (~_total(old[begin:end]) & 0xFFFF)


def _key(packet: Packet) -> Key:
    number = packet.fragment.id if packet.fragment is not None else 0
    return packet.source, packet.target, packet.protocol, number


def _pseudo_header(packet: Packet) -> bytes:
    source = ipaddress.ip_address(packet.source).packed
    target = ipaddress.ip_address(packet.target).packed
    size = packet.end - packet.begin
    if len(source) == 4:
        return source + target + pack("!BBH", 0, packet.protocol, size)
    return source + target + pack("!LL", size, packet.protocol)
