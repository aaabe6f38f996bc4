"""The exchange around an incident, out of a ring that goes on filling meanwhile.

Two passes: first the frames that name who is looked for, then what else belongs to
their calls and connections, which name nobody: the rest of a TCP segment, a fragment.
They are looked through where they lie; what is found is copied at once, since it may
have given way before the end.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from sipwatch.capture.frames import TCP, Frame, packet_of
from sipwatch.capture.protocol import Question
from sipwatch.capture.ring import Ring

SLICE = 200  # frames looked at until the wires have their turn: under 1 ms
CALLS = 256  # calls that one answer follows
ADDRESS_WITHIN = 64  # octets in which the addresses of a frame are
CALL_LIMIT = 512  # octets of a Call-ID

Fragments = tuple[str, str, int]
Ends = frozenset[tuple[str, int]]


class Found(NamedTuple):
    """The frames of an answer, and whether there were more."""

    frames: list[Frame]
    cut: bool
    seen: int  # frames of the time, whoever's


def search(ring: Ring, question: Question) -> Iterator[Found | None]:
    """The answer comes last; None before it, each time others may have their turn."""
    return _Search(ring, question).run()


class _Search:
    def __init__(self, ring: Ring, question: Question) -> None:
        self._ring, self._question = ring, question
        self._named = _Named(question)
        self._related = _Related()
        self._hits = _Last(question.most)
        self._rest = _Last(question.most)
        self._seen = 0

    def run(self) -> Iterator[Found | None]:
        """Both passes in slices, then what they found."""
        begin, end = self._ring.first, self._ring.received
        for part in _sliced(begin, end):
            for number in part:
                self._look(number)
            yield None
        if self._named.anybody:
            # What did not fit is not looked for again.
            begin = self._hits.first if self._hits.cut else begin
            known = {number for number, _ in self._hits.frames}
            for part in _sliced(begin, end):
                for number in part:
                    if number not in known:
                        self._look_again(number)
                yield None
        yield self._found()

    def _look(self, number: int) -> None:
        ring, question = self._ring, self._question
        if number < ring.first or not question.since <= ring.at(number):
            return
        if ring.at(number) > question.until:
            return
        self._seen += 1
        if not self._named.anybody or self._named.lies_in(ring, number):
            frame = ring.frame(number)
            self._hits.add(number, frame)
            self._related.follow(frame)

    def _look_again(self, number: int) -> None:
        ring, question = self._ring, self._question
        if number < ring.first or not question.since <= ring.at(number):
            return
        if ring.at(number) <= question.until and self._related.lies_in(ring, number):
            self._rest.add(number, ring.frame(number))

    def _found(self) -> Found:
        both = sorted([*self._hits.frames, *self._rest.frames])
        last = _Last(self._question.most)
        for number, frame in both:
            last.add(number, frame)
        cut = last.cut or self._hits.cut or self._rest.cut
        return Found([frame for _, frame in last.frames], cut, self._seen)


class _Last:
    """The last frames that fit: what led to it is nearest to its end."""

    def __init__(self, most: int) -> None:
        self.frames: deque[tuple[int, Frame]] = deque()
        self.cut = False
        self._room = most

    @property
    def first(self) -> int:
        return self.frames[0][0] if self.frames else 0

    def add(self, number: int, frame: Frame) -> None:
        self.frames.append((number, frame))
        self._room -= len(frame.data)
        while self._room < 0:
            self._room += len(self.frames.popleft()[1].data)
            self.cut = True


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

    def lies_in(self, ring: Ring, number: int) -> bool:
        begin, end = ring.span(number)
        find = ring.octets.find
        if any(find(text, begin, end) >= 0 for text in self._texts):
            return True
        end = min(end, begin + ADDRESS_WITHIN)
        return any(find(a, begin, end) >= 0 for a in self._addresses)


class _Related:
    """Calls, connections and fragmented packets that were found."""

    def __init__(self) -> None:
        self._calls: set[bytes] = set()
        self._ends: set[Ends] = set()
        self._fragments: set[Fragments] = set()

    def follow(self, frame: Frame) -> None:
        call = _call_id(frame.data, 0, len(frame.data))
        if len(self._calls) < CALLS and call:
            self._calls.add(call)
        ends, fragment = _keys(frame)
        if ends is not None and len(self._ends) < CALLS:
            self._ends.add(ends)
        if fragment is not None and len(self._fragments) < CALLS:
            self._fragments.add(fragment)

    def lies_in(self, ring: Ring, number: int) -> bool:
        call = _call_id(ring.octets, *ring.span(number))
        if call and call in self._calls:
            return True
        if not (self._ends or self._fragments):
            return False
        ends, fragment = _keys(ring.frame(number))
        return ends in self._ends or fragment in self._fragments


def _sliced(begin: int, end: int) -> Iterator[range]:
    for at in range(begin, end, SLICE):
        yield range(at, min(at + SLICE, end))


def _call_id(data: bytes | mmap, begin: int, end: int) -> bytes:
    found, size = data.find(b"\nCall-ID:", begin, end), 9
    if found < 0:  # RFC 3261 7.3.3: the compact form
        found, size = data.find(b"\ni:", begin, end), 3
    if found < 0:
        found, size = data[begin:end].lower().find(b"\ncall-id:"), 9
        found += begin if found >= 0 else 0
    if found < 0:
        return b""
    value = found + size
    stop = data.find(b"\n", value, min(value + CALL_LIMIT, end))
    return data[value : stop if stop > 0 else value].strip()


def _keys(frame: Frame) -> tuple[Ends | None, Fragments | None]:
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
