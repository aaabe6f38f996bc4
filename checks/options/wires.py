"""Sockets and streams of one check: opened, read, and what breaks on them."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from checks.observation import Cause
from checks.options.datagrams import DatagramSocket, icmp
from checks.options.lanes import Clear, Send, nothing
from checks.options.streams import Link, Streams
from checks.options.sweep import Sweep
from checks.options.targets import address_family

if TYPE_CHECKING:
    from checks.options.wiretap import Wiretap

BUSY = 100.0  # questions a second from which answers are fetched at ticks, not by wakes
NO_WAY = (errno.ENETUNREACH, errno.EACCES, errno.EPERM)  # routes and filters, not hosts


class Wires:
    """One UDP socket for each family and source, and the streams that are kept.

    `arm(now)` is called when the sweep may have something to do earlier than it said.
    Where there is a `tap`, everything goes through it.
    """

    def __init__(
        self,
        sweep: Sweep,
        clock: Callable[[], float],
        arm: Callable[[float], None],
        tap: Wiretap | None = None,
    ) -> None:
        self.polled = False  # answers are fetched at ticks
        self._sweep, self._rows = sweep, sweep.rows
        self._clock, self._arm, self._tap = clock, arm, tap
        self._take = tap.taking if tap else sweep.inbox.take
        self.send_stream: Send = tap.sending(_send_stream) if tap else _send_stream
        self.streams = Streams(
            clock,
            self._take,
            self._stream_failed,
            hold=self._stream_held,
            begun=self._stream_begun,
        )
        self._sockets: dict[tuple[int, str], DatagramSocket] = {}
        self._places: dict[Any, list[int]] | None = None  # rows by their address
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Read, on the running loop, from now on."""
        self._loop = asyncio.get_running_loop()
        for sock in self._sockets.values():
            self._read(sock, not self.polled)

    def close(self) -> None:
        """Close all; no row hears of it."""
        for sock in self._sockets.values():
            self._read(sock, False)
            sock.close()
        self._sockets.clear()
        self.streams.close()
        self._loop = None

    def settle(self) -> None:
        """After rows have changed: close what is unused, choose how to read."""
        self._places = None
        self.streams.close_unused()
        polled = self._sweep.rate >= BUSY
        if polled != self.polled:
            self.polled = polled
            for sock in self._sockets.values():
                self._read(sock, not polled)

    def drain(self) -> bool:
        """Take one slice of what has come; False when more may be waiting."""
        drained = [sock.drain() for sock in self._sockets.values()]
        return all(drained)

    @property
    def drops(self) -> int:
        """Answers that the kernel had no room for."""
        return sum(sock.drops for sock in self._sockets.values())

    @property
    def receive_buffer(self) -> int:
        """Octets of the smallest receive buffer; 0 before there is one."""
        return min((sock.room for sock in self._sockets.values()), default=0)

    # Datagrams

    def socket_of(
        self, family: socket.AddressFamily, source: str
    ) -> tuple[Send, Clear, int]:
        """How to send, to take errors, and our port; OSError if the source is not
        ours."""
        key = (int(family), source)
        if key not in self._sockets:
            try:
                sock = DatagramSocket(
                    family,
                    source,
                    clock=self._clock,
                    receive=self._take,
                    unreachable=self._unreachable,
                )
            except OSError as error:
                if source and address_family(source) == family:
                    raise  # it is not ours, and nothing could be asked from it
                return _unsendable(error), nothing, 0
            self._sockets[key] = sock
            self._read(sock, not self.polled)
        sock = self._sockets[key]
        send: Send = self._tap.sending(sock.send) if self._tap else sock.send
        return send, sock.read_errors, sock.port

    def _read(self, sock: DatagramSocket, wanted: bool) -> None:
        if self._loop is not None and sock.fileno() >= 0:
            if wanted:
                self._loop.add_reader(sock, self._readable, sock)
            else:
                self._loop.remove_reader(sock)

    def _readable(self, sock: DatagramSocket) -> None:
        sock.drain()
        self._arm(self._clock())

    def _unreachable(self, data: bytes, destination: Any, number: int) -> None:
        """ICMP: the quoted request names the row; a short quote only its address."""
        now, text = self._clock(), icmp(number)
        row = self._sweep.inbox.asking(data)
        for found in [row] if row is not None else self._asked_at(destination):
            if number in NO_WAY:
                self._sweep.unsent(found, text, now)
            else:
                self._sweep.fail(found, Cause.ICMP_UNREACHABLE, text, now)

    def _asked_at(self, destination: Any) -> list[int]:
        if self._places is None:
            self._places = {}
            for row, address in enumerate(self._rows.address):
                if isinstance(address, tuple):
                    self._places.setdefault(address[:2], []).append(row)
        return self._asked(self._places.get(destination[:2], []))

    def _asked(self, rows: list[int] | set[int]) -> list[int]:
        return [row for row in rows if self._rows.nonce[row]]

    # Streams

    def _stream_failed(self, link: Link, cause: Cause, detail: str) -> None:
        now = self._clock()
        for row in self._asked(link.rows):
            self._sweep.fail(row, cause, detail, now)
        self._arm(now)

    def _stream_held(self, link: Link) -> None:
        for row in self._asked(link.rows):
            self._sweep.withdraw(row)
            link.held.add(row)

    def _stream_begun(self, link: Link) -> None:
        now = self._clock()
        held, link.held = link.held & link.rows, set()
        for row in held:
            self._sweep.ask(row, now)
        self._arm(now)


def _unsendable(error: OSError) -> Send:
    """This machine does not speak the family: each question fails of it."""

    def send(data: bytes, address: Any) -> None:
        raise OSError(error.errno, error.strerror)

    return send


def _send_stream(data: bytes, link: Link) -> None:
    link.send(data)
