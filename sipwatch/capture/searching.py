"""The exchange around an incident, out of a ring that goes on filling meanwhile.

Two passes: first the frames that name who is looked for, then what else belongs to
their calls and connections, which name nobody: the rest of a TCP segment, a fragment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sipwatch.capture.frames import TCP, Frame, packet_of
from sipwatch.capture.protocol import Question
from sipwatch.capture.ring import sliced

SLICE = 200  # frames looked at until the wires have their turn: under 1 ms
CALLS = 256  # calls that one answer follows
ADDRESS_WITHIN = 64  # octets in which the addresses of a frame are


class Found(NamedTuple):
    """The frames of an answer, and whether there were more."""

    frames: list[Frame]
    cut: bool


def search(frames: Sequence[Frame], question: Question) -> Iterator[Found | None]:
    """The answer comes last; None before it, each time others may have their turn."""
    named = _Named(question)
    if not named.anybody:
        yield _bounded(list(frames), question.most)
        return
    hits: set[int] = set()
    related = _Related()
    for number, part in enumerate(sliced(frames, SLICE)):
        for i, frame in enumerate(part, number * SLICE):
            if named.in_frame(frame):
                hits.add(i)
                related.follow(frame)
        yield None
    for number, part in enumerate(sliced(frames, SLICE)):
        for i, frame in enumerate(part, number * SLICE):
            if i not in hits and related.has(frame):
                hits.add(i)
        yield None
    yield _bounded([frames[i] for i in sorted(hits)], question.most)


def _bounded(frames: list[Frame], most: int) -> Found:
    """The last frames that fit: what led to it is nearest to its end."""
    total, begin = 0, len(frames)
    while begin and total + len(frames[begin - 1].data) <= most:
        begin -= 1
        total += len(frames[begin].data)
    return Found(frames[begin:], cut=begin > 0)


class _Named:
    def __init__(self, question: Question) -> None:
        self._texts = [f":{user}@".encode() for user in question.users]
        self._texts += [call.encode() for call in question.call_ids]
        self._addresses = []
        for address in question.addresses:
            self._addresses.append(ipaddress.ip_address(address).packed)

    @property
    def anybody(self) -> bool:
        return bool(self._texts or self._addresses)

    def in_frame(self, frame: Frame) -> bool:
        data = frame.data
        if any(data.find(text) >= 0 for text in self._texts):
            return True
        return any(data.find(a, 0, ADDRESS_WITHIN) >= 0 for a in self._addresses)


class _Related:
    """Calls, connections and fragmented packets that were found."""

    def __init__(self) -> None:
        self._calls: set[bytes] = set()
        self._ends: set[frozenset[tuple[str, int]]] = set()
        self._fragments: set[tuple[str, str, int]] = set()

    def follow(self, frame: Frame) -> None:
        if len(self._calls) < CALLS and (call := _call_id(frame.data)):
            self._calls.add(call)
        ends, fragment = _keys(frame)
        if ends is not None and len(self._ends) < CALLS:
            self._ends.add(ends)
        if fragment is not None and len(self._fragments) < CALLS:
            self._fragments.add(fragment)

    def has(self, frame: Frame) -> bool:
        call = _call_id(frame.data)
        if call and call in self._calls:
            return True
        ends, fragment = _keys(frame)
        return ends in self._ends or fragment in self._fragments


def _call_id(data: bytes) -> bytes:
    found = data.find(b"\nCall-ID:")
    size = 9
    if found < 0:
        found, size = data.find(b"\ni:"), 3  # RFC 3261 7.3.3: the compact form
    if found < 0:
        found, size = data.lower().find(b"\ncall-id:"), 9
    if found < 0:
        return b""
    begin = found + size
    end = data.find(b"\n", begin, begin + 512)
    return data[begin : end if end > 0 else begin].strip()


def _keys(
    frame: Frame,
) -> tuple[frozenset[tuple[str, int]] | None, tuple[str, str, int] | None]:
    """The two ends of a TCP connection, and the packet that a fragment is of."""
    try:
        packet = packet_of(frame)
    except ValueError:
        return None, None
    fragment = None
    if packet.fragment is not None:
        fragment = packet.source, packet.target, packet.fragment.id
    data, at = frame.data, packet.begin
    if packet.protocol != TCP or at + 4 > len(data):
        return None, fragment
    source = packet.source, int.from_bytes(data[at : at + 2])
    target = packet.target, int.from_bytes(data[at + 2 : at + 4])
    return frozenset((source, target)), fragment
