"""Servers on loopback that answer OPTIONS over UDP, TCP and TLS as they are told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme

from checks.observation import Cause, Kind, Observation, Scope, Subject
from checks.options.check import OptionsCheck
from checks.options.targets import Target, TargetFileSettings, TargetSettings
from checks.options.views import TargetView
from checks.sip.errors import SipError
from checks.sip.resolver import Address, Resolution
from checks.sip.uri import SipUri
from tests.checks.options.sweeping import Answers, well
from tests.servers import eventually


@dataclass
class UdpPeer(asyncio.DatagramProtocol):
    """One UDP server."""

    answers: Answers = well
    asked: list[bytes] = field(default_factory=list)
    port: int = 0
    elsewhere: socket.socket | None = None  # answers leave from here instead

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.asked.append(data)
        reply = self.answers(data)
        if reply is None:
            return
        if self.elsewhere is not None:
            self.elsewhere.sendto(reply, source)
        else:
            self.transport.sendto(reply, source)


@asynccontextmanager
async def udp_peer(
    answers: Answers = well, host: str = "127.0.0.1"
) -> AsyncIterator[UdpPeer]:
    """A UDP server on a port of its own."""
    loop = asyncio.get_running_loop()
    peer = UdpPeer(answers)
    transport, _ = await loop.create_datagram_endpoint(lambda: peer, (host, 0))
    try:
        yield peer
    finally:
        transport.close()


@dataclass
class StreamPeer:
    """One TCP or TLS server."""

    answers: Answers = well
    asked: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0
    hang_ups: int = 0  # of the next questions: close instead of answering

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection."""
        self.writers.append(writer)
        try:
            while True:
                data = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(data)
                if self.hang_ups:
                    self.hang_ups -= 1
                    break
                if (reply := self.answers(data)) is not None:
                    writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def close_connections(self) -> None:
        """As a server does with idle ones."""
        for writer in self.writers:
            writer.close()


@asynccontextmanager
async def stream_peer(
    answers: Answers = well, tls: ssl.SSLContext | None = None
) -> AsyncIterator[StreamPeer]:
    """A TCP server, or a TLS one, on a port of its own."""
    peer = StreamPeer(answers)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        peer.close_connections()
        server.close()


def tls_server(cert: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port on which nobody listens."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Names:
    """A resolver that knows what the test tells it."""

    def __init__(self, **known: Sequence[Address] | SipError) -> None:
        self.known = {name.replace("_", "."): found for name, found in known.items()}
        self.ttl = 300.0

    async def resolve(self, uri: SipUri) -> Resolution:
        found = self.known.get(uri.host)
        if found is None:
            raise SipError(Cause.DNS_NXDOMAIN, f"{uri.host} does not exist in the DNS")
        if isinstance(found, SipError):
            raise found
        return Resolution(tuple(found), (), self.ttl)


@dataclass
class Watch:
    """An OptionsCheck that runs, and what it told."""

    check: OptionsCheck
    told: list[Observation]
    resolver: list[tuple[bool, str]]

    async def view(
        self, key: str, met: Callable[[TargetView], bool] = lambda view: True
    ) -> TargetView:
        """A target once it has been judged and is as wanted."""

        def seen() -> bool:
            view = self.check.targets[key]
            return view.state is not None and met(view)

        await eventually(seen, what=key)
        return self.check.targets[key]


def target(
    name: str, uri: str, settings: TargetFileSettings | None = None, **options: object
) -> Target:
    """A target of its own, with an interval for impatient tests."""
    chosen = {"interval": 60.0, "timeout": 2.0, **options}
    used = settings or TargetSettings(uri=uri, **chosen)  # type: ignore[arg-type]
    return Target(Subject(Kind.TARGET, name, Scope(name, used.role)), uri, used)


@asynccontextmanager
async def watching(
    *targets: Target, names: Names | None = None, **options: object
) -> AsyncIterator[Watch]:
    """The check, running on real sockets."""
    told: list[Observation] = []
    resolver: list[tuple[bool, str]] = []
    loop = asyncio.get_running_loop()
    offset = time.time() - loop.time()
    check = OptionsCheck(
        targets,
        told.append,
        clock=lambda: loop.time() + offset,
        resolver=names or Names(),
        resolver_state=lambda ok, detail: resolver.append((ok, detail)),
        **options,  # type: ignore[arg-type]
    )
    running = asyncio.create_task(check.run())
    await asyncio.sleep(0)
    try:
        yield Watch(check, told, resolver)
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.wait([running])
