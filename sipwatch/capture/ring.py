"""The last frames that passed: bounded by number and by octets, never by time.

One block of memory that is written round and round, and arrays that tell where in it
each frame lies: what it takes is fixed at the start, whatever passes. The system gives
the block page by page, as it fills for the first time.
"""

from __future__ import annotations

from array import array
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from sipwatch.capture.frames import FRAME_LIMIT, Frame

PACKETS = 250_000  # frames: as many of 512 octets as there is room for
BYTES = 128 * 1024 * 1024  # octets of frames
ENTRY = 24  # octets of the arrays for one frame
SMALLEST = 1024 * 1024  # octets: 16 of the largest frames


class Ring:
    """Frames by number, in the order in which they came; the oldest give way."""

    def __init__(self, packets: int = PACKETS, size: int = BYTES) -> None:
        """ValueError where there is no room for a few frames."""
        if packets < 1 or size < SMALLEST:
            raise ValueError(f"a ring of {packets} packets, {size} octets is too small")
        self.packets, self.size = packets, size
        self.received = 0  # since the start: the number of the next frame
        self.first = 0  # the number of the oldest that is held
        self.octets = mmap(-1, size, MAP_PRIVATE | MAP_ANONYMOUS)
        # Positions go on over the end of the block, so that they can be compared.
        self._end = 0
        self._begins = array("Q", bytes(8 * packets))
        self._times = array("d", bytes(8 * packets))
        self._sizes = array("I", bytes(4 * packets))
        self._links = array("I", bytes(4 * packets))

    def __len__(self) -> int:
        return self.received - self.first

    @property
    def held(self) -> int:
        """Octets of the block that are in use."""
        return self._end - self._begins[self.first % self.packets] if len(self) else 0

    @property
    def oldest(self) -> float | None:
        """When the first frame came that is still there."""
        return self.at(self.first) if len(self) else None

    def add(self, frame: Frame) -> None:
        """Keep a frame, in place of the oldest if there is no room; ValueError."""
        data, room = frame.data, self.size
        count = len(data)
        if count > FRAME_LIMIT:
            raise ValueError(f"a frame of {count} octets")
        begin, place = self._end, self._end % room
        if place + count > room:  # a frame is in one piece, so that it can be searched
            begin, place = begin + room - place, 0
        slot, self._end = self.received % self.packets, begin + count
        self._give_way(self._end - room)
        self.octets[place : place + count] = data
        self._begins[slot], self._sizes[slot] = begin, count
        self._times[slot], self._links[slot] = frame.at, frame.link
        self.received += 1

    def _give_way(self, kept_from: int) -> None:
        """Let go of who lies before a position, and of whose entry is needed."""
        first, packets, begins = self.first, self.packets, self._begins
        if self.received - first >= packets:
            first += 1
        while first < self.received and begins[first % packets] < kept_from:
            first += 1
        self.first = first

    def at(self, number: int) -> float:
        """When a frame came, UTC s."""
        return self._times[number % self.packets]

    def span(self, number: int) -> tuple[int, int]:
        """Where a frame lies in `octets`."""
        slot = number % self.packets
        begin = self._begins[slot] % self.size
        return begin, begin + self._sizes[slot]

    def frame(self, number: int) -> Frame:
        """A copy of a frame that is held; LookupError of one that is not."""
        if not self.first <= number < self.received:
            raise LookupError(f"frame {number} is not held")
        begin, end = self.span(number)
        link = self._links[number % self.packets]
        return Frame(self.at(number), link, self.octets[begin:end])
