"""Kamailio's usrloc, read by JSON-RPC over HTTP: polls, no events.

usrloc knows only who is registered; who should be is learned or listed. A contact
that is past its end stays in the dump as "expired" until the next timer_interval.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, TypeVar

import aiohttp
import msgspec

from checks.observation import Binding, Cause, plain
from checks.registrars.aor import canonical
from checks.registrars.clocks import Pace, in_utc
from checks.registrars.failures import HoldBack, check_url, unreadable
from checks.registrations.judge import (
    SLICE,
    Bindings,
    ListEnd,
    Reading,
    RegistrarSettings,
    Unreadable,
)
from checks.settings import Duration, Secret
from checks.sip.resolver import Resolver

BODY_LIMIT = 64 * 1024 * 1024  # bytes of one answer; 100,000 contacts have 55 MB
ROW_LIMIT = 200_000  # AORs of one dump
CHUNK = 64 * 1024
STEP = SLICE // 2  # contacts decoded before the loop gets its turn: some 5 ms
NOT_LIVE = {"expired", "deleted"}  # in memory only until usrloc's timer passes
NOT_SET = "[not set]"

CTIME = "%a %b %d %H:%M:%S %Y"

NO_RPC = (
    "in kamailio.cfg event_route[xhttp:request] must call jsonrpc_dispatch() for this "
    "path and for our address"
)
REFUSALS = {
    401: (Cause.UNAUTHORIZED, "give `username` and `password` here as it asks"),
    403: (Cause.FORBIDDEN, NO_RPC),
    404: (Cause.NOT_FOUND, NO_RPC),
}


# JSON's numbers have no end; a float does. Seconds to 2106, and no RTT is longer (us).
Whole = Annotated[int, msgspec.Meta(ge=-(2**32), le=2**32)]


class FaultError(Exception):
    """A JSON-RPC error, in the server's words."""


class Contact(msgspec.Struct, rename=str.title):
    """One contact of usrloc."""

    address: str
    expires: Whole | str  # s left, or a word
    received: str = NOT_SET
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
    """One table of usrloc ("location"), its AORs not decoded yet."""

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


class Fault(msgspec.Struct):
    """A JSON-RPC error."""

    code: int = 0
    message: str = ""


T = TypeVar("T")


class Answer(msgspec.Struct, Generic[T]):
    """A JSON-RPC response: the result or an error."""

    result: T | None = None
    error: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class KamailioSettings(RegistrarSettings):
    """A Kamailio by its JSON-RPC URL."""

    type: Literal["kamailio"] = "kamailio"
    username: str = ""  # HTTP basic, where a proxy in front of it asks
    password: Secret = field(default_factory=lambda: Secret(""))
    timeout: Duration = 10.0  # for every answer
    timer_interval: Duration = 60.0  # usrloc's; keep-alives are judged by twice that


def decode(body: bytes, form: type[T]) -> T:
    """The typed value, or ValueError; bytes that are no UTF-8 are replaced."""
    try:
        return msgspec.json.decode(body, type=form)
    except UnicodeDecodeError:
        return msgspec.json.decode(body.decode("utf-8", "replace"), type=form)


def bindings(dump: Dump, now: float, timer_interval: float) -> Iterator[Binding]:
    """The live contacts of all tables, decoded AOR by AOR.

    msgspec holds the interpreter's lock, so a thread would stall the loop as well. The
    look over the whole costs 1 ms for a megabyte; the rest is done in slices.
    """
    for row in dump.domains:
        for raw in row.domain.aors:
            info = decode(bytes(raw), InfoRow).info
            for one in info.contacts:
                if one.contact.expires not in NOT_LIVE:
                    yield binding(info.aor, one.contact, now, timer_interval)


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
    )


def host_part(uri: str) -> str:
    """host:port of a SIP URI, for a reader; "" where there is none."""
    address = uri.rpartition("@")[2] if "@" in uri else uri.partition(":")[2]
    return address.partition(";")[0].partition("?")[0].strip("<>")


class Kamailio:
    """One Kamailio at one URL: a stream of full lists."""

    def __init__(
        self,
        settings: KamailioSettings,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = list,  # not needed: it lists all it has
        resolver: Resolver | None = None,  # not needed: no SIP URI leads to it
    ) -> None:
        self.address = address
        self._settings = settings
        self._clock = clock
        self._pace = Pace(settings.interval, clock)
        self._hold_back = HoldBack()

    def relist(self) -> None:
        """Ask for a list now; it comes as soon as the server's load allows."""
        self._pace.wish(self._clock())

    async def watch(self) -> AsyncIterator[Reading]:
        """Poll; raises Unreadable on every expected failure."""
        settings = self._settings
        self._hold_back.check(self._clock())
        try:
            check_url(self.address)
        except ValueError as error:
            raise Unreadable(Cause.DNS_FAILURE, str(error)) from None
        async with aiohttp.ClientSession(
            headers=self._authorization(),
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            # Kamailio closes idle connections, and a POST is not sent twice.
            connector=aiohttp.TCPConnector(force_close=True),
        ) as http:
            while True:
                async for reading in self._list(http):
                    yield reading
                await self._pace.rest()

    def _authorization(self) -> dict[str, str]:
        settings = self._settings
        if not settings.username:
            return {}
        pair = f"{settings.username}:{settings.password.reveal()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    async def _list(self, http: aiohttp.ClientSession) -> AsyncIterator[Reading]:
        began = self._pace.begin()
        pbx_now, boot = await self._clocks(http)
        offset = pbx_now - self._clock()
        dump = await self._dump(http)
        now = self._clock() + offset
        rows: list[Binding] = []
        try:
            for row in bindings(dump, now, self._settings.timer_interval):
                row.aor = canonical(row.aor, self._settings.domain)
                rows.append(row)
                if len(rows) == STEP:
                    yield Bindings(rows)
                    rows = []
                    await asyncio.sleep(0)
        except ValueError as error:
            raise self._malformed("ul.dump", error) from None
        if rows:
            yield Bindings(rows)
        self._pace.end(began)
        self._hold_back.accepted()
        yield ListEnd(began, self._clock() + offset, boot)

    async def _clocks(self, http: aiohttp.ClientSession) -> tuple[float, float | None]:
        """The server's clock and its boot time, UTC s."""
        asked = self._clock()
        try:
            said = await self._call(http, "core.uptime", Uptime)
        except FaultError:
            return self._clock(), None
        ours = (asked + self._clock()) / 2
        now = in_utc(said.now.strip(), CTIME, ours)
        if now is None:
            return self._clock(), None
        # It gives whole seconds: where they agree with ours, ours are finer.
        skew = now + 0.5 - ours
        now = self._clock() + (skew if abs(skew) > 1.0 else 0.0)
        return now, in_utc(said.up_since.strip(), CTIME, now - said.uptime)

    async def _dump(self, http: aiohttp.ClientSession) -> Dump:
        try:
            dump = await self._call(http, "ul.dump", Dump)
        except FaultError as fault:
            raise Unreadable(
                Cause.UNAVAILABLE,
                f"Kamailio does not dump its bindings ({fault}): is usrloc loaded, and "
                "is its memory (-m, -M) large enough?",
            ) from None
        for row in dump.domains:
            aors = len(row.domain.aors)
            if row.domain.stats.records != aors or aors > ROW_LIMIT:
                said = f"{row.domain.stats.records} records and {aors} AORs"
                raise Unreadable(Cause.MALFORMED, f"ul.dump has {said}")
        return dump

    async def _call(self, http: aiohttp.ClientSession, method: str, form: type[T]) -> T:
        """The result of one call; raises FaultError, Unreadable."""
        call = {"jsonrpc": "2.0", "method": method, "id": 1}
        where = f"JSON-RPC at {self.address}"
        try:
            async with http.post(self.address, json=call) as response:
                status = response.status
                body = await bounded(response.content)
        except aiohttp.ClientConnectorCertificateError as error:
            raise unreadable(as_os_error(error.certificate_error), where) from None
        except aiohttp.ClientConnectorError as error:
            raise unreadable(error.os_error, where) from None
        except TimeoutError as error:
            raise unreadable(error, where) from None
        except aiohttp.ClientResponseError as error:
            raise self._malformed(method, ValueError(error.message)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreadable(Cause.CONNECTION_RESET, f"{where}: {error}") from None
        except UnicodeError as error:  # of a redirect to a host that is no name
            raise Unreadable(Cause.DNS_FAILURE, f"{where}: {error}") from None
        if status not in (200, 500):  # JSON-RPC's own errors come with a 500
            raise self._refusal(status)
        try:
            answer = decode(body, Answer[form])  # type: ignore[valid-type]
        except ValueError as error:
            raise self._malformed(method, error) from None
        if answer.result is None:
            raise FaultError(plain(answer.error.message if answer.error else "", 100))
        return answer.result

    def _refusal(self, status: int) -> Unreadable:
        cause, advice = REFUSALS.get(status, (Cause.MALFORMED, NO_RPC))
        failure = Unreadable(
            cause, f"JSON-RPC at {self.address} says HTTP {status}: {advice}"
        )
        self._hold_back.refused(failure, self._clock())
        return failure

    def _malformed(self, method: str, error: ValueError) -> Unreadable:
        return Unreadable(
            Cause.MALFORMED, f"{method} at {self.address}: {plain(str(error), 100)}"
        )


def as_os_error(error: Exception) -> OSError:
    """A certificate's error is an OSError that aiohttp declares as any exception."""
    return error if isinstance(error, OSError) else OSError(str(error))


async def bounded(content: aiohttp.StreamReader) -> bytes:
    """A whole body, unless it is larger than any that is meant."""
    body = bytearray()
    async for chunk in content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Unreadable(Cause.MALFORMED, f"an answer of over {BODY_LIMIT} bytes")
    return bytes(body)
