"""Turns of the loop, shared out among hundreds that come in the same moment."""

from __future__ import annotations

import asyncio

AT_ONCE = 8  # that go on in one turn of the loop: some 3 ms of requests


class Turnstile:
    """Lets so many pass in one turn, and the others in the next ones: all open pages
    ask for the same after an incident, and nobody else may wait for all of them."""

    def __init__(self, most: int = AT_ONCE) -> None:
        self._most = most
        self._passed = 0

    async def passed(self) -> None:
        """It is one's turn."""
        while self._passed >= self._most:  # noqa: ASYNC110 - of each turn
            await asyncio.sleep(0)
        if not self._passed:
            asyncio.get_running_loop().call_soon(self._again)
        self._passed += 1

    def _again(self) -> None:
        self._passed = 0
