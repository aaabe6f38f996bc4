"""OpenSIPS' usrloc and uac_registrant, read by its MI over HTTP; events beside it.

Lists are the truth and events make it quick. A list that is too large for httpd is
never answered: then each AOR is asked for by itself (see `lookups`), and nobody is lost
by that. usrloc knows only who is registered; who should be is learned or listed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from checks.observation import Binding, Cause, plain
from checks.registrars.aor import canonical
from checks.registrars.clocks import Pace
from checks.registrars.complaints import Complaint
from checks.registrars.cutting import Cut
from checks.registrars.evi import BINDINGS, EXPIRE, REGISTRATIONS, Ears, place, reading
from checks.registrars.lookups import NEVER, Lookups
from checks.registrars.mi import (
    METHOD_NOT_FOUND,
    NO_ANSWER,
    Clocks,
    Mi,
    bindings,
    rows_of,
)
from checks.registrars.registrant import Records, Registrant, Times
from checks.registrars.rpc import FaultError
from checks.registrars.usrloc import STEP
from checks.registrations.readings import (
    Added,
    Bindings,
    Gone,
    ListEnd,
    Outbounds,
    Reading,
    RegistrarSettings,
    Unreadable,
)
from checks.settings import Duration, Secret
from checks.sip.resolver import Resolver

AGAIN = 900.0  # s after which a list that was not given is asked for once more
FOREVER = float("inf")
# A list that never comes, that cannot be made, or that is none.
UNUSABLE = NO_ANSWER | {Cause.NO_LIST, Cause.MALFORMED}

TOO_LARGE = (
    "raise buf_size of httpd in opensips.cfg and the memory that it is taken from "
    '(modparam("httpd", "buf_size", 20000000), -M 128)'
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OpenSipsSettings(RegistrarSettings):
    """An OpenSIPS by the URL of its mi_http."""

    type: Literal["opensips"] = "opensips"
    username: str = ""  # HTTP basic, where httpd or a proxy in front of it asks
    password: Secret = field(default_factory=lambda: Secret(""))  # of that user
    timeout: Duration = 10.0  # for a list; a small answer has half of it, twice
    events: str = ""  # our address:port for them; "": loopback, if it is there; "off"

    def __post_init__(self) -> None:
        place(self.events, "")


class OpenSips:
    """One OpenSIPS at one URL: a stream of lists, and what happens between them."""

    def __init__(
        self,
        settings: OpenSipsSettings,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = list,
        resolver: Resolver | None = None,
    ) -> None:
        self.address = address
        self._settings = settings
        self._clock = clock
        self._pace = Pace(settings.interval, clock)
        self._ears = Ears(clock)
        self._registrant = Registrant()
        self._mi = Mi(
            address,
            clock=clock,
            timeout=settings.timeout,
            username=settings.username,
            password=settings.password,
            resolver=resolver,
        )
        self._lookups = Lookups(
            self._mi,
            address,
            clock=clock,
            aors=aors,
            domain=settings.domain,
            interval=settings.interval,
        )
        self._offset = 0.0  # s that its clock is ahead of ours
        self._boot: float | None = None
        self._dump_at = self._records_at = self._renew_at = NEVER
        self._deaf = False  # the socket for events could not be had
        self._refused: set[str] = set()  # events that this process does not have
        self._why = ""  # there is no list
        self._warned = False  # of that

    def relist(self) -> None:
        """Ask for a list now; it comes as soon as the server's load allows."""
        self._pace.wish(self._clock())
        self._ears.nudge()

    async def watch(self) -> AsyncGenerator[Reading, None]:
        """List, hear, list again; raises Unreadable on every expected failure."""
        async with self._mi.opened():
            self._renew_at = NEVER
            try:
                while True:
                    async for found in self._list():
                        yield found
                    async for found in self._follow():
                        yield found
            finally:
                self._ears.close()

    # --- to list --------------------------------------------------------------------

    async def _list(self) -> AsyncIterator[Reading]:
        """One full list, or a pass over single AORs where that is not given."""
        self._pace.begin()
        await self._listen()
        found: Reading
        told = await self._mi.clocks()
        self._offset = told.there - self._clock()
        if told.boot != self._boot:
            self._started_anew(told.boot)
        async for found in self._registrations(told):
            yield found
        await self._subscribe()
        began, dump = self._clock(), await self._dump()
        if dump is not None:
            async for found in self._rows(dump, began):
                yield found
        if self._clock() < self._dump_at:
            async for found in self._one_by_one():
                yield found
            return
        self._listed()
        for found in self._heard():  # a row may be older than an event before it
            yield found
        self._mi.accepted()
        self._pace.end(began)
        yield ListEnd(began, self._clock() + self._offset, self._boot)

    def _started_anew(self, boot: float | None) -> None:
        """It is another process: with another configuration, and no subscriptions."""
        self._boot = boot
        self._dump_at = self._records_at = self._renew_at = NEVER
        self._refused.clear()
        self._lookups.forget()

    async def _dump(self) -> Cut | None:
        """The whole list; None where it is not given, now or since some time."""
        if self._clock() < self._dump_at:
            return None
        try:
            return await self._mi.dump()
        except FaultError as fault:
            if fault.code == METHOD_NOT_FOUND:
                raise Complaint.OPENSIPS_NO_USRLOC.of() from None
            self._no_dump(str(fault))
        except Unreadable as failure:
            if failure.cause not in UNUSABLE:
                raise
            self._no_dump(failure.detail)
        return None

    def _no_dump(self, why: str) -> None:
        self._dump_at, self._why = self._clock() + AGAIN, why

    def _listed(self) -> None:
        """The whole list was given."""
        self._lookups.forget()
        if self._warned:
            self._warned = False
            log.warning("%s lists its contacts again", self.address)

    async def _rows(self, cut: Cut, asked: float) -> AsyncIterator[Bindings]:
        """The rows of a dump in slices; the ends are of the time when it was asked."""
        rows: list[Binding] = []
        try:
            for row in bindings(rows_of(cut), asked + self._offset):
                row.aor = canonical(row.aor, self._settings.domain)
                rows.append(row)
                if len(rows) == STEP:
                    yield Bindings(rows)
                    rows = []
                    await asyncio.sleep(0)
        except ValueError as error:
            self._no_dump(self._mi.malformed("ul_dump", error).detail)
        if rows:
            yield Bindings(rows)

    async def _one_by_one(self) -> AsyncIterator[Reading]:
        """What can be read without a list; Unreadable where not even statistics can."""
        try:
            tables = await self._mi.tables()
        except FaultError as fault:
            raise Complaint.OPENSIPS_NOTHING.of(fault=fault) from None
        if not tables:
            raise Complaint.OPENSIPS_NO_USRLOC.of()
        self._mi.accepted()
        self._warn(sum(tables.values()))
        async for found in self._lookups.run(tables, self._offset, self._boot):
            for heard in self._heard():
                yield heard
            yield found
        self._pace.end(self._clock() - self._lookups.cost)

    def _warn(self, contacts: int) -> None:
        """Say once that, and why, there is no list."""
        if self._warned:
            return
        self._warned = True
        log.warning(
            "%s does not list its %d contacts (%s), so each AOR is asked for by "
            "itself: %s",
            self.address,
            contacts,
            plain(self._why),
            TOO_LARGE,
        )

    async def _registrations(self, told: Clocks) -> AsyncIterator[Outbounds]:
        """What it registers elsewhere; where that fails, nothing else does."""
        times = Times.told(self._clock(), told.there, told.written)
        if times.now < self._records_at:
            if self._records_at < FOREVER:
                yield Outbounds([], told=False)
            return
        try:
            records = await self._mi.ask("reg_list", Records)
        except FaultError as fault:
            absent = fault.code == METHOD_NOT_FOUND
            self._records_at = FOREVER if absent else times.now + AGAIN
            if not absent:
                yield Outbounds([], told=False)
            return
        except Unreadable as failure:
            if failure.cause not in UNUSABLE:
                raise
            self._records_at = times.now + AGAIN
            log.warning("%s: no reg_list: %s", self.address, failure.detail)
            yield Outbounds([], told=False)
            return
        yield Outbounds(self._registrant.outbounds(records, times))

    # --- to follow ------------------------------------------------------------------

    async def _listen(self) -> None:
        """Open our socket for events, where there is to be one and is none.

        Whom it belongs to now may leave it, as we do ourselves at a reload.
        """
        at = place(self._settings.events, self.address)
        if at is None or self._ears.socket:
            return
        try:
            await self._ears.open(at, self.address)
        except OSError as error:
            host, port = at
            said = f"no socket at {host}:{port} for events: {error}"
            if not self._deaf:
                log.warning("%s: %s; only lists are read", self.address, said)
            self._deaf = True
            return
        if self._deaf:
            log.warning("%s: events are heard again", self.address)
        self._deaf, self._renew_at = False, NEVER

    async def _subscribe(self) -> None:
        """Ask for events, for the first time or before they end."""
        now = self._clock()
        if not self._ears.socket or now < self._renew_at:
            return
        self._renew_at = now + EXPIRE / 2
        wanted = BINDINGS if self._records_at == FOREVER else BINDINGS + REGISTRATIONS
        for event in wanted:
            if event not in self._refused:
                await self._subscribe_to(event)

    async def _subscribe_to(self, event: str) -> None:
        params = {"event": event, "socket": self._ears.socket, "expire": EXPIRE}
        try:
            await self._mi.ask("event_subscribe", str, params)
        except FaultError as fault:
            self._refused.add(event)
            if event == BINDINGS[0]:
                log.warning(
                    "%s sends no events (%s), only lists are read: load "
                    "event_datagram.so in opensips.cfg",
                    self.address,
                    fault,
                )

    async def _follow(self) -> AsyncIterator[Reading]:
        """Events until the next list is due."""
        while (now := self._clock()) < (due := self._pace.due()):
            await self._subscribe()
            for found in self._heard():
                yield found
            if self._ears.overflowed:
                self._ears.overflowed = False
                self._pace.wish(now)
                continue
            if self._ears.socket:
                due = min(due, self._renew_at)
            await self._ears.rest(due - self._clock())

    def _heard(self) -> Iterator[Reading]:
        """What the events that have come say."""
        domain = self._settings.domain
        for at, event in self._ears.heard():
            found = reading(event, at, self._offset, self._registrant, domain)
            if isinstance(found, Added):
                end = found.binding.expires_at
                ends = FOREVER if end is None else end - self._offset
                self._lookups.stirred(found.binding.aor, ends)
            elif isinstance(found, Gone):
                self._lookups.stirred(found.aor, None)
            if found is not None:
                yield found
