"""Where a registrar is: its host by our own resolver, as for all that speaks SIP.

The last good addresses serve while the resolver fails: that is our fault, and makes no
PBX unreadable. What it knows nothing of is left to the system's, which may have other
sources than DNS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

from aiohttp.abc import AbstractResolver, ResolveResult

from checks.observation import Cause
from checks.sip.errors import SipError
from checks.sip.resolver import Resolver
from checks.sip.uri import SipUri

KEEP = 24 * 3600.0  # s that last good addresses serve while the resolver fails
KNOWN_MOST = 16  # hosts of one registrar: it has one, and redirects may name more

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Places:
    """The addresses of hosts, for TCP."""

    def __init__(
        self, resolver: Resolver | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Without a resolver the system's is asked."""
        self._resolver = resolver
        self._clock = clock
        self._good: dict[str, tuple[float, list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Its addresses in the order to try them; the host itself where only the
        system can tell."""
        if self._resolver is None:
            return [host]
        shown = f"[{host}]" if ":" in host else host
        try:
            uri = SipUri.parse(f"sip:{shown}:1;transport=tcp")
        except ValueError:  # an address with a scope, a name that no SIP URI takes
            return [host]
        try:
            found = await self._resolver.resolve(uri)
        except SipError as error:
            at, kept = self._good.get(host, (0.0, []))
            if error.cause is not Cause.DNS_FAILURE or self._clock() - at > KEEP:
                kept = []
            return kept or [host]
        ips = [address.ip for address in found.addresses]
        if len(self._good) < KNOWN_MOST or host in self._good:
            self._good[host] = self._clock(), ips
        return ips

    async def connect(
        self,
        protocol: Callable[[], P],
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> P:
        """A connection to the first address that takes one; OSError of the last."""
        loop = asyncio.get_running_loop()
        *others, last = await self.addresses(host)
        name = host if tls else None
        for ip in others:
            try:
                _, made = await loop.create_connection(
                    protocol, ip, port, ssl=tls, server_hostname=name
                )
            except OSError:
                continue
            return made
        _, made = await loop.create_connection(
            protocol, last, port, ssl=tls, server_hostname=name
        )
        return made


class HttpPlaces(AbstractResolver):
    """The same for aiohttp."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a host; OSError where there are none."""
        loop = asyncio.get_running_loop()
        found: list[ResolveResult] = []
        for one in await self._places.addresses(host):
            infos = await loop.getaddrinfo(
                one, port, type=socket.SOCK_STREAM, family=family
            )
            found += [
                ResolveResult(
                    hostname=host,
                    host=str(place[0]),
                    port=port,
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST,
                )
                for kind, _, proto, _, place in infos
            ]
        return found

    async def close(self) -> None:
        """Nothing is open."""
