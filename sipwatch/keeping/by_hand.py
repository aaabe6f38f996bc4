"""The last exchange with what somebody had asked by hand: its page draws it.

A test by hand goes the way of all tests, which keep no messages. Beside it one question
is asked whose messages are kept, no sooner than `min_interval` lets us.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from checks.observation import Kind, Subject
from sipwatch.capture import export
from sipwatch.keeping import own

TASK = "by hand"
KEPT = 200  # subjects; who was asked longest ago goes
TEXT = 65_536  # characters of one: some 60 messages, of long ones fewer
WAITING = 16  # subjects at once; of more the test by hand is enough
PROMPT = 2.0  # s that somebody waits for what he asked for: who answers does so sooner
_KINDS = (Kind.EXTENSION, Kind.TARGET)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said, and when it had ended."""

    at: float  # UTC s
    messages: int
    text: str  # the ladder of checks.sip.trace, without secrets


class ByHand:
    """A resident task asks one subject after the other."""

    def __init__(self, daemon: own.Daemon) -> None:
        self._daemon = daemon
        self._kept: OrderedDict[str, Asked] = OrderedDict()  # by key
        self._waiting: dict[str, Subject] = {}  # by key
        self._wanted = asyncio.Event()
        self._ended = asyncio.Condition()
        self._under_way = ""

    def of(self, subject: Subject) -> Asked | None:
        """The last exchange with this one; None where nobody wanted it asked."""
        return self._kept.get(subject.key)

    def want(self, subject: Subject) -> None:
        """Somebody wants to see it."""
        if subject.kind in _KINDS and len(self._waiting) < WAITING:
            self._waiting.setdefault(subject.key, subject)
            self._wanted.set()

    async def ended(self, subject: Subject) -> None:
        """Wait until it was asked, but not for long."""
        try:
            async with asyncio.timeout(PROMPT), self._ended:
                await self._ended.wait_for(lambda: not self._pending(subject))
        except TimeoutError:
            return

    async def run(self) -> None:
        """For as long as the daemon runs."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                self._under_way = next(iter(self._waiting))
                await self._ask(self._waiting.pop(self._under_way))
                self._under_way = ""
                async with self._ended:
                    self._ended.notify_all()

    def _pending(self, subject: Subject) -> bool:
        return subject.key == self._under_way or subject.key in self._waiting

    async def _ask(self, subject: Subject) -> None:
        messages = await own.exchange(self._daemon, subject)
        if not messages:
            return
        numbers = self._daemon.config.evidence.hide_numbers
        found = export.of_messages(messages, numbers=numbers)
        at = self._daemon.clock.now()
        self._kept[subject.key] = Asked(at, found.messages, found.text[:TEXT])
        self._kept.move_to_end(subject.key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
