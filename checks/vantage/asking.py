"""The questions to the landmarks of our own network, round after round."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import struct
from collections.abc import Callable

from checks.observation import Cause, Observation
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.requests import options_request
from checks.sip.resolver import Address
from checks.sip.route import local_address
from checks.sip.uri import SipUri
from checks.vantage.judge import Reply, Vantage
from checks.vantage.settings import Landmark, endpoint

SOON = 1.0  # s between two rounds while it is not settled whether we are cut off
ANSWER = 512  # bytes of a DNS answer that are read: its header is all we look at
QUESTION = b"\0\0\2\0\1"  # of the root, for its name servers, class IN (RFC 1035 4.1.2)

# What this machine's own network says, whoever was asked.
OWN = (errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


class VantageCheck:
    """Asks until cancelled; every round is told as an observation."""

    def __init__(
        self,
        judge: Vantage,
        observe: Callable[[Observation], None],
        clock: Callable[[], float],
        agent: str = "sipwatch",
    ) -> None:
        self.judge = judge
        self._observe = observe
        self._clock = clock
        self._agent = agent
        self._now = asyncio.Event()

    async def run(self) -> None:
        """Ask round after round."""
        client = Client(clock=self._clock)
        try:
            while True:
                self._now.clear()
                began = self._clock()
                await self._round(client, began)
                await self._rest(began)
        finally:
            client.close()

    def ask(self) -> None:
        """Somebody waits to know: ask now."""
        self._now.set()

    async def _round(self, client: Client, began: float) -> None:
        settings = self.judge.settings
        several = settings.targets.values()
        replies = await asyncio.gather(*(self._timed(one, client) for one in several))
        named = dict(zip(settings.targets, replies, strict=True))
        o = self.judge.round(named, began, self._clock())
        if o is not None:
            self._observe(o)

    async def _rest(self, began: float) -> None:
        interval = self.judge.settings.interval
        due = began + (interval if self.judge.settled else min(SOON, interval))
        try:
            async with asyncio.timeout(max(0.0, due - self._clock())):
                await self._now.wait()
        except TimeoutError:
            return

    async def _timed(self, one: Landmark, client: Client) -> Reply:
        asked = self._clock()
        reply = await self._ask(one, client)
        return reply._replace(rtt=self._clock() - asked) if reply.ok else reply

    async def _ask(self, one: Landmark, client: Client) -> Reply:
        timeout = self.judge.settings.timeout
        try:
            async with asyncio.timeout(timeout):
                if one.tcp:
                    return await _connect(*endpoint(one.tcp, 0))
                if one.dns:
                    return await _query(*endpoint(one.dns, 53))
                return await self._options(one.options, client, timeout)
        except ConnectionRefusedError:
            return Reply(ok=True, detail="connection refused")  # it said so itself
        except TimeoutError:
            return Reply(ok=False, detail=f"no answer in {timeout:g} s")
        except OSError as error:
            why = error.strerror or str(error)
            return Reply(ok=False, detail=why, own=error.errno in OWN)

    async def _options(self, written: str, client: Client, timeout: float) -> Reply:
        uri = SipUri.parse(
            written if written[:4].lower() == "sip:" else f"sip:{written}"
        )
        host = uri.host.strip("[]")
        local = local_address(host)
        if local is None:
            raise OSError(errno.ENETUNREACH, "this host has no way to it")
        request = options_request(
            uri, from_uri=SipUri(local, "sipwatch"), user_agent=self._agent
        )
        address = Address(host, uri.port or 5060, uri.transport or "udp")
        try:
            await client.request(request, address, timeout=timeout)
        except SipError as error:
            refused = error.cause is Cause.CONNECTION_REFUSED
            return Reply(ok=refused, detail=str(error))
        return Reply(ok=True)


async def _connect(host: str, port: int) -> Reply:
    """Open a connection, and close it."""
    _, writer = await asyncio.open_connection(host, port)
    writer.transport.abort()
    return Reply(ok=True)


async def _query(host: str, port: int) -> Reply:
    """A DNS question, and any answer to it."""
    number = secrets.token_bytes(2)
    question = number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + QUESTION
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((host, port))  # only its answers come in
        await loop.sock_sendall(sock, question)
        while True:
            answer = await loop.sock_recv(sock, ANSWER)
            if answer[:2] == number and len(answer) > 2 and answer[2] & 0x80:
                return Reply(ok=True)
