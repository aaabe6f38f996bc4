"""What every simulated SIP element shares: a UDP socket that answers requests."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from dataclasses import replace
from typing import Any

from checks.sip.headers import Headers
from checks.sip.message import Request, Response, parse
from checks.sip.params import Params

AGENT = "sipwatch demo"


class Peer(asyncio.DatagramProtocol):
    """One SIP element on one UDP socket; `silent` makes it lose what comes."""

    def __init__(self) -> None:
        self.silent = False
        self.requests = 0
        self.transport: asyncio.DatagramTransport | None = None
        self.address = ("", 0)

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind; port 0 takes a free one. `address` then holds both."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        except OSError as e:
            raise cannot_listen(e, host, port) from None

    def close(self) -> None:
        """Close the socket: from now on the kernel answers with ICMP."""
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.silent:
            return
        try:
            self._take(parse(data), addr)
        except ValueError:
            return  # not SIP, or not enough of it to be answered

    def _take(self, message: Request | Response, addr: tuple[str, int]) -> None:
        if isinstance(message, Response):
            self.answered(message)
            return
        self.requests += 1
        response = self.respond(message, addr[:2])
        if response is not None:
            self.send(bytes(response), addr)

    def send(self, data: bytes, addr: tuple[str, int]) -> None:
        """Send unless closed."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(data, addr)

    def respond(self, request: Request, source: tuple[str, int]) -> Response | None:
        """The answer to a request; None keeps silent."""
        return answer(request, 200, "OK", source)

    def answered(self, response: Response) -> None:
        """A response to something that this element asked."""


def cannot_listen(error: OSError, host: str, port: int) -> OSError:
    """The error with the address that it is about."""
    number = error.errno or errno.EIO
    why = f"cannot listen on {host}:{port}: {os.strerror(number)}"
    return OSError(number, why)


def answer(
    request: Request, status: int, reason: str, source: tuple[str, int]
) -> Response:
    """A response that carries back what it must (RFC 3261 8.2.6, RFC 3581)."""
    headers = Headers()
    top, *others = request.vias
    params = Params(
        (name, str(source[1]) if name.lower() == "rport" else value)
        for name, value in top.params.written
    ).with_("received", source[0])
    headers.add("Via", str(replace(top, params=params)))
    for via in others:
        headers.add("Via", str(via))
    headers.add("From", request.get("from") or "")
    to = request.get("to") or ""
    tagged = ";tag=" in to.lower()
    headers.add("To", to if tagged else f"{to};tag={secrets.token_hex(4)}")
    headers.add("Call-ID", request.call_id)
    headers.add("CSeq", request.get("cseq") or "")
    headers.add("Server", AGENT)
    return Response(status, reason, headers)
