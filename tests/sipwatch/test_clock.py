"""The wall clock is set while sipwatch runs: nothing jumps, and all times are told."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pyee.base import EventEmitter

from alerting.alarms import Alarms
from alerting.incident import Told
from alerting.notification import render
from alerting.routes import GroupSettings
from alerting.rows import DeliveryRow, DropSubject, Prune, SubjectRow
from alerting.rows import shifted as shifted_row
from alerting.rules import build
from alerting.store import Store
from checks.memory import Remembered, shifted
from checks.observation import (
    Event,
    Fact,
    Kind,
    Observation,
    Scope,
    State,
    Subject,
)
from sipwatch.clock import Clock
from sipwatch.flow import Flow
from sipwatch.scheduler import Scheduler
from sipwatch.selfwatch import SelfWatch
from tests.alerting.mails import batch, incident

NOON = 1_790_000_000.0


@dataclass
class Hands:
    """Two clocks that a test moves."""

    monotonic: float = 500.0
    wall: float = NOON
    told: list[Observation] = field(default_factory=list)
    times_set: int = 0

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: self.monotonic, lambda: self.wall)
        self.watch = SelfWatch(
            self.clock,
            self.told.append,
            drops=lambda: 0,
            waiting_since=lambda: None,
            clock_set=self.was_set,
        )

    def was_set(self) -> None:
        self.times_set += 1

    def passes(self, seconds: float, step: float = 0.0) -> None:
        self.monotonic += seconds
        self.wall += seconds + step
        self.watch.look(self.clock.now())


def test_our_clock_reads_as_utc_and_never_jumps() -> None:
    hands = Hands()
    assert hands.clock.now() == NOON
    hands.passes(10, step=-3600)
    assert hands.clock.now() == NOON + 10
    assert hands.clock.to_wall(NOON + 10) == NOON - 3590
    assert hands.clock.from_wall(NOON - 3590) == NOON + 10


@pytest.mark.parametrize(
    ("step", "words"),
    [(3600.0, "set forward by 3600 s"), (-90.0, "set back by 90 s")],
)
def test_a_step_is_one_event(step: float, words: str) -> None:
    hands = Hands()
    hands.passes(1)
    hands.passes(1, step)
    for _ in range(5):
        hands.passes(1)
    (told,) = hands.told
    assert (told.event, told.state) == (Event.CLOCK_JUMPED, State.OK)
    assert told.detail == words
    assert told.at == NOON + 2
    assert hands.times_set == 1
    assert hands.clock.skew == step


def test_microseconds_move_no_time() -> None:
    hands = Hands()
    for _ in range(100):
        hands.passes(1, step=0.000_05)
    assert hands.clock.skew == 0.0
    assert hands.told == []


def test_steps_too_small_to_tell_add_up_to_one_that_is_told() -> None:
    hands = Hands()
    for _ in range(3):
        hands.passes(1, step=0.4)
    assert len(hands.told) == 1
    assert hands.clock.skew == pytest.approx(1.2)


def test_the_rule_opens_one_incident_and_forgets_it_quietly() -> None:
    alarms = Alarms(
        build({}), (), GroupSettings(wait=0.0), notifiers=["oncall"], now=NOON
    )
    hands = Hands()
    hands.passes(1, 3600)
    for one in hands.told:
        alarms.observe(one)
    assert [(i.rule, i.subject.key) for i in alarms.incidents] == [
        ("ClockJump", "self:clock")
    ]
    alarms.advance(NOON + 3700)
    assert alarms.incidents == []


# --- what is told and stored after it ---------------------------------------------


def test_a_mail_tells_the_readers_time() -> None:
    told = render(
        batch(incident(since=NOON)),
        instance="watcher.example.com",
        zone=ZoneInfo("UTC"),
        now=NOON + 120,
        skew=3600.0,
    )
    at = datetime.fromtimestamp(NOON + 3600, UTC)
    assert f"since {at:%H:%M}" in told.subject
    assert f"{at:%H:%M:%S} UTC (2 min ago)" in told.text


SUBJECT = SubjectRow(
    "target:t", State.DOWN, 100.0, 50.0, 0.0, evidence=(Fact(99.0, "x"), Fact(None, ""))
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            SUBJECT,
            SubjectRow(
                "target:t",
                State.DOWN,
                110.0,
                60.0,
                0.0,
                evidence=(Fact(109.0, "x"), Fact(None, "")),
            ),
        ),
        (
            DeliveryRow(
                1, "n", 0, "g", Told.FIRING, Told.NOTHING, Told.NOTHING, "", "", 5.0, 0,
                "", False,
            ),
            DeliveryRow(
                1, "n", 0, "g", Told.FIRING, Told.NOTHING, Told.NOTHING, "", "", 15.0,
                0, "", False,
            ),
        ),
        (Prune(7.0), Prune(17.0)),
        (DropSubject("target:t"), DropSubject("target:t")),
    ],
)  # fmt: skip
def test_every_time_of_a_row_moves(row: object, expected: object) -> None:
    assert shifted_row(row, 10.0) == expected  # type: ignore[arg-type]


def test_what_is_remembered_of_a_registrar_moves_but_for_the_pbxs_own_times() -> None:
    row = Remembered("member/a", '{"read": 5.0, "boot": 3.0, "since": null}')
    assert shifted(row, 10.0).json == '{"read": 15.0, "boot": 3.0, "since": null}'
    assert shifted(Remembered("aor/1", "null"), 10.0).json == "null"


@dataclass
class Written:
    """A flow with a real store under a clock that a test sets."""

    path: Path
    hands: Hands = field(default_factory=Hands)

    def __post_init__(self) -> None:
        self.store = Store.open(self.path)
        self.alarms = Alarms(
            build({}), (), GroupSettings(), notifiers=["oncall"], now=NOON
        )
        self.commits: list[object] = []
        self.flow = Flow(
            self.alarms,
            self.store,
            EventEmitter(),
            self.hands.clock.now,
            asked=lambda subject: None,
            wake=lambda: None,
            committed=self.commits.append,
            ahead=lambda: self.hands.clock.skew,
        )

    def column(self, query: str) -> list[float]:
        connection = sqlite3.connect(self.path)
        with connection:
            rows = connection.execute(query).fetchall()
        connection.close()
        return [row[0] for row in rows]


async def test_the_store_holds_wall_time_after_a_step(tmp_path: Path) -> None:
    written = Written(tmp_path / "sipwatch.db")
    target = Subject(Kind.TARGET, "t", Scope("t", role="trunk"))
    try:
        down = Observation(target, State.DOWN, NOON, NOON)
        written.flow.observe(down)
        await written.flow.commit()
        assert written.column("SELECT since FROM subjects") == [NOON]
        written.hands.passes(5, 3600)
        written.alarms.restate()
        await written.flow.commit()
        assert written.column("SELECT since FROM subjects") == [NOON + 3600]
        written.alarms.advance(NOON + 100)
        await written.flow.commit()
        assert written.alarms.adopt(target).since == NOON  # type: ignore[union-attr]
    finally:
        written.flow.close()
        await asyncio.to_thread(written.store.close)


async def test_a_job_waits_for_its_time_of_the_new_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = Scheduler(None, lambda: NOON)  # type: ignore[arg-type]
    scheduler.start()
    try:
        (job,) = scheduler._jobs.get_jobs()
        # As after a step back of three days: the wake-up is too far away.
        job.modify(next_run_time=datetime(2099, 1, 4, 3, 17, tzinfo=UTC))
        scheduler.rearm()
        (job,) = scheduler._jobs.get_jobs()
        assert (job.next_run_time - datetime.now(UTC)).days <= 1
    finally:
        scheduler.stop()
