"""A SIP peer on loopback that answers by a script, over each transport."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from checks.sip.framing import Framer
from checks.sip.headers import Headers
from checks.sip.message import Request, Response, parse
from checks.sip.resolver import Address

Script = Callable[[Request, int], Sequence[bytes] | None]
"Octets to answer a request with, given its number; None hangs up."


def respond(
    request: Request, status: int, reason: str = "", **fields: str | list[str]
) -> bytes:
    """A response to a request, with more header fields (www_authenticate=...)."""
    copied = ("via", "from", "call-id", "cseq")
    headers = Headers(
        [(name, v) for name in copied for v in request.headers.lines(name)]
    )
    headers.add("To", str(request.to) + ";tag=peer")
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            headers.add(name.replace("_", "-").title(), value)
    return bytes(Response(status, reason or "Said", headers))


class Peer:
    """What the two kinds of servers share."""

    def __init__(self, script: Script, transport: str) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.responses: list[Response] = []  # to what the script has asked
        self.asked = asyncio.Event()
        self.connections = 0
        self.handshakes: list[web.Request] = []  # of WebSockets
        self.address = Address("127.0.0.1", 0, transport)

    def answers(self, data: bytes) -> Sequence[bytes] | None:
        request = parse(data)
        if isinstance(request, Response):
            self.responses.append(request)
            return ()
        self.requests.append(request)
        self.asked.set()
        return self.script(request, len(self.requests))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source) -> None:
        for answer in self.peer.answers(data) or ():
            self.transport.sendto(answer, source)


class _Stream(asyncio.Protocol):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.framer = Framer()

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.peer.connections += 1

    def data_received(self, data: bytes) -> None:
        for message in self.framer.feed(data):
            answers = self.peer.answers(message)
            if answers is None:
                self.transport.close()
                return
            for answer in answers:
                self.transport.write(answer)


class _Web:
    """A WebSocket server (aiohttp's: it checks our frames), at /ws."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        application = web.Application()
        application.router.add_get("/ws", self.serve)
        self.runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start(self, ip: str, port: int, tls: ssl.SSLContext | None) -> int:
        await self.runner.setup()
        site = web.TCPSite(self.runner, ip, port, ssl_context=tls)
        await site.start()
        return self.runner.addresses[0][1]

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("sip",), autoping=True)
        await socket.prepare(request)
        self.peer.connections += 1
        self.peer.handshakes.append(request)
        async for message in socket:
            assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY)
            text = isinstance(message.data, str)
            answers = self.peer.answers(message.data.encode() if text else message.data)
            if answers is None:
                await socket.close(code=1012)
                break
            for answer in answers:
                await (
                    socket.send_str(answer.decode())
                    if text
                    else (socket.send_bytes(answer))
                )
        return socket


@asynccontextmanager
async def answering(
    script: Script,
    transport: str = "udp",
    *,
    ip: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Peer]:
    """A peer on a port of its own, or on the one given."""
    loop = asyncio.get_running_loop()
    peer = Peer(script, transport)
    if transport in ("ws", "wss"):
        server = _Web(peer)
        peer.address = Address(ip, await server.start(ip, port, tls), transport, "/ws")
        try:
            yield peer
        finally:
            await server.runner.cleanup()
        return
    if transport == "udp":
        server, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(peer), local_addr=(ip, port)
        )
        port = server.get_extra_info("sockname")[1]
    else:
        server = await loop.create_server(lambda: _Stream(peer), ip, port, ssl=tls)
        port = server.sockets[0].getsockname()[1]
    peer.address = Address(ip, port, transport)
    try:
        yield peer
    finally:
        server.close()


def ok(request: Request, number: int) -> list[bytes]:
    """200 to everything."""
    return [respond(request, 200, "OK")]
