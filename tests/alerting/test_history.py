"""History in the store: bounded, never twice the same, and never in the way."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alerting.store.database import NOTE_LIMIT, Store, StoreError
from alerting.store.reader import WAITING, Reader, ReaderError
from alerting.store.rows import (
    DropHistory,
    HistoryFill,
    HistoryRow,
    Memo,
    Note,
    SubjectRow,
)
from checks.observation import Cause, Loss, Place, State

KEY = "extension:hq/1001"
DESK = Place("sip:1001@10.20.0.31:5060", "10.20.0.31:5060", "Yealink SIP-T46U")
MOBILE = Place("sip:1001@10.9.0.7:9", "10.9.0.7:9", "Línphone ☎")
HERE = HistoryRow(KEY, 100.25, State.REGISTERED, contacts=(DESK, MOBILE))
GONE = HistoryRow(
    KEY, 200.5, State.UNREGISTERED, None, Loss.EXPIRED, "its registration expired"
)
TRUNK = HistoryRow("target:twilio", 7.0, State.DOWN, Cause.TIMEOUT, None, "no answer")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "sipwatch.db") as opened:
        yield opened


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.path)
    yield reader
    reader.close()


def note(store: Store, *notes: Note) -> Exception | None:
    """Note, and wait until it is there or never will be."""
    said: list[Exception | None] = []
    told = threading.Event()

    def done(error: Exception | None) -> None:
        said.append(error)
        told.set()

    store.note(notes, done)
    assert told.wait(10)
    return said[0]


async def test_what_was_noted_is_read_in_its_order(
    store: Store, reader: Reader
) -> None:
    assert note(store, HERE, GONE, TRUNK) is None
    assert await reader.history(KEY) == [HERE, GONE]
    assert await reader.history(TRUNK.key) == [TRUNK]
    assert await reader.history("extension:hq/1002") == []


async def test_who_stands_as_before_has_no_second_row(
    store: Store, reader: Reader
) -> None:
    note(store, HERE)
    again = HistoryRow(KEY, 900.0, HERE.state, contacts=HERE.contacts)
    moved = HistoryRow(KEY, 901.0, HERE.state, contacts=(MOBILE,))
    note(store, again, moved, HistoryRow(KEY, 902.0, HERE.state, contacts=(MOBILE,)))
    note(store, again)
    assert await reader.history(KEY) == [HERE, moved, again]


async def test_of_each_the_last_fifty_rows_are_kept(
    store: Store, reader: Reader
) -> None:
    other = HistoryRow("extension:hq/1002", 0.0, State.REGISTERED)
    rows = [
        HistoryRow(KEY, float(n), (State.REGISTERED, State.UNREGISTERED)[n % 2])
        for n in range(120)
    ]
    note(store, other, *rows)
    assert await reader.history(KEY) == rows[-50:]
    assert await reader.history(other.key) == [other]


async def test_changes_of_state_are_kept_before_those_of_contacts_alone(
    store: Store, reader: Reader
) -> None:
    moves = [
        HistoryRow(KEY, 300.0 + n, HERE.state, contacts=(_at_port(n),))
        for n in range(120)
    ]
    note(store, HERE, GONE, *moves)
    assert await reader.history(KEY) == [HERE, GONE, moves[0], *moves[-47:]]
    lost = GONE._replace(at=500.0)
    note(store, lost)
    kept = [HERE, GONE, moves[0], *moves[-46:], lost]
    assert await reader.history(KEY) == kept


async def test_of_changes_of_state_alone_the_newest_contacts_are_kept_with_them(
    store: Store, reader: Reader
) -> None:
    changes = [
        HistoryRow(KEY, float(n), (State.UNREGISTERED, State.REGISTERED)[n % 2])
        for n in range(60)
    ]
    moves = [
        HistoryRow(KEY, 60.0 + n, State.REGISTERED, contacts=(_at_port(n),))
        for n in range(3)
    ]
    note(store, *changes, *moves)
    assert await reader.history(KEY) == [*changes[-49:], moves[-1]]


def _at_port(n: int) -> Place:
    return DESK._replace(address=f"10.20.0.31:{40000 + n}")


async def test_what_is_known_later_completes_the_last_row(
    store: Store, reader: Reader
) -> None:
    bare = Place(DESK.uri, DESK.address, "")
    note(store, GONE, HistoryRow(KEY, 300.0, State.REGISTERED, contacts=(bare,)))
    note(store, HistoryFill(KEY, (DESK,)), HistoryFill("extension:hq/none", (DESK,)))
    full = HistoryRow(KEY, 300.0, State.REGISTERED, contacts=(DESK,))
    assert await reader.history(KEY) == [GONE, full]


async def test_old_rows_are_found_but_for_the_last_of_each(
    store: Store, reader: Reader
) -> None:
    note(store, HERE, GONE, TRUNK)
    assert await reader.history_keys() == {KEY: 200.5, TRUNK.key: 7.0}
    old = await reader.history_before(1_000.0)
    assert len(old) == 1
    note(store, *map(DropHistory, old))
    assert await reader.history(KEY) == [GONE]
    note(store, *map(DropHistory, await reader.history_of([KEY, "target:none"])))
    assert await reader.history_keys() == {TRUNK.key: 7.0}


# --- what must not be lost comes first ------------------------------------------------


class Held:
    """The writer's thread stands still inside its first transaction."""

    def __init__(self, store: Store) -> None:
        self.commits: list[Sequence[object]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._commit = store._commit
        store._commit = self.commit  # type: ignore[method-assign]

    def commit(self, writes: Sequence[object]) -> Exception | None:
        self.commits.append(list(writes))
        self.begun.set()
        assert self.go_on.wait(10)
        return self._commit(writes)  # type: ignore[arg-type]


def test_a_note_waits_for_every_write_and_has_its_own_transaction(
    store: Store,
) -> None:
    held = Held(store)
    ended = threading.Semaphore(0)
    store.note([HERE], lambda error: ended.release())
    assert held.begun.wait(10)
    store.note([GONE], lambda error: ended.release())
    lost = SubjectRow(KEY, State.UNREGISTERED, 200.5)
    store.write([lost], lambda error: ended.release())
    held.go_on.set()
    for _ in range(3):
        assert ended.acquire(timeout=10)
    assert held.commits == [[HERE], [lost], [GONE]]


def test_a_note_that_fails_fails_no_write_and_is_tried_again(store: Store) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    ended, told = threading.Event(), threading.Semaphore(0)
    store.note([Memo("big", "x" * 100_000)], lambda error: ended.set())
    errors: list[Exception | None] = []

    def done(error: Exception | None) -> None:
        errors.append(error)
        told.release()

    store.write([SubjectRow(KEY, State.UNREGISTERED, 1.0)], done)
    assert told.acquire(timeout=10)
    assert errors == [None]
    assert not ended.is_set()
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.write([SubjectRow(KEY, State.REGISTERED, 2.0)], done)
    assert ended.wait(10)
    assert store.remembered("big") == "x" * 100_000


def test_closing_writes_the_notes_that_wait(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "sipwatch.db")
    for n in range(NOTE_LIMIT // 2):
        store.note([Memo(str(n), "1")], lambda error: None)
    store.close()
    assert isinstance(note(store, HERE), StoreError)
    with Store.open(tmp_path / "sipwatch.db") as again:
        assert len(again.recall("")) == NOTE_LIMIT // 2


def test_who_notes_more_than_is_written_is_told(store: Store) -> None:
    held = Held(store)
    said: list[Exception | None] = []
    for _ in range(NOTE_LIMIT + 1):
        store.note([HERE], said.append)
    assert [type(error) for error in said] == [StoreError]
    held.go_on.set()


# --- reading --------------------------------------------------------------------------


async def test_no_more_read_than_may_wait(store: Store, reader: Reader) -> None:
    reader._asked = WAITING
    with pytest.raises(ReaderError, match="32 others are reading the database"):
        await reader.history(KEY)
    reader._asked = 0
    assert await reader.history(KEY) == []


async def test_a_file_that_cannot_be_read_is_an_error_of_its_own(
    store: Store, reader: Reader
) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute("DROP TABLE history")
    connection.close()
    with pytest.raises(ReaderError, match="cannot be read: no such table: history"):
        await reader.history(KEY)


async def test_a_closed_reader_says_so(store: Store) -> None:
    reader = Reader(store.path)
    reader.close()
    reader.close()
    with pytest.raises(ReaderError, match="the database cannot be read"):
        await reader.history(KEY)


async def test_half_a_character_of_a_phone_is_kept_as_it_is(
    store: Store, reader: Reader
) -> None:
    odd = Place("sip:\ud800@10.0.0.1", "10.0.0.1:5060", "\udfff \x00 \u2028")
    row = HistoryRow(KEY, 5.0, State.REGISTERED, contacts=(odd,))
    assert note(store, row, GONE) is None
    assert await reader.history(KEY) == [row, GONE]
