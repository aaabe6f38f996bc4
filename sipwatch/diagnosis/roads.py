"""The ways to a host: which of UDP, TCP and TLS are open, at which of its addresses."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from checks.observation import Cause, plain
from checks.sip.client import Answer, Client
from checks.sip.connection import Connection
from checks.sip.errors import SipError
from checks.sip.requests import options_request
from checks.sip.resolver import Address
from checks.sip.uri import SipUri
from sipwatch.diagnosis.rung import Rung

PLACES = 8  # addresses of one name that are looked at; providers have four or six
DAY = 86400.0
SOON = 14.0  # days left of a certificate that are few
SHOWN = 3  # addresses named in a line


@dataclass(slots=True, kw_only=True)
class Road:
    """One transport to a host, as it was found."""

    transport: str
    port: int
    open: tuple[Address, ...] = ()
    shut: tuple[tuple[Address, SipError], ...] = ()
    seconds: float = 0.0
    tls: str = ""  # TLS 1.3
    names: tuple[str, ...] = ()
    days: float | None = None  # left of the certificate that ends first
    answers: tuple[tuple[Address, Answer], ...] = ()  # of OPTIONS

    @property
    def name(self) -> str:
        """UDP 5060."""
        return f"{self.transport.upper()} {self.port}"

    @property
    def count(self) -> int:
        """Addresses that were looked at."""
        return len(self.open) + len(self.shut)

    @property
    def cause(self) -> Cause | None:
        """Why it is shut, where it is."""
        return self.shut[0][1].cause if self.shut else None

    @property
    def how(self) -> str:
        """What a way that is shut is: blocked, or refused."""
        return _HOW.get(self.cause or Cause.UNKNOWN, "does not work")


_HOW = {
    Cause.TIMEOUT: "is blocked on the way out",
    Cause.CONNECTION_REFUSED: "is refused",
    Cause.ICMP_UNREACHABLE: "is closed",
    Cause.CONNECTION_RESET: "is cut",
    Cause.TLS_VERIFY: "shows a certificate that is not valid for it",
    Cause.TLS_EXPIRED: "shows a certificate that has expired",
    Cause.TLS_HANDSHAKE: "does not agree on TLS",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """With what ways are looked at."""

    client: Client
    uri: SipUri  # what OPTIONS ask
    from_uri: SipUri
    agent: str
    timeout: float
    source: str | None = None
    context: ssl.SSLContext | None = None

    async def look(
        self, transport: str, port: int, places: Sequence[Address]
    ) -> Road | None:
        """Look at one transport, all addresses at once; None where there are none."""
        if not places:
            return None
        one = self.ask_host if transport == "udp" else self._connected
        timed = await asyncio.gather(*(_timed(one(p)) for p in places[:PLACES]))
        road = Road(transport=transport, port=port)
        for place, (outcome, took) in zip(places, timed, strict=False):
            road.seconds = max(road.seconds, took)
            if isinstance(outcome, SipError):
                road.shut += ((place, outcome),)
                continue
            road.open += (place,)
            if isinstance(outcome, Answer):
                road.answers += ((place, outcome),)
            elif outcome.not_after is not None:
                days = (outcome.not_after - time.time()) / DAY
                road.days = days if road.days is None else min(days, road.days)
                road.tls, road.names = outcome.tls.replace("v", " "), outcome.names
        return road

    async def ask(self, place: Address) -> Answer:
        """One OPTIONS; SipError."""
        request = options_request(
            self.uri, from_uri=self.from_uri, user_agent=self.agent
        )
        return await self.client.request(
            request, place, server_name=self.uri.host, timeout=self.timeout
        )

    async def ask_host(self, place: Address) -> Answer | SipError:
        """Of the host alone: a proxy may pass on to a dead phone what is asked of it,
        and be well itself."""
        try:
            host = replace(self.uri, user=None)
            return await replace(self, uri=host).ask(place)
        except SipError as error:
            return error

    async def _connected(self, place: Address) -> Connection | SipError:
        connection = Connection(lambda data: None, lambda cause, text: None)
        try:
            await connection.open(
                place,
                server_name=self.uri.host,
                ssl_context=self.context,
                source=self.source,
                timeout=self.timeout,
            )
        except SipError as error:
            return error
        finally:
            connection.close()
        return connection


async def _timed(what: Awaitable[T]) -> tuple[T, float]:
    began = time.monotonic()
    found = await what
    return found, time.monotonic() - began


def road_rung(road: Road | None, wanted: bool) -> Rung | None:
    """A way as a line; one that is shut and not asked for is no fault."""
    if road is None:
        return None
    ok: bool | None = True
    if road.shut:
        ok = False if wanted or road.cause is Cause.TIMEOUT else None
    return Rung(road.name, ok, _text(road), road.seconds)


def _text(road: Road) -> str:
    if not road.shut:
        return _open_text(road)
    error = road.shut[0][1]
    of = _of(len(road.shut), road.count, " from ")
    if road.cause is Cause.TIMEOUT and road.transport == "udp":
        sends = sum(sent.sent for sent in error.exchange)
        each = " each" if of else ""
        plural = "send" if sends == 1 else "sends"
        text = f"nothing{of or ' comes back'} ({sends} {plural}{each})"
    elif road.cause is Cause.TIMEOUT:
        text = f"nothing{of or ' comes back'}, no connection"
    else:
        text = f"{_words(error)}{of}"
    if road.open:
        text += f"; {_named([place for place, _ in road.shut])}"
    return text


def _words(error: SipError) -> str:
    known = {
        Cause.CONNECTION_REFUSED: "refused: nothing listens there, or a firewall says "
        "no",
        Cause.ICMP_UNREACHABLE: "closed: the host or a router says so (ICMP)",
    }
    return known.get(error.cause) or plain(error.detail)


def _open_text(road: Road) -> str:
    if road.transport == "udp":
        return f"answers{_of(len(road.open), road.count, ' from ')}"
    if road.transport == "tcp":
        return f"connects{_of(len(road.open), road.count, ' to ')}"
    names = (
        ", ".join(plain(name, 60) for name in road.names[:SHOWN]) or "without a name"
    )
    days = "" if road.days is None else f", {road.days:.0f} days"
    return f"{road.tls}, certificate {names}{days}"


def _of(several: int, count: int, before: str) -> str:
    """How many addresses, where there are several."""
    return "" if count == 1 else f"{before}{several} of {count}"


def _named(places: Sequence[Address]) -> str:
    shown = ", ".join(str(place) for place in places[:SHOWN])
    more = len(places) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
