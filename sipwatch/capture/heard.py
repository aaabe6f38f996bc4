"""What was said in SIP, out of frames: from whom, to whom, when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sipwatch.capture.frames import Frame
from sipwatch.capture.pieces import Octets, Segments
from sipwatch.capture.streams import Streams, begins_message

TLS_HANDSHAKE, TLS_DATA = 0x16, 0x17  # RFC 8446 5.1: content types
TLS_NAMED = 64  # ends of TLS connections that are remembered


class Heard(NamedTuple):
    """One SIP message, as it went over the wire."""

    at: float
    transport: str  # udp, tcp
    source: tuple[str, int]
    target: tuple[str, int]
    octets: Octets

    @property
    def data(self) -> bytes:
        """The message."""
        return self.octets.data


class Hearing:
    """Frames in, messages out; what could not be read is counted."""

    def __init__(self) -> None:
        self.frames = 0
        self.encrypted: set[tuple[str, int]] = set()  # who speaks TLS
        self._segments = Segments()
        self._streams = Streams()

    @property
    def skipped(self) -> int:
        """Frames that are neither UDP nor TCP, or were cut."""
        return self._segments.skipped

    def take(self, number: int, frame: Frame) -> list[Heard]:
        """The messages that a frame carries, or completes."""
        self.frames += 1
        segment = self._segments.take(number, frame)
        if segment is None:
            return []
        ends = segment.at, segment.transport, segment.source, segment.target
        if segment.transport == "tcp":
            self._look_for_tls(segment.octets.data, segment.target, segment.source)
            return [Heard(*ends, octets) for octets in self._streams.take(segment)]
        data = segment.octets.data
        blank = len(data) - len(data.lstrip(b"\r\n"))
        if not begins_message(data[blank:]):
            return []  # a keep-alive, or another protocol
        return [Heard(*ends, segment.octets.cut(blank, len(data)))]

    def _look_for_tls(self, data: bytes, *ends: tuple[str, int]) -> None:
        if len(data) > 5 and data[0] in (TLS_HANDSHAKE, TLS_DATA) and data[1] == 3:
            server = min(ends, key=lambda end: end[1])  # the other port is ephemeral
            if len(self.encrypted) < TLS_NAMED:
                self.encrypted.add(server)


def messages(
    frames: Iterable[Frame], hearing: Hearing | None = None
) -> Iterator[Heard]:
    """All messages of some frames, numbered from 0."""
    hearing = hearing or Hearing()
    for number, frame in enumerate(frames):
        yield from hearing.take(number, frame)
