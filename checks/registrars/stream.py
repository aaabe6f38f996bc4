"""A connection whose messages queue up for one reader, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from checks.registrars.clocks import pause
from checks.registrars.complaints import Complaint
from checks.registrars.failures import unreadable
from checks.registrations.judge import Unreadable

BATCH = 500  # messages handled before the loop gets its turn: some 5 ms
FLOOD_LIMIT = 256 * 1024 * 1024  # bytes between two looks at events: four long lists
HELD_LIMIT = 1024 * 1024  # bytes taken ahead of the reader: what one wait may return

T = TypeVar("T")


class Stream(asyncio.Protocol, Generic[T]):
    """Bytes to messages. Every wait ends: by a message, by its time or by nudge().

    A sender that is faster than the reader is held back by TCP.
    """

    def __init__(
        self,
        name: str,
        feed: Callable[[bytes], list[T]],
        clock: Callable[[], float],
    ) -> None:
        """`name` is the protocol's, for sentences; `feed` raises ValueError."""
        self.heard = clock()  # when bytes last came
        self.received = 0  # bytes in all
        self._name = name
        self._feed = feed
        self._clock = clock
        self._queue: list[T] = []
        self._held = 0  # bytes taken since the queue was empty
        self._stirred = asyncio.Event()
        self._failure: Unreadable | None = None
        self._ended = False
        self._transport: asyncio.Transport | None = None

    # --- what asyncio calls ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self.heard = self._clock()
        self.received += len(data)
        try:
            self._queue += self._feed(data)
        except ValueError as error:
            self._fail(Complaint.UNLIKE.of(protocol=self._name, error=error))
            self.close()
        self._held += len(data)
        ahead = len(self._queue) > BATCH or self._held > HELD_LIMIT
        if ahead and self._queue and self._transport:
            self._transport.pause_reading()
        self._stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed, or the network did."""
        if isinstance(exc, OSError):
            self._fail(unreadable(exc, f"the {self._name} connection"))
        self._ended = True
        self._stirred.set()

    def closed(self) -> Unreadable:
        """What it means that the peer closed, when all that it said is known."""
        return Complaint.CLOSED.of(protocol=self._name)

    def _fail(self, failure: Unreadable) -> None:
        self._failure = self._failure or failure
        self._stirred.set()

    # --- what its reader calls ------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether messages have come that nobody has read yet."""
        return bool(self._queue)

    def nudge(self) -> None:
        """End a wait."""
        self._stirred.set()

    def close(self) -> None:
        """Drop the connection; safe to call twice."""
        if self._transport:
            self._transport.close()

    def write(self, data: bytes) -> None:
        """Send, where there is still somebody to send to."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    async def wait(self, timeout: float) -> list[T]:
        """Messages that came, at most BATCH; none after `timeout` or a nudge."""
        if self._queue or self._failure or self._ended:
            await asyncio.sleep(0)  # a flood must not keep the loop from its turn
        else:
            self._stirred.clear()
            await pause(self._stirred, max(0.0, timeout))
        if not self._queue and (self._failure or self._ended):
            raise self._failure or self.closed()
        batch = self._queue[:BATCH]
        del self._queue[:BATCH]
        if not self._queue:
            self._held = 0
        if self._transport and len(self._queue) <= BATCH:
            self._transport.resume_reading()
        return batch
