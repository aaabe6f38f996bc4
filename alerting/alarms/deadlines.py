"""One heap of deadlines, at most one for each key."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K")

SLACK = 64  # overwritten entries tolerated beside as many live ones, then swept out


class Deadlines(Generic[K]):
    """When which key is to be looked at again; keys compare by identity or value."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()  # equal times come out first in, first out

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
            heappush(self._heap, (at, next(self._order), key))
        if len(self._heap) > 2 * len(self._at) + SLACK:
            self._heap = [entry for entry in self._heap if self._live(entry)]
            heapify(self._heap)

    def next(self) -> float | None:
        """The earliest deadline."""
        while self._heap and not self._live(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[K]:
        """Take out what is due; what the caller sets for `now` comes out as well."""
        while (at := self.next()) is not None and at <= now:
            key = heappop(self._heap)[2]
            del self._at[key]
            yield key

    def _live(self, entry: tuple[float, int, K]) -> bool:
        return self._at.get(entry[2]) == entry[0]
