"""What the daemon does in time: every so often, and each night."""

from __future__ import annotations

from datetime import UTC, datetime

from sipwatch.accounts import TICK
from sipwatch.answers.shown import Answers
from sipwatch.chronicle import FLUSH
from sipwatch.itself.self_test import AGAIN
from sipwatch.keeping.gathering import TASK as GATHERING
from sipwatch.rollups import TIDY
from sipwatch.runbook.written import TICK as RUNBOOK_TICK
from sipwatch.runbook.written import Written
from sipwatch.scheduler import Scheduler
from sipwatch.twilio.reports import TICK as TWILIO_TICK

TESTS = "self-tests"  # the name of the job that runs at the time people chose


def plan_self_tests(scheduler: Scheduler, daemon: Answers, last: str | None) -> None:
    """Test ourselves when the configuration wants it; `last` is when we did, as it is
    stored."""
    tests, wanted = daemon.self_tests, daemon.config.self_test
    scheduler.weekly(tests.scheduled, TESTS, wanted)
    if wanted is None:
        tests.unplan()
        return
    now = datetime.fromtimestamp(daemon.clock.to_wall(daemon.clock.now()), UTC)
    tests.plan(last, lambda since: scheduler.was_due(TESTS, since, now))


def plan_jobs(scheduler: Scheduler, daemon: Answers) -> None:
    """Plan all jobs but those that the configuration sets the time of."""
    scheduler.every(TICK, daemon.accounts.test_due, "accounts")
    scheduler.every(TWILIO_TICK, daemon.twilio.tick, "twilio")
    scheduler.every(RUNBOOK_TICK, Written(daemon).tick, "runbook")
    scheduler.every(FLUSH, daemon.chronicle.keep_habits, "habits")
    scheduler.every(TIDY, daemon.rollups.tidy, "points")
    scheduler.nightly(daemon.chronicle.tidy, "history")
    scheduler.nightly(daemon.people.tidy, "silences")
    scheduler.nightly(daemon.gathering.tidy, GATHERING)
    scheduler.every(AGAIN, daemon.self_tests.again, "self-tests again")
