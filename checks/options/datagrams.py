"""The UDP socket of a sweep: drained in slices, timed and counted by the kernel."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from checks.options.inbox import Message

RECEIVE_BUFFER = 4 << 20  # octets: the answers of some seconds while we are stopped
DRAIN_LIMIT = 64  # datagrams of one slice, so that others on the loop get their turn
DATAGRAM_LIMIT = 65_536  # octets; what UDP can carry
STEP = 0.001  # s; if the two clocks moved apart by more, the kernel's time is not used

# Linux: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/errqueue.h. The socket
# module does not name these.
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_SO_RXQ_OVFL = 40
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_TIMESPEC = struct.Struct("@ll")
_COUNT = struct.Struct("=I")
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ANCILLARY = 64 + 64  # octets: a time and a count, each with its header

Receive = Callable[[list[Message]], None]
Unreachable = Callable[[bytes, Any, int], None]  # the last: an errno


class DatagramSocket:
    """One socket for all rows of a family and source address; Linux only."""

    def __init__(
        self,
        family: socket.AddressFamily,
        source: str = "",
        *,
        clock: Callable[[], float],
        receive: Receive,
        unreachable: Unreachable,
    ) -> None:
        self.drops = 0  # datagrams that the kernel had no room for
        self._clock = clock
        self._receive = receive
        self._unreachable = unreachable
        self._buffer = bytearray(DATAGRAM_LIMIT)
        self._view = memoryview(self._buffer)
        self._offset: float | None = None
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._prepare(family)
            self._socket.bind((source, 0))
        except OSError:
            self._socket.close()
            raise
        self.port = int(self._socket.getsockname()[1])
        self.send = self._socket.sendto  # as it is: it is called for every question

    def _prepare(self, family: socket.AddressFamily) -> None:
        option = self._socket.setsockopt
        try:
            option(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # without CAP_NET_ADMIN, as far as rmem_max allows
            option(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        option(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        option(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
        if family == socket.AF_INET6:
            option(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            option(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            option(socket.IPPROTO_IP, _IP_RECVERR, 1)

    def fileno(self) -> int:
        """For the loop's selector."""
        return self._socket.fileno()

    @property
    def room(self) -> int:
        """Octets that the receive buffer holds, as the kernel counts them."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def close(self) -> None:
        """Close it; what is on its way is lost."""
        self._socket.close()

    def drain(self) -> bool:
        """Take one slice of what has come; False when more may be waiting."""
        offset = self._kernel_offset()
        take, buffers, view = self._socket.recvmsg_into, (self._buffer,), self._view
        unpack, messages = _TIMESPEC.unpack, list[Message]()
        dry = False
        for _ in range(DRAIN_LIMIT):
            try:
                size, ancillary, _, source = take(buffers, _ANCILLARY)
            except BlockingIOError:
                dry = True
                break
            except OSError:
                self.read_errors()
                continue
            # The kernel puts the time first, then the drops where there were any.
            if offset is None or not ancillary:
                at = self._clock()
            else:
                seconds, nanoseconds = unpack(ancillary[0][2])
                at = seconds + nanoseconds * 1e-9 + offset
                if len(ancillary) > 1:
                    self._count_drops(ancillary)
            messages.append((bytes(view[:size]), source, at))
        if messages:
            self._receive(messages)
        return dry

    def _kernel_offset(self) -> float | None:
        """What makes our clock's time of a kernel time; None while the wall jumps."""
        offset = self._clock() - time.time()
        before, self._offset = self._offset, offset
        if before is None or abs(offset - before) < STEP:
            return offset
        return None

    def _count_drops(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for _, kind, octets in ancillary:
            if kind == _SO_RXQ_OVFL and len(octets) == _COUNT.size:
                self.drops = _COUNT.unpack(octets)[0]

    def read_errors(self) -> None:
        """Tell of the ICMP errors that wait; else `send` raises them."""
        for _ in range(DRAIN_LIMIT):
            try:
                data, ancillary, _, destination = self._socket.recvmsg(
                    DATAGRAM_LIMIT, 512, socket.MSG_ERRQUEUE
                )
            except OSError:
                return
            for _, kind, octets in ancillary:
                if kind in (_IP_RECVERR, _IPV6_RECVERR) and destination:
                    number = _EXTENDED_ERROR.unpack_from(octets)[0]
                    self._unreachable(data, destination, number)


def icmp(number: int) -> str:
    """An error that ICMP told of, in words."""
    if number == errno.ECONNREFUSED:
        return "ICMP: port unreachable"
    return f"ICMP: {os.strerror(number).lower()}"
