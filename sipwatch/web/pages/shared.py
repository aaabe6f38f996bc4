"""Parts of pages that many ask for at once: after an incident each page that is open
reads the same ones, and one rendering serves them all.

A rendering stands until something is told, or for a second: what has no event, such as
a time of answer, is no older than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from sipwatch.web.turns import Turnstile

FRESH = 1.0  # s that a rendering stands
KEPT = 32  # renderings at once; each is let go after its second
LONGEST = 4_000_000  # bytes of one that is kept: some 30,000 cells


@dataclass(slots=True, eq=False)
class _Rendering:
    """One, made or being made."""

    change: str  # the last event before it
    made: asyncio.Task[bytes]


class Shared:
    """The renderings of one listener's pages."""

    def __init__(self) -> None:
        self.made = 0  # ever
        self._known: dict[Hashable, _Rendering] = {}
        self.turnstile = Turnstile()

    async def of(
        self, name: Hashable, change: str, make: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The one of this name since this change; `make` makes it where there is none,
        and whatever that raises is raised to all who wait for it."""
        known = self._known.get(name)
        if known is None or known.change != change:
            known = self._begin(name, change, make)
        if known.made.done():
            return known.made.result()
        found = await asyncio.shield(known.made)
        await self.turnstile.passed()  # it ends for all who wait in one turn
        return found

    def _begin(
        self, name: Hashable, change: str, make: Callable[[], Awaitable[bytes]]
    ) -> _Rendering:
        async def made() -> bytes:
            return await make()

        self.made += 1
        begun = _Rendering(change, asyncio.create_task(made()))
        self._known.pop(name, None)
        if len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[name] = begun
        begun.made.add_done_callback(lambda task: self._ended(name, begun))
        return begun

    def _ended(self, name: Hashable, one: _Rendering) -> None:
        task = one.made
        if task.cancelled() or task.exception() or len(task.result()) > LONGEST:
            self._let_go(name, one)
        else:
            asyncio.get_running_loop().call_later(FRESH, self._let_go, name, one)

    def _let_go(self, name: Hashable, one: _Rendering) -> None:
        if self._known.get(name) is one:
            del self._known[name]
