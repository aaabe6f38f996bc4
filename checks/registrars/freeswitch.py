"""FreeSWITCH, read through its event socket (ESL).

The truth is the table of each profile (`sofia xmlstatus profile P reg`): the core's
`show registrations` keeps one row a user and forgets no phone that stopped answering.
Events tell of each REGISTER, of each removal and of OPTIONS that are not answered any
more; a list reconciles. The tables outlive a restart, so that a row is no proof that a
phone is there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from checks.observation import Binding, plain
from checks.registrars.complaints import Complaint
from checks.registrars.directory import Directory
from checks.registrars.esl import Event, RefusedError
from checks.registrars.esl_session import EslSession
from checks.registrars.failures import host_and_port, unreadable
from checks.registrars.followed import Followed
from checks.registrars.places import Places
from checks.registrars.sofia import Listing, Registrations, stamped, whole
from checks.registrars.sofia_gateways import Gateways
from checks.registrars.sofia_text import Document, Element, slices
from checks.registrations.judge import (
    SLICE,
    Bindings,
    ListEnd,
    Reading,
    RegistrarSettings,
    Restarting,
    Unreadable,
)
from checks.registrations.readings import Outbounds
from checks.settings import Duration, Secret
from checks.sip.resolver import Resolver

PORT = 8021
# All that follows CUSTOM is a subclass, so it comes last.
EVENTS = (
    "HEARTBEAT SHUTDOWN RELOADXML CUSTOM sofia::register sofia::unregister "
    "sofia::expire sofia::sip_user_state sofia::gateway_state sofia::gateway_add "
    "sofia::gateway_delete sofia::profile_start"
)
NAME = re.compile(r"[!-~]+")  # of a profile: it stands in our commands
RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # Core-UUID

ROW_LIMIT = 200_000  # registrations of one list
STEP = SLICE // 4  # bindings judged in one turn of the loop: new ones take 10 ms
STARTING = 10.0  # s of uptime within which profiles may be missing
PROFILE_WAIT = 10.0  # s for a profile to come back that is being restarted
PROFILE_GONE = 600.0  # s after which a profile is believed to be gone for good
RUNS = float("inf")  # a profile is missed from then on
DELAY = 1.0  # s after which a new contact, or one that left, is looked at
IDLE = 15.0  # s of silence after which we ask whether it still lives
LOOK = 1.0  # s between looks for a profile that is missing


@dataclass(frozen=True, kw_only=True)
class FreeswitchSettings(RegistrarSettings):
    """A FreeSWITCH, by the password of its event socket."""

    type: Literal["freeswitch"] = "freeswitch"
    password: Secret = field(default_factory=lambda: Secret(""))  # of the event socket
    profiles: list[str] = field(default_factory=list)  # empty: all that run
    timeout: Duration = 10.0  # to connect, and for every answer

    def __post_init__(self) -> None:
        if any(c in self.password.reveal() for c in "\r\n"):
            raise ValueError("password must be one line")
        if not all(NAME.fullmatch(name) for name in self.profiles):
            raise ValueError("profiles must be names without spaces")


class Freeswitch(Followed[EslSession]):
    """One FreeSWITCH at one address: a stream of readings, nothing else."""

    refusal = RefusedError

    def __init__(
        self,
        settings: FreeswitchSettings,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = list,  # not needed: it lists all it has
        resolver: Resolver | None = None,
    ) -> None:
        super().__init__(address, settings.interval, clock)
        self._settings = settings
        self._places = Places(resolver)
        self._registrations = Registrations(settings.domain)
        self._gateways = Gateways()
        self._run = ""  # Core-UUID
        self._boot: float | None = None  # of that run, on the PBX's clock
        self._tells_time = True
        self._profiles: dict[str, float] = {}  # that should run; missed since, or RUNS
        self._directory = Directory(address, settings.domain)

    def _leave(self, session: EslSession) -> None:
        session.send("exit")

    # --- to connect -----------------------------------------------------------------

    async def _connect(self) -> EslSession:
        settings = self._settings
        where = f"ESL at {self.address}"
        try:
            host, port = host_and_port(self.address, PORT)
        except ValueError as error:
            raise Complaint.NO_ADDRESS.of(error=error) from None
        try:
            async with asyncio.timeout(settings.timeout):
                session = await self._places.connect(
                    lambda: EslSession(settings.timeout, self._clock), host, port
                )
        except ConnectionRefusedError as error:
            failure = unreadable(error, where)
            raise Complaint.ESL_REFUSED.of(failed=failure.detail) from None
        except OSError as error:
            raise unreadable(error, where) from None
        return session

    async def _enter(self, session: EslSession) -> None:
        """Log in, ask for events, and learn which run of FreeSWITCH this is."""
        try:
            await session.log_in(self._settings.password.reveal())
        except Unreadable as failure:
            self._hold_back.refused(failure, self._clock())
            raise
        self._hold_back.accepted()
        await session.ask(f"event plain {EVENTS}")
        self._registrations.offset = None
        self._directory.forget()
        await self._ask_time(session)
        said = await self._ask_perhaps(session, "api uptime s")
        uptime = whole(said)
        told = uptime > 0 or said == "0"  # the latter in its first second
        run = await self._ask_perhaps(session, "api global_getvar core_uuid")
        if told and (offset := self._registrations.offset) is not None:
            self._runs(run, self._clock() + offset - uptime)
        if told and uptime < STARTING:
            await session.rest(STARTING - uptime)

    async def _ask_perhaps(self, session: EslSession, command: str) -> str:
        """What some FreeSWITCHs do not tell: "" then."""
        try:
            return await session.ask(command)
        except RefusedError:
            return ""

    async def _ask_time(self, session: EslSession) -> None:
        """The PBX's clock; without mod_dptools its events tell it, later."""
        if not self._tells_time:
            return
        asked = self._clock()
        stamp = whole(await self._ask_perhaps(session, "api strmicroepoch"))
        if stamp:
            self._registrations.offset = stamp / 1e6 - (asked + self._clock()) / 2
        self._tells_time = bool(stamp)

    def _runs(self, run: str, boot: float) -> None:
        """This run of FreeSWITCH began then; its uptime drifts, so the first stands."""
        if RUN.fullmatch(run) and run != self._run:
            self._run, self._boot = run, boot

    def _meaning(self, words: str) -> Unreadable:
        """What it means that words stand in place of an answer."""
        if "Command not found" in words and "sofia" in words:
            return Complaint.SOFIA_MISSING.of()
        if words.startswith("Invalid Profile"):
            return Complaint.SOFIA_ENDED.of()
        return Complaint.SOFIA_ERROR.of(words=plain(words, 100))

    # --- to list --------------------------------------------------------------------

    async def _list(self, session: EslSession) -> AsyncIterator[Reading]:
        """One full list; events that came beside it follow its rows.

        The gateways are asked for last, so that what they are is newer than those.
        """
        began = self._pace.begin()
        await self._ask_time(session)
        listing = Listing(self._registrations)
        for profile in await self._running(session):
            async for rows in self._rows(session, profile, listing):
                yield Bindings(rows)
                await asyncio.sleep(0)
        if spare := listing.rest(self._clock()):
            yield Bindings(spare)
        if roster := await self._directory.roster(session, began, listing.aors):
            yield roster
        document = Document("gateways", {"gateway"})
        found = await self._elements(session, "gateway", document)
        events = session.take_aside()
        listing.settle(events)
        for n, event in enumerate(events):
            if n % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if reading := self._read(event, session):
                yield reading
        yield Outbounds(self._gateways.listed([row for _, row in found], self._clock()))
        self._pace.end(began)
        offset = self._registrations.offset
        pbx_now = None if offset is None else self._clock() + offset
        yield ListEnd(began, pbx_now, self._boot, run=self._run, kept=True)

    async def _running(self, session: EslSession) -> list[str]:
        """The profiles to be read; one that is restarted is waited for."""
        late = self._clock() + PROFILE_WAIT
        while True:
            document = Document("profiles", {"profile", "gateway", "alias"})
            found = await self._elements(session, "", document)
            names = self._chosen(found)
            now = self._clock()
            self._profiles.update(dict.fromkeys(names, RUNS))
            missing = [name for name in self._profiles if name not in names]
            for name in missing:
                self._profiles[name] = min(self._profiles[name], now)
            if not missing and names:
                return names
            if now >= late:
                break
            await session.rest(LOOK)
        for name in missing:
            if now - self._profiles[name] >= PROFILE_GONE:
                del self._profiles[name]
        raise not_running(missing)

    def _chosen(self, found: list[Element]) -> list[str]:
        """The names of profiles, each once: it stands there for each transport."""
        names = [row.get("name", "") for kind, row in found if kind == "profile"]
        if not self._settings.profiles:
            return list(dict.fromkeys(names))
        aliases = {
            row.get("name", ""): row.get("data", "")
            for kind, row in found
            if kind == "alias"
        }
        wanted = [aliases.get(name, name) for name in self._settings.profiles]
        if unknown := [name for name in wanted if name not in names]:
            for name in unknown:
                self._profiles.setdefault(name, RUNS)
        return [name for name in dict.fromkeys(wanted) if name in names]

    async def _rows(
        self, session: EslSession, profile: str, listing: Listing
    ) -> AsyncIterator[list[Binding]]:
        """The registrations of one profile in slices."""
        document = Document("profile", {"registration"})
        rows: list[Binding] = []
        command = f"api sofia xmlstatus profile {profile} reg"
        async for piece in session.pieces(command):
            for part in slices(piece):
                now = self._clock()
                for _, fields in taken(document, part):
                    if row := listing.take(profile, fields, now):
                        rows.append(row)
                if len(listing) > ROW_LIMIT:
                    raise malformed(f"over {ROW_LIMIT} registrations")
                await asyncio.sleep(0)
                while len(rows) >= STEP:
                    yield rows[:STEP]
                    del rows[:STEP]
        closed(document)
        if rows:
            yield rows

    async def _elements(
        self, session: EslSession, what: str, document: Document
    ) -> list[Element]:
        """All elements of a short document."""
        found: list[Element] = []
        async for piece in session.pieces(f"api sofia xmlstatus {what}".rstrip()):
            for part in slices(piece):
                found += taken(document, part)
                if len(found) > ROW_LIMIT:
                    raise malformed(f"over {ROW_LIMIT} profiles or gateways")
                await asyncio.sleep(0)
        closed(document)
        return found

    # --- to follow ------------------------------------------------------------------

    async def _follow(self, session: EslSession) -> AsyncIterator[Reading]:
        """Events until the next list is due; silence is met with a question."""
        while (now := self._clock()) < (due := self._pace.due()):
            ask_at = session.heard + IDLE
            if now >= ask_at:
                await self._ask_perhaps(session, "api uptime s")
            for event in await session.gather(min(due, max(ask_at, now)) - now):
                if reading := self._read(event, session):
                    yield reading

    def _read(self, event: Event, session: EslSession) -> Reading | None:
        """What one event says, if anything."""
        now = self._clock()
        if not self._tells_time and (stamp := stamped(event)):
            self._registrations.offset = stamp - now
        name = event.get("Event-Subclass") or event.get("Event-Name", "")
        if name.startswith("sofia::") and not self._concerns(event):
            return None
        match name:
            case "sofia::register":
                found = self._registrations.register(event, now)
                if found and found[1]:  # it may have replaced another, without a word
                    self._pace.wish(now + DELAY)
                return found[0] if found else None
            case "sofia::unregister":
                self._pace.wish(now + DELAY)  # others of its AOR may have gone with it
                return self._registrations.unregister(event, now)
            case "sofia::expire":
                return self._registrations.expire(event, now)
            case "sofia::sip_user_state":
                return self._registrations.state(event, now)
            case "sofia::gateway_state":
                at = self._registrations.when(event, now)
                return self._gateways.event(event, at)
            case "HEARTBEAT":
                self._beat(event)
            case "SHUTDOWN":
                session.shutting_down = True
                return Restarting(self._registrations.when(event, now))
            case "RELOADXML":
                self._directory.reload()
                self._pace.wish(now + DELAY)
            case (
                "sofia::profile_start" | "sofia::gateway_add" | "sofia::gateway_delete"
            ):
                self._pace.wish(now + DELAY)
        return None

    def _concerns(self, event: Event) -> bool:
        """Whether an event is of a profile that we read; gateways' name none."""
        profile = event.get("profile-name")
        return not profile or not self._settings.profiles or profile in self._profiles

    def _beat(self, event: Event) -> None:
        """HEARTBEAT: it lives; which run it is, where nothing else told that."""
        stamp, uptime = stamped(event), whole(event.get("Uptime-msec"))
        if stamp and uptime:
            self._runs(event.get("Core-UUID", ""), stamp - uptime / 1000)


def taken(document: Document, part: bytes) -> list[Element]:
    """The elements that these bytes complete; raises RefusedError, Unreadable."""
    try:
        return document.feed(part)
    except ValueError as error:
        raise malformed(str(error)) from None


def closed(document: Document) -> None:
    """The document has ended; raises RefusedError, Unreadable."""
    try:
        document.close()
    except ValueError as error:
        raise malformed(str(error)) from None


def malformed(what: str) -> Unreadable:
    """An answer that is not what FreeSWITCH prints."""
    return Complaint.SOFIA_UNLIKE.of(error=what)


def not_running(missing: list[str]) -> Unreadable:
    """A profile that was there, or that the settings name, does not run."""
    if not missing:
        return Complaint.SOFIA_NO_PROFILE.of()
    names = plain(", ".join(missing), 100)
    first = plain(missing[0], 60)
    return Complaint.SOFIA_NOT_RUNNING.of(names=names, first=first)
