"""Who may connect now: so many at a time, and of those that failed only a share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

CONNECTING_LIMIT = 64  # handshakes at a time: each costs the CPU 40 questions
DOUBTFUL_LIMIT = 32  # of them to who failed before: each may last its whole timeout


Who = TypeVar("Who", bound=Hashable)


class Slots(Generic[Who]):
    """First come, first served; `begin` is called when it is somebody's turn."""

    def __init__(
        self,
        begin: Callable[[Who], None],
        limit: int = CONNECTING_LIMIT,
        doubtful: int = DOUBTFUL_LIMIT,
    ) -> None:
        self._begin = begin
        self._limit = limit
        self._share = doubtful
        self._busy: dict[Who, bool] = {}  # whether it is one that failed before
        self._waiting: tuple[dict[Who, None], dict[Who, None]] = ({}, {})

    def ask(self, who: Who, doubtful: bool) -> None:
        """Wait for a turn, which may come before this returns."""
        self._waiting[doubtful][who] = None
        self._give()

    def leave(self, who: Who) -> None:
        """It has ended, or does not wait any more: the next may begin."""
        self._busy.pop(who, None)
        for queue in self._waiting:
            queue.pop(who, None)
        self._give()

    def close(self) -> None:
        """Nobody's turn comes any more."""
        for queue in self._waiting:
            queue.clear()

    def _give(self) -> None:
        while len(self._busy) < self._limit:
            doubtful = not self._waiting[False]
            if doubtful and sum(self._busy.values()) >= self._share:
                return
            queue = self._waiting[doubtful]
            if not queue:
                return
            who = next(iter(queue))
            del queue[who]
            self._busy[who] = doubtful
            self._begin(who)
