"""The last frames that passed: bounded by number and by octets, never by time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter

from sipwatch.capture.frames import FRAME_LIMIT, Frame

PACKETS = 200_000  # frames, 10 s of 20,000 a second
BYTES = 128 * 1024 * 1024  # octets, with what the frames cost to hold
OVERHEAD = 170  # octets that Python takes for one frame beside its content

_AT = itemgetter(0)


@dataclass(slots=True)
class Ring:
    """Frames in the order in which they came; the oldest give way."""

    packets: int = PACKETS
    bytes: int = BYTES
    received: int = 0  # since the start
    given_way: int = 0
    held: int = 0  # octets
    frames: deque[Frame] = field(default_factory=deque)

    def add(self, frame: Frame) -> None:
        """Keep a frame, in place of the oldest if there is no room."""
        self.received += 1
        frames = self.frames
        frames.append(frame)
        self.held += len(frame.data) + OVERHEAD
        while self.held > self.bytes or len(frames) > self.packets:
            self.held -= len(frames.popleft().data) + OVERHEAD
            self.given_way += 1

    @property
    def oldest(self) -> float | None:
        """When the first frame came that is still there."""
        return self.frames[0].at if self.frames else None

    def between(self, since: float, until: float) -> list[Frame]:
        """The frames of some time, as a list of their own; some 1 ms, of all."""
        begin = bisect_left(self.frames, since, key=_AT)
        end = bisect_right(self.frames, until, key=_AT)
        return list(islice(self.frames, begin, end))


def sliced(frames: Sequence[Frame], size: int) -> Iterator[Sequence[Frame]]:
    """The frames some at a time, so that others have their turn between."""
    for begin in range(0, len(frames), size):
        yield frames[begin : begin + size]


assert FRAME_LIMIT < BYTES  # noqa: S101 - so that a frame always fits
