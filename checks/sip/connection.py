"""TCP, TLS and WebSocket under SIP (RFC 3261 18, RFC 7118): one connection, kept."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from checks.observation import Cause
from checks.sip.certificate import Certificate, tls_context, tls_failure
from checks.sip.errors import SipError
from checks.sip.framing import Framer
from checks.sip.message import MESSAGE_LIMIT
from checks.sip.resolver import TRANSPORTS, Address
from checks.sip.transport import failure_of, family_of
from checks.sip.via import anonymous
from checks.sip.websocket import Upgrade, WebSocket

SEND_LIMIT = 4 * MESSAGE_LIMIT  # octets queued for a peer that reads slower than we ask
PEEK_SECONDS = 2.0  # for a second look at a certificate that did not verify
UNREAD = "the peer does not read what it is sent"

Received = Callable[[bytes], None]
Closed = Callable[[Cause, str], None]


class Connection(asyncio.Protocol):
    """A TCP, TLS or WebSocket connection that is kept between requests.

    `received` gets whole messages; `closed` is told its end once, unless by `close`.
    """

    def __init__(self, received: Received, closed: Closed) -> None:
        self._received = received
        self._closed = closed
        self._framer = Framer()
        self._web: WebSocket | None = None  # its frames, where there are any
        self._upgrade: Upgrade | None = None  # while its answer is awaited
        self._upgraded: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._announced = False  # whether its end was told, or is ours
        self.local: tuple[str, int] = ("", 0)
        self.alias = ""
        "Our name on a WebSocket: there we have no address (RFC 7118 5.3)."

        self.not_after: float | None = None
        "UTC s when the peer's certificate ends; None without TLS."

        self.tls = ""
        "The version of TLS that was agreed on: TLSv1.3."

        self.names: tuple[str, ...] = ()
        "Whom the peer's certificate speaks for."

    async def open(
        self,
        address: Address,
        *,
        server_name: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        source: str | None = None,
        timeout: float,
    ) -> None:
        """Connect; TLS is checked for `server_name`, the domain asked for (RFC 5922).

        SipError says why it failed, with the certificate's end where it showed one.
        """
        context = ssl_context or tls_context() if address.secure else None
        name = server_name or address.ip
        deadline = asyncio.get_running_loop().time() + timeout
        sock = await _connected(address, source, deadline)
        try:
            await self._start(sock, context, name, address, deadline)
        except ssl.SSLCertVerificationError as error:
            cause, text = tls_failure(error)
            not_after = await _peek(address, source, name)
            text = f"{name}: {text}"
            raise SipError(cause, text, not_after=not_after) from None
        self._check_certificate(context, name)
        if address.web:
            await self._switch(address, name, deadline)

    async def _start(
        self,
        sock: socket.socket,
        context: ssl.SSLContext | None,
        name: str,
        address: Address,
        deadline: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                await loop.create_connection(
                    lambda: self,
                    sock=sock,
                    ssl=context,
                    server_hostname=name if context else None,
                )
        except ssl.SSLCertVerificationError:
            raise
        except TimeoutError:
            text = f"the TLS handshake with {address} did not end in time"
            raise SipError(Cause.TLS_HANDSHAKE, text) from None
        except ssl.SSLError as error:
            raise SipError(*tls_failure(error)) from None
        except ValueError:  # Python reads its names, whether anybody asks or not
            raise _unreadable(name) from None
        except OSError as error:
            text = f"{address} ended the TLS handshake: {failure_of(error)[1]}"
            raise SipError(Cause.TLS_HANDSHAKE, text) from None
        finally:
            if self._transport is None:
                sock.close()

    def _check_certificate(self, context: ssl.SSLContext | None, name: str) -> None:
        if context is None or self._transport is None:
            return
        tls = self._transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls else None
        if der is None:
            return  # an anonymous cipher: only where the caller's context allows it
        try:
            certificate = Certificate.of_der(der)
        except ValueError:
            self.close()
            raise _unreadable(name) from None
        self.not_after, self.names = certificate.not_after, certificate.names
        self.tls = tls.version() or ""
        if context.verify_mode != ssl.CERT_NONE and not certificate.covers(name):
            self.close()
            raise SipError(
                Cause.TLS_VERIFY,
                certificate.mismatch(name),
                not_after=certificate.not_after,
            )

    async def _switch(self, address: Address, name: str, deadline: float) -> None:
        """Make a WebSocket of it (RFC 6455 4.1, RFC 7118 4.1)."""
        if self._transport is None:
            return
        self._upgrade = Upgrade(_host_field(address, name), address.path)
        self._upgraded = asyncio.get_running_loop().create_future()
        self._transport.write(self._upgrade.request)
        try:
            async with asyncio.timeout_at(deadline):
                await self._upgraded
        except TimeoutError:
            self.close()
            text = f"{address} did not answer the WebSocket handshake in time"
            raise SipError(Cause.WEBSOCKET_HANDSHAKE, text) from None
        except ValueError as error:
            self.close()
            text = f"no WebSocket at {address}: {error}"
            raise SipError(Cause.WEBSOCKET_HANDSHAKE, text) from None
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent over it."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        """Queue a message; SipError where the peer does not take what it has."""
        if self._transport is None or self._transport.is_closing():
            raise SipError(Cause.CONNECTION_RESET, "the connection is closed")
        if self._transport.get_write_buffer_size() + len(data) > SEND_LIMIT:
            self._end(Cause.TIMEOUT, UNREAD)
            raise SipError(Cause.TIMEOUT, UNREAD)
        self._transport.write(self._web.frame(data) if self._web else data)

    def close(self) -> None:
        """End it at once; `closed` is not called."""
        self._announced = True
        if self._transport is not None:
            if self._web is not None and self.is_open:
                self._transport.write(self._web.farewell())
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._transport = transport
        name = transport.get_extra_info("sockname")
        self.local = (name[0], name[1])

    def data_received(self, data: bytes) -> None:
        if self._upgrade is not None:
            self._answered(self._upgrade, data)
            return
        try:
            messages = (self._web or self._framer).feed(data)
        except ValueError as error:
            self._reply()
            self._end(Cause.MALFORMED, f"the stream cannot be read: {error}")
            return
        self._reply()
        for message in messages:
            self._received(message)
        if self._web is not None and self._web.closed is not None:
            text = f"the peer closed the WebSocket, {self._web.closed}"
            self._end(Cause.CONNECTION_RESET, text)

    def _answered(self, upgrade: Upgrade, data: bytes) -> None:
        """Octets of the answer to the handshake, and maybe the first frames."""
        if self._upgraded is None or self._upgraded.done():
            return  # refused, and closed in a moment
        try:
            rest = upgrade.feed(data)
        except ValueError as error:
            self._upgraded.set_exception(error)
            return
        if rest is not None:
            self._upgrade, self._web = None, WebSocket()
            self.alias = anonymous()
            self._upgraded.set_result(None)
            if rest:
                self.data_received(rest)

    def _reply(self) -> None:
        """Send what the protocol owes; a peer that does not read it is left."""
        owed = self._web.take_replies() if self._web else b""
        if not owed or self._transport is None:
            return
        if self._transport.get_write_buffer_size() + len(owed) > SEND_LIMIT:
            self._end(Cause.TIMEOUT, UNREAD)
        else:
            self._transport.write(owed)

    def connection_lost(self, error: Exception | None) -> None:
        if self._upgraded is not None and not self._upgraded.done():
            text = "it ended the connection instead of answering the handshake"
            self._upgraded.set_exception(ValueError(text))
            return
        if isinstance(error, OSError):
            self._tell(*failure_of(error))
        else:
            self._tell(Cause.CONNECTION_RESET, "the peer closed the connection")

    def _end(self, cause: Cause, text: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._tell(cause, text)

    def _tell(self, cause: Cause, text: str) -> None:
        if not self._announced:
            self._announced = True
            self._closed(cause, text)


def _unreadable(name: str) -> SipError:
    return SipError(Cause.TLS_VERIFY, f"{name}: its certificate cannot be read")


def _host_field(address: Address, name: str) -> str:
    """Host as HTTP wants it: without the port where it is the usual one."""
    host = f"[{name}]" if ":" in name else name
    usual = TRANSPORTS[address.transport][2]
    return host if address.port == usual else f"{host}:{address.port}"


async def _connected(
    address: Address, source: str | None, deadline: float
) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    sock = socket.socket(family_of(address.ip), kind)
    try:
        if source is not None:
            sock.bind((source, 0))
        async with asyncio.timeout_at(deadline):
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (address.ip, address.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:  # TimeoutError is one
        sock.close()
        cause, text = failure_of(error)
        raise SipError(cause, f"TCP to {address}: {text}") from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _peek(address: Address, source: str | None, name: str) -> float | None:
    """When a certificate that did not verify ends: a second look, without trust."""
    deadline = asyncio.get_running_loop().time() + PEEK_SECONDS
    context = tls_context(verify=False)
    connection = Connection(lambda data: None, lambda cause, text: None)
    try:
        sock = await _connected(address, source, deadline)
        await connection._start(sock, context, name, address, deadline)
        connection._check_certificate(context, name)
    except (SipError, ValueError):
        return None
    finally:
        connection.close()
    return connection.not_after
