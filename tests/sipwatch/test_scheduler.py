"""What happens at times of the day."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine

from alerting.store.rows import Prune, PruneTrail, Write
from sipwatch.config.alive import SelfTestSettings
from sipwatch.scheduler import KEPT, Scheduler


class Written:
    """What stands where the flow is."""

    def __init__(self) -> None:
        self.writes: list[Write] = []

    def write(self, writes: list[Write]) -> None:
        self.writes += writes


async def audit() -> None:
    raise AssertionError("not its hour")


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    flow: Any = Written()
    made = Scheduler(flow, lambda: 1_790_000_000.0, audit=audit)
    yield made
    made.stop()


def days(scheduler: Scheduler) -> set[str]:
    """When its jobs are due."""
    return {j.next_run_time.date().isoformat() for j in scheduler._jobs.get_jobs()}


async def test_what_ended_long_ago_is_forgotten(scheduler: Scheduler) -> None:
    await scheduler.clean()
    flow: Any = scheduler._flow
    before = 1_790_000_000.0 - KEPT
    assert flow.writes == [Prune(resolved_before=before), PruneTrail(before)]


async def test_it_cleans_in_the_night_not_on_the_hour(scheduler: Scheduler) -> None:
    scheduler.start()
    jobs = {job.id: job for job in scheduler._jobs.get_jobs()}
    times = {
        id: (j.next_run_time.hour, j.next_run_time.minute) for id, j in jobs.items()
    }
    assert times == {"clean": (3, 17), "audit": (7, 23)}
    for job in jobs.values():
        assert job.coalesce
        assert job.max_instances == 1
        assert job.misfire_grace_time is None


async def test_a_clock_that_was_set_back_makes_it_wait_for_the_new_night() -> None:
    flow: Any = Written()
    with time_machine.travel(datetime(2030, 6, 1, 12, tzinfo=UTC), tick=False) as time:
        scheduler = Scheduler(flow, lambda: 0.0, audit=audit)
        scheduler.start()
        assert days(scheduler) == {"2030-06-02"}
        time.move_to(datetime(2026, 6, 1, 12, tzinfo=UTC))
        scheduler.rearm()
        assert days(scheduler) == {"2026-06-02"}
        scheduler.stop()


async def test_stop_may_come_before_the_start_and_twice(scheduler: Scheduler) -> None:
    scheduler.stop()
    scheduler.start()
    scheduler.stop()
    scheduler.stop()


async def not_yet() -> None:
    raise AssertionError("not its hour")


def due(scheduler: Scheduler) -> str:
    return scheduler._jobs.get_job("self-tests").next_run_time.isoformat()


@pytest.mark.parametrize(
    ("day", "when"),
    [("mon", "2026-06-08T09:30:00+02:00"), ("daily", "2026-06-02T09:30:00+02:00")],
)
async def test_a_self_test_has_its_hour_of_its_zone(
    scheduler: Scheduler, day: Any, when: str
) -> None:
    settings = SelfTestSettings(day=day, timezone="Europe/Paris")
    with time_machine.travel(datetime(2026, 6, 1, 12, tzinfo=UTC), tick=False):
        scheduler.weekly(not_yet, "self-tests", settings)
        scheduler.start()
        assert due(scheduler) == when
        scheduler.stop()


async def test_a_reload_gives_a_self_test_another_hour_or_none(
    scheduler: Scheduler,
) -> None:
    with time_machine.travel(datetime(2026, 6, 1, 12, tzinfo=UTC), tick=False):
        scheduler.start()
        for time, when in (((9, 30), "09:30:00"), ((10, 0), "10:00:00")):
            settings = SelfTestSettings(time=time, timezone="UTC")
            scheduler.weekly(not_yet, "self-tests", settings)
            assert due(scheduler) == f"2026-06-08T{when}+00:00"
        scheduler.weekly(not_yet, "self-tests", None)
        assert scheduler._jobs.get_job("self-tests") is None
        scheduler.stop()


@pytest.mark.parametrize(
    ("since", "now", "due"),
    [
        ("2026-11-16T08:00", "2026-11-16T09:31", True),  # Monday, at 09:30
        ("2026-11-16T08:00", "2026-11-16T09:29", False),
        ("2026-11-16T09:30", "2026-11-22T23:59", False),
        ("2026-11-02T09:30", "2026-11-21T12:00", True),  # twice
        ("2026-11-30T09:30", "2026-11-21T12:00", False),  # the clock was set back
    ],
)
async def test_it_knows_whether_a_job_was_due_while_nobody_ran_it(
    scheduler: Scheduler, since: str, now: str, due: bool
) -> None:
    wanted = SelfTestSettings(day="mon", time=(9, 30), timezone=ZoneInfo("UTC"))
    scheduler.weekly(audit, "self-tests", wanted)
    moments = (datetime.fromisoformat(f"{at}+00:00") for at in (since, now))
    assert scheduler.was_due("self-tests", *moments) is due
    assert not scheduler.was_due("nobody's", *([datetime.now(UTC)] * 2))
