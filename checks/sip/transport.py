"""UDP under SIP (RFC 3261 18), and what the failures of all sockets are called."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
import struct
from collections.abc import Callable

from checks.observation import Cause
from checks.sip.certificate import tls_failure
from checks.sip.message import MESSAGE_LIMIT

DRAIN_LIMIT = 64  # datagrams taken in one wake, so that others get their turn

# Linux: linux/in.h, linux/in6.h; the socket module does not name them in Python 3.11.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err

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
    family = family_of(destination)
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
        *,
        wakes: bool = True,
    ) -> None:
        """Without `wakes` nothing is received but in `drain`."""
        self._loop = loop
        self._received = received
        self._failed = failed
        family = family_of(bind[0])
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
        if wakes:
            loop.add_reader(self._socket, self.drain)

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

    def drain(self) -> None:
        """Take what has come, at most DRAIN_LIMIT datagrams."""
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


def _icmp(number: int) -> tuple[Cause, str]:
    if number == errno.ECONNREFUSED:
        return Cause.ICMP_UNREACHABLE, "ICMP: port unreachable"
    cause, text = failure_of(OSError(number, ""))
    if cause is Cause.ICMP_UNREACHABLE:
        return cause, f"ICMP: {text}"
    return Cause.ICMP_UNREACHABLE, f"ICMP error {errno.errorcode.get(number, number)}"


def family_of(ip: str) -> socket.AddressFamily:
    """IPv4 or IPv6."""
    version = ipaddress.ip_address(ip).version
    return socket.AF_INET6 if version == 6 else socket.AF_INET
