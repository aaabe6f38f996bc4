"""SIP messages out of TCP segments, which come late, twice, or not at all.

A capture may begin in the middle of a connection, and lose segments. So a stream is
read from where a message evidently begins, and found anew after each gap.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator

from checks.sip.framing import Framer
from sipwatch.capture.pieces import SYN, Octets, Place, Segment, between

FLOWS = 1024  # directions of connections at once; the one unused longest is given up
AHEAD = 64  # segments that may wait for one before them, until that counts as lost
AHEAD_LIMIT = 262_144  # octets of these

_BEGINS = re.compile(
    rb"SIP/2\.0 [1-6]\d\d |[A-Za-z\-.!%*_+`'~]{1,32} [a-zA-Z][a-zA-Z+.\-]{1,15}:"
    rb"[^\r\n]{1,2000} SIP/2\.0\r?\n"
)
_WRAP = 1 << 32


def begins_message(data: bytes) -> bool:
    """Whether a SIP message begins here."""
    return _BEGINS.match(data) is not None


class Streams:
    """The directions of all connections."""

    def __init__(self) -> None:
        self._flows: OrderedDict[tuple[str, int, str, int], _Flow] = OrderedDict()

    def take(self, segment: Segment) -> list[Octets]:
        """The messages that a segment completes."""
        key = (*segment.source, *segment.target)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow()
            if len(self._flows) > FLOWS:
                self._flows.popitem(last=False)
        self._flows.move_to_end(key)
        return list(flow.take(segment))


class _Flow:
    """One direction: what comes next, what came too early, what is not whole."""

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, sequence: int | None) -> None:
        """Forget all; another connection of this name begins with this number."""
        self._next = sequence
        self._early: dict[int, Octets] = {}
        self._framer: Framer | None = None  # None: no message has begun yet
        self._held = Octets(b"", ())

    def take(self, segment: Segment) -> Iterator[Octets]:
        sequence, octets = segment.sequence, segment.octets
        if segment.flags & SYN:
            sequence = (sequence + 1) % _WRAP
            self._begin(sequence)
        if not octets.data:
            return
        if self._next is None:
            self._next = sequence
        if _ahead(sequence, self._next) > 0:
            self._early[sequence] = octets
            if self._waits_in_vain():
                yield from self._after_gap()
            return
        yield from self._in_order(sequence, octets)
        yield from self._follow()

    def _waits_in_vain(self) -> bool:
        held = sum(len(one.data) for one in self._early.values())
        return len(self._early) > AHEAD or held > AHEAD_LIMIT

    def _after_gap(self) -> Iterator[Octets]:
        expected = self._next or 0
        self._next = min(self._early, key=lambda s: _ahead(s, expected))
        self._framer = None
        yield from self._follow()

    def _follow(self) -> Iterator[Octets]:
        """What was early, and is next by now."""
        while self._early:
            expected = self._next or 0
            due = [s for s in self._early if _ahead(s, expected) <= 0]
            if not due:
                return
            for sequence in sorted(due, key=lambda s: _ahead(s, expected)):
                yield from self._in_order(sequence, self._early.pop(sequence))

    def _in_order(self, sequence: int, octets: Octets) -> Iterator[Octets]:
        known = -_ahead(sequence, self._next or 0)  # a retransmission, maybe longer
        if known >= len(octets.data):
            return
        octets = octets.cut(known, len(octets.data))
        self._next = (sequence + known + len(octets.data)) % _WRAP
        if self._framer is None:
            if not begins_message(octets.data.lstrip(b"\r\n")):
                return
            self._framer, self._held = Framer(), Octets(b"", ())
        self._held = Octets(
            self._held.data + octets.data, self._held.places + octets.places
        )
        try:
            messages = self._framer.feed(octets.data)
        except ValueError:
            self._framer = None
            return
        for message in messages:
            yield self._cut(message)
        self._forget_blank()

    def _cut(self, message: bytes) -> Octets:
        """The message at the front of what is held, with its places."""
        data = self._held.data
        begin = len(data) - len(data.lstrip(b"\r\n"))
        end = begin + len(message)
        found = self._held.cut(begin, end)
        self._held = self._held.cut(end, len(data))
        return found

    def _forget_blank(self) -> None:
        """Keep-alives are no part of the message that follows them."""
        data = self._held.data
        blank = len(data) - len(data.lstrip(b"\r\n"))
        if blank:
            places: tuple[Place, ...] = tuple(
                between(self._held.places, blank, len(data))
            )
            self._held = Octets(data[blank:], places)


def _ahead(sequence: int, expected: int) -> int:
    """How far a sequence number is ahead of another one (RFC 9293 3.4)."""
    return (sequence - expected + _WRAP // 2) % _WRAP - _WRAP // 2
