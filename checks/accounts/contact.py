"""The test contact: where the registrar finds us while it is bound, and who answers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from checks.accounts.answering import Answering, Reply
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.flows import Back
from checks.sip.framing import Framer
from checks.sip.message import Request, parse
from checks.sip.resolver import Address
from checks.sip.transport import failure_of
from checks.sip.uri import NameAddr, SipUri

ACCEPT_LIMIT = 8  # connections to a TCP contact at once: a registrar opens one
LINGER = 4.0  # s that an INVITE is waited for to be acknowledged, before we leave
PREFIX = "sipwatch-"
_TEST = f":{PREFIX}"  # behind sip: or sips:


def is_test(contact: str) -> bool:
    """Whether a Contact URI that a registrar holds is a test contact of some sipwatch:
    no phone, and gone in a moment."""
    return _TEST in contact  # some PBXs write a display name before it


@dataclass(frozen=True, slots=True)
class OwnContact:
    """By what a contact of ours is known again, by us and by the registrar."""

    user: str
    "User part: what stays when a registrar or an SBC rewrites the address."

    instance: str
    "+sip.instance (RFC 5626 4.1): the same for the same account of one sipwatch."

    @classmethod
    def of(cls, instance: str, account: str) -> OwnContact:
        """Of an account, by its name and the name of this sipwatch."""
        said = f"sipwatch:{instance}:{account}"
        user = hashlib.sha256(said.encode()).hexdigest()[:16]
        return cls(PREFIX + user, uuid.uuid5(uuid.NAMESPACE_URL, said).urn)

    def owns(self, contact: NameAddr) -> bool:
        """Whether a listed contact is ours, at this port or at one of before."""
        if (contact.params.get("+sip.instance") or "").strip("<>") == self.instance:
            return True
        try:
            return contact.sip.user == self.user
        except ValueError:
            return False

    def field(self, uri: SipUri | str, expires: int) -> str:
        """The value of Contact that binds it, or with 0 removes it."""
        # RFC 5626: reg-id without the option tag `outbound` claims no flow; it tells
        # registrars that know instances that this is one contact, and always the same.
        return f'<{uri}>;+sip.instance="<{self.instance}>";reg-id=1;expires={expires}'


class Contact:
    """Answers for a test contact, over the client's own ways and, for TCP, a port."""

    def __init__(self, agent: str, clock: Callable[[], float]) -> None:
        self.answering = Answering(agent)
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._accepted: set[_Accepted] = set()
        self._quiet = asyncio.Event()

    async def open(
        self,
        client: Client,
        user: str,
        address: Address,
        *,
        server_name: str,
        timeout: float,
    ) -> SipUri:
        """Be reachable for who is at an address, and say under which URI.

        SipError where there is no way to it.
        """
        uri = await client.contact(
            user, address, server_name=server_name, timeout=timeout
        )
        if address.transport != "tcp":
            return uri  # its socket, or the connection that the registrar has
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: _Accepted(self), uri.host, 0)
        except OSError as error:
            cause, text = failure_of(error)
            raise SipError(
                cause, f"no port of {uri.host} to be called at: {text}"
            ) from None
        self._server = server
        return replace(uri, port=self._server.sockets[0].getsockname()[1])

    def asked(self, request: Request, back: Back) -> None:
        """A request has come."""
        self._send(self.answering.receive(request, back, self._clock()))

    async def settle(self) -> None:
        """Wait until every INVITE is acknowledged, LINGER at most."""
        deadline = asyncio.get_running_loop().time() + LINGER
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self.answering.busy:
                    self._quiet.clear()
                    await self._quiet.wait()

    def close(self) -> None:
        """Answer no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        for one in list(self._accepted):
            one.close()

    def join(self, accepted: _Accepted) -> bool:
        """Take a connection; False where there are too many."""
        if len(self._accepted) >= ACCEPT_LIMIT:
            return False
        self._accepted.add(accepted)
        return True

    def leave(self, accepted: _Accepted) -> None:
        """A connection has ended."""
        self._accepted.discard(accepted)

    def _send(self, replies: list[Reply]) -> None:
        for reply in replies:
            reply.send()
        if not self.answering.busy:
            self._quiet.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.answering.deadline
        if due is not None:
            loop = asyncio.get_running_loop()
            delay = max(0.0, due - self._clock())
            self._timer = loop.call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        self._send(self.answering.advance(self._clock()))


class _Accepted(asyncio.Protocol):
    """A connection that a registrar opened to a TCP contact."""

    def __init__(self, contact: Contact) -> None:
        self._contact = contact
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._peer = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = (peer[0], peer[1])
        if not self._contact.join(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            messages = [parse(one) for one in self._framer.feed(data)]
        except ValueError:
            self.close()
            return
        for message in messages:
            if isinstance(message, Request):
                self._contact.asked(message, Back(self._peer, True, self._write))

    def connection_lost(self, error: Exception | None) -> None:
        self._contact.leave(self)

    def close(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        if self._transport.get_write_buffer_size() > len(data) * ACCEPT_LIMIT:
            self.close()  # it asks and does not read
        else:
            self._transport.write(data)
