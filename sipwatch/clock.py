"""The one clock: monotonic seconds that read as UTC, and what the wall does beside it.

Every time inside the process is `Clock.now()`. A step of the wall clock moves no
deadline: it is measured once a second and applied only where a time becomes wall
time (store, mail, schedules).
"""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP = 1.0  # s; less is our own lateness between two looks, or slewing


class Clock:
    """Monotonic time plus an offset fixed at start, and the wall's skew against it."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self.offset = wall() - monotonic()
        self.skew = 0.0  # s that the wall clock is ahead of now()

    def now(self) -> float:
        """UTC seconds that never jump."""
        return self._monotonic() + self.offset

    def measure(self) -> float:
        """Look at the wall clock; how far it was set, 0.0 if it was not.

        Only a step moves `skew`: else each time that is written would differ by the
        microseconds of its moment, and small steps would never add up to one.
        """
        step = self._wall() - self.now() - self.skew
        if abs(step) < JUMP:
            return 0.0
        self.skew += step
        return step

    def to_wall(self, at: float) -> float:
        """A time of ours as the wall clock tells it."""
        return at + self.skew

    def from_wall(self, at: float) -> float:
        """A time of the wall clock as ours."""
        return at - self.skew
