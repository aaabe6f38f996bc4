"""The exchange behind each incident, looked for when it opens and kept.

The incident is told in its time, evidence or not: a mail waits for its group and no
longer. Who opens it later finds the exchange, and `sipwatch evidence` gives the file.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from pyee.base import EventEmitter

from alerting.announcement import Opened
from alerting.incident import Incident
from alerting.notification.shape import iso
from checks.observation import Kind, Subject, plain
from checks.options.probe import probe_once
from checks.options.targets import full_uri
from checks.options.views import TargetView
from checks.sip.resolver import Resolver
from checks.sip.trace import Exchanged
from checks.sip.uri import SipUri
from sipwatch import __version__
from sipwatch.capture import client, export
from sipwatch.capture.client import NoCaptureError
from sipwatch.capture.export import Exported
from sipwatch.capture.protocol import LONGEST, Question
from sipwatch.flow import Flow
from sipwatch.keeping.shelf import CAPTURE, PROBE, Kept, Shelf
from sipwatch.sources import Sources

TASK = "evidence"
REASONS = 1000  # incidents of which is known why there is no exchange; the oldest go
SHORT = 12  # digits of a SHA-256 where it only is to be recognized
WAITING = 32  # incidents whose exchange is looked for; a mass event has one of its own
EXCHANGE = 1024 * 1024  # octets of one: 2,000 messages
ADDRESSES = 8  # of a target
PATIENCE = 30.0  # s for our own probe
SETTLED = 1.0  # s by which two readings of the clock may differ
# What an exchange over the network is behind, and whose.
_KINDS = (Kind.EXTENSION, Kind.TARGET, Kind.REGISTRATION, Kind.ACCOUNT)
_OF_PROBE = ("timeout", "from_", "user_agent", "source", "tls", "healthy_codes")

log = logging.getLogger(__name__)


class Daemon(Sources, Protocol):
    """What is needed of it."""

    @property
    def resolver(self) -> Resolver:
        """Where names lead."""


class Gathering:
    """Hears of incidents on the bus; a resident task looks for one after the other."""

    def __init__(self, daemon: Daemon, bus: EventEmitter, flow: Flow) -> None:
        self.kept: dict[int, Kept] = {}  # by incident
        self.missed = 0  # incidents that came while too many waited
        self.error = ""  # why the last exchange could not be kept
        self._daemon, self._flow = daemon, flow
        self._waiting: deque[Incident] = deque()
        self._none: dict[int, str] = {}  # why there is none, by incident
        self._wanted = asyncio.Event()
        bus.on("opened", self._opened)

    @property
    def shelf(self) -> Shelf:
        """Where they are, by the configuration in force."""
        config = self._daemon.config
        settings = config.evidence
        beside = Path(config.database).parent / "evidence"
        folder = Path(settings.folder) if settings.folder else beside
        return Shelf(folder, settings.keep, settings.size)

    def _opened(self, announced: Opened) -> None:
        incident = announced.incident
        if incident.subject.kind not in _KINDS or incident.part_of is not None:
            return
        if len(self._waiting) >= WAITING:
            self.missed += 1
            self._lacks(incident, "too many incidents opened at once to look for it")
            return
        self._lacks(incident, "it is being looked for")
        self._waiting.append(incident)
        self._wanted.set()

    async def run(self) -> None:
        """For as long as the daemon runs."""
        self.kept = await asyncio.to_thread(self.shelf.load)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                await self._gather(self._waiting.popleft())

    async def tidy(self) -> None:
        """The nightly job."""
        shelf, clock = self.shelf, self._daemon.clock
        now = clock.to_wall(clock.now())
        try:
            await asyncio.to_thread(shelf.tidy, now)
        except OSError as error:
            log.warning("evidence: %s", error.strerror or error)
        self.kept = await asyncio.to_thread(shelf.load)

    async def _gather(self, incident: Incident) -> None:
        found = await self._captured(incident)
        source = CAPTURE
        if found is None or not found.messages:
            found, source = await self._of_ourselves(incident), PROBE
        if found is None or not found.messages:
            self._lacks(incident, self._nothing())
            return
        clock = self._daemon.clock
        now = clock.to_wall(clock.now())
        key, shelf = incident.subject.key, self.shelf
        try:
            kept = await asyncio.to_thread(
                shelf.put, incident.id, key, now, source, found
            )
        except OSError as error:
            self._failed(error)
            self._lacks(incident, f"it cannot be kept: {self.error}")
            return
        if self.error:
            log.info("evidence can be kept again")
        self.error = ""
        self.kept[incident.id] = kept
        self._none.pop(incident.id, None)
        log.info("incident %d: %s", incident.id, _said(kept))
        if self._daemon.alarms.evidenced(incident.id, clock.now()):
            self._flow.flush()

    def _failed(self, error: OSError) -> None:
        said = f"{error.strerror or error}"
        if said != self.error:
            log.warning("evidence cannot be kept: %s", said)
        self.error = said

    def _lacks(self, incident: Incident, why: str) -> None:
        self._none[incident.id] = why
        if len(self._none) > REASONS:
            del self._none[next(iter(self._none))]

    def _nothing(self) -> str:
        """Why nothing was found; what passes is looked at every few seconds."""
        if self._daemon.passing.up:
            return "no packets of it were seen"
        return "the capture service does not run (systemctl start sipwatch-capture)"

    # --- the ring -------------------------------------------------------------------

    async def _captured(self, incident: Incident) -> Exported | None:
        question = self._question(incident)
        if question is None:
            return None
        config = self._daemon.config
        try:
            found = await client.exchange(config.capture.socket, question)
        except NoCaptureError:
            return None  # whoever looks at what passes tells of that
        return await asyncio.to_thread(
            export.of_frames,
            found.frames,
            comment=_comment(incident),
            numbers=config.evidence.hide_numbers,
        )

    def _question(self, incident: Incident) -> Question | None:
        """Whose exchange it is; None where nothing names them."""
        users, addresses = self._names(incident.subject)
        if not (users or addresses):
            return None
        clock, before = self._daemon.clock, self._daemon.config.capture.before
        until = clock.to_wall(clock.now())
        since = clock.to_wall(incident.since) - before
        return Question(
            since=min(max(since, until - LONGEST), until),
            until=until,
            users=users,
            addresses=addresses,
            most=EXCHANGE,
        )

    def _names(self, subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The users and addresses by which packets are about a subject."""
        if subject.kind is Kind.EXTENSION:
            return (subject.name.partition("@")[0],), ()
        if subject.kind is Kind.ACCOUNT:
            account = self._daemon.accounts.get(subject.scope.name)
            return ((account.settings.username,) if account else ()), ()
        if subject.kind is Kind.REGISTRATION:
            return _user(subject.name), ()
        view = self._daemon.options.targets.get(subject.key)
        return (), _addresses(view) if view else ()

    # --- our own --------------------------------------------------------------------

    async def _of_ourselves(self, incident: Incident) -> Exported | None:
        """The last test of an account; for a target one more question."""
        subject = incident.subject
        messages: tuple[Exchanged, ...] = ()
        if subject.kind is Kind.ACCOUNT:
            account = self._daemon.accounts.get(subject.scope.name)
            if account is not None and account.outcome is not None:
                messages = account.outcome.exchange
        elif subject.kind is Kind.TARGET:
            messages = await self._asked(subject)
        if not messages:
            return None
        return export.of_messages(
            messages,
            comment=_comment(incident),
            numbers=self._daemon.config.evidence.hide_numbers,
        )

    async def _asked(self, subject: Subject) -> tuple[Exchanged, ...]:
        """What a target answers to one OPTIONS, every message of it."""
        daemon = self._daemon
        settings = daemon.config.targets.get(subject.name)
        view = daemon.options.targets.get(subject.key)
        if settings is None or view is None:
            return ()
        await asyncio.sleep(daemon.options.claim(_addresses(view)))
        options = {key: getattr(settings, key) for key in _OF_PROBE}
        try:
            async with asyncio.timeout(settings.timeout + PATIENCE):
                [result] = await probe_once(
                    [settings.uri],
                    agent=f"sipwatch/{__version__}",
                    resolver=daemon.resolver,
                    exchange=True,
                    **options,
                )
        except (OSError, ValueError):
            return ()
        return result.exchange

    # --- what is shown --------------------------------------------------------------

    def line(self, incident: Incident) -> str:
        """What a mail says of the exchange that is kept; empty without one."""
        opened = self._daemon.clock.to_wall(incident.opened_at)
        kept = self._of(incident, opened)
        return f"{_said(kept)}: sipwatch evidence {incident.id}" if kept else ""

    def mentioned(self, incident: Incident, opened: float) -> dict[str, Any]:
        """What is kept of an incident that opened then, by the wall clock, or why
        there is none."""
        kept = self._of(incident, opened)
        return {
            "file": f"{incident.id}.pcapng" if kept else None,
            "source": kept.source if kept else None,
            "messages": kept.messages if kept else 0,
            "size": kept.size if kept else 0,
            "sha256": kept.sha256[:SHORT] if kept else None,
            "why": "" if kept else self._why_none(incident),
        }

    def _why_none(self, incident: Incident) -> str:
        if incident.subject.kind not in _KINDS:
            return "nothing is said over the network by what it is about"
        if incident.part_of is not None:
            return f"it is part of incident {incident.part_of}"
        return self._none.get(incident.id, "none is kept, or no longer")

    def _of(self, incident: Incident, opened: float) -> Kept | None:
        """Numbers begin anew with another database; the folder may be an old one."""
        kept = self.kept.get(incident.id)
        if kept is None or kept.subject != incident.subject.key:
            return None
        return kept if kept.at >= opened - SETTLED else None

    async def shown(self, id: int, *, file: bool) -> dict[str, Any]:
        """The answer of /api/v1/incidents/ID/evidence; LookupError, OSError."""
        kept = self.kept.get(id)
        if kept is None:
            raise LookupError(f"no exchange of incident {id} is kept")
        shelf = self.shelf
        shown: dict[str, Any] = {
            "incident": id,
            "subject": kept.subject,
            "at": iso(kept.at),
            "source": kept.source,
            "messages": kept.messages,
            "frames": kept.frames,
            "size": kept.size,
            "sha256": kept.sha256,
            "notes": list(kept.notes),
            "text": await asyncio.to_thread(shelf.text, kept),
        }
        if file:
            data = await asyncio.to_thread(shelf.file, kept)
            shown["pcapng"] = base64.b64encode(data).decode()
        return shown


def _said(kept: Kept) -> str:
    """6 messages, 4 kB."""
    whose = "" if kept.source == CAPTURE else " of our own"
    plural = "" if kept.messages == 1 else "s"
    return f"{kept.messages} message{plural}{whose}, {max(1, kept.size // 1024)} kB"


def _comment(incident: Incident) -> str:
    return f"sipwatch {__version__}, incident {incident.id}: {plain(incident.rule)}"


def _user(name: str) -> tuple[str, ...]:
    """The user of a SIP URI, or of an AOR."""
    try:
        user = SipUri.parse(full_uri(name)).user
    except ValueError:
        return ()
    return (user,) if user else ()


def _addresses(view: TargetView) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_ips(one.address for one in view.addresses)))[:ADDRESSES]


def _ips(places: Iterable[str]) -> Iterable[str]:
    """The addresses of `54.172.60.0:5060 over UDP`."""
    for place in places:
        host = place.partition(" ")[0].rpartition(":")[0].strip("[]")
        try:
            yield str(ipaddress.ip_address(host))
        except ValueError:
            continue
