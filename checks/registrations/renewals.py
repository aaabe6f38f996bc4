"""How a PBX refreshes a registration of its own, by the ends that it tells.

As of phones, the time from one refresh to the next is that from end to end. What was
granted is at least what is left when a new end is first seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from checks.registrations.expiry import LATE, STREAM, TOLERANCE, Breach
from checks.registrations.habit import LATEST, is_known, learned, points

MOVED = 2.0  # s that an end must move to be another one
BRIEF = 5.0  # s between two refreshes that were one


@dataclass(slots=True)
class Renewals:
    """What is known of the refreshes of one registration."""

    end: float = 0.0  # our clock
    read: float = 0.0  # when it was last told
    at_least: float = 0.0  # s granted
    habit: bytes = b""

    def take(self, end: float, now: float) -> None:
        """The PBX tells when it ends."""
        took, before = end - self.end, self.end
        if before and took < -MOVED:
            self.at_least = 0.0  # less was granted
        self.at_least = max(self.at_least, end - now)
        if before and took > max(MOVED, BRIEF) and self.at_least > 0:
            share = took / self.at_least
            single = 2 * (self.read - (before - self.at_least)) >= took
            if share <= (LATEST if single else LATE):
                self.habit = learned(self.habit, share)
        self.end, self.read = end, now

    @property
    def breach(self) -> int | None:
        """How it is outside what is wanted of trunks; None: not known yet."""
        found = Breach.NONE
        if self.at_least > STREAM.most + TOLERANCE:
            found |= Breach.LONG
        usual = points(self.habit) if is_known(self.habit) else None
        if usual and usual.median > LATE:
            found |= Breach.LATE
        return found if found or usual else None
