"""The parts of the daemon, each made once and wired to those that it speaks with."""

from __future__ import annotations

from pathlib import Path

from pyee.base import EventEmitter

from alerting.alarms.core import Alarms
from alerting.muting.muting import Muting
from alerting.store.database import Store
from alerting.store.rows import Memo
from checks.accounts.account import Account
from checks.observation import Kind, Observation, State, Subject
from checks.options.check import OptionsCheck
from checks.options.targets import ProbeSettings
from checks.registrations.judge import Judge
from checks.sip.resolver import Resolver
from sipwatch import __version__
from sipwatch.accounts import Accounts
from sipwatch.answers.audit import summarize
from sipwatch.busy import BusyPhones
from sipwatch.census import census
from sipwatch.chronicle import Chronicle
from sipwatch.clock import Clock
from sipwatch.config.settings import Config, timetables
from sipwatch.couriers import Couriers
from sipwatch.feed import Feed
from sipwatch.findings import Findings
from sipwatch.flow import Flow
from sipwatch.follow import Following
from sipwatch.itself import chain, heartbeat
from sipwatch.itself.self_test import SelfTests
from sipwatch.itself.selfwatch import SelfWatch
from sipwatch.journal import Journal
from sipwatch.keeping.by_hand import ByHand
from sipwatch.keeping.gathering import Gathering
from sipwatch.keeping.passing import Passing
from sipwatch.links import Links, key_of
from sipwatch.metrics import scrape
from sipwatch.metrics.counts import Counts
from sipwatch.metrics.exposition import Exposition
from sipwatch.peers import marks
from sipwatch.people import People
from sipwatch.plan import Plan
from sipwatch.registrars import Registrars
from sipwatch.rollups import Rollups
from sipwatch.scheduler import Scheduler
from sipwatch.subjects import everybody
from sipwatch.tasks import Tasks
from sipwatch.topology import Topology
from sipwatch.touched import Touched
from sipwatch.twilio.calls import Calls
from sipwatch.twilio.reports import Twilio
from sipwatch.vantage import Outlook

HOSTS = Path("/etc/hosts")


class Parts:
    """What a daemon consists of; once made, all of it is there, and nothing runs.

    `broken` is done, with the exception, when a part failed in a way that nobody
    expected.
    """

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or Clock()
        self.bus = EventEmitter()
        self.reload_ok = True
        self.topology = Topology()
        self._planned: dict[str, Subject] = {}  # targets, until they are asked
        self.started_at = 0.0  # UTC s

    # --- making -----------------------------------------------------------------------

    def _make(self, plan: Plan, store: Store) -> None:
        """Make all parts but those that the configuration names one by one."""
        self.store = store
        self.tasks = Tasks()
        self.broken = self.tasks.broken
        self._make_core(plan)
        self._make_network(plan)
        self.journal = Journal(self.bus)
        self._make_registrations()
        self._make_twilio()
        self.chronicle: Chronicle = Chronicle(self, self.store, self.bus)
        self.rollups: Rollups = Rollups(self, self.store, self.chronicle.reader)
        self.touched = Touched()
        self._make_people()
        self._make_couriers()
        self._make_readers()

    def _make_core(self, plan: Plan) -> None:
        """Whom observations go to, and what they are looked up and kept with."""
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
            muting=Muting(*timetables(config), ahead=lambda: self.clock.skew),
            vantage=self.topology.vantage,
            census=lambda group: census(self, group),
        )
        self.flow = Flow(
            self.alarms,
            self.store,
            self.bus,
            now,
            asked=self._look_at,
            wake=self._wake,
            committed=lambda error: self.selfwatch.committed(error),
            ahead=lambda: self.clock.skew,
        )

    def _make_network(self, plan: Plan) -> None:
        """The OPTIONS sweep, and who watches us and our own network."""
        self.options = OptionsCheck(
            plan.targets,
            self._observe_target,
            clock=self.clock.now,
            resolver=self.resolver,
            resolver_state=lambda ok, detail: self.selfwatch.resolver_state(ok, detail),
            marks=marks(plan.rules),
            agent=f"sipwatch/{__version__}",
            wanted=self.alarms.wants,
            answered=self.alarms.answered,
            lives=self._can_be_read,
            led=self._locate,
        )
        self.selfwatch = SelfWatch(
            self.clock,
            self.flow.observe,
            drops=lambda: self.options.drops,
            waiting_since=self.flow.waiting_since,
            clock_set=self._clock_was_set,
        )
        self.outlook = Outlook(
            self.topology.vantage, self.alarms, self.flow, self.clock, self.tasks
        )

    def _make_registrations(self) -> None:
        """Who is registered where, and the accounts that we register ourselves."""
        self.followings = Registrars(
            self.clock,
            self.flow,
            self.alarms,
            self.store,
            self.tasks,
            resolver=self.resolver,
            site=self.topology.site,
            places=lambda: self.topology.places(self.config),
            arrived=self._registrar_read,
            refused=lambda refused: self.accounts.heard(refused),
            news=lambda: self.chronicle.wake(),
            inquire=self.options.inquiry,
        )
        self.accounts = Accounts(
            self.clock,
            self.flow,
            self.alarms,
            self.store,
            self.tasks,
            resolver=self.resolver,
            site=self.topology.site,
            instance=lambda: self.config.instance,
            agent=f"sipwatch/{__version__}",
            held=self.followings.held,
            explains=self.followings.explains,
            tested=self._account_tested,
        )

    def _make_twilio(self) -> None:
        """What Twilio tells, and what it is told when it asks."""
        self.twilio = Twilio(
            self.clock,
            self.flow,
            self.alarms,
            self.store,
            self.tasks,
            registrars=lambda: self.judges,
            network=self.topology.vantage,
        )
        self.calls = Calls(
            lambda: self.config, self.clock, self.twilio, self._schedule_is_open
        )

    def _make_people(self) -> None:
        """What people do, and the evidence that is kept for them."""
        key = key_of(self.store, self.flow)
        self.links = Links(key, self.alarms, self.clock, lambda: self.config)
        self.people = People(
            self.alarms,
            self.flow,
            self.clock,
            self.links,
            self._wake,
            self._renew,
            silenced=lambda one: self.feed.silence(one),
            subjects=lambda: everybody(self),
        )
        self.gathering = Gathering(self, self.bus, self.flow)
        self.by_hand = ByHand(self)
        self.busy = BusyPhones(self.bus, lambda subject: self.findings.look(subject))
        self.passing = Passing(
            self.clock, self.flow.observe, lambda: self.config.capture.socket
        )

    def _make_couriers(self) -> None:
        """Who carries mails, the tests of that, and the beats that show we live."""
        self.couriers = Couriers(self, self.tasks, flush=self.flow.commit)
        self.self_tests = SelfTests(
            self, self.couriers, commit=self.flow.commit, note=self.flow.write
        )
        self.heartbeat = heartbeat.Heartbeat(
            self.config.heartbeat,
            self.clock,
            broken=lambda now, owed: chain.broken(self, now, owed),
            store=self._store_beat,
            observe=self.flow.observe,
        )

    def _make_readers(self) -> None:
        """What is found and counted in all of this, and what is done in time."""
        findings = Findings(self)
        self.findings: Findings = findings
        findings.reporters.append(lambda one: self.twilio.recent(one.name))
        self.alarms.muting.purpose = findings.on_purpose
        self.counts = Counts(
            self.bus, lambda i: findings.of(i.subject, i, around=False)
        )
        self.exposition: Exposition = scrape.exposition(self)
        self.feed: Feed = Feed(self, self.bus, self.topology.carries)
        self.scheduler = Scheduler(
            self.flow, self.clock.now, audit=lambda: summarize(self.followings.values())
        )

    async def _store_beat(self, json: str) -> None:
        self.flow.write([Memo(heartbeat.MEMO, json)])
        await self.flow.commit()

    def _clock_was_set(self) -> None:
        """Jobs wait for their time of the new clock; what is stored is told in it."""
        self.scheduler.rearm()
        self.alarms.clock_set(self.clock.now())
        self.flow.flush()

    # --- what is known of all ---------------------------------------------------------

    @property
    def judges(self) -> dict[str, Judge]:
        """The judges by the names of their registrars."""
        return self.followings.judges

    @property
    def peers(self) -> dict[str, list[Following]]:
        """By target: the registrars that its OPTIONS speaks for."""
        return self.followings.peers

    @property
    def ready(self) -> bool:
        """Whether every source has been read, or tried, once."""
        read = all(f.passed for f in self.followings.values())
        return self.options.passed and self.accounts.passed and read

    def unwell(self) -> str:
        """Why the daemon does not do its work; empty while it does."""
        if self.broken.done():
            return "a part has failed"
        if not self.store.alive:
            return "the store's thread has ended"
        if self.options.stalled(self.clock.now()):
            return "the OPTIONS sweep stands still"
        return ""

    # --- subjects -------------------------------------------------------------------

    def link(self) -> None:
        """Sites are known by now, and what depends on what can be found."""
        for site in self.topology.sites:
            self.alarms.adopt(site)
        self.topology.link(self.config, self._find)
        self.alarms.relink()
        self.followings.pair(self.config, self._find)

    def _locate(
        self, target: Subject, settings: ProbeSettings, hosts: list[str]
    ) -> None:
        """The name of a target leads there: that tells its site, if nothing else."""
        if settings.site:
            return
        site = self.topology.places(self.config).of_address(hosts)
        if self.topology.move(target, site):
            self.alarms.moved(target)

    def _find(self, kind: Kind, name: str) -> Subject | None:
        """An entry of the configuration that others may depend on."""
        if kind is Kind.TARGET:
            view = self.options.targets.get(f"target:{name}")
            return view.subject if view else self._planned.get(f"target:{name}")
        if kind is Kind.REGISTRAR:
            return self.judges[name].subject if name in self.judges else None
        return self.accounts[name].subject if name in self.accounts else None

    # --- what happens ---------------------------------------------------------------

    def _observe_target(self, o: Observation) -> None:
        self.flow.observe(o)
        self.touched.hear(o)
        if following := self.peers.get(o.subject.name):
            for one in following:
                one.options_answer(o.state is not State.DOWN)

    def _registrar_read(self, following: Following) -> None:
        self.journal.first_pass(following)
        self._begin_accounts()

    def _begin_accounts(self) -> None:
        if all(f.passed for f in self.followings.values()):
            self.accounts.begin()

    def _account_tested(self, account: Account, o: Observation, news: bool) -> None:
        if news:
            self.journal.account(account)
        self.touched.hear(o)

    def _can_be_read(self, target: Subject) -> bool:
        """Whether the registrar of a target is alive, so that its silence is a ban."""
        following = self.peers.get(target.name, ())
        return any(one.judge.state is State.READABLE for one in following)

    def _schedule_is_open(self, name: str, at: float) -> bool:
        """Whether a schedule is, at a moment of the wall clock."""
        schedule = self.alarms.muting.schedules.get(name)
        return schedule is not None and schedule.is_open(at)

    def _look_at(self, subject: Subject) -> None:
        """An ancestor must be seen now: ask it."""
        if subject.kind is Kind.TARGET:
            self.options.probe_now(subject.key)
        elif subject.kind is Kind.VANTAGE:
            self.outlook.ask()
        elif subject.kind is Kind.REGISTRAR:
            following = self.followings.get(subject.scope.name)
            if following is not None:
                following.relist()

    def _wake(self) -> None:
        self.couriers.wake()

    def _renew(self) -> None:
        self.couriers.renew()
