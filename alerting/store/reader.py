"""Reads that may take a while, in a thread of their own: history, for people.

Neither the loop nor the writer waits for them: in SQLite's WAL mode a reader sees the
file as it was when it began.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from alerting.incident import Severity
from alerting.store.points import HOUR, Point, unpacked
from alerting.store.rows import (
    AttemptRow,
    DeliveryRow,
    HistoryRow,
    IncidentRow,
    TrailRow,
)
from alerting.store.statements import (
    ATTEMPTS_OF,
    CHARTED,
    FIRST_MINUTES,
    FIRST_QUARTERS,
    HISTORY,
    HISTORY_KEYS,
    HISTORY_OF_KEY,
    INCIDENT,
    MINUTES_AT,
    MINUTES_OF_HOUR,
    OLD_HISTORY,
    OUTBOX_OF,
    PAST,
    PAST_COUNT,
    QUARTERS_AT,
    QUARTERS_OF_HOUR,
    TRAIL,
    attempt_row,
    delivery_row,
    history_row,
    incident_row,
    trail_row,
)

BUSY_TIMEOUT = 5.0  # s to wait for another process that reads a backup of the file
HOURS = 31 * 24  # of points at a time: they are kept for 30 days
WAITING = 32  # reads that may wait for their turn; people ask one at a time

_Read = TypeVar("_Read")


class ReaderError(Exception):
    """It was not read; the text is for people."""


class Past(NamedTuple):
    """Which incidents are wanted; what is empty does not matter."""

    severity: str = ""
    rule: str = ""
    registrar: str = ""
    site: str = ""
    since: float | None = None  # those that opened then or later
    search: str = ""  # in lower case: part of a name, title, detail or place


class Reader:
    """The readers' one thread and its connection."""

    def __init__(self, path: str) -> None:
        self._connection = connect(path, read_only=True)
        self._thread = ThreadPoolExecutor(1, "store-reader")
        self._asked = 0
        self._closed = False

    async def history(self, key: str) -> list[HistoryRow]:
        """How a subject stood, the oldest first; times are of the wall clock."""
        return await self._read(lambda: [*map(history_row, self._query(HISTORY, key))])

    async def history_keys(self) -> dict[str, float]:
        """Whose history is kept, and when the last of it happened."""
        return await self._read(lambda: dict(map(tuple, self._query(HISTORY_KEYS))))

    async def history_before(self, at: float) -> list[int]:
        """The numbers of the rows that are older, but for the last of each subject."""
        return await self._read(lambda: [n for (n,) in self._query(OLD_HISTORY, at)])

    async def history_of(self, keys: Iterable[str]) -> list[int]:
        """The numbers of all rows of some subjects."""
        return await self._read(
            lambda: [n for key in keys for (n,) in self._query(HISTORY_OF_KEY, key)]
        )

    async def incident(self, id: int) -> IncidentRow | None:
        """One incident, open or over."""
        rows = await self._read(lambda: [*map(incident_row, self._query(INCIDENT, id))])
        return rows[0] if rows else None

    async def past(
        self, wanted: Past, before: int, most: int
    ) -> tuple[int, list[IncidentRow]]:
        """Incidents that are over: how many there are, and the newest of those whose
        number is below `before`."""
        severity = Severity[wanted.severity.upper()] if wanted.severity else 0
        values = wanted._asdict() | {"severity": severity}

        def look() -> tuple[int, list[IncidentRow]]:
            [(count,)] = self._connection.execute(PAST_COUNT, values)
            values.update(before=before, most=most)
            return count, [*map(incident_row, self._connection.execute(PAST, values))]

        return await self._read(look)

    async def outbox(self, incident: int) -> list[DeliveryRow]:
        """What each notifier knows of an incident, and is owed."""
        return await self._read(
            lambda: [*map(delivery_row, self._query(OUTBOX_OF, incident))]
        )

    async def attempts(self, incident: int) -> list[AttemptRow]:
        """What came of the batches that told an incident, the oldest first."""
        return await self._read(
            lambda: [*map(attempt_row, self._query(ATTEMPTS_OF, incident))]
        )

    async def trail(self, key: str) -> list[TrailRow]:
        """Why something was done, or not, with a subject; the oldest first."""
        return await self._read(lambda: [*map(trail_row, self._query(TRAIL, key))])

    async def points(
        self, keys: Iterable[str], since: float, until: float
    ) -> dict[str, list[Point]]:
        """What was measured of subjects in this time of the wall clock, the oldest
        first; of those of whom nothing ever was, none."""
        asked = list(keys)
        found = await self._read(
            lambda: [(key, self._points(key, since, until)) for key in asked]
        )
        return {key: points for key, points in found if points is not None}

    def _points(self, key: str, since: float, until: float) -> list[Point] | None:
        charted = self._query(CHARTED, key).fetchone()
        if charted is None:
            return None
        found: list[Point] = []
        last = int(until // HOUR)
        for hour in range(max(int(since // HOUR), last - HOURS), last + 1):
            for sql in (QUARTERS_AT, MINUTES_AT):
                for (blob,) in self._query(sql, hour, charted[0]):
                    found += unpacked(blob, hour)
        found = [point for point in found if since <= point.at < until]
        return sorted(found, key=lambda point: point.at)

    async def minutes(self, hour: int) -> dict[str, bytes]:
        """The minutes of an hour, by subject."""
        return await self._read(
            lambda: dict(map(tuple, self._query(MINUTES_OF_HOUR, hour)))
        )

    async def quarters(self, hour: int) -> dict[str, bytes]:
        """The quarters of an hour, by subject."""
        return await self._read(
            lambda: dict(map(tuple, self._query(QUARTERS_OF_HOUR, hour)))
        )

    async def oldest_points(self) -> tuple[int | None, int | None]:
        """The first hours of which there are minutes, and quarters."""
        sqls = (FIRST_MINUTES, FIRST_QUARTERS)
        first, other = await self._read(
            lambda: [self._query(sql).fetchone()[0] for sql in sqls]
        )
        return first, other

    def close(self) -> None:
        """End what is read; blocks until it has."""
        if self._closed:
            return
        self._closed = True
        self._connection.interrupt()
        self._thread.shutdown(cancel_futures=True)
        self._connection.close()

    def _query(self, sql: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    async def _read(self, work: Callable[[], _Read]) -> _Read:
        if self._asked >= WAITING:
            raise ReaderError(f"{WAITING} others are reading the database; ask again")
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work)
        except (sqlite3.Error, RuntimeError, ValueError) as error:  # or it was closed
            raise ReaderError(f"the database cannot be read: {error}") from error
        finally:
            self._asked -= 1


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    name = f"{Path(path).absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        name,
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
