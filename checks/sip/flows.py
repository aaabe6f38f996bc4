"""Ways to an address: one UDP socket per IP version, connections that are kept."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from checks.observation import Cause
from checks.sip.certificate import tls_context
from checks.sip.connection import Connection
from checks.sip.errors import SipError
from checks.sip.resolver import Address
from checks.sip.transport import UdpSocket, failure_of, local_ip

CONNECTION_LIMIT = 1024  # kept at once; about 25 kB each over TLS

Endpoint = tuple[str, int]


@dataclass(slots=True, eq=False)
class Flow:
    """A way to an address: our end of it, and how to send."""

    local: Endpoint
    send: Callable[[bytes], None]
    connection: Connection | None = None

    kept: bool = False
    "The connection was opened for a request before this one."

    @property
    def sent_by(self) -> tuple[str, int | None]:
        """Our host and port as they stand in Via and Contact."""
        if self.connection is not None and self.connection.alias:
            return self.connection.alias, None
        host, port = self.local
        return f"[{host}]" if ":" in host else host, port

    @property
    def not_after(self) -> float | None:
        """UTC s when the peer's certificate ends; None without TLS."""
        return self.connection.not_after if self.connection else None


class Back(NamedTuple):
    """The way back to who sent us a request."""

    source: Endpoint
    reliable: bool  # False: over UDP, where a response may be lost
    send: Callable[[bytes], None]  # SipError or OSError where it cannot go


@dataclass(slots=True, eq=False)
class _Kept:
    """A connection, and the lock of whoever opens it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None


class Flows:
    """Opens and keeps flows; what arrives on any of them goes to the owner."""

    def __init__(
        self,
        *,
        received: Callable[[bytes, Endpoint, Connection | None], None],
        failed: Callable[[Endpoint, Cause, str], None],
        closed: Callable[[Connection, Cause, str], None],
        busy: Callable[[Connection], bool],
        source: Endpoint | None,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._received = received
        self._failed = failed
        self._closed = closed
        self._busy = busy
        self._source = source
        self._ssl_context = ssl_context
        self._sockets: dict[int, UdpSocket] = {}  # by IP version
        self._kept: dict[tuple[Address, str | None], _Kept] = {}
        self._ended = False

    async def to(
        self, address: Address, server_name: str | None, timeout: float
    ) -> Flow:
        """A way to an address, opened if there is none; SipError where none opens."""
        if self._ended:
            raise SipError(Cause.CONNECTION_RESET, "the client was closed")
        if address.transport == "udp":
            return self._udp(address)
        return await self._stream(address, server_name, timeout)

    def back(self, source: Endpoint, connection: Connection | None) -> Back:
        """The way of a response to what came from there (RFC 3261 18.2.2, RFC 3581)."""
        if connection is not None:
            return Back(source, True, connection.send)
        udp = self._sockets[ipaddress.ip_address(source[0]).version]
        return Back(source, False, lambda data: udp.send(data, source))

    def close(self) -> None:
        """Close every socket and connection."""
        self._ended = True
        for kept in self._kept.values():
            if kept.connection is not None:
                kept.connection.close()
        for udp in self._sockets.values():
            udp.close()
        self._kept.clear()
        self._sockets.clear()

    async def _stream(
        self, address: Address, server_name: str | None, timeout: float
    ) -> Flow:
        kept = self._kept.pop((address, server_name), None) or _Kept()
        self._kept[address, server_name] = kept  # to the end: the last used
        self._drop_unused()
        try:
            async with asyncio.timeout(timeout):
                await kept.lock.acquire()
        except TimeoutError:
            text = f"no connection to {address} within {timeout:g} s"
            raise SipError(Cause.TIMEOUT, text) from None
        try:
            connection = kept.connection
            if connection is not None and connection.is_open:
                return Flow(connection.local, connection.send, connection, True)
            connection = await self._connect(address, server_name, timeout)
            kept.connection = connection
        finally:
            kept.lock.release()
        return Flow(connection.local, connection.send, connection)

    async def _connect(
        self, address: Address, server_name: str | None, timeout: float
    ) -> Connection:
        peer = (address.ip, address.port)
        if address.secure and self._ssl_context is None:
            self._ssl_context = tls_context()

        def received(data: bytes) -> None:
            self._received(data, peer, connection)

        def closed(cause: Cause, text: str) -> None:
            self._closed(connection, cause, text)

        connection = Connection(received, closed)
        await connection.open(
            address,
            server_name=server_name,
            ssl_context=self._ssl_context,
            source=self._source_ip(address.ip),
            timeout=timeout,
        )
        return connection

    def _drop_unused(self) -> None:
        """Close the connections that were used the longest ago, over the limit."""
        over = len(self._kept) - CONNECTION_LIMIT
        for key in list(self._kept)[: max(0, over)]:
            kept = self._kept[key]
            if kept.lock.locked() or (kept.connection and self._busy(kept.connection)):
                continue
            del self._kept[key]
            if kept.connection is not None:
                kept.connection.close()

    def _udp(self, address: Address) -> Flow:
        version = ipaddress.ip_address(address.ip).version
        source = self._source_ip(address.ip)
        try:
            local = local_ip(address.ip, source)
            udp = self._sockets.get(version)
            if udp is None:
                udp = self._sockets[version] = self._bound(version, source)
        except OSError as error:
            cause, text = failure_of(error)
            raise SipError(cause, f"UDP to {address}: {text}") from None
        destination = (address.ip, address.port)
        return Flow((local, udp.port), lambda data: udp.send(data, destination))

    def _bound(self, version: int, source: str | None) -> UdpSocket:
        any_ip = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - a client's socket
        port = self._source[1] if source is not None and self._source else 0
        return UdpSocket(
            asyncio.get_running_loop(),
            (source or any_ip, port),
            lambda data, peer: self._received(data, peer, None),
            self._failed,
        )

    def _source_ip(self, destination: str) -> str | None:
        """Our configured address, where it is of the destination's family."""
        if self._source is None or (":" in self._source[0]) != (":" in destination):
            return None
        return self._source[0]
