"""How many real calls were answered 480 of late, beside what is usual."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import exp
from typing import NamedTuple

WINDOW = 300.0  # s that a share is of
USUAL = 86_400.0  # s by which what was usual is forgotten
LEAST = 5  # such answers that are more than chance
RISE = 2.0  # times the usual share
UNAVAILABLE = "480"
_ASKED_FOR = ("401", "407")  # the call goes on with credentials


class Share(NamedTuple):
    """Of the calls of the window."""

    calls: int
    unavailable: int
    usual: float

    @property
    def risen(self) -> float:
        """The share, where it is more than chance and more than usual; else 0.0."""
        if self.unavailable < LEAST:
            return 0.0
        share = self.unavailable / self.calls
        return share if share >= RISE * self.usual else 0.0

    @property
    def said(self) -> str:
        """12 of 40 calls of the last 5 min were answered 480 (usually 4 %)."""
        return (
            f"{self.unavailable} of {self.calls} calls of the last 5 min were answered"
            f" 480 (usually {100 * self.usual:.0f} %)"
        )


class CallRate:
    """Fed with the counts of the capture service, which only grow."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int, int]] = deque()  # at, calls, unavailable
        self._usual: float | None = None
        self._at = 0.0

    def take(self, responses: Iterable[tuple[str, str, int]], at: float) -> Share:
        """The share as of now, by method, code and count of all responses."""
        calls = unavailable = 0
        for method, code, count in responses:
            if method == "INVITE" and code >= "200" and code not in _ASKED_FOR:
                calls += count
                unavailable += count if code == UNAVAILABLE else 0
        if self._counts and calls < self._counts[-1][1]:
            self._counts.clear()  # the service was started anew
        self._counts.append((at, calls, unavailable))
        while self._counts[0][0] < at - WINDOW:
            self._counts.popleft()
        _, first_calls, first_unavailable = self._counts[0]
        found = Share(
            calls - first_calls, unavailable - first_unavailable, self._usual or 0.0
        )
        if not found.risen:
            self._learn(found, at)
        return found

    def _learn(self, share: Share, at: float) -> None:
        """What is usual follows slowly; a rise is no part of it."""
        if not share.calls:
            return
        now = share.unavailable / share.calls
        kept = 0.0 if self._usual is None else exp(-min(at - self._at, USUAL) / USUAL)
        self._usual = kept * (self._usual or 0.0) + (1 - kept) * now
        self._at = at
