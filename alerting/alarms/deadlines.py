"""Deadlines, at most one for each key, the earliest first.

Those of one moment lie together: of a mass event there are thousands, and only what
comes next has an entry of its own in the heap.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K")

MOMENTS = 8  # to a second
FAR = 1e12  # s; what lies beyond has one moment
SLACK = 64  # overwritten entries tolerated beside as many live ones, then swept out


class Deadlines(Generic[K]):
    """When which key is to be looked at again; keys compare by identity or value."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()  # equal times come out first in, first out
        self._in: dict[int, list[K]] = {}  # by their moments
        self._moments: list[int] = []  # a heap of them
        self._entries = 0  # in all, be they overwritten

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[K]:
        return iter(self._at)

    def set(self, key: K, at: float | None) -> None:
        """Look at `key` then, instead of when it was set before; None: never."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            self._put(key, _moment(at))
        if self._entries > 2 * len(self._at) + SLACK:
            self._sweep()

    def next(self) -> float | None:
        """The earliest deadline."""
        while True:
            while self._heap and not self._live(self._heap[0]):
                heappop(self._heap)
                self._entries -= 1
            if not self._moments:
                return self._heap[0][0] if self._heap else None
            if self._heap and _moment(self._heap[0][0]) < self._moments[0]:
                return self._heap[0][0]
            self._open(heappop(self._moments))

    def due(self, now: float) -> Iterator[K]:
        """Take out what is due; what the caller sets for `now` comes out as well."""
        while (at := self.next()) is not None and at <= now:
            key = heappop(self._heap)[2]
            self._entries -= 1
            del self._at[key]
            yield key

    def _put(self, key: K, moment: int) -> None:
        self._entries += 1
        found = self._in.get(moment)
        if found is None:
            self._in[moment] = [key]
            heappush(self._moments, moment)
        else:
            found.append(key)

    def _open(self, moment: int) -> None:
        """Order those of a moment."""
        keys = self._in.pop(moment)
        self._entries -= len(keys)
        for key in self._living(moment, keys):
            heappush(self._heap, (self._at[key], next(self._order), key))
            self._entries += 1

    def _living(self, moment: int, keys: list[K]) -> list[K]:
        """Those that are still to be looked at in a moment, each once."""
        at = self._at
        return [k for k in dict.fromkeys(keys) if k in at and _moment(at[k]) == moment]

    def _live(self, entry: tuple[float, int, K]) -> bool:
        return self._at.get(entry[2]) == entry[0]

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if self._live(entry)]
        heapify(self._heap)
        living = ((m, self._living(m, keys)) for m, keys in self._in.items())
        self._in = {moment: keys for moment, keys in living if keys}
        self._moments = [*self._in]
        heapify(self._moments)
        self._entries = len(self._heap) + sum(map(len, self._in.values()))


def _moment(at: float) -> int:
    return int(min(at, FAR) * MOMENTS)
