"""The path from an observation to disk and bus: nothing lost, nothing told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyee.base import EventEmitter

from alerting.alarms.core import Alarms
from alerting.announcement import Opened, Transition
from alerting.routes import GroupSettings
from alerting.rules.rule import RuleSettings, build
from alerting.store.database import Store, StoreError
from alerting.store.rows import IncidentRow, Memo, SubjectRow, Write
from checks.observation import Kind, Observation, Scope, State, Subject
from sipwatch.flow import ANNOUNCED, REST, SLICE, Flow

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
RULES = {"ExtensionUnregistered": RuleSettings(for_=5.0, keep_firing_for=0.0)}
Done = Callable[[Exception | None], None]


class Disk:
    """A store whose disk the test moves; it takes so many transactions at a time."""

    def __init__(self) -> None:
        self.most = 1_000_000
        self.rows: list[Write] = []  # on the disk
        self.queued: list[tuple[Sequence[Write], Done]] = []
        self.late: list[Done] = []
        self.transactions: list[Sequence[Write]] = []

    def takes(self, writes: Sequence[Write]) -> bool:
        return len(self.queued) < self.most

    def write(self, writes: Sequence[Write], done: Done) -> None:
        assert self.takes(writes) or not writes
        self.queued.append((writes, done))

    def spin(self) -> None:
        """All that is queued gets to the disk."""
        queued, self.queued = self.queued, []
        late, self.late = self.late, []
        for done in late:
            done(None)
        for writes, done in queued:
            self.transactions.append(writes)
            self.rows += writes
            done(None)

    def refuse(self, error: Exception) -> None:
        """It fails; what is queued stays queued, as in the real one."""
        for n, (writes, done) in enumerate(self.queued):
            done(error)
            self.late.append(done)
            self.queued[n] = (writes, lambda error: None)


class Bench:
    """A flow between a core and a disk, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.disk: Any = Disk()
        self.bus = EventEmitter()
        self.alarms = Alarms(
            build(RULES), (), GroupSettings(), notifiers=["oncall"], now=self.now
        )
        self.announced: list[Any] = []
        self.asked: list[Subject] = []
        self.outcomes: list[Exception | None] = []
        self.errors: list[Exception] = []
        self.wakes = 0
        for kind in ("transition", "opened", "ask"):
            self.bus.on(kind, self.announced.append)
        self.bus.on("error", self.errors.append)
        self.flow = self.made()

    def made(self) -> Flow:
        return Flow(
            self.alarms,
            self.disk,
            self.bus,
            lambda: self.now,
            asked=self.asked.append,
            wake=self._woken,
            committed=self.outcomes.append,
        )

    def _woken(self) -> None:
        self.wakes += 1

    def phone(self, name: str, parent: Subject | None = None) -> Subject:
        return Subject(Kind.EXTENSION, name, Scope("hq", parent=parent))

    def see(self, subject: Subject, state: State, since: float | None = None) -> None:
        since = self.now if since is None else since
        self.flow.observe(Observation(subject, state, since, self.now))

    def phones(self, number: int, state: State = UNREGISTERED) -> list[Subject]:
        several = [self.phone(str(n)) for n in range(number)]
        for phone in several:
            self.see(phone, state)
        return several

    def moves(self) -> list[str]:
        return [a.subject.name for a in self.announced if isinstance(a, Transition)]


async def turns(number: int = 1) -> None:
    """Let the loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.disk.most = 1_000_000
    bench.flow.close()


# --- one turn, one transaction --------------------------------------------------------


async def test_what_one_turn_brings_is_one_transaction(bench: Bench) -> None:
    bench.phones(3)
    assert bench.disk.queued == []
    await turns()
    ((writes, _),) = bench.disk.queued
    assert [(row.key, row.state) for row in writes] == [
        (f"extension:hq/{n}", UNREGISTERED) for n in range(3)
    ]
    assert bench.wakes == 1


async def test_what_changes_nothing_is_written_and_announced_nowhere(
    bench: Bench,
) -> None:
    (phone,) = bench.phones(1, REGISTERED)
    await turns()
    bench.disk.spin()
    bench.see(phone, REGISTERED, since=1000.0)
    await turns(3)
    assert len(bench.disk.transactions) == 1
    assert bench.disk.queued == []


async def test_the_bus_hears_of_it_once_it_is_on_the_disk(bench: Bench) -> None:
    bench.phones(1)
    await turns(3)
    assert bench.announced == []
    assert bench.flow.waiting_since() == 1000.0
    bench.disk.spin()
    await turns(2)
    assert bench.moves() == ["0"]
    assert bench.outcomes == [None]
    assert bench.flow.waiting_since() is None


async def test_a_mass_event_goes_in_slices_one_in_a_turn(bench: Bench) -> None:
    bench.phones(2 * SLICE + 10)
    sizes = []
    for _ in range(4):
        await turns()
        sizes.append(sum(len(writes) for writes, _ in bench.disk.queued))
    assert sizes == [SLICE, 2 * SLICE, 2 * SLICE + 10, 2 * SLICE + 10]
    assert bench.announced == []  # before all of it is on the disk
    bench.disk.spin()
    await turns(2)
    assert len(bench.announced) == ANNOUNCED
    await turns(2 * SLICE // ANNOUNCED + 2)
    assert bench.moves() == [str(n) for n in range(2 * SLICE + 10)]


async def test_state_incident_and_outbox_rows_of_a_subject_are_never_apart(
    bench: Bench,
) -> None:
    bench.phones(3 * SLICE)
    bench.now += 6
    for _ in range(8):
        bench.alarms.advance(bench.now)
    bench.flow.flush()
    bench.disk.spin()
    assert len(bench.alarms.incidents) == 3 * SLICE
    for writes in bench.disk.transactions:
        incidents = [w.id for w in writes if isinstance(w, IncidentRow)]
        states = [w for w in writes if isinstance(w, SubjectRow)]
        assert len(states) == len(incidents) <= SLICE
        owed = [w.incident for w in writes if type(w).__name__ == "DeliveryRow"]
        assert owed == incidents


async def test_flush_passes_all_on_at_once(bench: Bench) -> None:
    bench.phones(3 * SLICE)
    bench.flow.flush()
    assert sum(len(writes) for writes, _ in bench.disk.queued) == 3 * SLICE
    assert not bench.alarms.left


# --- a disk that refuses --------------------------------------------------------------


async def test_a_failed_commit_is_told_and_what_happened_is_still_announced(
    bench: Bench,
) -> None:
    bench.phones(1)
    await turns()
    error = OSError("disk full")
    bench.disk.refuse(error)
    await turns(2)
    assert bench.outcomes == [error]
    assert bench.moves() == ["0"]


async def test_what_gets_to_the_disk_late_is_not_announced_again(bench: Bench) -> None:
    bench.phones(1)
    await turns()
    bench.disk.refuse(OSError("disk full"))
    await turns(2)
    bench.disk.spin()
    await turns(2)
    assert bench.outcomes[-1] is None
    assert bench.moves() == ["0"]


async def test_what_the_store_has_no_room_for_is_written_later_and_in_order(
    bench: Bench,
) -> None:
    bench.disk.most = 1
    phones = bench.phones(2)
    await turns()
    bench.now += 1
    bench.see(phones[0], REGISTERED)
    await turns()
    bench.now += 1
    bench.see(phones[0], UNREGISTERED)
    bench.see(phones[1], REGISTERED)
    await turns(3)
    assert len(bench.disk.queued) == 1
    assert bench.flow.waiting_since() == 1000.0
    for _ in range(3):
        bench.disk.spin()
        await turns(3)
    written = [(w.key[-1], w.state, w.since) for w in bench.disk.rows]
    assert written == [
        ("0", UNREGISTERED, 1000.0),
        ("1", UNREGISTERED, 1000.0),
        ("0", REGISTERED, 1001.0),
        ("0", UNREGISTERED, 1002.0),
        ("1", REGISTERED, 1002.0),
    ]
    assert bench.flow.waiting_since() is None
    assert len(bench.announced) == 5


async def test_while_the_disk_fails_for_long_people_are_told_all_the_same(
    bench: Bench,
) -> None:
    bench.disk.most = 1
    (phone,) = bench.phones(1)
    await turns()
    bench.disk.refuse(OSError("disk full"))
    await turns(2)
    for state in (REGISTERED, UNREGISTERED, REGISTERED):
        bench.now += 1
        bench.see(phone, state)
        await turns(3)
    assert len(bench.moves()) == 4
    assert len(bench.disk.queued) == 1  # the first; the rest waits here
    assert bench.wakes >= 4
    bench.disk.spin()
    for _ in range(4):
        await turns(3)
        bench.disk.spin()
    assert bench.disk.rows[-1].since == 1003.0
    assert len(bench.moves()) == 4


async def test_a_commit_waits_for_all_slices(bench: Bench) -> None:
    bench.disk.most = 2
    bench.phones(5 * SLICE)
    commit = asyncio.create_task(bench.flow.commit())
    while not commit.done():
        await turns()
        bench.disk.spin()
    await commit
    assert len(bench.disk.rows) == 5 * SLICE


async def test_a_commit_raises_what_hinders_it(bench: Bench) -> None:
    bench.phones(1)
    commit = asyncio.create_task(bench.flow.commit())
    await turns(3)
    bench.disk.refuse(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await commit


async def test_an_end_without_the_disk_says_what_that_means(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.disk.most = 0
    bench.phones(1)
    await turns()
    bench.flow.close()
    assert "is not stored" in caplog.text


async def test_with_the_real_store_a_crowd_beyond_its_limit_is_stored_whole(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerting.store.database.QUEUE_LIMIT", SLICE)
    bench.disk = store = Store.open(tmp_path / "sipwatch.db")
    bench.flow = bench.made()
    bench.phones(3 * SLICE)
    bench.now += 6
    for _ in range(8):
        bench.alarms.advance(bench.now)
    bench.flow.flush()
    await bench.flow.commit()
    restored = store.load()
    assert len(restored.subjects) == len(restored.incidents) == 3 * SLICE
    assert len(restored.deliveries) == 3 * SLICE
    assert not any(isinstance(error, StoreError) for error in bench.outcomes)
    bench.flow.close()
    await asyncio.to_thread(store.close)
    bench.disk, bench.flow = Disk(), bench.made()


async def test_memos_are_written_beside(bench: Bench) -> None:
    bench.flow.write([Memo("registrar/hq/member/a", "{}")])
    bench.flow.write([])
    bench.disk.spin()
    assert bench.disk.rows == [Memo("registrar/hq/member/a", "{}")]


# --- listeners, ancestors, time -------------------------------------------------------


async def test_a_listener_that_fails_hinders_nobody(bench: Bench) -> None:
    def broken(one: Transition) -> None:
        raise RuntimeError(one.subject.name)

    bench.bus.on("transition", broken)
    bench.phones(3)
    await turns()
    bench.disk.spin()
    await turns(2)
    assert [str(error) for error in bench.errors] == ["0", "1", "2"]
    assert bench.moves() == ["0", "1", "2"]


async def test_an_ancestor_is_asked_without_waiting_for_the_disk(bench: Bench) -> None:
    hq = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
    bench.see(hq, State.READABLE)
    bench.now += 1
    bench.see(bench.phone("1001", hq), UNREGISTERED)
    bench.now += 6
    bench.alarms.advance(bench.now)
    bench.flow.flush()
    assert bench.asked == [hq]


async def test_a_deadline_opens_the_incident_by_itself(bench: Bench) -> None:
    opened = asyncio.Event()
    bench.bus.on("opened", lambda one: opened.set())
    bench.phones(1)
    await turns()
    bench.now += 6
    bench.flow.flush()  # the timer is set anew, and is due
    while not opened.is_set():
        await asyncio.sleep(REST)
        bench.disk.spin()
    assert [type(a) for a in bench.announced] == [Transition, Opened]


async def test_a_deadline_that_stays_in_the_past_does_not_spin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def advance(now: float) -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(bench.alarms, "next_deadline", lambda: 0.0)
    monkeypatch.setattr(bench.alarms, "advance", advance)
    bench.flow.flush()
    await asyncio.sleep(10 * REST)
    assert 1 <= looks <= 10


async def test_after_the_end_no_timer_fires(bench: Bench) -> None:
    bench.phones(1)
    bench.flow.close()
    bench.now += 6
    bench.flow.flush()
    await asyncio.sleep(4 * REST)
    assert bench.alarms.incidents == []
