"""Frames out of a capture file: pcap and pcapng, as tcpdump and Wireshark write them.

A file is a stranger's: each length in it is checked before anything is read by it, and
no more than one block is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO, NamedTuple

from sipwatch.capture.frames import Frame
from sipwatch.capture.pcapng import INTERFACE, MAGIC, PACKET, SECTION

BLOCK_LIMIT = 1_048_576  # octets of a block; a frame of 262,144 is what tcpdump allows
INTERFACES = 1024  # of one section

SIMPLE, OBSOLETE = 3, 2
_RESOLUTION, _OFFSET = 9, 14  # options of an interface
_PCAP = {  # magic, as it reads in the file's own order: units in a second
    0xA1B2C3D4: 10**6,
    0xA1B23C4D: 10**9,
    0xA1B2CD34: 10**6,  # of Alexey Kuznetsov's: eight more octets in each record
}
_KUZNETSOV = 0xA1B2CD34


class _Interface(NamedTuple):
    link: int
    units: int  # in a second
    offset: int  # s


def read(file: BinaryIO) -> Iterator[Frame]:
    """The frames of a file; ValueError where it is none, or breaks off."""
    head = file.read(4)
    if head == Struct("<L").pack(SECTION):
        yield from _pcapng(file)
        return
    for order in "<", ">":
        if len(head) == 4 and (magic := Struct(order + "L").unpack(head)[0]) in _PCAP:
            yield from _pcap(file, order, magic)
            return
    raise ValueError("it is no capture file (pcap, pcapng)")


def _pcap(file: BinaryIO, order: str, magic: int) -> Iterator[Frame]:
    units = _PCAP[magic]
    *_, link = Struct(order + "HHlLLL").unpack(_exactly(file, 20))
    link &= 0xFFFF  # above: the length of a frame check sequence
    record = Struct(order + "LLLL")
    while head := file.read(record.size):
        if len(head) < record.size:
            raise ValueError("the file breaks off")
        seconds, fraction, size, _ = record.unpack(head)
        if magic == _KUZNETSOV:
            _exactly(file, 8)
        if size > BLOCK_LIMIT:
            raise ValueError(f"a frame of {size} octets")
        yield Frame(seconds + fraction / units, link, _exactly(file, size))


def _pcapng(file: BinaryIO) -> Iterator[Frame]:
    order, interfaces = _section(file), list[_Interface]()
    while head := file.read(4):
        if len(head) < 4:
            raise ValueError("the file breaks off")
        if head == Struct("<L").pack(SECTION):
            order, interfaces = _section(file), []
            continue
        kind = Struct(order + "L").unpack(head)[0]
        body = _body(file, order)
        if kind == INTERFACE:
            if len(interfaces) >= INTERFACES:
                raise ValueError(f"more than {INTERFACES} interfaces")
            interfaces.append(_interface(body, order))
        elif kind in (PACKET, OBSOLETE):
            yield _packet(body, order, interfaces, obsolete=kind == OBSOLETE)
        elif kind == SIMPLE:
            yield _simple(body, order, interfaces)


def _section(file: BinaryIO) -> str:
    """The byte order of a section whose type was read."""
    raw = _exactly(file, 8)
    for order in "<", ">":
        size, magic = Struct(order + "LL").unpack(raw)
        if magic == MAGIC:
            if not 28 <= size <= BLOCK_LIMIT or size % 4:
                raise ValueError(f"a section header of {size} octets")
            _exactly(file, size - 12)
            return order
    raise ValueError("a section of unknown byte order")


def _body(file: BinaryIO, order: str) -> bytes:
    size = Struct(order + "L").unpack(_exactly(file, 4))[0]
    if not 12 <= size <= BLOCK_LIMIT or size % 4:
        raise ValueError(f"a block of {size} octets")
    body = _exactly(file, size - 12)
    if Struct(order + "L").unpack(_exactly(file, 4))[0] != size:
        raise ValueError("a block whose two lengths differ")
    return body


def _interface(body: bytes, order: str) -> _Interface:
    if len(body) < 8:
        raise ValueError("a cut interface")
    link = Struct(order + "H").unpack_from(body)[0]
    units, offset = 10**6, 0
    for code, value in _options(body[8:], order):
        if code == _RESOLUTION and len(value) == 1:
            exponent = value[0] & 0x7F
            units = (2 if value[0] & 0x80 else 10) ** exponent
        elif code == _OFFSET and len(value) == 8:
            offset = Struct(order + "q").unpack(value)[0]
    return _Interface(link, units, offset)


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    head, at = Struct(order + "HH"), 0
    while at + 4 <= len(data):
        code, size = head.unpack_from(data, at)
        if code == 0 or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def _packet(
    body: bytes, order: str, interfaces: list[_Interface], *, obsolete: bool
) -> Frame:
    if len(body) < 20:
        raise ValueError("a cut packet block")
    head = Struct(order + ("HHLLLL" if obsolete else "LLLLL"))
    number, *_dropped, high, low, size, _ = head.unpack_from(body)
    if number >= len(interfaces) or size > len(body) - head.size:
        raise ValueError("a packet of no interface, or longer than its block")
    interface = interfaces[number]
    at = ((high << 32) | low) / interface.units + interface.offset
    return Frame(at, interface.link, body[head.size : head.size + size])


def _simple(body: bytes, order: str, interfaces: list[_Interface]) -> Frame:
    if len(body) < 4 or not interfaces:
        raise ValueError("a simple packet of no interface")
    size = Struct(order + "L").unpack_from(body)[0]
    return Frame(0.0, interfaces[0].link, body[4 : 4 + size])


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("the file breaks off")
    return data
