"""Asterisk with PJSIP, read through its manager interface (AMI).

A list tells who is registered, until when and whether the PBX's qualify reaches it;
events tell of contacts that come and go between lists. A refresh has no event, so the
end of a registration is known only from the last list. chan_sip's peers are not read:
chan_sip is gone since Asterisk 21.
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from checks.observation import Binding
from checks.registrars import pauses, refusals
from checks.registrars.ami import Message
from checks.registrars.aside import Aside
from checks.registrars.complaints import MANAGER_CONF, Complaint
from checks.registrars.devices import Devices
from checks.registrars.failures import (
    host_and_port,
    trusting,
    unreadable,
)
from checks.registrars.followed import Followed
from checks.registrars.pjsip import (
    Contacts,
    Ends,
    Roster,
    binding,
    number,
    old_binding,
    startup,
    title,
    title_question,
)
from checks.registrars.places import Places
from checks.registrars.qualify import Qualifying
from checks.registrars.session import RefusedError, Session
from checks.registrars.trunks import Trunks
from checks.registrations.judge import (
    SLICE,
    Added,
    Bindings,
    ListEnd,
    Outbounds,
    Reading,
    RegistrarSettings,
    Restarting,
    Unreadable,
)
from checks.registrations.readings import key
from checks.settings import Duration, Secret
from checks.sip.resolver import Resolver

PORT = 5038
EVENTS = {
    "ContactStatus",
    "Registry",
    "SuccessfulAuth",
    "FullyBooted",
    "Shutdown",
    "Reload",
    pauses.EVENT,
    *refusals.EVENTS,
}

# Three Errors of different meaning; NO_CONTACTS alone is data.
NO_CONTACTS = "No Contacts found"
PERMISSION_DENIED = "Permission denied"
UNKNOWN_COMMAND = "Invalid/unknown command"

EXPIRY_DELAY = 1.0  # s after which a new contact's expiry is asked for, for all at once
BURST = 10.0  # s that a list waits until the events are read that it would set aside
BOOT_WAIT = 5.0  # s for FullyBooted; a user that cannot read `system` never gets it
ROSTER_SECONDS = 300.0  # between reads of the AORs, where no reload is seen
IDLE_PING = 15.0  # s of silence after which we ask whether it still lives
STEP = SLICE // 2  # rows judged in one turn of the loop: new ones take 8 ms
TITLES = 100  # names asked for at once: a few ms of either side
TITLES_PAUSE = 0.2  # s between such; thousands of names come after the list, in peace

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AsteriskSettings(RegistrarSettings):
    """An Asterisk, by the user that `manager.conf` gives us."""

    type: Literal["asterisk"] = "asterisk"
    username: str = "sipwatch"  # its section in manager.conf
    password: Secret = field(default_factory=lambda: Secret(""))  # its `secret` there
    tls: bool = False  # AMI over TLS
    ca: str | None = None  # file with the CA's certificate; default: the system's
    timeout: Duration = 10.0  # to connect, and for every answer

    def __post_init__(self) -> None:
        if any(c in self.username + self.password.reveal() for c in "\r\n"):
            raise ValueError("username and password must be one line each")


class Asterisk(Followed[Session]):
    """One Asterisk at one address: a stream of readings, nothing else."""

    refusal = RefusedError

    def __init__(
        self,
        settings: AsteriskSettings,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = list,  # not needed: it lists all it has
        resolver: Resolver | None = None,
    ) -> None:
        super().__init__(address, settings.interval, clock)
        self._settings = settings
        self._places = Places(resolver)
        self._contacts = Contacts()
        self._pauses = pauses.Pauses(f"AMI at {address}")
        self._trunks = Trunks()
        self._devices = Devices()
        self._booted: float | None = None  # estimate, epoch s of the PBX
        self._boot: float | None = None
        self._hears_boots = False  # FullyBooted has come once, so it may be waited for
        self._next_roster = 0.0
        self._warned = False
        self._titles: dict[str, str] = {}  # by AOR, as last asked for
        self._roster_read = Roster()
        self._untitled: list[str] = []  # AORs whose names are to be asked for
        self._renamed = False  # by a reload, perhaps
        self._next_titles = math.inf
        self._qualifying = self._qualifier()

    def _qualifier(self) -> Qualifying:
        settings = self._settings
        return Qualifying(
            settings.probe, on=settings.probe_contacts, where=self.address
        )

    async def in_call(self, aor: str) -> bool | None:
        """Whether a phone is in a call now; None: it cannot be told."""
        return await self._devices.ask(aor, self._session)

    def _leave(self, session: Session) -> None:
        self._devices.forget()
        session.send("Logoff")

    # --- to connect -----------------------------------------------------------------

    async def _connect(self) -> Session:
        settings = self._settings
        where = f"AMI at {self.address}"
        try:
            host, port = host_and_port(self.address, PORT)
        except ValueError as error:
            raise Complaint.NO_ADDRESS.of(error=error) from None
        try:
            async with asyncio.timeout(settings.timeout):
                tls = await self._context() if settings.tls else None
                session = await self._places.connect(
                    lambda: Session(settings.timeout, self._clock, EVENTS),
                    host,
                    port,
                    tls,
                )
        except ConnectionRefusedError as error:
            failure = unreadable(error, where)
            raise Complaint.AMI_REFUSED.of(failed=failure.detail) from None
        except OSError as error:
            raise unreadable(error, where) from None
        except ValueError:  # Python reads its names, whether anybody asks or not
            raise Complaint.ODD_NAMES.of(where=where) from None
        return session

    async def _context(self) -> ssl.SSLContext:
        return await asyncio.to_thread(trusting, self._settings.ca)

    async def _enter(self, session: Session) -> None:
        """Log in, learn the PBX's clock, and wait until it has booted."""
        self._contacts = Contacts()
        self._pauses.forget()
        self._booted = self._boot = None
        self._next_roster = 0.0
        self._titles.clear()
        self._untitled, self._next_titles = [], math.inf
        self._qualifying = self._qualifier()
        await session.greeting()
        await self._log_in(session)
        await self._ping(session)
        late = self._clock() + min(BOOT_WAIT, self._settings.timeout)
        while self._booted is None and (left := late - self._clock()) > 0:
            for event in await session.gather(left):
                self._read(event, session)
        if self._booted is None and not self._warned:
            self._warned = True
            log.warning(
                "%s: no FullyBooted after the log-in; without `read = system,security` "
                "for [%s] in %s only the lists are read, and no events",
                self.address,
                self._settings.username,
                MANAGER_CONF,
            )

    async def _log_in(self, session: Session) -> None:
        """Log in; what is refused again and again is soon tried at long intervals."""
        settings = self._settings
        try:
            await session.log_in(settings.username, settings.password.reveal())
        except Unreadable as failure:
            self._hold_back.refused(failure, self._clock())
            raise
        self._hold_back.accepted()

    async def _ping(self, session: Session) -> None:
        """Ask for the PBX's clock, which also tells that it lives."""
        asked = self._clock()
        stamp = number((await session.ask("Ping")).get("Timestamp"))
        self._contacts.timed = stamp is not None
        if stamp is not None:
            self._contacts.offset = stamp - (asked + self._clock()) / 2

    def _meaning(self, words: str) -> Unreadable:
        user = self._settings.username
        if PERMISSION_DENIED in words:
            return Complaint.AMI_RIGHTS.of(user=user)
        if UNKNOWN_COMMAND not in words:
            return Complaint.AMI_ERROR.of(words=words)
        if self._booted is None:
            return Complaint.AMI_LOADING.of()
        return Complaint.AMI_NO_PJSIP.of()

    # --- to list --------------------------------------------------------------------

    async def _list(self, session: Session) -> AsyncIterator[Reading]:
        """One full list; what happened meanwhile is told before its end.

        A row may be older than an event that came before it, so the events come last.
        """
        began = self._pace.begin()
        await self._ping(session)
        told = self._booted is not None or not self._hears_boots
        if self._boot is None and told:
            self._boot = startup(await session.ask("CoreStatus"), self._booted)
        roster = None
        if began >= self._next_roster:
            roster = await self._roster(session)
            self._next_roster = began + ROSTER_SECONDS
            yield roster.expected(
                self._titles
            )  # so that new AORs are known before their rows
        ends: Ends = {}
        async for rows in self._bindings(session, ends, roster):
            yield Bindings(rows)
            await asyncio.sleep(0)
        events = session.take_aside()
        if roster:
            await self._settle(roster, events)
            self._find_untitled(roster)
            await self._learn_titles(session)
            yield roster.expected(self._titles)
        self._contacts.ends = ends
        self._contacts.once.clear()
        for event in events.drain():
            if len(events) % SLICE == 0:
                await asyncio.sleep(0)
            if reading := self._read(event, session):
                yield reading
        # What came during the list may be in it, or not.
        self._contacts.once = dict.fromkeys(self._contacts.once)
        yield await self._registrations(session)
        if paused := await self._pauses.listed(session):
            yield paused
        self._pace.end(began)
        self._qualifying.list_ended(self._clock())
        yield ListEnd(began, self._clock() + self._contacts.offset, self._boot)

    async def _roster(self, session: Session) -> Roster:
        roster = Roster()
        same = {aor: aor for aor in self._roster_read.names}  # as one object
        listing = ("PJSIPShowRegistrationsInbound", "InboundRegistrationDetail")
        async for rows in session.rows(*listing):
            for row in rows:
                aor = row.get("ObjectName", "")
                row["ObjectName"] = same.get(aor, aor)
                roster.add(row)
        return roster

    async def _settle(self, roster: Roster, events: Aside) -> None:
        """Take out the trunks; a contact may have gone between the two lists."""
        for n, event in enumerate(events):
            if n % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            roster.strike(event.get("AOR", ""), event.get("URI", ""))
        roster.settle(self._contacts.ends)
        await asyncio.sleep(0)
        self._contacts.trunks = roster.trunks

    def _find_untitled(self, roster: Roster) -> None:
        """Whose name is not known; after a reload each has its old one until then."""
        known = {} if self._renamed else self._titles
        self._titles = {a: t for a, t in self._titles.items() if a in roster.names}
        self._untitled = [aor for aor in roster.names if aor not in known]
        self._roster_read, self._renamed = roster, False

    async def _learn_titles(self, session: Session) -> None:
        """Ask for some new names; where they are refused, a phone is called by its AOR.

        What is judged needs none of them, so that a large PBX is asked in peace.
        """
        several, left = self._untitled[:TITLES], self._untitled[TITLES:]
        questions = [title_question(aor) for aor in several]
        answers = await session.ask_each("Getvar", questions)
        for aor, answer in zip(several, answers, strict=True):
            self._titles[aor] = title(answer, aor)
        self._untitled = left
        self._next_titles = self._clock() + TITLES_PAUSE if left else math.inf

    async def _bindings(
        self, session: Session, ends: Ends, roster: Roster | None
    ) -> AsyncIterator[list[Binding]]:
        """The registered contacts in slices; `ends` gets what events are read by, and
        in the `roster` they are struck."""
        rows: list[Binding] = []
        same = {aor: aor for aor in roster.names} if roster else {}
        async for found in self._contact_rows(session):
            for row in found:
                name = key(row.aor, row.contact)
                # Two endpoints with one AOR list its contacts twice.
                if name not in ends and row.aor not in self._contacts.trunks:
                    ends[name] = row.expires_at
                    if roster:
                        roster.strike(row.aor, row.contact)
                        row.aor = same.get(row.aor, row.aor)  # as one object
                    rows.append(row)
            while len(rows) >= STEP:
                yield rows[:STEP]
                del rows[:STEP]
        if rows:
            yield rows

    async def _contact_rows(self, session: Session) -> AsyncIterator[list[Binding]]:
        try:
            listing = session.rows(
                "PJSIPShowRegistrationInboundContactStatuses", "ContactStatusDetail"
            )
            async for rows in listing:
                yield [self._row(row, binding(row)) for row in rows]
            return
        except RefusedError as refused:
            if UNKNOWN_COMMAND not in str(refused):
                raise
        try:  # older than 13.9, or in the middle of loading
            async for rows in session.rows("PJSIPShowContacts", "ContactList"):
                yield [self._row(row, old_binding(row)) for row in rows]
        except RefusedError as refused:
            if str(refused) != NO_CONTACTS:
                raise

    def _row(self, row: Message, found: Binding) -> Binding:
        return self._qualifying.listed(row, self._contacts.listed(row, found))

    async def _registrations(self, session: Session) -> Outbounds:
        """What it registers elsewhere; the passwords in between end in the parser."""
        asked, rows = self._clock(), []
        listing = ("PJSIPShowRegistrationsOutbound", "OutboundRegistrationDetail")
        try:
            async for found in session.rows(*listing):
                rows += found
        except RefusedError as refused:
            if UNKNOWN_COMMAND not in str(refused):
                raise
        return self._trunks.listed(rows, asked)

    # --- to follow ------------------------------------------------------------------

    async def _follow(self, session: Session) -> AsyncIterator[Reading]:
        """Events until the next list is due; silence is met with a Ping."""
        while (now := self._clock()) < (due := self._pace.due()) or (
            session.behind and now < due + BURST
        ):
            ping_at = session.heard + IDLE_PING
            if now >= ping_at:
                await self._ping(session)
            await self._devices.run(session)
            async for failed in self._qualifying.run(session, now):
                yield failed
            if now >= self._next_titles:
                await self._learn_titles(session)
                if not self._untitled:
                    yield self._roster_read.expected(self._titles)
            wake = min(due, ping_at, self._qualifying.due(), self._next_titles)
            for event in await session.gather(max(wake, now) - now):
                if reading := self._read(event, session):
                    yield reading

    def _read(self, event: Message, session: Session) -> Reading | None:
        """What one event says, if anything."""
        now = self._clock()
        match event["Event"]:
            case "ContactStatus":
                self._qualifying.event(event, now)
                reading = self._contacts.status(event, now)
                if isinstance(reading, Added):
                    self._pace.wish(now + EXPIRY_DELAY)
                return reading
            case "Registry":
                attempt = self._trunks.event(event, self._contacts.when(event, now))
                if attempt is None:
                    self._pace.wish(now + EXPIRY_DELAY)
                return attempt
            case pauses.EVENT:
                return self._pauses.event(event, now)
            case "SuccessfulAuth":
                self._contacts.authenticated(event, now)
            case name if name in refusals.EVENTS:
                return refusals.refused(event, now)
            case "Shutdown":
                session.shutting_down = True
                return Restarting(self._contacts.when(event, now))
            case "FullyBooted":
                uptime = number(event.get("Uptime")) or 0.0
                self._booted = now + self._contacts.offset - uptime
                self._hears_boots = True
                self._boot, self._next_roster = None, 0.0
                self._pace.wish(now)
            case "Reload":
                self._next_roster = 0.0
                self._renamed = True
                self._pace.wish(now + EXPIRY_DELAY)
        return None
