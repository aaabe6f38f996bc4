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
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO

from alerting.store.reader import connect
from alerting.store.rows import (
    DropMemo,
    DropSubject,
    Memo,
    Note,
    Restored,
    SubjectRow,
    Write,
)
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
# Rows of one statement: between two of them the interpreter's lock changes hands, and
# while the loop has much to do it keeps that for 5 ms.
AT_ONCE = 100
OF_THE_CORE = "alarms/"  # what the names of its memos begin with
MANY = 100  # rows of a transaction that is one of many, as of a first list
GATHER = 0.05  # s before the next one then: to write less often what comes all the time
RETRY_AFTER = 5.0  # s after a failed transaction, unless something is written before
NOTE_LIMIT = 100  # lots of what may wait; who has more waits for `done`

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
        self._reader = connect(path, read_only=True)
        self._reading = threading.Lock()
        self._wake = threading.Condition()
        self._queued: dict[Key, Write] = {}
        self._many = False  # the last transaction had MANY rows
        self._kept = 0  # of those, how many are no subject's state
        self._waiting: list[Done] = []
        self._notes: deque[tuple[Sequence[Note], Done]] = deque()
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
            connection = connect(name)
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

    def note(self, notes: Sequence[Note], done: Done) -> None:
        """Queue what may wait: it is written when nothing else is, by itself.

        So it delays a write by no more than one such transaction, and has no part in
        the failure of any. `done` is called in the writer's thread, once: it is on the
        disk, or never will be, as it closes or is asked too much (StoreError).
        """
        with self._wake:
            refused = self._closing or len(self._notes) >= NOTE_LIMIT
            if not refused:
                self._notes.append((notes, done))
                self._wake.notify()
        if refused:
            done(StoreError(f"{self.path} takes no more notes"))

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
                while not (self._owes or self._notes or self._closing):
                    self._wake.wait()
                if self._many:
                    self._wake.wait_for(lambda: self._closing, GATHER)
                if not (self._owes or self._notes):
                    break
                owes = self._owes
            failed = not (self._write_queued() if owes else self._write_note())
            if failed and self._closing:
                break
        for _, done in self._notes:
            done(StoreError(f"{self.path} was closed before"))

    @property
    def _owes(self) -> bool:
        return bool(self._queued or self._waiting)

    def _write_queued(self) -> bool:
        with self._wake:
            writes, self._queued, self._kept = self._queued, {}, 0
            self._many = len(writes) >= MANY
            waiting, self._waiting = self._waiting, []
        error = self._commit(writes.values())
        if error is not None:
            self._put_back(writes)
        for done in [*self._late, *waiting] if error is None else waiting:
            done(error)
        if error is None:
            self._late.clear()
        else:
            self._late.extend(waiting)
        return error is None

    def _write_note(self) -> bool:
        notes, done = self._notes[0]
        self._many = len(notes) >= MANY
        if self._commit(notes) is not None:
            return False
        self._notes.popleft()
        done(None)
        return True

    def _commit(self, writes: Iterable[Write | Note]) -> Exception | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, rows in _by_type(writes):
                    self._execute(statement, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            return error
        return None

    def _execute(self, statement: Statement, rows: Sequence[Write | Note]) -> None:
        values = [statement.values(row) for row in rows]
        if len(values) >= AT_ONCE and (sql := statement.of_many(AT_ONCE)):
            last = len(values) - len(values) % AT_ONCE
            for n in range(0, last, AT_ONCE):
                several = chain.from_iterable(values[n : n + AT_ONCE])
                self._connection.execute(sql, [*several])
            del values[:last]
        self._connection.executemany(statement.sql, values)

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
                memos=self._recall(OF_THE_CORE),
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
            return self._recall(prefix)

    def _recall(self, prefix: str) -> dict[str, str]:
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


def _by_type(
    writes: Iterable[Write | Note],
) -> Iterable[tuple[Statement, list[Write | Note]]]:
    """Writes of one type together, an incident before its deliveries.

    No two are of one key, so this order is as good as the one they came in.
    """
    found: dict[type, list[Write | Note]] = {}
    for write in writes:
        found.setdefault(type(write), []).append(write)
    for kind, statement in STATEMENTS.items():
        if kind in found:
            yield statement, found[kind]
