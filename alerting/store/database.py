"""The one SQLite file: what must survive a restart.

One thread writes. It takes all that is queued as one transaction (a group commit), so
that the fsync of a transaction is paid once for many. Writes are whole rows under a
key, so what waits is coalesced by key, and what failed is tried again together with
what came after it: nothing is reordered in effect, nothing is lost silently.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from alerting.store.rows import DropMemo, DropSubject, Memo, Restored, SubjectRow, Write
from alerting.store.schema import migrate
from alerting.store.statements import (
    DELIVERIES,
    INCIDENTS,
    STATEMENTS,
    SUBJECTS,
    Key,
    Statement,
    delivery_row,
    incident_row,
    key_of,
    subject_row,
)

# Beside the newest state and memo of each subject. Reached while the disk refuses for
# hours, or in a mass event; then a write is refused with an error, not kept and not
# lost silently: who asks `takes` before keeps it himself.
QUEUE_LIMIT = 10_000
RETRY_AFTER = 5.0  # s after a failed transaction, unless something is written before
BUSY_TIMEOUT = 5.0  # s to wait for another process that reads a backup of the file

Done = Callable[[Exception | None], None]


class StoreError(Exception):
    """The store does not do what it must; the text is for the operator."""


class Store:
    """Opened once by the daemon, the only writer."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, lock: IO[bytes]
    ) -> None:
        self.path = path
        self._lock = lock
        self._connection = connection
        self._reader = _connect(path, read_only=True)
        self._reading = threading.Lock()
        self._wake = threading.Condition()
        self._queued: dict[Key, Write] = {}
        self._kept = 0  # of those, how many are no subject's state
        self._waiting: list[Done] = []
        self._late: deque[Done] = deque(maxlen=QUEUE_LIMIT)  # told of an error
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Open or create the file, and bring its schema up to date."""
        name = os.fspath(path)
        lock = connection = None
        try:
            lock = _locked(name)
            Path(name).touch(mode=0o600)
            connection = _connect(name)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
            _check(connection)
            return cls(name, connection, lock)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            if lock is not None:
                lock.close()
            why = getattr(error, "strerror", None) or error
            raise StoreError(f"{name} cannot be used as database: {why}") from error

    def write(self, writes: Sequence[Write], done: Done | None = None) -> None:
        """Queue writes that belong together; `done` is called in the writer's thread.

        `done(None)` says that they are on the disk. `done(error)` says that they are
        not: they are kept and tried again, and `done(None)` follows once they are
        there. After `done(StoreError)` nothing follows: they are not even kept.
        """
        with self._wake:
            refused = self._refused(writes)
            if refused is None:
                for write in writes:
                    self._queue(write)
                if done is not None:
                    self._waiting.append(done)
                self._wake.notify()
        if refused is not None and done is not None:
            done(refused)

    def takes(self, writes: Sequence[Write]) -> bool:
        """Whether these would be kept; so it stays until the same thread writes."""
        with self._wake:
            return self._refused(writes) is None

    def _refused(self, writes: Sequence[Write]) -> StoreError | None:
        if self._closing:
            return StoreError(f"{self.path} is closed")
        if self._kept + len(writes) > QUEUE_LIMIT and self._kept:
            more = sum(
                1 for w in writes if _is_kept(w) and key_of(w) not in self._queued
            )
            if more and self._kept + more > QUEUE_LIMIT:
                return StoreError(f"{self._kept} writes wait for {self.path} already")
        return None

    def _queue(self, write: Write) -> None:
        key = key_of(write)
        if self._queued.pop(key, None) is None and _is_kept(write):
            self._kept += 1
        self._queued[key] = write

    def _run(self) -> None:
        failed = False
        while True:
            with self._wake:
                if failed and not self._closing:
                    self._wake.wait(RETRY_AFTER)
                while not (self._queued or self._waiting or self._closing):
                    self._wake.wait()
                if not (self._queued or self._waiting):
                    return
                writes, self._queued, self._kept = self._queued, {}, 0
                waiting, self._waiting = self._waiting, []
            error = self._commit(writes.values())
            failed = error is not None
            if failed:
                self._put_back(writes)
            for done in waiting if failed else [*self._late, *waiting]:
                done(error)
            if failed:
                self._late.extend(waiting)
            else:
                self._late.clear()
            if failed and self._closing:
                return

    def _commit(self, writes: Iterable[Write]) -> Exception | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, rows in _by_type(writes):
                    values = [statement.values(row) for row in rows]
                    self._connection.executemany(statement.sql, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            return error
        return None

    def _put_back(self, writes: dict[Key, Write]) -> None:
        """Keep what failed, under what was queued meanwhile."""
        with self._wake:
            newer = self._queued
            self._queued = {k: w for k, w in writes.items() if k not in newer} | newer
            self._kept = sum(1 for write in self._queued.values() if _is_kept(write))

    def load(self) -> Restored:
        """All that the core needs to go on; blocks."""
        with self._reading:
            query = self._reader.execute
            subjects = [subject_row(row) for row in query(SUBJECTS)]
            return Restored(
                subjects={row.key: row for row in subjects},
                incidents=[incident_row(row) for row in query(INCIDENTS)],
                deliveries=[delivery_row(row) for row in query(DELIVERIES)],
                last_incident=query("SELECT max(id) FROM incidents").fetchone()[0] or 0,
            )

    def remembered(self, name: str) -> str | None:
        """What a Memo of this name said, as JSON; blocks."""
        with self._reading:
            found = self._reader.execute(
                "SELECT json FROM memos WHERE name = ?", (name,)
            ).fetchone()
        return found[0] if found else None

    def recall(self, prefix: str) -> dict[str, str]:
        """All memos whose names begin like this; blocks."""
        with self._reading:
            found = self._reader.execute(
                "SELECT name, json FROM memos WHERE substr(name, 1, ?) = ?",
                (len(prefix), prefix),
            )
            return dict(found.fetchall())

    @property
    def alive(self) -> bool:
        """Whether the writer's thread still runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what is queued, and close; what cannot be written is reported."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._connection.close()
        self._lock.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
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


def _locked(path: str) -> IO[bytes]:
    """The file that says who owns the database: two daemons would tell all twice.

    Not the database itself, whose locks SQLite would lose with any descriptor of it.
    The kernel lets go of it when the process ends, however it ends.
    """
    Path(f"{path}.lock").touch(mode=0o600)
    lock = open(f"{path}.lock", "rb")  # noqa: SIM115 - held until close()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OSError(errno.EBUSY, "another sipwatch uses it") from None
    return lock


def _check(connection: sqlite3.Connection) -> None:
    """Refuse a damaged file: a watcher that guesses what it told is none."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"{found} (move it aside to start anew)")


def _is_kept(write: Write) -> bool:
    """Whether a write counts against the limit: subjects are bounded by themselves."""
    return not isinstance(write, SubjectRow | DropSubject | Memo | DropMemo)


def _by_type(writes: Iterable[Write]) -> Iterable[tuple[Statement, list[Write]]]:
    """Writes of one type together, an incident before its deliveries.

    No two are of one key, so this order is as good as the one they came in.
    """
    found: dict[type, list[Write]] = {}
    for write in writes:
        found.setdefault(type(write), []).append(write)
    for kind, statement in STATEMENTS.items():
        if kind in found:
            yield statement, found[kind]
