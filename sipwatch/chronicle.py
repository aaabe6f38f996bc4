"""The history on its way to the store, at a pace that holds up nothing.

One slice is under way at a time, and the store writes it after all that must not be
lost. What changes is taken from the judges at once while there is room for it, and else
when there is again: so a mass event costs neither a long turn of the loop nor a long
queue, and what changes twice before it is taken is taken as it stands by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from pyee.base import EventEmitter

from alerting.announcement import Transition
from alerting.store.database import Store
from alerting.store.reader import Reader, ReaderError
from alerting.store.rows import (
    DropHistory,
    HistoryFill,
    HistoryRow,
    Memo,
    Note,
)
from checks.observation import Kind
from checks.registrations.extension import Extension
from checks.registrations.memory import of_habits
from checks.registrations.standing import Standing
from sipwatch.follow import MEMO
from sipwatch.sources import Sources, sliced
from sipwatch.subjects import is_watched

SLICE = 500  # rows of one transaction: some 4 ms of the loop, 8 ms of the writer
GATHER = 0.1  # s for which what changes is gathered: a transaction costs like 50 rows
WAITING = 20_000  # of other subjects; then the oldest are passed over
LOOKED_AT = 1_000  # subjects in one turn of the loop, some 2 ms
KEPT = 90 * 86400.0  # s of history, beside the last row of each
UNWATCHED = 7 * 86400.0  # s after its last change that an unwatched subject has one
SETTLE = 0.5  # s that who reads waits for what happened just before
CLOSING = 0.5  # s for what is left when the daemon stops
FLUSH = 600.0  # s between two flushes of the refresh habits
# An extension's comes from its judge; a site or ourselves have none.
KINDS = (Kind.TARGET, Kind.REGISTRATION, Kind.ACCOUNT, Kind.REGISTRAR)

log = logging.getLogger(__name__)


class Chronicle:
    """Takes down who stands otherwise than before."""

    def __init__(self, sources: Sources, store: Store, bus: EventEmitter) -> None:
        self._sources = sources
        self._store = store
        self.reader = Reader(store.path)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Note] = deque(maxlen=WAITING)
        self._writing = False
        self._idle = asyncio.Event()  # nothing is left to be taken down
        self._idle.set()
        self._soon: asyncio.Handle | None = None
        bus.on("transition", self._transition)

    # --- what changes ---------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to take down: at once, while there is room for it.

        Who only moved waits for the other half of it.
        """
        self._idle.clear()
        self._take(moved=False)
        if self._soon is None and not self._writing:
            self._soon = self._loop.call_later(GATHER, self._pass_on)

    def _transition(self, t: Transition) -> None:
        if t.subject.kind in KINDS:
            key, at = t.subject.key, t.since + self._ahead()
            self._later([HistoryRow(key, at, t.new, t.cause, None, t.detail)])

    def _later(self, notes: Iterable[Note]) -> None:
        self._waiting.extend(notes)
        self.wake()

    def _pass_on(self) -> None:
        self._soon = None
        self._take(moved=True)
        size = min(SLICE, len(self._waiting))
        if notes := [self._waiting.popleft() for _ in range(size)]:
            self._writing = True
            self._store.note(notes, self._written)
        else:
            self._idle.set()

    def _take(self, *, moved: bool) -> None:
        ahead = self._ahead()
        for judge in self._sources.judges.values():
            if (room := SLICE - len(self._waiting)) > 0 and judge.standings:
                taken = judge.standings.take(room, moved=moved)
                self._waiting.extend(_note(standing, ahead) for standing in taken)

    def _written(self, error: Exception | None) -> None:
        """In the store's thread, or at once where it takes nothing any more."""
        ended = self._go_on if error is None else self._idle.set
        self._loop.call_soon_threadsafe(ended)

    def _go_on(self) -> None:
        self._writing = False
        self.wake()

    def _ahead(self) -> float:
        return self._sources.clock.skew

    async def settle(self) -> None:
        """Write down what is gathered, for who reads it; of much they see a part."""
        if self._soon is not None:
            self._soon.cancel()
            self._pass_on()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                await self._idle.wait()

    # --- refresh habits -------------------------------------------------------------

    async def keep_habits(self) -> None:
        """Store when everybody refreshes: one memo for each registrar."""
        for judge in list(self._sources.judges.values()):
            habits: dict[str, bytes] = {}
            for part in sliced(list(judge.extensions.values()), LOOKED_AT):
                habits.update(_habits(part))
                await asyncio.sleep(0)
            row = await asyncio.to_thread(of_habits, habits)
            self._later([Memo(f"{MEMO}/{judge.name}/{row.name}", row.json)])

    # --- what is kept ---------------------------------------------------------------

    async def tidy(self) -> None:
        """Forget what is old, and who is watched no more."""
        clock = self._sources.clock
        now = clock.to_wall(clock.now())
        try:
            last = await self.reader.history_keys()
            gone: list[str] = []
            for part in sliced(last.items(), LOOKED_AT):
                gone += self._gone(part, now - UNWATCHED)
                await asyncio.sleep(0)
            numbers = await self.reader.history_before(now - KEPT)
            numbers += await self.reader.history_of(gone)
        except ReaderError as error:
            log.warning("history is not tidied: %s", error)
            return
        # What does not fit is as old tomorrow.
        self._later(DropHistory(number) for number in numbers[: WAITING // 2])

    def _gone(self, last: Iterable[tuple[str, float]], before: float) -> list[str]:
        still = [key for key, at in last if at < before]
        return [key for key in still if not is_watched(self._sources, key)]

    async def close(self) -> None:
        """Pass on what is left, with the habits as they are, while there is time."""
        await self.keep_habits()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._idle.wait()
        await asyncio.to_thread(self.reader.close)


def _note(standing: Standing, ahead: float) -> Note:
    key = standing.subject.key
    if standing.at is None:
        return HistoryFill(key, standing.contacts)
    at, loss, why = standing.at + ahead, standing.loss, standing.why
    return HistoryRow(key, at, standing.state, None, loss, why, standing.contacts)


def _habits(extensions: Iterable[Extension]) -> dict[str, bytes]:
    return {e.aor: e.habit for e in extensions if e.habit}
