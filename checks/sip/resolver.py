"""Where to send a request: RFC 3263, with every step told.

    IP literal                       -> that address
    explicit port, hosts-file name   -> A and AAAA
    transport asked for              -> SRV of that transport, else A and AAAA
    WebSocket asked for              -> NAPTR -> SRV, else A and AAAA: RFC 7118 names
                                        no SRV record of its own
    none of these                    -> NAPTR -> SRV; else SRV of UDP, TCP, TLS in turn;
                                        else A and AAAA

The transport is what the URI, the NAPTR or the SRV name says, else UDP (TLS for sips).
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from checks.observation import Cause
from checks.sip.errors import SipError
from checks.sip.hosts import HostsFile
from checks.sip.route import local_address
from checks.sip.uri import SipUri

if TYPE_CHECKING:
    from checks.sip.lookup import Lookup, Records

ADDRESS_LIMIT = 64  # addresses kept of one name: each is probed, and shown
HOSTS_TTL = 60.0  # s; a hosts file has none, and reading it again is cheap

# Transport, its NAPTR service (RFC 3263 4.1, RFC 5630, RFC 7118 5.4), SRV name and
# port; in the order in which they are asked where the domain names no preference.
TRANSPORTS = {
    "udp": ("SIP+D2U", "_sip._udp", 5060),
    "tcp": ("SIP+D2T", "_sip._tcp", 5060),
    "tls": ("SIPS+D2T", "_sips._tcp", 5061),
    "ws": ("SIP+D2W", "", 80),
    "wss": ("SIPS+D2W", "", 443),
}
_BY_SERVICE = {service: name for name, (service, _, _) in TRANSPORTS.items()}
_SECURE = ("tls", "wss")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request can be sent."""

    ip: str
    port: int

    transport: str
    "udp, tcp, tls, ws or wss."

    path: str = ""
    "What a WebSocket server is asked for; empty for the others."

    def __str__(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether a certificate is shown there."""
        return self.transport in _SECURE

    @property
    def web(self) -> bool:
        """Whether SIP goes in the frames of a WebSocket there (RFC 7118)."""
        return self.transport in ("ws", "wss")


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a URI, in the order to try them."""

    addresses: tuple[Address, ...]

    steps: tuple[str, ...]
    "What was asked and answered, for humans."

    ttl: float
    "s until it should be asked again; infinite for an IP literal."


@dataclass(slots=True)
class _Way:
    """One resolution under way."""

    uri: SipUri
    host: str
    steps: list[str] = field(default_factory=list)
    ttl: float = math.inf
    absent: list[str] = field(default_factory=list)

    @property
    def search(self) -> bool:
        """A name without a dot is completed by the search list of resolv.conf."""
        return "." not in self.host


class Resolver:
    """RFC 3263 over the given name servers, or over what this machine is set to."""

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        port: int = 53,
        timeout: float = 5.0,
        *,
        hosts: Path | None = None,
    ) -> None:
        self._nameservers = nameservers
        self._port = port
        self._timeout = timeout
        self._lookup: Lookup | None = None
        if nameservers is None and hosts is None:
            hosts = Path("/etc/hosts")
        self._hosts = HostsFile(hosts) if hosts is not None else None

    async def resolve(self, uri: SipUri) -> Resolution:
        """The addresses of a URI.

        SipError with DNS_NXDOMAIN where the name has none, DNS_FAILURE where our
        resolver is at fault, MALFORMED for a transport that is not spoken here.
        """
        asked = uri.transport
        if asked is not None and asked not in TRANSPORTS:
            text = f"transport {asked} is not spoken here ({', '.join(TRANSPORTS)})"
            raise SipError(Cause.MALFORMED, text)
        way = _Way(uri, uri.params.get("maddr") or uri.host)
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await self._walk(way, asked)
        except TimeoutError:
            text = f"no answer to {way.host} within {self._timeout:g} s"
            raise SipError(Cause.DNS_FAILURE, text) from None
        if not addresses:
            raise SipError(Cause.DNS_NXDOMAIN, _nothing(way))
        found = tuple(dict.fromkeys(addresses))
        return Resolution(
            _reachable(found, way)[:ADDRESS_LIMIT], tuple(way.steps), way.ttl
        )

    async def _walk(self, way: _Way, asked: str | None) -> list[Address]:
        transport = asked or ("tls" if way.uri.scheme == "sips" else "udp")
        port = way.uri.port or TRANSPORTS[transport][2]
        local = self._local(way)
        if local:
            return [_address(way, ip, port, transport) for ip in local]
        if way.uri.port is None:
            if TRANSPORTS[transport][1] == "":
                found = await self._preferred(way, (transport,))
            elif way.uri.params.get("transport"):
                found = await self._service(way, _srv_name(transport, way), transport)
            else:
                spoken = _SECURE if way.uri.scheme == "sips" else (*TRANSPORTS,)
                found = await self._preferred(way, spoken)
            if found or way.absent:  # RFC 2782: where there is an SRV, only it counts
                return found
        return await self._addresses(way, way.host, port, transport)

    def _local(self, way: _Way) -> tuple[str, ...]:
        """The addresses that need no DNS: a literal's, a hosts file's."""
        try:
            return (str(ipaddress.ip_address(way.host)),)
        except ValueError:
            found = self._hosts.addresses(way.host) if self._hosts else ()
        if found:
            way.ttl = HOSTS_TTL
            way.steps.append(f"hosts {way.host} -> {', '.join(found)}")
        return found

    async def _preferred(self, way: _Way, spoken: tuple[str, ...]) -> list[Address]:
        """By the domain's own preference: NAPTR, else the first SRV there is."""
        for transport, name in await self._pointers(way):
            if transport not in spoken:
                continue
            if found := await self._service(way, name, transport):
                return found
        for transport in spoken:
            if not (name := _srv_name(transport, way)):
                continue
            if found := await self._service(way, name, transport):
                return found
        return []

    async def _pointers(self, way: _Way) -> list[tuple[str, str]]:
        from checks.sip.lookup import Pointer, ServerError

        try:
            records = await self._ask(way, way.host, "NAPTR")
        except ServerError as error:
            # Old resolvers know no NAPTR; what is asked next tells if they know SRV.
            way.steps.append(f"NAPTR {way.host} -> {error.detail}")
            return []
        found = []
        for row in records.rows:
            if isinstance(row, Pointer) and row.flags == "s":
                transport = _BY_SERVICE.get(row.service)
                if transport is not None:
                    found.append((transport, row.replacement))
        return found

    async def _service(self, way: _Way, name: str, transport: str) -> list[Address]:
        from checks.sip.lookup import Service

        records = await self._ask(way, name, "SRV")
        # RFC 2782: the target "." says that the service is not offered.
        rows = [r for r in records.rows if isinstance(r, Service) and r.target != "."]
        return await _gathered(
            self._addresses(way, row.target, row.port, transport) for row in rows
        )

    async def _addresses(
        self, way: _Way, host: str, port: int, transport: str
    ) -> list[Address]:
        found = await _gathered(
            self._family(way, host, kind, port, transport) for kind in ("A", "AAAA")
        )
        if not found:
            way.absent.append(host)
        return found

    async def _family(
        self, way: _Way, host: str, kind: str, port: int, transport: str
    ) -> list[Address]:
        records = await self._ask(way, host, kind)
        return [_address(way, str(ip), port, transport) for ip in records.rows]

    async def _ask(self, way: _Way, name: str, kind: str) -> Records:
        if self._lookup is None:
            # Imported late: a probe of addresses starts in half the time.
            from checks.sip.lookup import Lookup

            self._lookup = Lookup(self._nameservers, self._port, self._timeout)
        records = await self._lookup.ask(name, kind, search=way.search)
        if records.rows:
            way.ttl = min(way.ttl, records.ttl)
        way.steps.append(f"{kind} {name} -> {_told(records)}")
        return records


async def _gathered(
    questions: Iterable[Coroutine[None, None, list[Address]]],
) -> list[Address]:
    """All answers in their order; a failure counts only where nothing was found.

    A server that fails for one family or one target may well know the others.
    """
    answers = await asyncio.gather(*questions, return_exceptions=True)
    found: list[Address] = []
    failures: list[BaseException] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            failures.append(answer)
        else:
            found += answer
    for failure in failures:
        if not found or not isinstance(failure, SipError):
            raise failure
    return found


def _address(way: _Way, ip: str, port: int, transport: str) -> Address:
    address = Address(ip, port, transport)
    return replace(address, path=way.uri.path) if address.web else address


def _srv_name(transport: str, way: _Way) -> str:
    """Where its SRV records are; empty for one that has none of its own."""
    name = TRANSPORTS[transport][1]
    return name and f"{name}.{way.host}"


def _told(records: Records) -> str:
    if not records.exists:
        return "no such name"
    if not records.rows:
        return "none"
    rows = ", ".join(map(str, records.rows))
    return f"{rows} ({records.ttl:g} s)"


def _nothing(way: _Way) -> str:
    if way.absent != [way.host]:
        return f"{way.host} leads to {', '.join(way.absent[:3])}, without an address"
    if any(step.endswith("-> no such name") for step in way.steps[-2:]):
        return f"{way.host} does not exist in the DNS"
    return f"{way.host} has neither an A nor an AAAA record"


def _reachable(found: tuple[Address, ...], way: _Way) -> tuple[Address, ...]:
    """Without the IPv6 addresses that this machine has no route to, if others stay.

    A machine without IPv6 would otherwise call half of each dual-stack target down.
    """
    kept = tuple(a for a in found if ":" not in a.ip or routed(a.ip))
    if len(kept) == len(found) or not kept:
        return found
    way.steps.append("AAAA left out: this machine has no IPv6 route to them")
    return kept


def routed(ip: str) -> bool:
    """Whether this machine has a route to an IPv6 address; no packet is sent."""
    return local_address(ip) is not None
