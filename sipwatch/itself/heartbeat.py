"""The dead-man's switch: a URL that is asked while the whole chain is well.

Whoever watches that URL alarms when the beats stop: because sipwatch died with its
host, or because it knows that nobody would be told. That the URL cannot be reached
holds nothing up; it is an incident of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from alerting.incident import DeliveryError
from alerting.notifiers.http import Poster, url_of
from alerting.store.database import StoreError
from checks.observation import Observation, State
from sipwatch.clock import Clock
from sipwatch.config.alive import HeartbeatSettings
from sipwatch.itself.selfwatch import own

FAILURES = 3  # beats in a row that did not arrive, until it is told
COMMIT_PATIENCE = 5.0  # s
START_PATIENCE = 300.0  # s of a first pass: no restart is worth an alarm elsewhere
START_REST = 5.0  # s between two looks until the first beat
MEMO = "heartbeat"

log = logging.getLogger(__name__)


class Heartbeat:
    """One resident task; without settings it waits for some."""

    def __init__(
        self,
        settings: HeartbeatSettings | None,
        clock: Clock,
        *,
        broken: Callable[[float, float], str],
        store: Callable[[str], Awaitable[object]],
        observe: Callable[[Observation], None],
    ) -> None:
        """`broken` says why the chain is not well; `store` commits a word, and raises
        where it cannot."""
        self.subject = own("heartbeat")
        self.settings = settings
        self.why = ""  # the beats have stopped
        self.error = ""  # of the last beat, where the URL was not reached
        self.succeeded_at: float | None = None
        self.beats = Counter({"accepted": 0, "failed": 0, "held": 0})
        self._clock = clock
        self._broken = broken
        self._store = store
        self._observe = observe
        self._changed = asyncio.Event()
        self._failures = 0
        self._said: State | None = None
        self._to_say: str = ""  # what the fail URL has not been told yet
        self._stopped = False  # and that was told
        self._began = clock.now()

    def replace(self, settings: HeartbeatSettings | None) -> None:
        """Go on with other settings, at once."""
        if settings != self.settings:
            self.settings = settings
            self.why = self.error = self._to_say = ""
            self._failures, self._said, self._stopped = 0, None, False
            self._changed.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._changed.clear()
            settings, began = self.settings, self._clock.now()
            if settings is not None:
                await self.beat(settings)
            await self._rest(settings, began)

    async def _rest(self, settings: HeartbeatSettings | None, began: float) -> None:
        if settings is None:
            await self._changed.wait()
            return
        starts = self.why and self._starting(began)
        interval = min(START_REST, settings.interval) if starts else settings.interval
        left = began + interval - self._clock.now()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._changed.wait()
        except TimeoutError:
            return

    async def beat(self, settings: HeartbeatSettings) -> None:
        """One beat, or none."""
        now = self._clock.now()
        why = self._broken(now, settings.owed) or await self._commits(now)
        self._looked(why, now)
        if why:
            self.beats["held"] += 1
            await self._say(settings)
            return
        try:
            await self._ask(settings)
        except DeliveryError as error:
            self._failed(str(error))
        else:
            self._arrived()

    async def _commits(self, now: float) -> str:
        """A disk that is full shows only when something is written."""
        at = datetime.fromtimestamp(self._clock.to_wall(now), UTC)
        try:
            async with asyncio.timeout(COMMIT_PATIENCE):
                await self._store(json.dumps({"at": at.isoformat(timespec="seconds")}))
        except (sqlite3.Error, OSError, StoreError):  # OSError: no end in time, too
            return "the database cannot be written"
        return ""

    async def _ask(self, settings: HeartbeatSettings) -> None:
        poster = Poster(settings, [settings.url], method=settings.method)
        await poster.post(url_of(settings.url, "url", ""), b"", {})

    async def _say(self, settings: HeartbeatSettings) -> None:
        """Tell the fail URL once why there are no beats."""
        if settings.fail_url is None or not self._to_say:
            return
        poster = Poster(settings, [settings.fail_url])
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        url = url_of(settings.fail_url, "fail_url", "")
        try:
            await poster.post(url, self._to_say.encode(), headers)
        except DeliveryError as error:
            log.debug("heartbeat: the fail URL was not told: %s", error)
        else:
            self._to_say = ""

    def _starting(self, now: float) -> bool:
        return self.succeeded_at is None and now - self._began < START_PATIENCE

    def _looked(self, why: str, now: float) -> None:
        if why and not self._stopped and not self._starting(now):
            log.warning("heartbeat: no beats, so that others alarm: %s", why)
            self._stopped, self._to_say = True, why
        elif self._stopped and not why:
            log.info("heartbeat: all is well again, it beats on")
            self._stopped, self._to_say = False, ""
        self.why = why

    def _failed(self, error: str) -> None:
        self.beats["failed"] += 1
        self.error = error
        self._failures += 1
        if self._failures >= FAILURES:
            self._tell(State.FAILING, error)

    def _arrived(self) -> None:
        self.beats["accepted"] += 1
        self.error, self._failures = "", 0
        self.succeeded_at = self._clock.now()
        self._tell(State.OK)

    def _tell(self, state: State, detail: str = "") -> None:
        # That it is well is told at first too: it may have failed before a restart.
        if self._said is not state:
            self._said = state
            now = self._clock.now()
            self._observe(Observation(self.subject, state, now, now, detail=detail))
