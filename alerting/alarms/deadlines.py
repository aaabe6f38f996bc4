"""Deadlines, at most one for each key, the earliest first.

Those of one moment lie together as they come, and are put in order when nothing else
is earlier: of a mass event there are thousands, which so have no more room than that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")

MOMENTS = 8  # to a second
FAR = 1e12  # s; what lies beyond has one moment
SLACK = 64  # overwritten entries tolerated beside as many live ones, then swept out
PASSED = 1024  # entries that were taken out, until the others move up


class Deadlines(Generic[K]):
    """When which key is to be looked at again; keys compare by identity or value."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        # What comes next, in order; equal times come out first in, first out.
        self._times: list[float] = []
        self._keys: list[K] = []
        self._passed = 0  # of them were taken out
        self._until = -1  # all up to this moment is among them
        self._later: dict[int, list[K]] = {}  # by their moments
        self._moments: list[int] = []  # a heap of these
        self._waiting = 0  # in all of these

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
            self._put(key, at)
        if self._waiting + len(self._keys) > 2 * len(self._at) + SLACK + PASSED:
            self._sweep()

    def next(self) -> float | None:
        """The earliest deadline."""
        while True:
            for n in range(self._passed, len(self._keys)):
                if self._at.get(self._keys[n]) == self._times[n]:
                    self._passed = n
                    return self._times[n]
            self._times, self._keys, self._passed = [], [], 0
            if not self._moments:
                self._at = {}  # one that was large stays so, be it empty
                return None
            self._open(heappop(self._moments))

    def due(self, now: float) -> Iterator[K]:
        """Take out what is due; what the caller sets for `now` comes out as well."""
        while (at := self.next()) is not None and at <= now:
            key = self._keys[self._passed]
            self._passed += 1
            if self._passed >= PASSED:
                self._move_up()
            del self._at[key]
            yield key

    def _put(self, key: K, at: float) -> None:
        moment = _moment(at)
        if moment <= self._until:
            place = bisect_right(self._times, at, self._passed)
            self._times.insert(place, at)
            self._keys.insert(place, key)
            return
        self._waiting += 1
        found = self._later.get(moment)
        if found is None:
            self._later[moment] = [key]
            heappush(self._moments, moment)
        else:
            found.append(key)

    def _open(self, moment: int) -> None:
        """Put those of a moment in order."""
        keys = self._later.pop(moment)
        self._waiting -= len(keys)
        self._keys = sorted(self._living(moment, keys), key=self._at.__getitem__)
        self._times = [self._at[key] for key in self._keys]
        self._until = moment

    def _living(self, moment: int, keys: list[K]) -> list[K]:
        """Those that are still to be looked at in a moment, each once."""
        at = self._at
        return [k for k in dict.fromkeys(keys) if k in at and _moment(at[k]) == moment]

    def _move_up(self) -> None:
        del self._times[: self._passed], self._keys[: self._passed]
        self._passed = 0

    def _sweep(self) -> None:
        self._move_up()
        entries = zip(self._times, self._keys, strict=True)
        kept = [(at, key) for at, key in entries if self._at.get(key) == at]
        self._times, self._keys = [at for at, _ in kept], [key for _, key in kept]
        living = ((m, self._living(m, keys)) for m, keys in self._later.items())
        self._later = {moment: keys for moment, keys in living if keys}
        self._moments = [*self._later]
        heapify(self._moments)
        self._waiting = sum(map(len, self._later.values()))
        self._at = dict(self._at)  # with no more room than these need


def _moment(at: float) -> int:
    return int(min(at, FAR) * MOMENTS)
