"""UDP, TCP and TLS under SIP (RFC 3261 18), and what their failures are called."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
import struct
from collections.abc import Callable

from checks.observation import Cause
from checks.sip.certificate import Certificate, tls_context, tls_failure
from checks.sip.errors import SipError
from checks.sip.framing import Framer
from checks.sip.message import MESSAGE_LIMIT
from checks.sip.resolver import Address

SEND_LIMIT = 4 * MESSAGE_LIMIT  # octets queued for a peer that reads slower than we ask
DRAIN_LIMIT = 64  # datagrams taken in one wake, so that others get their turn
PEEK_SECONDS = 2.0  # for a second look at a certificate that did not verify

# Linux: linux/in.h, linux/in6.h; the socket module does not name them in Python 3.11.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err

Received = Callable[[bytes], None]
Closed = Callable[[Cause, str], None]

_CAUSES = {
    errno.ECONNREFUSED: (Cause.CONNECTION_REFUSED, "connection refused"),
    errno.ECONNRESET: (Cause.CONNECTION_RESET, "connection reset"),
    errno.EPIPE: (Cause.CONNECTION_RESET, "connection closed"),
    errno.ECONNABORTED: (Cause.CONNECTION_RESET, "connection aborted"),
    errno.ETIMEDOUT: (Cause.TIMEOUT, "connection timed out"),
    errno.EHOSTUNREACH: (Cause.ICMP_UNREACHABLE, "host unreachable"),
    errno.ENETUNREACH: (Cause.ICMP_UNREACHABLE, "network unreachable"),
    errno.EACCES: (Cause.ICMP_UNREACHABLE, "communication prohibited"),
}


def failure_of(error: OSError) -> tuple[Cause, str]:
    """Cause and words of an error of the operating system."""
    if isinstance(error, ssl.SSLError):
        return tls_failure(error)
    if isinstance(error, TimeoutError) and error.errno is None:
        return Cause.TIMEOUT, "timed out"
    known = _CAUSES.get(error.errno or 0)
    # What is left is of this machine: no such source address, a firewall of its own.
    return known or (Cause.ICMP_UNREACHABLE, f"cannot send: {error.strerror or error}")


def local_ip(destination: str, source: str | None = None) -> str:
    """Our address towards a destination, from the routing table; OSError without."""
    family = _family(destination)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        if source is not None:
            probe.bind((source, 0))
        probe.connect((destination, 9))  # UDP: sends nothing
        return str(probe.getsockname()[0])


class UdpSocket:
    """One socket for all destinations of a family and source.

    It stays unconnected, so that an answer from another address is seen, and hears of
    ICMP errors by the kernel's error queue, which names the destination of each.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bind: tuple[str, int],
        received: Callable[[bytes, tuple[str, int]], None],
        failed: Callable[[tuple[str, int], Cause, str], None],
    ) -> None:
        self._loop = loop
        self._received = received
        self._failed = failed
        family = _family(bind[0])
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            self._socket.bind(bind)
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket, self._readable)

    @property
    def port(self) -> int:
        """Our port."""
        return int(self._socket.getsockname()[1])

    def send(self, data: bytes, destination: tuple[str, int]) -> None:
        """Send one datagram; OSError where it cannot go."""
        try:
            self._socket.sendto(data, destination)
        except BlockingIOError:
            return  # a full send buffer loses it, as the network may: E sends again
        except OSError:
            # The kernel hands out a waiting error of any destination: take those first.
            self._read_errors()
            self._socket.sendto(data, destination)

    def close(self) -> None:
        """Stop reading; what is still on its way is lost."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(DRAIN_LIMIT):
            try:
                data, source = self._socket.recvfrom(MESSAGE_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                self._read_errors()
                return
            self._received(data, (source[0], source[1]))
            if self._socket.fileno() < 0:
                return  # closed by who received

    def _read_errors(self) -> None:
        for _ in range(DRAIN_LIMIT):
            try:
                _, ancillary, _, destination = self._socket.recvmsg(
                    0, 512, socket.MSG_ERRQUEUE
                )
            except OSError:
                return
            for _, _, octets in ancillary:
                if len(octets) >= _EXTENDED_ERROR.size and destination:
                    number = _EXTENDED_ERROR.unpack_from(octets)[0]
                    cause, text = _icmp(number)
                    self._failed((destination[0], destination[1]), cause, text)


class Connection(asyncio.Protocol):
    """A TCP or TLS connection that is kept between requests.

    `received` gets whole messages; `closed` is told its end once, unless by `close`.
    """

    def __init__(self, received: Received, closed: Closed) -> None:
        self._received = received
        self._closed = closed
        self._framer = Framer()
        self._transport: asyncio.Transport | None = None
        self._announced = False  # whether its end was told, or is ours
        self.local: tuple[str, int] = ("", 0)
        self.not_after: float | None = None
        "UTC s when the peer's certificate ends; None without TLS."

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
        context = ssl_context or tls_context() if address.transport == "tls" else None
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
        certificate = Certificate.of_der(der)
        self.not_after = certificate.not_after
        if context.verify_mode != ssl.CERT_NONE and not certificate.covers(name):
            self.close()
            raise SipError(
                Cause.TLS_VERIFY,
                certificate.mismatch(name),
                not_after=certificate.not_after,
            )

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent over it."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        """Queue a message; SipError where the peer does not take what it has."""
        if self._transport is None or self._transport.is_closing():
            raise SipError(Cause.CONNECTION_RESET, "the connection is closed")
        if self._transport.get_write_buffer_size() + len(data) > SEND_LIMIT:
            self._end(Cause.TIMEOUT, "the peer does not read what it is sent")
            raise SipError(Cause.TIMEOUT, "the peer does not read what it is sent")
        self._transport.write(data)

    def close(self) -> None:
        """End it at once; `closed` is not called."""
        self._announced = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        self._transport = transport
        name = transport.get_extra_info("sockname")
        self.local = (name[0], name[1])

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._framer.feed(data)
        except ValueError as error:
            self._end(Cause.MALFORMED, f"the stream cannot be read: {error}")
            return
        for message in messages:
            self._received(message)

    def connection_lost(self, error: Exception | None) -> None:
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


async def _connected(
    address: Address, source: str | None, deadline: float
) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    sock = socket.socket(_family(address.ip), kind)
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


def _icmp(number: int) -> tuple[Cause, str]:
    if number == errno.ECONNREFUSED:
        return Cause.ICMP_UNREACHABLE, "ICMP: port unreachable"
    cause, text = failure_of(OSError(number, ""))
    if cause is Cause.ICMP_UNREACHABLE:
        return cause, f"ICMP: {text}"
    return Cause.ICMP_UNREACHABLE, f"ICMP error {errno.errorcode.get(number, number)}"


def _family(ip: str) -> socket.AddressFamily:
    version = ipaddress.ip_address(ip).version
    return socket.AF_INET6 if version == 6 else socket.AF_INET
