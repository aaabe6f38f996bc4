"""What is shown of a daemon: the answers of its web pages, its API and its commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from alerting.alarms.core import Alarms
from alerting.notification.shape import iso
from alerting.store.database import Store
from alerting.store.reader import Reader
from checks.options.check import OptionsCheck
from checks.registrations.judge import Judge
from checks.sip.resolver import Resolver
from sipwatch import outcomes, reasons, standings
from sipwatch.accounts import Accounts
from sipwatch.audit import audit
from sipwatch.bindings import asked_for
from sipwatch.busy import BusyPhones
from sipwatch.chronicle import Chronicle
from sipwatch.clock import Clock
from sipwatch.config.settings import Config
from sipwatch.couriers import Couriers
from sipwatch.diagnosis import walk as diagnosis
from sipwatch.findings import Findings
from sipwatch.flow import Flow
from sipwatch.follow import Following
from sipwatch.heartbeat import Heartbeat
from sipwatch.keeping.gathering import Gathering
from sipwatch.keeping.passing import Passing
from sipwatch.links import Links
from sipwatch.metrics.counts import Counts
from sipwatch.metrics.exposition import Exposition
from sipwatch.people import People
from sipwatch.registrars import Registrars
from sipwatch.retelling import retold
from sipwatch.rollups import Rollups
from sipwatch.runbook.contents import Contents
from sipwatch.runbook.page import Page
from sipwatch.self_test import SelfTests
from sipwatch.selfwatch import SelfWatch
from sipwatch.status import status
from sipwatch.tasks import Tasks
from sipwatch.topology import Topology
from sipwatch.touched import Touched
from sipwatch.twilio import Twilio
from sipwatch.vantage import Outlook
from sipwatch.verifying import Verified, verify
from sipwatch.views import incidents
from sipwatch.views.incidents import OneIncident


class Answers:
    """Whoever has these parts can tell of them; the daemon makes and runs them."""

    config: Config
    clock: Clock
    topology: Topology
    reload_ok: bool
    tasks: Tasks
    broken: asyncio.Future[None]
    store: Store
    resolver: Resolver
    alarms: Alarms
    flow: Flow
    options: OptionsCheck
    followings: Registrars
    accounts: Accounts
    twilio: Twilio
    selfwatch: SelfWatch
    outlook: Outlook
    chronicle: Chronicle
    rollups: Rollups
    touched: Touched
    links: Links
    people: People
    gathering: Gathering
    busy: BusyPhones
    passing: Passing
    couriers: Couriers
    self_tests: SelfTests
    heartbeat: Heartbeat
    findings: Findings
    counts: Counts
    exposition: Exposition
    _started_at: float

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

    async def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""
        return await status(self)

    @property
    def reader(self) -> Reader:
        """What was."""
        return self.chronicle.reader

    async def incident(self, id: int) -> OneIncident:
        """An incident in full; LookupError, ReaderError."""
        await self.flow.settle()
        return await incidents.one(self, self.reader, id)

    async def verify(self, subject: str, registrar: str) -> Verified:
        """Test something now; LookupError, ValueError, TooSoonError."""
        return await verify(self, subject, registrar)

    def runbook(self) -> Page:
        """One page of all that is watched."""
        return Contents(self).page()

    async def audit(self, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/audit; LookupError for what is no registrar."""
        return await audit(self, registrar)

    async def history(self, subject: str, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/history; LookupError, ReaderError."""
        return await retold(self, self.chronicle.reader, subject, registrar)

    async def explain_incident(self, id: int) -> dict[str, Any]:
        """Why an incident is, as far as it is on the disk; LookupError, ReaderError."""
        await self.flow.settle()
        return await reasons.of_incident(self, self.chronicle.reader, id)

    async def explain(self, subject: str, registrar: str) -> dict[str, Any]:
        """Why there is no alarm of a subject, or which; LookupError, ReaderError."""
        await self.flow.settle()
        return await standings.of_subject(
            self, self.chronicle.reader, subject, registrar
        )

    def diagnose(self, subject: str, *, call: bool) -> AsyncIterator[bytes]:
        """Look at something that is watched, line by line; LookupError."""
        walk = diagnosis.walk_of(self, subject, call=call)
        return diagnosis.stream(walk, lambda at: iso(self.clock.skew + at))

    def finding(self, subject: str, registrar: str) -> dict[str, Any]:
        """Why a subject cannot be called, by what is known now; LookupError."""
        return self.findings.shown(subject, registrar)

    def register(self, name: str, *, verbose: bool) -> AsyncIterator[bytes] | None:
        """Test an account now, its lines as they come; None where there is none."""
        if name not in self.accounts:
            return None
        return outcomes.stream(
            lambda tell: self.accounts.test(name, tell), verbose=verbose
        )

    async def evidence(self, id: int, *, file: bool) -> dict[str, Any]:
        """The exchange that is kept of an incident; LookupError, OSError."""
        return await self.gathering.shown(id, file=file)

    async def bindings(self, aor: str) -> dict[str, Any]:
        """What the registrars hold of an AOR, and what its account may ask."""
        return await asked_for(self, aor)

    @property
    def started_at(self) -> float:
        """When it started, UTC s."""
        return self._started_at

    async def test_notify(self, notifiers: Iterable[str]) -> dict[str, str]:
        """Send a test by each of these, or by all; its error, or nothing."""
        return await self.self_tests.notifiers(notifiers)

    async def test_routes(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Send a test to all of these routes, or of all; LookupError."""
        return await self.self_tests.routes(numbers)

    def metrics(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """All metrics in slices; None while enough renderings are under way."""
        return self.exposition.render(gzip=gzip)
