"""The one path from an observation to the disk, the bus and the couriers.

Plain calls: a check observes, the core decides, what it wants written is one
transaction. The bus announces only what is committed; nothing that must not be lost
listens on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pyee.base import EventEmitter

from alerting.alarms import Alarms
from alerting.announcement import Announcement, Ask
from alerting.rows import Write, shifted
from alerting.store import Store
from checks.observation import Observation, Subject


class Flow:
    """Observations in; transactions, announcements and wake-ups out."""

    def __init__(
        self,
        alarms: Alarms,
        store: Store,
        bus: EventEmitter,
        clock: Callable[[], float],
        *,
        asked: Callable[[Subject], None],
        wake: Callable[[], None],
        committed: Callable[[Exception | None], None],
        ahead: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`asked` brings an ancestor to be seen now, `wake` tells the couriers that
        something may be due, `committed` hears of every transaction; the wall clock
        is `ahead` of ours: what is stored is in its time."""
        self.alarms = alarms
        self._store = store
        self._bus = bus
        self._clock = clock
        self._asked = asked
        self._wake = wake
        self._committed = committed
        self._ahead = ahead
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._uncommitted: dict[int, float] = {}  # transaction: since when
        self._transactions = 0

    def observe(self, o: Observation) -> None:
        """Take in what a check saw; what it changes is flushed in this turn of the
        loop, together with all else that this turn brings."""
        self.alarms.observe(o)
        if self._soon is None:
            self._soon = self._loop.call_soon(self.flush)

    def observe_all(self, several: Iterable[Observation]) -> None:
        """Take in several."""
        for o in several:
            self.observe(o)

    def write(self, writes: Sequence[Write]) -> None:
        """Store what another part wants to find again."""
        if writes:
            self._store.write(self._in_wall_time(writes), self._done(()))

    def flush(self) -> None:
        """Commit and announce what the core has."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        writes, announced = self.alarms.take()
        self._arm()
        for one in announced:
            if isinstance(one, Ask):
                self._asked(one.subject)
        if writes or announced:
            self._store.write(self._in_wall_time(writes), self._done(announced))
            self._wake()

    async def commit(self) -> None:
        """Flush, and wait until all so far is on the disk; raises what hinders it."""
        self.flush()
        written: asyncio.Future[None] = self._loop.create_future()
        done = self._done(())

        def told(error: Exception | None) -> None:
            done(error)
            self._loop.call_soon_threadsafe(_settle, written, error)

        self._store.write((), told)
        await written

    def waiting_since(self) -> float | None:
        """Since when the oldest transaction waits for the disk."""
        return min(self._uncommitted.values(), default=None)

    def close(self) -> None:
        """Flush what is left; no timer fires after it."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()

    def _in_wall_time(self, writes: Sequence[Write]) -> Sequence[Write]:
        ahead = self._ahead()
        return [shifted(write, ahead) for write in writes] if ahead else writes

    def _done(
        self, announced: Sequence[Announcement]
    ) -> Callable[[Exception | None], None]:
        self._transactions += 1
        number = self._transactions
        self._uncommitted[number] = self._clock()
        then = partial(self._announce, number, announced)

        def done(error: Exception | None) -> None:
            self._loop.call_soon_threadsafe(then, error)

        return done

    def _announce(
        self,
        number: int,
        announced: Sequence[Announcement],
        error: Exception | None,
    ) -> None:
        # After a failed commit as well: what the log tells is true, and late
        # bookkeeping is told by an incident of its own.
        self._uncommitted.pop(number, None)
        self._committed(error)
        for one in announced:
            self._bus.emit(type(one).__name__.lower(), one)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.alarms.next_deadline()
        if due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = self._loop.call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self.alarms.advance(self._clock())
        self.flush()


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
