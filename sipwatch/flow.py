"""The one path from an observation to the disk, the bus and the couriers.

Plain calls: a check observes, the core decides, what it wants written is a transaction.
The bus announces only what is committed; nothing that must not be lost listens on it.

A mass event is carried in slices, one in a turn of the loop, so that what else the
loop does goes on meanwhile. What the store has no room for stays here, and more stays
in the core, until the disk has taken what came before: nothing is passed over.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from pyee.base import EventEmitter

from alerting.alarms.core import Alarms
from alerting.announcement import Announcement, Ask
from alerting.store.database import Store, StoreError
from alerting.store.rows import Write, shifted
from checks.observation import Observation, Subject

SLICE = 100  # subjects in one transaction of a mass event: some 3 ms of the loop
ANNOUNCED = 25  # announcements in one turn of the loop: 4 ms where a cause is sought
SETTLE = 2.0  # s that a reader waits for what is on its way to the disk
REST = 0.005  # s between two looks at the core's deadlines, whatever it says is due

log = logging.getLogger(__name__)


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
        self._closed = False
        self._uncommitted: dict[int, float] = {}  # transaction: since when
        self._transactions = 0
        self._held: list[Write] = []  # one slice that the store has no room for
        self._held_since: float | None = None
        self._failing = False  # the last transaction did
        self._announcing: deque[Announcement] = deque()
        self._telling: asyncio.Handle | None = None

    def observe(self, o: Observation) -> None:
        """Take in what a check saw; what it changes is flushed in this turn of the
        loop, together with all else that this turn brings."""
        self.alarms.observe(o)
        self._flush_soon()

    def observe_all(self, several: Iterable[Observation]) -> None:
        """Take in several."""
        for o in several:
            self.observe(o)

    def write(self, writes: Sequence[Write]) -> None:
        """Store what another part wants to find again."""
        if writes:
            self._store.write(self._in_wall_time(writes), self._done(()))

    # --- to the disk ----------------------------------------------------------------

    def flush(self) -> None:
        """Pass on all that the core has, in this turn."""
        while self._pass_on():
            pass

    async def commit(self) -> None:
        """Flush, and wait until all so far is on the disk; raises what hinders it."""
        while True:
            if self._pass_on():
                await asyncio.sleep(0)
                continue
            all_passed_on = not self._held
            await self._written()
            if all_passed_on:
                return

    async def settle(self) -> None:
        """Commit, for who reads what is stored; a disk that hinders it is no reason
        not to read what is there."""
        with suppress(TimeoutError, sqlite3.Error, OSError, StoreError):
            async with asyncio.timeout(SETTLE):
                await self.commit()

    def waiting_since(self) -> float | None:
        """Since when the oldest transaction waits for the disk."""
        times = [*self._uncommitted.values()]
        if self._held_since is not None:
            times.append(self._held_since)
        return min(times, default=None)

    def close(self) -> None:
        """Flush what is left; no timer fires after it."""
        self.flush()
        self._closed = True
        self._arm()
        if self._held:
            log.error(
                "what happened since the database takes nothing more is not stored; "
                "the next start will find it anew, and may tell it again"
            )

    def _flush_soon(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._flush_some)

    def _flush_some(self) -> None:
        self._soon = None
        if self._pass_on():
            self._flush_soon()

    def _pass_on(self) -> bool:
        """Pass on one transaction; whether there is more that can go now."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if not self._release():
            return False
        writes, announced = self.alarms.take(SLICE)
        self._arm()
        self._ask(announced)
        if not (writes or announced):
            return False
        if self._store.takes(writes):
            self._store.write(self._in_wall_time(writes), self._done(announced))
        else:
            self._held, self._held_since = writes, self._clock()
            self._announcing.extend(announced)
            self._announce_soon()
        self._wake()
        return self.alarms.left and not self._held

    def _release(self) -> bool:
        """Pass on what was held; if it cannot, nothing that came later may."""
        if not self._held:
            return True
        if self._store.takes(self._held):
            self._store.write(self._in_wall_time(self._held), self._done(()))
            self._held, self._held_since = [], None
            return True
        self._arm()
        if self._failing:  # for long: people and ancestors need not wait for the disk
            announced = self.alarms.take_announced()
            self._ask(announced)
            self._announcing.extend(announced)
            self._announce_soon()
            self._wake()
        return False

    def _ask(self, announced: Iterable[Announcement]) -> None:
        for one in announced:
            if isinstance(one, Ask):
                self._asked(one.subject)

    def _in_wall_time(self, writes: Sequence[Write]) -> Sequence[Write]:
        ahead = self._ahead()
        return [shifted(write, ahead) for write in writes] if ahead else writes

    async def _written(self) -> None:
        written: asyncio.Future[None] = self._loop.create_future()
        done = self._done(())

        def told(error: Exception | None) -> None:
            done(error)
            self._loop.call_soon_threadsafe(_settle, written, error)

        self._store.write((), told)
        await written

    def _done(
        self, announced: Sequence[Announcement]
    ) -> Callable[[Exception | None], None]:
        self._transactions += 1
        number = self._transactions
        self._uncommitted[number] = self._clock()
        then = partial(self._ended, number, announced)

        def done(error: Exception | None) -> None:
            self._loop.call_soon_threadsafe(then, error)

        return done

    def _ended(
        self,
        number: int,
        announced: Sequence[Announcement],
        error: Exception | None,
    ) -> None:
        # After a failed commit as well: what the log tells is true, and late
        # bookkeeping is told by an incident of its own. The store calls once more
        # when it has succeeded after all.
        if self._uncommitted.pop(number, None) is not None and announced:
            self._announcing.extend(announced)
            self._announce_soon()
        self._failing = error is not None
        self._committed(error)
        if self._held:
            self._flush_soon()

    # --- to the bus -----------------------------------------------------------------

    def _announce_soon(self) -> None:
        if self._telling is None:
            self._telling = self._loop.call_soon(self._announce_some)

    def _announce_some(self) -> None:
        self._telling = None
        for _ in range(min(ANNOUNCED, len(self._announcing))):
            self._announce(self._announcing.popleft())
        if self._announcing:
            self._announce_soon()

    def _announce(self, one: Announcement) -> None:
        try:
            self._bus.emit(type(one).__name__.lower(), one)
        except Exception as error:  # noqa: BLE001 - a listener may fail, we may not
            self._bus.emit("error", error)

    # --- time -----------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = None if self._closed else self.alarms.next_deadline()
        if due is not None:
            delay = max(REST, due - self._clock())
            self._timer = self._loop.call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self.alarms.advance(self._clock())
        self._arm()
        self._flush_soon()


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
