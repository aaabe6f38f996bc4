"""A loop that tells for how long it did not look at its sockets."""

from __future__ import annotations

import asyncio
import selectors
import time
from dataclasses import dataclass


@dataclass(slots=True)
class Stall:
    """One turn of the loop, from a look at the sockets to the next, in s."""

    cpu: float = 0.0  # of the loop's own thread: another process adds nothing to it
    wall: float = 0.0

    def __str__(self) -> str:
        return f"{1000 * self.cpu:6.1f} ms CPU {1000 * self.wall:7.1f} ms wall"


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.woke = Stall()

    def select(self, timeout: float | None = None) -> list[object]:
        ready = super().select(timeout)
        self.woke = Stall(time.thread_time(), time.perf_counter())
        return ready


class MeteredLoop(asyncio.SelectorEventLoop):
    """Keeps the longest turn by CPU, and the longest by the wall clock."""

    def __init__(self) -> None:
        self._looks = _Selector()
        super().__init__(self._looks)
        self.forget()

    def forget(self) -> None:
        """Measure anew."""
        self.cpu = self.wall = 0.0
        self.turns = 0

    @property
    def worst(self) -> Stall:
        """The longest turns since `forget`; they need not be the same one."""
        return Stall(self.cpu, self.wall)

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]  # asyncio's one turn of the loop
        woke = self._looks.woke
        self.cpu = max(self.cpu, time.thread_time() - woke.cpu)
        self.wall = max(self.wall, time.perf_counter() - woke.wall)
        self.turns += 1
