"""What the daemon does in time: every so often, and each night."""

from __future__ import annotations

from sipwatch.accounts import TICK
from sipwatch.answers import Answers
from sipwatch.chronicle import FLUSH
from sipwatch.keeping.gathering import TASK as GATHERING
from sipwatch.rollups import TIDY
from sipwatch.runbook.written import TICK as RUNBOOK_TICK
from sipwatch.runbook.written import Written
from sipwatch.scheduler import Scheduler
from sipwatch.self_test import AGAIN
from sipwatch.twilio import TICK as TWILIO_TICK


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
