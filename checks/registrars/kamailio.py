"""Kamailio's usrloc, read by JSON-RPC over HTTP: polls, no events.

usrloc knows only who is registered; who should be is learned or listed. A contact
that is past its end stays in the dump as "expired" until the next timer_interval.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from checks.observation import Binding, Cause
from checks.registrars.aor import canonical
from checks.registrars.clocks import Pace
from checks.registrars.complaints import Complaint
from checks.registrars.cutting import Cut, Marks
from checks.registrars.rpc import Dialect, FaultError, Rpc, decode
from checks.registrars.uac import Record, Uac
from checks.registrars.usrloc import (
    NOT_LIVE,
    ROW_LIMIT,
    STEP,
    Whole,
    clocks,
    host_part,
)
from checks.registrations.judge import (
    Bindings,
    ListEnd,
    Reading,
    RegistrarSettings,
    Unreadable,
)
from checks.registrations.readings import Outbounds
from checks.settings import Duration, Secret
from checks.sip.resolver import Resolver

NOT_SET = "[not set]"
AGAIN = 900.0  # s after which registrations that were not told are asked for once more
# Of one answer: it does not come, or is none. Kamailio may have all others.
UNUSABLE = {Cause.TIMEOUT, Cause.CONNECTION_RESET, Cause.MALFORMED}

log = logging.getLogger(__name__)

NO_RPC = (
    "in kamailio.cfg event_route[xhttp:request] must call jsonrpc_dispatch() for this "
    "path and for our address"
)
REFUSALS = {
    401: (Cause.UNAUTHORIZED, "give `username` and `password` here as it asks"),
    403: (Cause.FORBIDDEN, NO_RPC),
    404: (Cause.NOT_FOUND, NO_RPC),
}

AORS = Marks(
    re.compile(rb'"AoRs"\s*:\s*\['),
    re.compile(rb'\]\s*,\s*"Stats"\s*:'),
    re.compile(rb',\s*\{\s*"Info"\s*:'),
)

RPC = Dialect(
    "JSON-RPC",
    statuses=frozenset({200, 500}),  # its own errors come with a 500
    refusals=REFUSALS,
    otherwise=NO_RPC,
)


class Contact(msgspec.Struct, rename=str.title):
    """One contact of usrloc."""

    address: str
    expires: Whole | str  # s left, or a word
    received: str = NOT_SET
    path: str = NOT_SET
    socket: str = ""
    user_agent: str = msgspec.field(name="User-Agent", default="")
    last_keepalive: Whole = msgspec.field(name="Last-Keepalive", default=0)  # epoch s
    roundtrip: Whole = msgspec.field(name="KA-Roundtrip", default=0)  # us, 0: none yet
    last_modified: Whole = msgspec.field(name="Last-Modified", default=0)  # REGISTER


class ContactRow(msgspec.Struct, rename=str.title):
    """JSON-RPC wraps every row in an object of one key."""

    contact: Contact


class Info(msgspec.Struct):
    """One AOR with its contacts."""

    aor: str = msgspec.field(name="AoR")
    contacts: list[ContactRow] = msgspec.field(name="Contacts")


class InfoRow(msgspec.Struct, rename=str.title):
    """The wrap of one AOR."""

    info: Info


class Stats(msgspec.Struct, rename=str.title):
    """The server's own count, which proves that the list is whole."""

    records: Whole


class Domain(msgspec.Struct):
    """One table of usrloc ("location"), with AORs that were not cut out of it."""

    aors: list[msgspec.Raw] = msgspec.field(name="AoRs")
    stats: Stats = msgspec.field(name="Stats")


class DomainRow(msgspec.Struct, rename=str.title):
    """The wrap of one table."""

    domain: Domain


class Dump(msgspec.Struct, rename=str.title):
    """The result of ul.dump."""

    domains: list[DomainRow]


class Uptime(msgspec.Struct):
    """The result of core.uptime; the times are in the server's zone."""

    now: str
    up_since: str
    uptime: Whole


@dataclass(frozen=True, kw_only=True)
class KamailioSettings(RegistrarSettings):
    """A Kamailio by its JSON-RPC URL."""

    type: Literal["kamailio"] = "kamailio"
    username: str = ""  # HTTP basic, where a proxy in front of it asks
    password: Secret = field(default_factory=lambda: Secret(""))  # of that user
    timeout: Duration = 10.0  # for every answer
    timer_interval: Duration = 60.0  # usrloc's; keep-alives are judged by twice that


def infos(several: Iterable[bytes]) -> Iterator[Info]:
    """AORs, some decoded at a time."""
    for rows in several:
        for row in decode(rows, list[InfoRow]):
            yield row.info


def live(info: Info, now: float, timer_interval: float) -> Iterator[Binding]:
    """The contacts of an AOR that have not ended; `now` is the server's clock."""
    for row in info.contacts:
        if row.contact.expires not in NOT_LIVE:
            yield binding(info.aor, row.contact, now, timer_interval)


def binding(aor: str, contact: Contact, now: float, timer_interval: float) -> Binding:
    """A contact as a binding; `now` is the server's clock."""
    expires_at = granted = reachable = None
    if isinstance(contact.expires, int):
        expires_at = float(int(now) + contact.expires)
        if contact.last_modified:
            granted = max(0, round(expires_at) - contact.last_modified)
    if contact.roundtrip:  # it has answered a keep-alive, so ka_mode is on
        reachable = now - contact.last_keepalive <= 2 * timer_interval
    received = contact.address if contact.received == NOT_SET else contact.received
    return Binding(
        aor=aor,
        contact=contact.address,
        expires_at=expires_at,
        granted=granted,
        reachable=reachable,
        user_agent="" if contact.user_agent == NOT_SET else contact.user_agent,
        received=host_part(received),
        rtt=contact.roundtrip / 1e6 if reachable else None,
        path="" if contact.path == NOT_SET else contact.path,
    )


class Kamailio:
    """One Kamailio at one URL: a stream of full lists."""

    def __init__(
        self,
        settings: KamailioSettings,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = list,  # not needed: it lists all it has
        resolver: Resolver | None = None,
    ) -> None:
        self.address = address
        self._settings = settings
        self._clock = clock
        self._pace = Pace(settings.interval, clock)
        self._rpc = Rpc(
            RPC,
            address,
            clock=clock,
            timeout=settings.timeout,
            username=settings.username,
            password=settings.password,
            resolver=resolver,
        )
        self._uac = Uac()
        self._lacking: float | None = None  # the start that brought no uac
        self._records_at = 0.0  # until then its registrations are not asked for

    def relist(self) -> None:
        """Ask for a list now; it comes as soon as the server's load allows."""
        self._pace.wish(self._clock())

    async def watch(self) -> AsyncGenerator[Reading, None]:
        """Poll; raises Unreadable on every expected failure."""
        async with self._rpc.opened():
            while True:
                async for reading in self._list():
                    yield reading
                await self._pace.rest()

    async def _list(self) -> AsyncIterator[Reading]:
        began = self._pace.begin()
        pbx_now, boot = await self._clocks()
        offset = pbx_now - self._clock()
        async for found in self._registrations(boot):
            yield found
        async for rows in self._dump(offset):
            yield Bindings(rows)
            await asyncio.sleep(0)
        self._pace.end(began)
        self._rpc.accepted()
        yield ListEnd(began, self._clock() + offset, boot)

    async def _clocks(self) -> tuple[float, float | None]:
        """The server's clock and its boot time, UTC s."""
        asked = self._clock()
        try:
            said = await self._rpc.call("core.uptime", Uptime)
        except FaultError:
            return self._clock(), None
        return clocks(said.now, said.up_since, said.uptime, asked, self._clock)

    async def _registrations(self, boot: float | None) -> AsyncIterator[Outbounds]:
        """What it registers elsewhere; where that fails, nothing else does. A Kamailio
        without uac does not get it."""
        if boot is not None and boot == self._lacking:
            return
        if self._clock() < self._records_at:
            yield Outbounds([], told=False)
            return
        try:
            records = await self._rpc.call("uac.reg_dump", list[Record])
        except FaultError:
            self._lacking = boot
            return
        except Unreadable as failure:
            if failure.cause not in UNUSABLE:
                raise
            self._records_at = self._clock() + AGAIN
            log.warning("%s: no uac.reg_dump: %s", self.address, failure.detail)
            yield Outbounds([], told=False)
            return
        yield Outbounds(self._uac.outbounds(records, self._clock()))

    async def _dump(self, offset: float) -> AsyncIterator[list[Binding]]:
        """The live contacts of all tables in slices."""
        cut = Cut(await self._rpc.fetch("ul.dump"), AORS)
        now, aors = self._clock() + offset, 0
        rows: list[Binding] = []
        domains: list[DomainRow] = []
        try:
            for aors, info in enumerate(infos(self._several(cut, domains)), 1):
                info.aor = canonical(info.aor, self._settings.domain)
                rows += live(info, now, self._settings.timer_interval)
                if aors > ROW_LIMIT:
                    break
                while len(rows) >= STEP:
                    yield rows[:STEP]
                    del rows[:STEP]
        except ValueError as error:
            raise self._rpc.malformed("ul.dump", error) from None
        if rows:
            yield rows
        records = sum(row.domain.stats.records for row in domains)
        if records != aors or aors > ROW_LIMIT:
            raise Complaint.KAMAILIO_LACKS.of(records=records, aors=aors)

    def _several(self, cut: Cut, domains: list[DomainRow]) -> Iterator[bytes]:
        """Rows of all tables; `domains` gets what the tables say of themselves."""
        yield from cut.rows()
        domains += self._tables(bytes(cut.rest)).domains
        for row in domains:
            for raw in row.domain.aors:
                yield b"[%b]" % bytes(raw)

    def _tables(self, body: bytes) -> Dump:
        try:
            return self._rpc.result("ul.dump", body, Dump)
        except FaultError as fault:
            raise Complaint.KAMAILIO_NO_DUMP.of(fault=fault) from None
