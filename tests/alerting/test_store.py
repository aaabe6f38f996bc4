"""One SQLite file: what is written is there, what cannot be written is not lost."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from alerting.incident import Severity, Told
from alerting.store import schema
from alerting.store.database import QUEUE_LIMIT, Store, StoreError
from alerting.store.rows import (
    DeliveryRow,
    DropDelivery,
    DropMemo,
    DropSubject,
    IncidentRow,
    Memo,
    Prune,
    SubjectRow,
    Write,
)
from checks.observation import Cause, Fact, Kind, Loss, State

SUBJECT = SubjectRow(
    "extension:hq/1001",
    State.UNREGISTERED,
    100.25,
    well_since=7.5,
    not_before=400.5,
    cause=Cause.TIMEOUT,
    loss=Loss.EXPIRED,
    detail="its registration expired",
    last_seen="10.20.0.31:5060 over UDP",
    evidence=(Fact(99.0, "refresh"),),
)
INCIDENT = IncidentRow(
    id=4711,
    key="extension:hq/1001",
    kind=Kind.EXTENSION,
    name="1001",
    scope="hq",
    role="",
    title="Réception",
    labels={"registrar": "hq"},
    family="liveness",
    rule="ExtensionUnregistered",
    severity=Severity.WARNING,
    state=State.UNREGISTERED,
    since=100.25,
    opened_at=220.25,
    resolved_at=None,
    ended_at=None,
    closed="",
    cause=Cause("response_486"),
    loss=Loss.EXPIRED,
    detail="its registration expired",
    last_seen="10.20.0.31:5060 over UDP",
    evidence=(Fact(99.0, "refresh"), Fact(None, "read, no binding")),
    acknowledged_by="",
)
DELIVERY = DeliveryRow(
    incident=4711,
    notifier="oncall",
    step=0,
    group="rule=ExtensionUnregistered",
    wanted=Told.FIRING,
    told=Told.NOTHING,
    telling=Told.FIRING,
    thread="",
    batch="abc",
    not_before=230.25,
    attempts=1,
    error="",
    dead=False,
)


def changed(row, **more):
    values = {name: getattr(row, name) for name in row.__slots__} | more
    return type(row)(**values)


def commit(store: Store, *writes: Write) -> Exception | None:
    """Write and wait for the first word of how it went."""
    said: list[Exception | None] = []
    told = threading.Event()

    def done(error: Exception | None) -> None:
        said.append(error)
        told.set()

    store.write(writes, done)
    assert told.wait(10)
    return said[0]


def opened(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "sipwatch.db")


def test_what_was_written_is_given_back_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert commit(store, SUBJECT, INCIDENT, DELIVERY, Memo("hq", "[1]")) is None
    with opened(tmp_path) as store:
        found = store.load()
        assert found.subjects == {SUBJECT.key: SUBJECT}
        assert found.incidents == [INCIDENT]
        assert found.deliveries == [DELIVERY]
        assert found.last_incident == 4711
        assert store.remembered("hq") == "[1]"
        assert store.remembered("paris") is None


def test_an_empty_store_gives_back_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        found = store.load()
    assert (found.subjects, found.incidents, found.last_incident) == ({}, [], 0)


def test_a_later_row_replaces_the_earlier_and_a_drop_removes_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, SUBJECT, INCIDENT, DELIVERY, Memo("hq", "1"))
        later = changed(DELIVERY, told=Told.FIRING, batch="")
        commit(store, changed(SUBJECT, since=500.0), later, Memo("hq", "2"))
        found = store.load()
        assert found.subjects[SUBJECT.key].since == 500.0
        assert found.deliveries == [later]
        assert store.remembered("hq") == "2"
        commit(store, DropSubject(SUBJECT.key), DropDelivery(4711, "oncall", 0))
        found = store.load()
    assert (found.subjects, found.deliveries) == ({}, [])


def test_a_memo_that_is_dropped_leaves_no_row(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, Memo("hq/aor/1001", "1"), Memo("hq/aor/1002", "2"))
        commit(store, DropMemo("hq/aor/1001"), DropMemo("hq/aor/1003"))
        assert store.recall("hq/") == {"hq/aor/1002": "2"}


def test_of_a_memo_and_its_drop_the_later_counts(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        commit(store, Memo("a", "1"), DropMemo("a"), DropMemo("b"), Memo("b", "2"))
        assert store.recall("") == {"b": "2"}


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for n in range(500):
        store.write([changed(SUBJECT, key=f"extension:hq/{n}")])
    store.close()
    with opened(tmp_path) as store:
        assert len(store.load().subjects) == 500


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    assert isinstance(commit(store, SUBJECT), StoreError)


def test_old_incidents_are_neither_restored_nor_kept_for_ever(tmp_path: Path) -> None:
    def closed(id_: int, at: float) -> IncidentRow:
        return changed(INCIDENT, id=id_, resolved_at=at)

    told = changed(DELIVERY, wanted=Told.RESOLVED, told=Told.RESOLVED)
    with opened(tmp_path) as store:
        commit(store, closed(1, 100.0), closed(2, 50_000.0), closed(3, 50_100.0))
        commit(store, changed(told, incident=1), changed(told, incident=2))
        assert [i.id for i in store.load().incidents] == [2, 3]
        commit(store, changed(DELIVERY, incident=1))  # still owed
        assert [i.id for i in store.load().incidents] == [1, 2, 3]
        commit(store, Prune(60_000.0))
        found = store.load()
    assert [i.id for i in found.incidents] == [3]
    assert found.last_incident == 3
    assert found.deliveries == []


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    with opened(tmp_path):
        mode = stat.S_IMODE(os.stat(tmp_path / "sipwatch.db").st_mode)
    assert mode == 0o600


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda path: path.write_bytes(b"no database at all" * 99), "file is not a"),
        (lambda path: path.mkdir(), "unable to open database file"),
        (
            lambda path: sqlite3.connect(path).execute("PRAGMA user_version = 99"),
            f"was written by a later version (step 99, known are {len(schema.STEPS)})",
        ),
    ],
)
def test_a_file_that_is_no_database_of_ours_is_refused(
    tmp_path: Path, prepare: Callable[[Path], object], sentence: str
) -> None:
    path = tmp_path / "sipwatch.db"
    prepare(path)
    with pytest.raises(StoreError, match="cannot be used as database") as caught:
        Store.open(path)
    assert sentence in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/sipwatch\.db cannot be used"):
        Store.open(tmp_path / "nowhere" / "sipwatch.db")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sipwatch.db"
    with Store.open(path) as store:
        rows = [changed(SUBJECT, key=f"extension:hq/{n:06}") for n in range(5000)]
        commit(store, *rows)
    with path.open("r+b") as file:
        file.seek(4096 * 12)
        file.write(b"\xff" * 4096 * 8)
    with pytest.raises(StoreError):
        Store.open(path)


class Words:
    """What a write's `done` was told, in order."""

    def __init__(self) -> None:
        self.said: list[Exception | None] = []
        self.changed = threading.Condition()

    def __call__(self, error: Exception | None) -> None:
        with self.changed:
            self.said.append(error)
            self.changed.notify()

    def wait(self, count: int) -> Sequence[Exception | None]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.said) >= count, 10)
            return list(self.said)


def full_disk(store: Store) -> None:
    """SQLite's own way to be full: no page more than there are."""
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_reported_and_the_writes_are_kept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    full_disk(store)
    words = Words()
    big = changed(INCIDENT, detail="x" * 100_000)
    store.write([SUBJECT, big, DELIVERY], words)
    (error,) = words.wait(1)
    assert isinstance(error, sqlite3.OperationalError)
    assert "full" in str(error)
    assert store.load().subjects == {}
    store._connection.execute("PRAGMA max_page_count = 1000000")
    later = changed(SUBJECT, state=State.REGISTERED, since=900.0)
    assert commit(store, later) is None
    assert words.wait(2) == [error, None]
    found = store.load()
    store.close()
    assert found.subjects == {SUBJECT.key: later}
    assert found.incidents == [big]
    assert found.deliveries == [DELIVERY]


def test_what_a_full_disk_cannot_take_is_refused_aloud(tmp_path: Path) -> None:
    store = opened(tmp_path)
    full_disk(store)
    first = Words()
    store.write(
        [changed(INCIDENT, id=n, detail="x" * 50) for n in range(1, QUEUE_LIMIT)], first
    )
    assert isinstance(first.wait(1)[0], sqlite3.OperationalError)
    words = Words()
    store.write([changed(INCIDENT, id=n) for n in range(20_000, 20_010)], words)
    assert isinstance(words.wait(1)[0], StoreError)
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.close()
    with opened(tmp_path) as store:
        assert store.load().last_incident == QUEUE_LIMIT - 1


def test_a_file_that_another_holds_is_waited_for(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        other = sqlite3.connect(tmp_path / "sipwatch.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        words = Words()
        store.write([SUBJECT], words)
        other.execute("ROLLBACK")
        other.close()
        assert words.wait(1) == [None]


def test_a_second_owner_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "sipwatch.db"
    with Store.open(path):
        with pytest.raises(StoreError) as caught:
            Store.open(path)
        assert str(caught.value) == (
            f"{path} cannot be used as database: another sipwatch uses it"
        )
    Store.open(path).close()


def test_schema_steps_are_taken_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        commit(store, SUBJECT)
    step = "ALTER TABLE subjects ADD COLUMN note TEXT NOT NULL DEFAULT 'old';"
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    for _ in range(2):
        with opened(tmp_path) as store:
            assert store.load().subjects == {SUBJECT.key: SUBJECT}
    connection = sqlite3.connect(tmp_path / "sipwatch.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.STEPS),)
    assert connection.execute("SELECT note FROM subjects").fetchall() == [("old",)]
    connection.close()


def test_a_failed_schema_step_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        commit(store, SUBJECT)
    step = "CREATE TABLE half (a); CREATE TABLE subjects (again);"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (*schema.STEPS, step))
        with pytest.raises(StoreError, match="already exists"):
            opened(tmp_path)
    with opened(tmp_path) as store:
        assert store.load().subjects == {SUBJECT.key: SUBJECT}
