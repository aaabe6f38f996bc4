"""Whether a phone is in a call, as its Asterisk knows: asked for one at a time.

A device has a state that its channels make: AMI's Getvar reads it by the function
DEVICE_STATE, with the rights that the names of extensions need. It is asked when an
incident opens or somebody wants to know, and never of all phones.
"""

from __future__ import annotations

import asyncio
from collections import deque

from checks.registrars.pjsip import device_question
from checks.registrars.session import RefusedError, Session

WAITING = 32  # questions at once; one more gets no answer
PATIENCE = 3.0  # s; a list of many phones may be under way

# A phone that only rings can be called once more, as one that is idle.
_STATES = {
    "INUSE": True,
    "BUSY": True,
    "RINGINUSE": True,
    "ONHOLD": True,
    "NOT_INUSE": False,
    "RINGING": False,
}

_Answer = asyncio.Future[bool | None]


class Devices:
    """Who asks of whom; the session's only reader answers."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, _Answer]] = deque()

    async def ask(self, aor: str, session: Session | None) -> bool | None:
        """Whether a phone is in a call; None: it cannot be told, or not in time."""
        if session is None or len(self._waiting) >= WAITING:
            return None
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting.append((aor, answer))
        session.nudge()
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            return None

    async def run(self, session: Session) -> None:
        """Answer who has asked."""
        while self._waiting:
            aor, answer = self._waiting.popleft()
            if answer.done():  # who asked has gone
                continue
            try:
                said = await session.ask("Getvar", **device_question(aor))
            except RefusedError:
                said = {}
            if not answer.done():
                answer.set_result(_STATES.get(said.get("Value", "")))

    def forget(self) -> None:
        """The session has ended: nobody answers."""
        while self._waiting:
            _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(None)
