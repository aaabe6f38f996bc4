"""The daemon: every part made, wired, started, reloaded and stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pyee.base import EventEmitter

from alerting.alarms.core import Alarms
from alerting.incident import Batch, DeliveryError, Notification
from alerting.notification.render import render
from alerting.notifiers import made
from alerting.outbox import Courier, send_test
from alerting.store.database import Store
from checks.observation import Kind, Observation, Scope, State, Subject
from checks.options.check import OptionsCheck
from checks.registrations.judge import Judge, Listed, RegistrarSettings, Remembered
from checks.registrations.memory import shifted
from checks.sip.resolver import Resolver
from sipwatch import __version__, metrics, systemd
from sipwatch.clock import Clock
from sipwatch.config.crosscheck import notices
from sipwatch.config.settings import Config, Diff, diff, local_zone
from sipwatch.exposition import Exposition
from sipwatch.flow import Flow
from sipwatch.follow import MEMO, Following
from sipwatch.journal import Journal
from sipwatch.peers import marks, peers
from sipwatch.plan import Plan, prepare
from sipwatch.scheduler import Scheduler
from sipwatch.selfwatch import SelfWatch
from sipwatch.status import status
from sipwatch.surroundings import Surroundings
from sipwatch.web.app import application
from sipwatch.web.listen import Listener, tcp_socket, unix_socket

HOSTS = Path("/etc/hosts")

log = logging.getLogger(__name__)


class Daemon:
    """One sipwatch: configure, `start()`, `reload()`, `stop()`.

    `broken` is done, with the exception, when a part failed in a way that nobody
    expected: then the process ends, and is started again.
    """

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or Clock()
        self.bus = EventEmitter()
        self.couriers: dict[str, Courier] = {}
        self.followings: dict[str, Following] = {}
        self.reload_ok = True
        self._sites: dict[str, Subject] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: list[Listener] = []
        self.peers: dict[str, list[Following]] = {}
        self._started_at = 0.0
        self._settled = False  # every source was read once

    # --- start ----------------------------------------------------------------------

    async def start(self) -> None:
        """Open what must be open, then start all parts; OSError, StoreError.

        A dead PBX, mail server or resolver does not keep the daemon from being ready.
        """
        loop, now = asyncio.get_running_loop(), self.clock.now
        self._started_at = now()
        self.broken: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(self._loop_failed)
        plan = prepare(self.config, self._site)
        self.store = Store.open(self.config.database)
        try:
            sockets = self._open_sockets()
            self._make(plan)
        except BaseException:
            self.store.close()
            raise
        self._restore(plan)
        self._start_parts(sockets)
        for line in notices(self.config):
            log.warning("%s", line)
        log.info(
            "sipwatch %s watches %d targets and %d registrars",
            __version__,
            len(plan.targets),
            len(self.followings),
        )

    def _make(self, plan: Plan) -> None:
        """Make all parts but those that the configuration names one by one."""
        config, now = self.config, self.clock.now
        asked = config.resolver
        self.resolver = Resolver(
            asked.nameservers or None, asked.port, asked.timeout, hosts=HOSTS
        )
        self.alarms = Alarms(
            plan.rules,
            config.routes,
            config.group,
            notifiers=list(config.notifiers),
            now=now(),
            restored=self.store.load(),
        )
        self.flow = Flow(
            self.alarms,
            self.store,
            self.bus,
            now,
            asked=self._look_at,
            wake=self._wake_couriers,
            committed=lambda error: self.selfwatch.committed(error),
            ahead=self._ahead,
        )
        self.options = OptionsCheck(
            plan.targets,
            self._observe_target,
            clock=now,
            resolver=self.resolver,
            resolver_state=lambda ok, detail: self.selfwatch.resolver_state(ok, detail),
            marks=marks(plan.rules),
            agent=f"sipwatch/{__version__}",
            wanted=self.alarms.wants,
            answered=self.alarms.answered,
            lives=self._can_be_read,
        )
        self.selfwatch = SelfWatch(
            self.clock,
            self.flow.observe,
            drops=lambda: self.options.drops,
            waiting_since=self.flow.waiting_since,
            clock_set=self._clock_was_set,
        )
        self.surroundings = Surroundings(self)
        self.journal = Journal(self.bus)
        self.counts = metrics.Counts(self.bus)
        self.exposition: Exposition = metrics.exposition(self)
        self.scheduler = Scheduler(self.flow, now)

    def _restore(self, plan: Plan) -> None:
        """Give the core the subjects that it may know from before."""
        for target in plan.targets:
            if self.alarms.knows(target.subject):
                self.alarms.adopt(target.subject)
        for subject in self.selfwatch.subjects:
            self.alarms.adopt(subject)
        for name, settings in self.config.registrars.items():
            self._follow(self._judge(name, settings, plan.listed[name]))
        for kind in ("target:", "registrar:", "extension:", "self:"):
            self.alarms.unwatch_missing(kind, self.clock.now())

    def _open_sockets(self) -> list[tuple[Any, dict[str, Any]]]:
        web = self.config.web
        opened: list[tuple[Any, dict[str, Any]]] = []
        try:
            opened.append((tcp_socket(web.listen), {}))
            opened.append((unix_socket(web.socket), {"operate": True}))
            if web.metrics.listen:
                limits = {"metrics_only": True, "allow": web.metrics.allow}
                opened.append((tcp_socket(web.metrics.listen), limits))
        except OSError:
            for sock, _ in opened:
                sock.close()
            raise
        return opened

    def _start_parts(self, sockets: list[tuple[Any, dict[str, Any]]]) -> None:
        for sock, rights in sockets:
            listener = Listener(application(self, **rights), sock)
            listener.start()
            self._listeners.append(listener)
        self._spawn("options", self.options.run())
        self._spawn("selfwatch", self.selfwatch.run(self._beat))
        for name, settings in self.config.notifiers.items():
            self._courier(name, settings)
        self.scheduler.start()
        self._pair()

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.broken.done():
            return
        error = task.exception() or RuntimeError(f"{task.get_name()} ended by itself")
        self.broken.set_exception(error)

    def _loop_failed(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """A timer or a reader of ours that broke would never be called again."""
        loop.default_exception_handler(context)
        error = context.get("exception")
        if not isinstance(error, Exception) or "handle" not in context:
            return  # of a task that is watched, or of a connection that ends by it
        if not self.broken.done() and not _of_a_library(error):
            self.broken.set_exception(error)

    def _ahead(self) -> float:
        return self.clock.skew

    def _clock_was_set(self) -> None:
        """Jobs wait for their time of the new clock; what is stored is told in it."""
        self.scheduler.rearm()
        self.alarms.restate()
        self.flow.flush()

    # --- subjects -------------------------------------------------------------------

    def _site(self, name: str) -> Subject | None:
        if not name:
            return None
        if name not in self._sites:
            scope = Scope(name, labels={"site": name})
            self._sites[name] = Subject(Kind.SITE, name, scope)
        return self._sites[name]

    def _judge(
        self,
        name: str,
        settings: RegistrarSettings,
        listed: Iterable[Listed] | None = None,
    ) -> Judge:
        """A judge that goes on where the last one stopped."""
        labels = {"registrar": name}
        if settings.site:
            labels["site"] = settings.site
        scope = Scope(name, settings.type, labels, self._site(settings.site))
        subject = Subject(Kind.REGISTRAR, name, scope)
        prefix = f"{MEMO}/{name}/"
        now, ahead = self.clock.now(), self.clock.skew
        remembered = [
            Remembered(key.removeprefix(prefix), json)
            for key, json in self.store.recall(prefix).items()
        ]
        if ahead:
            remembered = [shifted(row, -ahead) for row in remembered]
        judge = Judge(name, settings, subject, now, remembered, listed=listed)
        self.alarms.adopt(subject)
        for member in judge.members.values():
            self.alarms.adopt(member.subject)
        for aor, row in self.alarms.unclaimed(f"extension:{name}/").items():
            found = judge.restore(aor, row.state, row.since, row.not_before)
            if found is not None:
                self.alarms.adopt(found)
        return judge

    def _follow(self, judge: Judge) -> None:
        arrived = self.journal.first_pass
        following = Following(
            judge,
            self.flow,
            self.clock.now,
            resolver=self.resolver,
            arrived=arrived,
            ahead=self._ahead,
        )
        self.followings[judge.name] = following
        self._spawn(f"registrar {judge.name}", following.run())

    # --- what happens ---------------------------------------------------------------

    def _observe_target(self, o: Observation) -> None:
        self.flow.observe(o)
        if following := self.peers.get(o.subject.name):
            for one in following:
                one.options_answer(o.state is not State.DOWN)

    def _can_be_read(self, target: Subject) -> bool:
        """Whether the registrar of a target is alive, so that its silence is a ban."""
        following = self.peers.get(target.name, ())
        return any(one.judge.state is State.READABLE for one in following)

    def _look_at(self, subject: Subject) -> None:
        """An ancestor must be seen now: ask it."""
        if subject.kind is Kind.TARGET:
            self.options.probe_now(subject.key)
        elif subject.kind is Kind.REGISTRAR:
            following = self.followings.get(subject.scope.name)
            if following is not None:
                following.relist()

    def _wake_couriers(self) -> None:
        for courier in self.couriers.values():
            courier.wake()

    def _beat(self) -> None:
        if not self.unwell():
            systemd.notify("WATCHDOG=1")
        if self.ready and not self._settled:
            self._settled = True
            gc.freeze()  # who is watched stands for good: the collector need not look

    def _pair(self) -> None:
        """Find out which target speaks for which registrar."""
        old, self.peers = self.peers, peers(self.config, self.followings)
        paired = {id(one) for several in self.peers.values() for one in several}
        for several in old.values():
            for following in several:
                if id(following) not in paired:
                    following.options_answer(True)  # nobody says the contrary now

    # --- delivery -------------------------------------------------------------------

    def _courier(self, name: str, settings: Any) -> None:
        notifier = made(settings)
        courier = Courier(
            name,
            notifier,
            self.alarms,
            render=self._render,
            flush=self.flow.commit,
            clock=self.clock.now,
            instance=self.config.instance,
        )
        self.couriers[name] = courier
        self._spawn(f"notifier {name}", courier.run())

    def _render(self, batch: Batch, now: float) -> Notification:
        subject = batch.deliveries[0].incident.subject
        return render(
            batch,
            instance=self.config.instance,
            zone=self._zone(subject),
            around=self.surroundings.around,
            extensions=self.surroundings.extensions,
            external_url=self.config.web.external_url,
            runbooks={rule.name: rule.runbook for rule in self.alarms.rules},
            now=now,
            skew=self.clock.skew,
        )

    def _zone(self, subject: Subject) -> ZoneInfo:
        site = self.config.sites.get(subject.scope.labels.get("site", ""))
        return ZoneInfo(site.timezone) if site and site.timezone else local_zone()

    async def test_notify(self, notifiers: Iterable[str]) -> dict[str, str]:
        """Send a test by each of these, or by all; its error, or nothing."""
        names = list(notifiers) or list(self.couriers)
        return {name: await self._test(name) for name in names}

    async def _test(self, name: str) -> str:
        courier = self.couriers.get(name)
        if courier is None:
            return "there is no such notifier"
        now = self.clock.to_wall(self.clock.now())
        try:
            await send_test(
                courier.notifier,
                name,
                instance=self.config.instance,
                zone=local_zone(),
                now=now,
            )
        except DeliveryError as error:
            return str(error)
        return ""

    # --- what is shown --------------------------------------------------------------

    @property
    def judges(self) -> dict[str, Judge]:
        """The judges by the names of their registrars."""
        return {name: f.judge for name, f in self.followings.items()}

    @property
    def ready(self) -> bool:
        """Whether every source has been read, or tried, once."""
        return self.options.passed and all(f.passed for f in self.followings.values())

    def unwell(self) -> str:
        """Why the daemon does not do its work; empty while it does."""
        if self.broken.done():
            return "a part has failed"
        if not self.store.alive:
            return "the store's thread has ended"
        if self.options.stalled(self.clock.now()):
            return "the OPTIONS sweep stands still"
        return ""

    def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""
        return status(self)

    @property
    def started_at(self) -> float:
        """When it started, UTC s."""
        return self._started_at

    def metrics(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """All metrics in slices; None while enough renderings are under way."""
        return self.exposition.render(gzip=gzip)

    # --- reload ---------------------------------------------------------------------

    async def reload(self, config: Config) -> None:
        """Go on under another configuration, or keep the old one and say why."""
        try:
            plan = await asyncio.to_thread(prepare, config, self._site)
        except (OSError, ValueError) as error:
            log.error("reload: %s", error)
            self.reload_ok = False
            return
        change = diff(self.config, config)
        await self._let_go(change)
        self._swap(config, plan, change)
        self.reload_ok = True
        log.info("reload: %s", change.summary())

    def refused_reload(self) -> None:
        """A configuration was wrong; the old one stays."""
        self.reload_ok = False

    async def _let_go(self, change: Diff) -> None:
        """Deliveries in flight of notifiers that go or change may end."""
        going = change.named("notifiers", change.changed | change.removed)
        for name in going:
            self._tasks[f"notifier {name}"].remove_done_callback(self._ended)
        await asyncio.gather(*(self.couriers[name].stop() for name in going))
        for name in going:
            del self.couriers[name], self._tasks[f"notifier {name}"]

    def _swap(self, config: Config, plan: Plan, change: Diff) -> None:
        """The one moment between the old configuration and the new one."""
        old, self.config, now = self.config, config, self.clock.now()
        self.flow.flush()
        for subject in self.options.replace(plan.targets).removed:
            self.alarms.unwatch(subject, now)
        self.options.set_marks(marks(plan.rules))
        for name in change.named("registrars", change.removed):
            for subject in list(self._unfollow(name).subjects()):
                self.alarms.unwatch(subject, now)
        for name in change.named("registrars", change.changed):
            self._renew(name, plan)
        for name in change.named("registrars", change.added):
            listed = plan.listed[name]
            self._follow(self._judge(name, config.registrars[name], listed))
        self.alarms.replace(
            plan.rules, config.routes, config.group, list(config.notifiers), now
        )
        for name in change.named("notifiers", change.changed | change.added):
            self._courier(name, config.notifiers[name])
            self.alarms.retry(name, now)
        self._pair()
        self.flow.flush()
        self._wake_couriers()
        for line in notices(config):
            log.warning("%s", line)
        for section in ("web", "database", "resolver"):
            if getattr(old, section) != getattr(config, section):
                log.warning("reload: %s changes with the next restart", section)

    def _renew(self, name: str, plan: Plan) -> None:
        """Follow a registrar otherwise; what is known of it stays."""
        old = self._unfollow(name)
        for subject in list(old.subjects()):
            self.alarms.release(subject)
        settings = self.config.registrars[name]
        self._follow(self._judge(name, settings, plan.listed[name]))
        for kind in ("registrar:", "extension:"):
            self.alarms.unwatch_missing(kind, self.clock.now())

    def _unfollow(self, name: str) -> Following:
        task = self._tasks.pop(f"registrar {name}")
        task.remove_done_callback(self._ended)
        task.cancel()
        following = self.followings.pop(name)
        following.close()
        return following

    # --- stop -----------------------------------------------------------------------

    async def stop(self) -> None:
        """End all parts within two seconds; what is owed stays owed on the disk."""
        self.scheduler.stop()
        sources = [t for n, t in self._tasks.items() if not n.startswith("notifier ")]
        for task in self._tasks.values():
            task.remove_done_callback(self._ended)
        for task in sources:
            task.cancel()
        await asyncio.gather(*sources, return_exceptions=True)
        await asyncio.gather(
            *(courier.stop() for courier in self.couriers.values()),
            *(listener.close() for listener in self._listeners),
        )
        self.flow.close()
        await asyncio.to_thread(self.store.close)


OURS = ("checks", "alerting", "sipwatch")


def _of_a_library(error: BaseException) -> bool:
    """Whether a library's own callback failed: a peer may bring one to it at will."""
    trace = error.__traceback__
    while trace is not None:
        package = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if package != "asyncio":
            return package not in OURS
        trace = trace.tb_next
    return False
