"""Answers OPTIONS on every address of 127.0.0.0/8, and counts what came when.

python -m bench.responder       prints its port, then obeys lines on its input:

    mark      count anew from here
    report    one line of JSON: what came since the mark
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from typing import Any, NamedTuple

BUCKET = 0.01  # s
BUFFER = 4 << 20  # octets
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE, _SO_TIMESTAMPNS = 33, 32, 35
_TIMESPEC = struct.Struct("@ll")
_ECHOED = re.compile(rb"(?im)^(?:via|v|from|f|call-id|i|cseq):[^\r]*\r\n")
_TO = re.compile(rb"(?im)^((?:to|t):[^\r]*)\r\n")
_END = (
    b"Server: bench\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Report(NamedTuple):
    """What came since the mark."""

    received: int
    targets: int  # different addresses that were asked
    seconds: float
    busiest: int  # requests in the busiest 10 ms, by the kernel's time of each

    @property
    def burst(self) -> float:
        """The busiest 10 ms as a multiple of the mean."""
        return self.busiest / (self.received / self.seconds * BUCKET)


class Counts:
    """What came, by 10 ms."""

    def __init__(self) -> None:
        self.mark()

    def mark(self) -> None:
        """Begin anew."""
        self._since = time.time()
        self._buckets: Counter[int] = Counter()
        self._targets: set[bytes] = set()

    def add(self, at: float, target: bytes) -> None:
        """One request to a target."""
        self._buckets[int((at - self._since) / BUCKET)] += 1
        self._targets.add(target)

    def report(self) -> Report:
        """What has come."""
        return Report(
            sum(self._buckets.values()),
            len(self._targets),
            time.time() - self._since,
            max(self._buckets.values(), default=0),
        )


def answer(request: bytes) -> bytes:
    """200 OK, with what RFC 3261 8.2.6.2 wants echoed."""
    found = _TO.search(request)
    to = found[1] if found else b"To: <sip:nobody@invalid>"
    echoed = b"".join(_ECHOED.findall(request))
    return b"SIP/2.0 200 OK\r\n" + echoed + to + b";tag=bench\r\n" + _END


def opened() -> socket.socket:
    """The socket; it answers from the address that was asked."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for option in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        except PermissionError:
            continue  # the machine's own size has to do
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    sock.bind(("0.0.0.0", 0))
    return sock


def drain(sock: socket.socket, counts: Counts) -> None:
    """Answer all that has come."""
    while True:
        try:
            data, ancillary, _, source = sock.recvmsg(4096, 128)
        except BlockingIOError:
            return
        info = next(octets for level, _, octets in ancillary if level == 0)
        seconds, nanoseconds = _TIMESPEC.unpack(
            next(o for level, _, o in ancillary if level == socket.SOL_SOCKET)
        )
        counts.add(seconds + nanoseconds * 1e-9, info[8:12])
        # in_pktinfo: index, address to send from, address of the header
        reply = bytes(4) + info[8:12] + bytes(4)
        control = [(socket.IPPROTO_IP, 8, reply)]
        try:
            sock.sendmsg([answer(data)], control, 0, source)
        except BlockingIOError:
            continue


def serve() -> None:
    """Until the input ends."""
    sock, counts = opened(), Counts()
    print(sock.getsockname()[1], flush=True)
    while True:
        ready, _, _ = select.select([sock, sys.stdin], [], [])
        if sock in ready:
            drain(sock, counts)
        if sys.stdin in ready:
            line = sys.stdin.readline().strip()
            if not line:
                return
            if line == "mark":
                counts.mark()
            else:
                print(json.dumps(counts.report()), flush=True)


class Responder:
    """The responder as a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "bench.responder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._line())

    def mark(self) -> None:
        """Count anew."""
        self._tell("mark")

    def report(self) -> Report:
        """What came since the mark."""
        self._tell("report")
        return Report(*json.loads(self._line()))

    def __enter__(self) -> Responder:
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


if __name__ == "__main__":
    serve()
