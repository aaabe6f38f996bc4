"""Who is in a call, by the word of the PBX: asked when an incident opens.

A phone that answers 486 is in a call, or set to do not disturb; who is called 486 by
can only be told by a PBX that knows of the call. Asterisk does. FreeSWITCH, Kamailio
and OpenSIPS are not asked: what they tell of calls is not tied to a registration.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from pyee.base import EventEmitter

from alerting.announcement import Opened
from checks.observation import Subject

TASK = "busy"
WAITING = 32  # subjects of incidents that are looked at; of more it is not known


class BusyPhones:
    """Hears of incidents on the bus; a resident task asks of one after the other."""

    def __init__(
        self, bus: EventEmitter, look: Callable[[Subject], Awaitable[object]]
    ) -> None:
        """`look` asks the PBX, where that may explain what a phone answers."""
        self._look = look
        self._waiting: deque[Subject] = deque(maxlen=WAITING)
        self._wanted = asyncio.Event()
        bus.on("opened", self._opened)

    def _opened(self, announced: Opened) -> None:
        self._waiting.append(announced.incident.subject)
        self._wanted.set()

    async def run(self) -> None:
        """For as long as the daemon runs."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                await self._look(self._waiting.popleft())
