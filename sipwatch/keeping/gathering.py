"""The exchange behind each incident, looked for when it opens and kept.

The incident is told in its time, evidence or not: a mail waits for its group and no
longer. Who opens it later finds the exchange, and `sipwatch evidence` gives the file.

An incident for which nothing was found is looked at again while it is open: after a
while, when the phone may have tried once more, and whenever it changes. One that gets
worse is looked at again as well; what there was stays where less is found then.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyee.base import EventEmitter

from alerting.announcement import Opened, Resolved, Updated
from alerting.incident import Incident, Severity
from alerting.notification.shape import iso
from checks.observation import Kind, Subject, plain
from checks.options.targets import full_uri
from checks.registrars.clocks import pause
from checks.sip.uri import SipUri
from sipwatch import __version__
from sipwatch.capture import client, export
from sipwatch.capture.client import NoCaptureError
from sipwatch.capture.export import Exported
from sipwatch.capture.protocol import LONGEST, Question
from sipwatch.flow import Flow
from sipwatch.keeping import own
from sipwatch.keeping.shelf import CAPTURE, PROBE, Kept, Shelf

TASK = "evidence"
REASONS = 1000  # incidents of which is known why there is no exchange; the oldest go
PERIOD = 5.0  # s between two looks at whether it is time for another one
# s until it is looked for again where nothing was found, and the last one each time: a
# phone tries again every minute or so, and later it is no longer about what happened.
AGAIN = (60.0, 300.0, 1800.0, 6 * 3600.0)
APART = 15.0  # s at least between two looks, however often an incident changes
SHORT = 12  # digits of a SHA-256 where it only is to be recognized
WAITING = 32  # incidents whose exchange is looked for; a mass event has one of its own
EXCHANGE = 1024 * 1024  # octets of one: 2,000 messages
SETTLED = 1.0  # s by which two readings of the clock may differ
# What an exchange over the network is behind, and whose.
_KINDS = (Kind.EXTENSION, Kind.TARGET, Kind.REGISTRATION, Kind.ACCOUNT)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Looked:
    """An open incident that was looked at."""

    incident: Incident
    severity: Severity  # that it had then
    at: float  # UTC s
    times: int  # before
    again: float  # when to look again, where nothing was found; UTC s


class Gathering:
    """Hears of incidents on the bus; a resident task looks for one after the other."""

    def __init__(self, daemon: own.Daemon, bus: EventEmitter, flow: Flow) -> None:
        self.kept: dict[int, Kept] = {}  # by incident
        self.missed = 0  # incidents that came while too many waited
        self.error = ""  # why the last exchange could not be kept
        self._daemon, self._flow = daemon, flow
        self._waiting: deque[Incident] = deque()
        self._none: dict[int, str] = {}  # why there is none, by incident
        self._looked: dict[int, _Looked] = {}  # open ones that were looked at
        self._wanted = asyncio.Event()
        bus.on("opened", self._opened)
        bus.on("updated", self._updated)
        bus.on("resolved", self._resolved)

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

    def _updated(self, announced: Updated) -> None:
        """It has changed: where nothing was found of it, there may be something now."""
        looked = self._looked.get(announced.incident.id)
        if looked is not None:
            looked.again = min(looked.again, self._daemon.clock.now())
            self._wanted.set()

    def _resolved(self, announced: Resolved) -> None:
        self._looked.pop(announced.incident.id, None)

    async def run(self) -> None:
        """For as long as the daemon runs."""
        self.kept = await asyncio.to_thread(self.shelf.load)
        while True:
            await pause(self._wanted, PERIOD)
            self._wanted.clear()
            self._look_again()
            while self._waiting:
                await self._gather(self._waiting.popleft())

    def _look_again(self) -> None:
        """At those that got worse, and where nothing was found and it is time."""
        now, waiting = self._daemon.clock.now(), {one.id for one in self._waiting}
        for id_, looked in self._looked.items():
            worse = looked.incident.severity > looked.severity
            wanted = worse or (id_ not in self.kept and looked.again <= now)
            if not wanted or now < looked.at + APART or id_ in waiting:
                continue
            if len(self._waiting) < WAITING:
                self._waiting.append(looked.incident)

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
        self._note(incident)
        found = await self._captured(incident)
        source = CAPTURE
        if found is None or not found.messages:
            found, source = await self._of_ourselves(incident), PROBE
        if found is None or not found.messages:
            if incident.id not in self.kept:
                self._lacks(incident, self._nothing())
            return
        if self._is_less(incident, found, source):
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

    def _note(self, incident: Incident) -> None:
        """It is looked at now; of open ones only, of which there are as many."""
        looked = self._looked.get(incident.id)
        if incident.resolved_at is not None or (not looked and self._full):
            return
        now, times = self._daemon.clock.now(), looked.times + 1 if looked else 0
        again = now + AGAIN[min(times, len(AGAIN) - 1)]
        self._looked[incident.id] = _Looked(
            incident, incident.severity, now, times, again
        )

    @property
    def _full(self) -> bool:
        return len(self._looked) >= REASONS

    def _is_less(self, incident: Incident, found: Exported, source: str) -> bool:
        """Whether what is kept of it says more: packets of the network, and as many."""
        kept = self.kept.get(incident.id)
        if kept is None or kept.subject != incident.subject.key:
            return False
        if source != kept.source:
            return source == PROBE
        return found.messages < kept.messages

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
        return (), own.addresses(view) if view else ()

    # --- our own --------------------------------------------------------------------

    async def _of_ourselves(self, incident: Incident) -> Exported | None:
        """The last test of an account; of others one more question."""
        messages = await own.exchange(self._daemon, incident.subject)
        if not messages:
            return None
        return export.of_messages(
            messages,
            comment=_comment(incident),
            numbers=self._daemon.config.evidence.hide_numbers,
        )

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
