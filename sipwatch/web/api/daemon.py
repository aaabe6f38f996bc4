"""The daemon, as the API sees it: what may be read of it, and what it can be asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Protocol

from alerting.store.reader import Reader
from sipwatch.answers.verifying import Verified
from sipwatch.runbook.page import Page
from sipwatch.sources import Sources
from sipwatch.views.incidents import OneIncident


class Daemon(Sources, Protocol):
    """What the daemon shows of itself, and does for those who ask."""

    @property
    def reader(self) -> Reader:
        """What was."""

    def unwell(self) -> str:
        """Why the daemon does not do its work; empty while it does."""

    async def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""

    def runbook(self) -> Page:
        """One page of all that is watched."""

    async def audit(self, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/audit; LookupError for what is no registrar."""

    def finding(self, subject: str, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/finding; LookupError."""

    async def history(self, subject: str, registrar: str) -> dict[str, Any]:
        """The answer of /api/v1/history; LookupError, ReaderError."""

    async def explain_incident(self, id: int) -> dict[str, Any]:
        """Why an incident is; LookupError, ReaderError."""

    async def explain(self, subject: str, registrar: str) -> dict[str, Any]:
        """Why there is no alarm of a subject, or which; LookupError, ReaderError."""

    async def evidence(self, id: int, *, file: bool) -> dict[str, Any]:
        """The exchange of an incident; LookupError, OSError."""

    async def incident(self, id: int) -> OneIncident:
        """An incident in full; LookupError, ReaderError."""

    async def verify(self, subject: str, registrar: str) -> Verified:
        """Test something now; LookupError, ValueError, TooSoonError."""

    def diagnose(self, subject: str, *, call: bool) -> AsyncIterator[bytes]:
        """Look at something, its lines as they come; LookupError."""

    def register(self, name: str, *, verbose: bool) -> AsyncIterator[bytes] | None:
        """Test an account, its lines as they come; None where there is none."""

    async def bindings(self, aor: str) -> dict[str, Any]:
        """What is known of who is registered for an AOR."""

    async def test_notify(self, notifiers: Iterable[str]) -> dict[str, str]:
        """Send a test by each; the error of each, empty where it was accepted."""

    async def test_routes(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Send a test to all of these routes, or of all; LookupError."""
