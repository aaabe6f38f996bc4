"""The daemon: its parts made, started, reloaded and stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

from alerting.store.database import Store
from sipwatch import __version__, couriers, systemd
from sipwatch.answers.shown import Answers
from sipwatch.busy import TASK as BUSY
from sipwatch.clock import Clock
from sipwatch.config.crosscheck import notices
from sipwatch.config.settings import Config, diff
from sipwatch.itself.self_test import MEMO as SELF_TEST
from sipwatch.jobs import plan_jobs, plan_self_tests
from sipwatch.keeping.by_hand import TASK as BY_HAND
from sipwatch.keeping.gathering import TASK as GATHERING
from sipwatch.plan import Plan, prepare
from sipwatch.reloading import swap
from sipwatch.rollups import TASK as ROLLUPS
from sipwatch.web.app import application
from sipwatch.web.doors import Doors
from sipwatch.web.listen import Listener, sockets_of

RESTORED = (  # what the keys of all that may be known from before begin with
    "target:",
    "registrar:",
    "extension:",
    "registration:",
    "account:",
    "self:",
    "site:",
    "vantage:",
    "twilio:",
)

log = logging.getLogger(__name__)


class Daemon(Answers):
    """One sipwatch: configure, `start()`, `reload()`, `stop()`.

    Once `broken` is done the process ends, and is started again.
    """

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        super().__init__(config, clock)
        self._listeners: list[Listener] = []
        self._settled = False  # every source was read once

    # --- start ----------------------------------------------------------------------

    async def start(self) -> None:
        """Open what must be open, then start all parts; OSError, StoreError.

        A dead PBX, mail server or resolver does not keep the daemon from being ready.
        """
        self.started_at = self.clock.now()
        plan = prepare(self.config, self.topology.site)
        store = Store.open(self.config.database)
        try:
            self.doors = Doors(self.config.web)
            sockets = sockets_of(self.config.web, self.doors)
            self._make(plan, store)
        except BaseException:
            store.close()
            raise
        self._restore(plan)
        self._start_parts(sockets)
        for line in notices(self.config):
            log.warning("%s", line)
        log.info(
            "sipwatch %s watches targets: %d, registrars: %d",
            __version__,
            len(plan.targets),
            len(self.followings),
        )

    def _restore(self, plan: Plan) -> None:
        """Give the core the subjects that it may know from before."""
        self.outlook.start(self.config.vantage)
        for name in self.config.sites:
            self.alarms.adopt(self.topology.site(name))
        for target in plan.targets:
            if self.alarms.knows(target.subject):
                self.alarms.adopt(target.subject)
        for subject in (*self.selfwatch.subjects, self.passing.calls):
            self.alarms.adopt(subject)
        for name, settings in self.config.registrars.items():
            self.followings.follow(name, settings, plan.listed[name])
        self.accounts.start(self.config.accounts)
        self.twilio.start(self.config.twilio)
        self._planned = {target.subject.key: target.subject for target in plan.targets}
        self.link()
        if self.config.heartbeat is not None:
            self.alarms.adopt(self.heartbeat.subject)
        for kind in RESTORED:
            self.alarms.unwatch_missing(kind, self.clock.now())

    def _start_parts(self, sockets: list[tuple[Any, dict[str, Any]]]) -> None:
        self._listen(sockets)
        self.tasks.spawn("options", self.options.run())
        self.tasks.spawn("selfwatch", self.selfwatch.run(self._beat))
        self.tasks.spawn("heartbeat", self.heartbeat.run())
        self.tasks.spawn(GATHERING, self.gathering.run())
        self.tasks.spawn(BY_HAND, self.by_hand.run())
        self.tasks.spawn("capture", self.passing.run())
        self.tasks.spawn(BUSY, self.busy.run())
        for name, settings in self.config.notifiers.items():
            self.couriers.hire(name, settings)
        self._begin_accounts()
        plan_jobs(self.scheduler, self)
        self.plan_self_tests()
        self.scheduler.start()
        self.rollups.renew()
        self.tasks.spawn(ROLLUPS, self.rollups.run())

    def _listen(self, sockets: list[tuple[Any, dict[str, Any]]]) -> None:
        for sock, rights in sockets:
            app = application(
                self,
                people=self.people,
                feed=self.feed,
                twilio=self.calls,
                **rights,
            )
            doors = rights.get("doors")
            listener = Listener(app, sock, doors and doors.certificate)
            listener.start()
            self._listeners.append(listener)

    def plan_self_tests(self) -> None:
        """Test ourselves when the configuration wants it."""
        plan_self_tests(self.scheduler, self, self.store.remembered(SELF_TEST))

    def _beat(self) -> None:
        if not self.unwell():
            systemd.notify("WATCHDOG=1")
        self.touched.look(self.options)
        if self.ready and not self._settled:
            self._settled = True
            gc.freeze()  # who is watched stands for good: the collector need not look

    # --- reload ---------------------------------------------------------------------

    async def reload(self, config: Config) -> None:
        """Go on under another configuration, or keep the old one and say why."""
        try:
            plan = await asyncio.to_thread(prepare, config, self.topology.site)
        except (OSError, ValueError) as error:
            log.error("reload: %s", error)
            self.refused_reload(str(error))
            return
        change = diff(self.config, config)
        left = change.changed | change.removed
        await self.couriers.dismiss(change.named("notifiers", left))
        swap(self, config, plan, change)
        self.reload_ok = True
        self.selfwatch.reloaded()
        self.feed.reloaded(change.summary(), ok=True)
        log.info("reload: %s", change.summary())

    def refused_reload(self, why: str) -> None:
        """A configuration was wrong; the old one stays."""
        self.reload_ok = False
        self.touched.refuse(self.clock.now(), why)
        self.selfwatch.reloaded(why)
        self.feed.reloaded("the new configuration is wrong", ok=False)

    # --- stop -----------------------------------------------------------------------

    async def stop(self) -> None:
        """End all parts within two seconds; what is owed stays owed on the disk."""
        self.feed.close()
        self.scheduler.stop()
        for following in self.followings.values():
            following.close()  # so that it ends even where a library ate the cancelling
        await self.tasks.stop(but=couriers.TASK)
        await asyncio.gather(
            self.couriers.stop(),
            *(listener.close() for listener in self._listeners),
        )
        self.flow.close()
        await self.rollups.close()
        await self.chronicle.close()
        await asyncio.to_thread(self.store.close)
