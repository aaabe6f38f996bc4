"""When each AOR of a registrar is asked next: in arrays, as there may be many.

The times stand in buckets of a second, each a few bytes for an AOR. A wish, or another
plan, moves nothing: it adds a place, and the old one is passed over when it comes up.
The bucket that comes first lies open, in its order.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Sequence

NEVER = float("-inf")
ASKED = float("inf")  # when one is due that is being asked
WIDTH = 1.0  # s of one bucket
SPARE = 64  # places, beside two for each AOR, until the old ones are thrown away


class Turns:
    """The AORs by their numbers, which hold until the next `adopt`."""

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self._last = array("d")  # when each was asked
        self._due = array("d")  # when each shall be again
        self._not_before = array("d")  # nobody's wish is worth a ban
        self._numbers: dict[str, int] | None = None  # made for who looks a name up
        self._empty()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def places(self) -> int:
        """How many there are in all buckets."""
        return self._places

    def adopt(self, names: Sequence[str], now: float) -> None:
        """Ask for these from now on; those that are new are due at once.

        Nobody may be under way that is still to be planned.
        """
        before = {name: n for n, name in enumerate(self.names)}
        old, count = (self._last, self._due, self._not_before), len(names)
        self._last = array("d", [NEVER]) * count
        self._due = array("d", [now]) * count
        self._not_before = array("d", [NEVER]) * count
        for n, name in enumerate(names):
            if (was := before.get(name)) is not None:
                self._last[n], due, self._not_before[n] = (times[was] for times in old)
                self._due[n] = due if due < ASKED else max(now, self._not_before[n])
        self.names, self._numbers = names, None
        self._arrange()

    def resume(self, now: float) -> None:
        """Nobody is being asked any more: who was is due."""
        for n, due in enumerate(self._due):
            if due == ASKED:
                self.wait(n, max(now, self._not_before[n]))

    def number(self, name: str) -> int | None:
        """Whose it is; None: of nobody who is asked."""
        if self._numbers is None:
            self._numbers = {name: n for n, name in enumerate(self.names)}
        return self._numbers.get(name)

    def due_at(self, n: int) -> float:
        """When one is due."""
        return self._due[n]

    # --- whose turn it is -----------------------------------------------------------

    def next_due(self) -> float | None:
        """When somebody is due."""
        n = self._first()
        return None if n is None else self._due[n]

    def take(self, now: float, most: int) -> list[int]:
        """Some who are due, the longest first; they are being asked from now on."""
        chosen: list[int] = []
        while len(chosen) < most and (n := self._first()) is not None:
            if self._due[n] > now:
                break
            self._open.pop()
            self._places -= 1
            self._due[n] = ASKED
            chosen.append(n)
        return chosen

    def oldest(self, most: int) -> list[int]:
        """Those that were asked the longest ago."""
        return heapq.nsmallest(most, range(len(self.names)), key=self._last.__getitem__)

    # --- plans ----------------------------------------------------------------------

    def wish(self, n: int, now: float) -> None:
        """Ask for one as soon as it may be asked again."""
        due = max(now, self._not_before[n])
        if due < self._due[n] < ASKED:
            self.wait(n, due)

    def plan(
        self, n: int, now: float, *, interval: float, floor: float, end: float
    ) -> None:
        """One was asked: again after an interval, or when a binding of it has ended,
        but not within `floor`."""
        wait = max(interval, floor)
        if self._last[n] == NEVER:  # the first ones are asked in a row: spread them
            wait = max(floor, wait * (n + 1) / len(self.names))
        self._last[n], self._not_before[n] = now, now + floor
        self.wait(n, min(now + wait, max(end, now + floor)))

    def wait(self, n: int, due: float) -> None:
        """Ask for one then."""
        self._due[n] = due
        if self._places > 2 * len(self.names) + SPARE:
            self._arrange()
        else:
            self._put(n, due)

    # --- buckets --------------------------------------------------------------------

    def _empty(self) -> None:
        self._buckets: dict[int, array[int]] = {}
        self._order: list[int] = []  # a heap of their numbers
        self._open: list[int] = []  # of the first one, the last is due first
        self._number = -math.inf  # of the open one
        self._sorted = True
        self._places = 0

    def _arrange(self) -> None:
        """Each has one place again."""
        self._empty()
        for n, due in enumerate(self._due):
            if due < ASKED:
                self._put(n, due)

    def _put(self, n: int, due: float) -> None:
        number = int(due // WIDTH)
        self._places += 1
        if number == self._number:
            self._open.append(n)
            self._sorted = False
            return
        if number < self._number:
            self._shut()
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = array("I")
            heapq.heappush(self._order, number)
        bucket.append(n)

    def _shut(self) -> None:
        """Something comes before the open bucket."""
        if self._open:
            number = int(self._number)
            self._buckets[number] = array("I", self._open)
            heapq.heappush(self._order, number)
        self._open, self._number = [], -math.inf

    def _first(self) -> int | None:
        """Who is due next; places that are out of date are left out."""
        while True:
            if not self._sorted:
                self._open.sort(key=lambda n: (-self._due[n], -self._last[n], -n))
                self._sorted = True
            while self._open:
                n = self._open[-1]
                if self._number * WIDTH <= self._due[n] < (self._number + 1) * WIDTH:
                    return n
                self._open.pop()
                self._places -= 1
            if not self._order:
                self._number = -math.inf
                return None
            number = heapq.heappop(self._order)
            self._open, self._number = list(self._buckets.pop(number)), number
            self._sorted = False
