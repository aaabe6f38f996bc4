"""Who is away, by the second in which that is for good: thousands go in one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from math import ceil

from checks.registrations.extension import Extension

AT_ONCE = 50  # extensions looked at in one go, some ms


class Away:
    """Each has one place, however often it comes and goes."""

    def __init__(self) -> None:
        self._in: dict[int, list[Extension]] = {}
        self._order: list[int] = []  # a heap of its keys

    def __len__(self) -> int:
        return sum(map(len, self._in.values()))

    def wait_for(self, e: Extension, at: float) -> None:
        """Look at an extension then, unless it has a place already."""
        if e.queued:
            return
        e.queued = True
        second = ceil(at)
        if second not in self._in:
            self._in[second] = []
            heapq.heappush(self._order, second)
        self._in[second].append(e)

    def due(self, now: float) -> Iterator[Extension]:
        """Take out some who are due; the next deadline tells whether there are more."""
        for _ in range(AT_ONCE):
            if not self._order or self._order[0] > now:
                return
            several = self._in[self._order[0]]
            e = several.pop()
            if not several:
                del self._in[heapq.heappop(self._order)]
            e.queued = False
            yield e

    def next_deadline(self) -> float | None:
        """When somebody is due."""
        return self._order[0] if self._order else None
