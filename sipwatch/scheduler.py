"""What happens at times of the day: APScheduler, for the few jobs that have one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from alerting.store.rows import Prune, PruneTrail
from sipwatch.config.alive import DAILY, SelfTestSettings
from sipwatch.config.settings import local_zone
from sipwatch.flow import Flow

KEPT = 90 * 86400.0  # s that an incident is kept after its end


class Scheduler:
    """The jobs of the daemon; never one for a subject."""

    def __init__(
        self,
        flow: Flow,
        clock: Callable[[], float],
        *,
        audit: Callable[[], Awaitable[None]],
    ) -> None:
        """`audit` tells once a day of who registers otherwise than before."""
        self._flow = flow
        self._clock = clock
        self._jobs = AsyncIOScheduler(
            job_defaults={
                "coalesce": True,
                "max_instances": 1,
                "misfire_grace_time": None,
            }
        )
        # At a time when nobody looks, and not on the hour when all others run.
        nightly = CronTrigger(hour=3, minute=17)
        self._jobs.add_job(self.clean, nightly, id="clean")
        # Before work begins, when the phones of the night have refreshed for hours.
        daily = CronTrigger(hour=7, minute=23)
        self._jobs.add_job(audit, daily, id="audit")

    def start(self) -> None:
        """Run jobs from now on."""
        self._jobs.start()

    def every(
        self, seconds: float, work: Callable[[], Awaitable[None]], name: str
    ) -> None:
        """One more job, which finds out by itself for whom there is something to do."""
        self._jobs.add_job(work, IntervalTrigger(seconds=seconds), id=name)

    def nightly(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """One more job, when nobody looks, and not on the hour when all others run."""
        self._jobs.add_job(work, CronTrigger(hour=3, minute=27), id=name)

    def weekly(
        self,
        work: Callable[[], Awaitable[None]],
        name: str,
        settings: SelfTestSettings | None,
    ) -> None:
        """A job at a time that people chose, instead of the one before; or none."""
        if self._jobs.get_job(name):
            self._jobs.remove_job(name)
        if settings is not None:
            hour, minute = settings.time
            trigger = CronTrigger(
                day_of_week="*" if settings.day == DAILY else settings.day,
                hour=hour,
                minute=minute,
                timezone=settings.timezone or local_zone(),
            )
            self._jobs.add_job(work, trigger, id=name)

    def was_due(self, name: str, since: datetime, now: datetime) -> bool:
        """Whether the time of a job came between two moments."""
        job = self._jobs.get_job(name)
        at = job.trigger.get_next_fire_time(since, since) if job else None
        return at is not None and since < at <= now

    def stop(self) -> None:
        """Run none any more."""
        if self._jobs.running:
            self._jobs.shutdown(wait=False)

    def rearm(self) -> None:
        """The wall clock was set: a job waits for its time of the new clock."""
        for job in self._jobs.get_jobs():
            job.reschedule(job.trigger)

    async def clean(self) -> None:
        """Forget what ended long ago."""
        before = self._clock() - KEPT
        self._flow.write([Prune(resolved_before=before), PruneTrail(before)])
