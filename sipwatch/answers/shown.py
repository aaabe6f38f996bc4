"""What is shown of a daemon: the answers of its web pages, its API and its commands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from alerting.notification.shape import iso
from alerting.store.reader import Reader
from sipwatch import outcomes
from sipwatch.answers import reasons, standings
from sipwatch.answers.audit import audit
from sipwatch.answers.bindings import asked_for
from sipwatch.answers.retelling import retold
from sipwatch.answers.status import status
from sipwatch.answers.verifying import Verified, verify
from sipwatch.diagnosis import walk as diagnosis
from sipwatch.parts import Parts
from sipwatch.runbook.contents import Contents
from sipwatch.runbook.page import Page
from sipwatch.views import incidents
from sipwatch.views.incidents import OneIncident


class Answers(Parts):
    """What the parts have to tell, each answer as it is asked for."""

    async def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""
        return await status(self)

    @property
    def reader(self) -> Reader:
        """What was."""
        return self.chronicle.reader

    async def incident(self, id: int) -> OneIncident:
        """An incident in full; LookupError, ReaderError."""
        await self._settle()
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
        await self._settle()
        return await retold(self, self.chronicle.reader, subject, registrar)

    async def explain_incident(self, id: int) -> dict[str, Any]:
        """Why an incident is, as far as it is on the disk; LookupError, ReaderError."""
        await self._settle()
        return await reasons.of_incident(self, self.chronicle.reader, id)

    async def explain(self, subject: str, registrar: str) -> dict[str, Any]:
        """Why there is no alarm of a subject, or which; LookupError, ReaderError."""
        await self._settle()
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

    async def test_notify(self, notifiers: Iterable[str]) -> dict[str, str]:
        """Send a test by each of these, or by all; its error, or nothing."""
        return await self.self_tests.notifiers(notifiers)

    async def test_routes(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Send a test to all of these routes, or of all; LookupError."""
        return await self.self_tests.routes(numbers)

    def metrics(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """All metrics in slices; None while enough renderings are under way."""
        return self.exposition.render(gzip=gzip)

    async def _settle(self) -> None:
        """Have on the disk what is, so that who reads there sees it."""
        await self.flow.settle()
        await self.chronicle.settle()
