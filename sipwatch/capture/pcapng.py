"""Frames as a pcapng file (draft-ietf-opsawg-pcapng), for Wireshark and its kin."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack

from sipwatch.capture.frames import Frame

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
MAGIC = 0x1A2B3C4D
NANOSECONDS = 9  # if_tsresol
EPB_COMMENT = 1

_COMMENT, _HARDWARE_APP, _TSRESOL = 1, 4, 9


def write(
    frames: Iterable[Frame],
    *,
    comment: str = "",
    notes: dict[int, str] | None = None,
) -> bytes:
    """The file; `comment` says what it is, `notes` something of single frames."""
    file = bytearray(_section(comment))
    interfaces: dict[int, int] = {}  # by link type
    for number, frame in enumerate(frames):
        if frame.link not in interfaces:
            interfaces[frame.link] = len(interfaces)
            resolution = _option(_TSRESOL, bytes([NANOSECONDS]))
            head = pack("<HHL", frame.link, 0, 0)
            file += _block(INTERFACE, head + resolution + _option(0, b""))
        note = (notes or {}).get(number, "")
        file += _packet(interfaces[frame.link], frame, note)
    return bytes(file)


def _section(comment: str) -> bytes:
    options = _option(_HARDWARE_APP, b"sipwatch")
    if comment:
        options = _option(_COMMENT, comment.encode()) + options
    head = pack("<LHHq", MAGIC, 1, 0, -1)
    return _block(SECTION, head + options + _option(0, b""))


def _packet(interface: int, frame: Frame, note: str) -> bytes:
    moment = round(frame.at * 1_000_000) * 1000
    size = len(frame.data)
    head = pack("<LLLLL", interface, moment >> 32, moment & 0xFFFFFFFF, size, size)
    options = _option(EPB_COMMENT, note.encode()) + _option(0, b"") if note else b""
    return _block(PACKET, head + _padded(frame.data) + options)


def _block(kind: int, body: bytes) -> bytes:
    size = pack("<L", len(body) + 12)
    return pack("<L", kind) + size + body + size


def _option(code: int, value: bytes) -> bytes:
    return pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
