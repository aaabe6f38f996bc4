"""The one place with a privilege: scapy's raw listener on each interface.

scapy opens the socket, turns on timestamps and puts VLAN tags back that the card took
off; nothing is dissected. It is imported here alone: it takes half a second and 60 MB.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Sequence
from typing import Any, Protocol

from sipwatch.capture.filters import NOTHING, attach, program
from sipwatch.capture.frames import ETHERNET, FRAME_LIMIT, RAW, Frame

BUFFER = 4 * 1024 * 1024  # octets in the kernel; net.core.rmem_max may allow less
FLUSHED = 10_000  # frames of before the filter that are thrown away
AT_ONCE = 256  # frames taken from one interface until others have their turn

_PACKET, _STATISTICS = 263, 6  # SOL_PACKET, PACKET_STATISTICS of <linux/if_packet.h>
_BUFFER_FORCE = 33  # SO_RCVBUFFORCE: beyond rmem_max, with CAP_NET_ADMIN
_HARDWARE = {1: ETHERNET, 772: ETHERNET}  # ARPHRD_ETHER, ARPHRD_LOOPBACK
_BARE = (65534, 512, 768, 776, 778)  # ARPHRD_NONE, PPP, TUNNEL, SIT, IPGRE
_LOOPBACK = 772


class Source(Protocol):
    """What scapy's sockets are, as far as they are used here."""

    ins: socket.socket

    def recv_raw(self, size: int) -> tuple[Any, bytes | None, float | None]:
        """Class, content and time of the next frame."""

    def close(self) -> None:
        """Let go of it."""


class Wire:
    """One interface that is listened to."""

    def __init__(self, name: str, source: Source, link: int) -> None:
        self.name = name
        self.link = link
        self.dropped = 0  # frames that the kernel had no room for
        self.gone = False  # the interface went down; nothing comes by this any more
        self._source = source
        source.ins.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._source.ins.fileno()

    def frames(self) -> list[Frame]:
        """What has come, at most AT_ONCE."""
        found: list[Frame] = []
        receive, link = self._source.recv_raw, self.link
        try:
            for _ in range(AT_ONCE):
                _, data, at = receive(FRAME_LIMIT)
                if data:
                    # A VLAN tag that scapy put back may make it longer than asked.
                    found.append(Frame(at or 0.0, link, data[:FRAME_LIMIT]))
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        return found

    def count_dropped(self) -> int:
        """Frames dropped since the start; asking the kernel sets its count to 0."""
        try:
            said = self._source.ins.getsockopt(_PACKET, _STATISTICS, 8)
        except OSError:
            return self.dropped  # a socket pair has no such figures
        self.dropped += struct.unpack("=LL", said)[1]
        return self.dropped

    def close(self) -> None:
        """Listen no more."""
        self._source.close()


def interfaces() -> list[str]:
    """The names of all interfaces."""
    return [name for _, name in socket.if_nameindex()]


def listen(name: str, ports: Sequence[int], buffer: int = BUFFER) -> Wire:
    """Listen on an interface to these ports, with so many octets of the kernel's for
    what waits; OSError, PermissionError, ValueError."""
    socket.if_nametoindex(name)  # scapy would take another one
    from scapy.arch.linux import L2ListenSocket
    from scapy.config import conf

    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)  # it knows not "lo"
    conf.bufsize = buffer
    source = L2ListenSocket(iface=name, promisc=False)
    try:
        kind = source.ins.getsockname()[3]
        if kind not in _HARDWARE and kind not in _BARE:
            raise ValueError(f"{name} is of a kind that is not read here ({kind})")
        source.ins.setblocking(False)
        attach(source.ins, NOTHING)
        _flush(source.ins)
        ethernet = kind in _HARDWARE
        code = program(ports, ethernet=ethernet, twice=kind == _LOOPBACK)
        attach(source.ins, code)
        _widen(source.ins, buffer)
    except BaseException:
        source.close()
        raise
    return Wire(name, source, ETHERNET if ethernet else RAW)


def _flush(sock: socket.socket) -> None:
    """What came before the filter is anything."""
    try:
        for _ in range(FLUSHED):
            sock.recv(1)
    except BlockingIOError:
        return


def _widen(sock: socket.socket, buffer: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCE, buffer)
    except PermissionError:
        return  # then it is as large as net.core.rmem_max lets it be
