"""OpenSIPS' management interface (MI) by HTTP: its calls, and what their answers hold.

The names are those of 3.6, which 4.0 still knows. Errors ride on HTTP 200. The process
that answers is one for all who ask: so one call at a time, and a small one that stays
out is asked once more, as it may only have waited behind somebody's large one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import chain
from typing import NamedTuple, TypeVar

import msgspec

from checks.observation import Binding, Cause
from checks.registrars.cutting import Cut, Marks
from checks.registrars.rpc import Answer, Dialect, FaultError, Rpc, decode
from checks.registrars.usrloc import (
    NOT_LIVE,
    ROW_LIMIT,
    Whole,
    clocks,
    host_part,
)
from checks.registrations.readings import Unreadable
from checks.settings import Secret
from checks.sip.resolver import Resolver

METHOD_NOT_FOUND = -32601
NOT_FOUND = 404  # said of an AOR, which is data, and of a table, which is not
UNANSWERED = (1800 * 1_000_000) / 1e6  # s: nathelper's latency of a ping that was lost
TWICE = 2  # attempts at a small call, each in half the time
NO_ANSWER = {Cause.TIMEOUT, Cause.CONNECTION_RESET}

NO_MI = (
    'in opensips.cfg load httpd.so and mi_http.so, set modparam("httpd", "ip", ...), '
    "and give the URL with its path (http://127.0.0.1:8888/mi)"
)
DIALECT = Dialect(
    "MI",
    statuses=frozenset({200}),
    refusals={
        401: (Cause.UNAUTHORIZED, "give `username` and `password` here as it asks"),
        403: (Cause.FORBIDDEN, "a proxy in front of it refuses our address"),
        404: (Cause.NOT_FOUND, NO_MI),
        405: (Cause.MALFORMED, NO_MI),
        500: (Cause.NO_LIST, "its log says why"),
    },
    otherwise=NO_MI,
)

AORS = Marks(
    re.compile(rb'"AORs"\s*:\s*\['),
    # The last table ends with the answer.
    re.compile(
        rb'\]\s*\}\s*(?:,\s*\{\s*"name"\s*:'
        rb'|\]\s*\}\s*(?:,\s*"id"\s*:\s*\d+\s*)?\}\s*\Z)'
    ),
    re.compile(rb',\s*\{\s*"AOR"\s*:'),
)

_SECONDS = re.compile(r"(\d{1,10}) \[sec\]")

T = TypeVar("T")


class Contact(msgspec.Struct):
    """One contact of usrloc."""

    address: str = msgspec.field(name="Contact")
    expires: Whole | str = msgspec.field(name="Expires")  # s left, or a word
    user_agent: str = msgspec.field(name="User-agent", default="")
    received: str = msgspec.field(name="Received", default="")
    path: str = msgspec.field(name="Path", default="")
    latency: Whole = msgspec.field(name="Ping-Latency", default=0)  # us, 0: not asked


class Record(msgspec.Struct):
    """One AOR with its contacts."""

    aor: str = msgspec.field(name="AOR")
    contacts: list[Contact] = msgspec.field(name="Contacts", default_factory=list)


class Table(msgspec.Struct):
    """One table of usrloc ("location"), with records that were not cut out of it."""

    records: list[msgspec.Raw] = msgspec.field(name="AORs")
    name: str = ""


class Dump(msgspec.Struct):
    """The result of ul_dump."""

    tables: list[Table] = msgspec.field(name="Domains")


class Name(msgspec.Struct):
    """One AOR of a brief dump."""

    aor: str = msgspec.field(name="AOR")


class BriefTable(msgspec.Struct):
    """One table of a brief dump."""

    names: list[Name] = msgspec.field(name="AORs")


class Brief(msgspec.Struct):
    """The result of a brief ul_dump."""

    tables: list[BriefTable] = msgspec.field(name="Domains")


class Uptime(msgspec.Struct):
    """The result of uptime; the times are in the server's zone."""

    now: str = msgspec.field(name="Now")
    since: str = msgspec.field(name="Up since")
    uptime: str = msgspec.field(name="Up time")  # "14 [sec]"


class Clocks(NamedTuple):
    """A server's clock and its start, UTC s, and how it writes the time."""

    there: float
    boot: float | None
    written: str


def bindings(several: Iterable[bytes], now: float) -> Iterator[Binding]:
    """The live contacts of records, some decoded at a time.

    Of more AORs than are ever meant, ValueError.
    """
    records = chain.from_iterable(decode(rows, list[Record]) for rows in several)
    for n, record in enumerate(records):
        if n >= ROW_LIMIT:
            raise ValueError(f"over {ROW_LIMIT} AORs")
        yield from live(record, now)


def rows_of(cut: Cut) -> Iterator[bytes]:
    """All rows of a dump, some at a time; ValueError where it is none to its end."""
    yield from cut.rows()
    dump = decode(bytes(cut.rest), Answer[Dump]).result
    if dump is None:
        raise ValueError("no tables")
    for table in dump.tables:
        for raw in table.records:
            yield b"[%b]" % bytes(raw)


def live(record: Record, now: float) -> Iterator[Binding]:
    """The contacts of an AOR that have not ended; `now` is the server's clock."""
    for contact in record.contacts:
        if contact.expires not in NOT_LIVE:
            yield binding(record.aor, contact, now)


def binding(aor: str, contact: Contact, now: float) -> Binding:
    """A contact as a binding; `now` is the server's clock."""
    expires_at = None
    if isinstance(contact.expires, int):
        expires_at = float(int(now) + contact.expires)
    reachable, rtt = answered(contact.latency)
    return Binding(
        aor=aor,
        contact=contact.address,
        expires_at=expires_at,
        reachable=reachable,
        user_agent=contact.user_agent,
        received=host_part(contact.received or contact.address),
        path=contact.path,
        rtt=rtt,
    )


def answered(latency: int) -> tuple[bool | None, float | None]:
    """Whether a contact answers nathelper's pings, and how soon (s).

    Only contacts with the flag of `sipping_latency_flag` have a latency (us).
    """
    if latency <= 0:
        return None, None
    seconds = latency / 1e6
    return (False, None) if seconds >= UNANSWERED else (True, seconds)


def _count(value: int | str) -> int:
    """A statistic, which only the log is told; 0 of what is no number."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


class Mi:
    """The MI of one OpenSIPS, one call at a time."""

    def __init__(
        self,
        address: str,
        *,
        clock: Callable[[], float],
        timeout: float,
        username: str,
        password: Secret,
        resolver: Resolver | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._rpc = Rpc(
            DIALECT,
            address,
            clock=clock,
            timeout=timeout,
            username=username,
            password=password,
            resolver=resolver,
        )
        self.accepted = self._rpc.accepted
        self.malformed = self._rpc.malformed

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Calls can be made meanwhile."""
        async with self._rpc.opened():
            yield

    async def ask(self, method: str, form: type[T], params: object = None) -> T:
        """A small call, once more where no answer came; FaultError, Unreadable."""
        for _ in range(TWICE - 1):
            try:
                return await self._once(method, form, params)
            except Unreadable as failure:
                if failure.cause not in NO_ANSWER:
                    raise
        return await self._once(method, form, params)

    async def _once(self, method: str, form: type[T], params: object) -> T:
        return await self._rpc.call(method, form, params, within=self._timeout / TWICE)

    async def clocks(self) -> Clocks:
        """What time it is there, and since when it runs."""
        asked = self._clock()
        try:
            said = await self.ask("uptime", Uptime)
        except FaultError:
            return Clocks(self._clock(), None, "")
        except Unreadable as failure:
            if failure.cause is Cause.MALFORMED and NO_MI not in failure.detail:
                failure.detail += f": {NO_MI}"  # another page of httpd's, or of another
            raise
        found = _SECONDS.match(said.uptime)
        uptime = float(found[1]) if found else 0.0
        there, boot = clocks(said.now, said.since, uptime, asked, self._clock)
        return Clocks(there, boot, said.now)

    async def dump(self) -> Cut:
        """All contacts; asked for once, as it may never be answered."""
        body = await self._rpc.fetch("ul_dump")
        cut = Cut(body, AORS)
        if not cut.is_list:
            self._rpc.result("ul_dump", body, Dump)  # which says why
        return cut

    async def names(self) -> list[str]:
        """The AORs that have a record, some of them past their end: a tenth of a dump.

        FaultError, Unreadable as for a dump.
        """
        brief = await self._rpc.call("ul_dump", Brief, {"brief": 1})
        return [name.aor for table in brief.tables for name in table.names]

    async def tables(self) -> dict[str, int]:
        """The tables of usrloc and how many contacts each holds, by its statistics."""
        said = await self.ask(
            "get_statistics", dict[str, Whole | str], {"statistics": ["usrloc:"]}
        )
        found = {}
        for name, value in said.items():
            table = name.removeprefix("usrloc:").removesuffix("-contacts")
            if name == f"usrloc:{table}-contacts":
                found[table] = _count(value)
        return found

    async def record(self, table: str, aor: str) -> Record | None:
        """What a table holds of an AOR; None: no such record. Else FaultError."""
        params = {"table_name": table, "aor": aor}
        try:
            return await self.ask("ul_show_contact", Record, params)
        except FaultError as fault:
            if fault.code == NOT_FOUND and str(fault).startswith("AOR"):
                return None
            raise
