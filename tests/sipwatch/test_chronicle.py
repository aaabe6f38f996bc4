"""The history on its way to the store: in slices, and in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from alerting.announcement import Transition
from alerting.store.database import Done, Store
from alerting.store.rows import HistoryRow, Note
from checks.observation import (
    Binding,
    Cause,
    Kind,
    Loss,
    Place,
    Scope,
    State,
    Subject,
)
from checks.registrations.memory import Memory, Remembered
from checks.registrations.readings import Added, Gone
from sipwatch.chronicle import KEPT, SLICE, UNWATCHED, Chronicle
from tests.servers import eventually
from tests.sipwatch.watching import START, Watching

DESK = Place("sip:1001@192.0.2.7", "192.0.2.7:5060", "Phone 1")


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    site = Watching()
    yield site
    site.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "sipwatch.db")
    yield opened
    await asyncio.to_thread(opened.close)


@pytest.fixture
async def chronicle(site: Watching, store: Store) -> AsyncIterator[Chronicle]:
    made = Chronicle(site, store, site.bus)
    yield made
    await made.close()


async def written(chronicle: Chronicle) -> None:
    """Until nothing is left to be taken down."""
    chronicle.wake()
    await asyncio.wait_for(chronicle._idle.wait(), 10)


async def test_a_phone_that_comes_is_taken_down(
    site: Watching, chronicle: Chronicle
) -> None:
    judge = site.registrar("hq", {"1001": True, "1002": False})
    await written(chronicle)
    assert not judge.standings
    assert await chronicle.reader.history("extension:hq/1001") == [
        HistoryRow("extension:hq/1001", START, State.REGISTERED, contacts=(DESK,))
    ]
    (never,) = await chronicle.reader.history("extension:hq/1002")
    assert never.why == "it has not registered since it is watched"


async def test_who_reads_sees_what_was_only_gathered(
    site: Watching, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipwatch.chronicle.GATHER", 3600.0)
    site.registrar("hq", {"1001": True})
    chronicle.wake()
    assert await chronicle.reader.history("extension:hq/1001") == []
    await chronicle.settle()
    assert len(await chronicle.reader.history("extension:hq/1001")) == 1


async def test_a_refresh_from_a_new_port_is_one_row(
    site: Watching, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = site.registrar("hq", {"1001": True})
    await written(chronicle)
    monkeypatch.setattr("sipwatch.chronicle.GATHER", 3600.0)
    (member,) = judge.members
    site.now += 30
    new = "sip:1001@192.0.2.7:40001"
    for reading in (
        Added(Binding("1001", new), site.now),
        Gone("1001", DESK.uri, site.now, Loss.DEREGISTERED),
    ):
        site.observe(*judge.apply(member, reading, site.now))
        chronicle.wake()
    await chronicle.settle()
    _, moved = await chronicle.reader.history("extension:hq/1001")
    place = Place(new, "192.0.2.7:40001", "")
    assert (moved.at, moved.contacts) == (START + 30, (place,))


async def test_a_crowd_goes_in_slices_one_at_a_time(
    site: Watching, store: Store, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices: list[int] = []
    under_way = 0
    note = store.note

    def noted(notes: Sequence[Note], done: Done) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        slices.append(len(notes))

        def over(error: Exception | None) -> None:
            nonlocal under_way
            under_way -= 1
            done(error)

        note(notes, over)

    monkeypatch.setattr(store, "note", noted)
    site.registrar("hq", {f"1{n:04}": True for n in range(2 * SLICE + 50)})
    site.registrar("lab", {f"2{n:04}": True for n in range(10)})
    chronicle.wake()
    chronicle.wake()
    await written(chronicle)
    assert slices == [SLICE, SLICE, 60]
    assert len(await chronicle.reader.history_keys()) == 2 * SLICE + 60


async def test_what_other_subjects_change_is_heard_on_the_bus(
    site: Watching, chronicle: Chronicle
) -> None:
    site.wall_skew = 3600.0
    site.clock.measure()
    trunk = Subject(Kind.TARGET, "twilio", Scope("twilio", "trunk"))
    phone = Subject(Kind.EXTENSION, "1001", Scope("hq"))
    ours = Subject(Kind.SELF, "store", Scope("self"))
    for subject in (trunk, phone, ours):
        down = Transition(
            subject, State.UP, State.DOWN, 10.0, 12.0, Cause.TIMEOUT, "no answer"
        )
        site.bus.emit("transition", down)
    await written(chronicle)
    assert await chronicle.reader.history_keys() == {"target:twilio": 3610.0}
    assert await chronicle.reader.history("target:twilio") == [
        HistoryRow(
            "target:twilio", 3610.0, State.DOWN, Cause.TIMEOUT, None, "no answer"
        )
    ]


async def test_times_are_those_of_the_wall(
    site: Watching, chronicle: Chronicle
) -> None:
    site.wall_skew = 7200.0
    site.clock.measure()
    site.registrar("hq", {"1001": True})
    await written(chronicle)
    (row,) = await chronicle.reader.history("extension:hq/1001")
    assert row.at == START + 7200.0


async def test_old_rows_and_who_is_watched_no_more_are_forgotten(
    site: Watching, store: Store, chronicle: Chronicle
) -> None:
    site.registrar("hq", {"1001": True})
    await written(chronicle)
    old, young = START - KEPT - 1, START - UNWATCHED + 1
    states = (State.REGISTERED, State.UNREGISTERED)
    rows = [
        HistoryRow(key, at, state)
        for key in ("extension:hq/1001", "extension:hq/gone", "target:gone")
        for at, state in zip((old, young - 2), states, strict=True)
    ]
    rows.append(HistoryRow("extension:hq/just-gone", young, State.REGISTERED))
    for row in rows:
        chronicle._later([row])
    await written(chronicle)
    await chronicle.tidy()
    await written(chronicle)
    left = await chronicle.reader.history_keys()
    assert set(left) == {"extension:hq/1001", "extension:hq/just-gone"}
    kept = await chronicle.reader.history("extension:hq/1001")
    assert [row.at for row in kept] == [START, young - 2]


async def test_a_database_that_cannot_be_read_is_tidied_another_night(
    chronicle: Chronicle, caplog: pytest.LogCaptureFixture
) -> None:
    chronicle.reader.close()
    await chronicle.tidy()
    assert "history is not tidied: the database cannot be read" in caplog.text


async def test_habits_are_kept_in_one_memo_a_registrar(
    site: Watching, store: Store, chronicle: Chronicle
) -> None:
    hq = site.registrar("hq", {"1001": True, "1002": True})
    site.registrar("lab", {"2001": True})
    habit = bytes((4, 110, 96, 100, 110, 99))
    hq.extensions["1001"].habit = habit
    await chronicle.keep_habits()
    await written(chronicle)
    kept = store.recall("registrar/")
    assert set(kept) == {"registrar/hq/habits", "registrar/lab/habits"}
    memory = Memory([Remembered("habits", kept["registrar/hq/habits"])])
    again = site.registrar("hq", {"1001": True})
    memory.restore_extension(again.extensions["1001"], ())
    assert again.extensions["1001"].habit == habit


async def test_the_end_takes_down_what_is_left_and_the_habits(
    site: Watching, tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "again.db")
    chronicle = Chronicle(site, store, site.bus)
    hq = site.registrar("hq", {f"1{n:04}": True for n in range(3 * SLICE)})
    hq.extensions["10001"].habit = bytes((1, 100, 100))
    await chronicle.close()
    await chronicle.close()
    await asyncio.to_thread(store.close)
    with Store.open(tmp_path / "again.db") as store:
        assert "10001" in store.recall("registrar/hq/")["registrar/hq/habits"]
        count = store._reader.execute("SELECT count(*) FROM history").fetchone()[0]
        assert count == 3 * SLICE


async def test_a_closed_store_ends_it_in_peace(site: Watching, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "again.db")
    chronicle = Chronicle(site, store, site.bus)
    await asyncio.to_thread(store.close)
    site.registrar("hq", {"1001": True})
    chronicle.wake()
    await eventually(chronicle._idle.is_set, 5, "its end")
    await chronicle.close()
