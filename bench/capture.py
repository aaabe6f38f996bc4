"""The ring at 20,000 SIP packets a second: nothing lost, memory bounded, one core.

python -m bench.capture [SECONDS]; BENCH_SECONDS says it too. As root the packets go
over loopback, to a ring that has no privilege but CAP_NET_RAW; else over a socket pair
into the same code. The daemon asks it for an exchange meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.machine import bound, cpu, pss, sipwatch
from sipwatch.capture import client
from sipwatch.capture.listening import Wire
from sipwatch.capture.protocol import EXCHANGE_LIMIT, Question
from sipwatch.capture.ring import BYTES, ENTRY, PACKETS
from sipwatch.capture.station import Station, serve

RATE = 20_000  # packets a second
SECONDS = 60.0
PORTS = range(20_000, 30_000)  # where no system takes an ephemeral one
HEAP = 80.0  # MB of Python and scapy beside the ring
# And an answer: what was found, as a file, and as it is sent.
MOST_MEMORY = (BYTES + PACKETS * ENTRY + 4 * EXCHANGE_LIMIT) / 1e6 + HEAP
LEVEL = 5.0  # MB that it may grow by once the ring has gone round
FULL = 20.0  # s until it has
BUFFER = "4M"  # of the kernel; BENCH_BUFFER=212992 is what a stock one allows
MOST_CPU = 0.85  # of a core
SETTLE = 0.5  # s for the last packets
BURST = 160  # packets in one tick: four times the rate
TICK = 0.002  # s between two bursts of the sender
SENDER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
NICE = ["nice", "-n", "-5"]  # as sipwatch-capture.service has it
ALONE = [f"--{of}=-all,+net_raw" for of in ("bounding-set", "inh-caps", "ambient-caps")]

TEMPLATE = (
    "{first}\r\n"
    "Via: SIP/2.0/UDP 10.20.0.{host}:5060;branch=z9hG4bK{n:08x};rport\r\n"
    "From: <sip:{user}@pbx.example.com>;tag={n:x}\r\n"
    "To: <sip:{user}@pbx.example.com>{tag}\r\n"
    "Call-ID: {n:08x}@10.20.0.{host}\r\n"
    "CSeq: {n} {method}\r\n"
    "Contact: <sip:{user}@10.20.0.{host}:5060>\r\n"
    "User-Agent: Yealink SIP-T46U 108.86.0.75\r\n"
    "{more}Content-Length: 0\r\n\r\n"
)


def packets() -> list[bytes]:
    """A few hundred phones that register and call."""
    firsts = (
        ("REGISTER", "REGISTER sip:pbx.example.com SIP/2.0", ""),
        ("REGISTER", "SIP/2.0 401 Unauthorized", ";tag=as1"),
        ("REGISTER", "SIP/2.0 200 OK", ";tag=as1"),
        ("INVITE", "INVITE sip:1001@pbx.example.com SIP/2.0", ""),
        ("INVITE", "SIP/2.0 480 Temporarily Unavailable", ";tag=as2"),
    )
    more = "Reason: Q.850;cause=20\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n"
    return [
        TEMPLATE.format(
            first=first,
            method=method,
            tag=tag,
            n=n,
            user=1000 + n % 400,
            host=n % 250,
            more=more,
        ).encode()
        for n in range(400)
        for method, first, tag in firsts
    ]


def send(sock: socket.socket, wanted: list[bytes], seconds: float) -> int:
    """Packets at RATE, in bursts of a tick; how many.

    What another program of this machine kept us from sending is made up for at BURST,
    not in one go: no network brings the packets of a second at once.
    """
    began, sent, count = time.monotonic(), 0, len(wanted)
    while (now := time.monotonic()) < began + seconds:
        due = min(int((now - began) * RATE), sent + BURST)
        while sent < due:
            sock.send(wanted[sent % count])
            sent += 1
        time.sleep(TICK)
    return sent


def framed(payload: bytes) -> bytes:
    """As it is on an Ethernet, for a socket pair."""
    udp = struct.pack("!HHHH", 5060, 5060, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + head + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + udp


class Loopback:
    """The command itself, with CAP_NET_RAW alone."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o777)
        self.path = str(folder / "capture.sock")
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port = _bound(self._sink)  # so that no ICMP answers each packet
        # A port of its own: others may speak SIP on this machine.
        command = [*sipwatch(), "capture", "-i", "lo", "--socket", self.path]
        command += [
            "--ports",
            str(port),
            "--buffer",
            os.environ.get("BENCH_BUFFER", BUFFER),
        ]
        self._process = subprocess.Popen(
            [*NICE, *SENDER, *ALONE, *command], stdout=subprocess.PIPE
        )
        assert self._process.stdout
        if not self._process.stdout.readline().startswith(b"listening"):
            sys.exit("  the ring did not start")
        self._sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(("127.0.0.9", port))
        self.wanted = packets()

    def cpu(self) -> float:
        return cpu(self._process.pid)

    def memory(self) -> float:
        return pss(self._process.pid)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._sink.close()
        self.sender.close()


def _bound(sock: socket.socket) -> int:
    """Take a port that nobody has."""
    for port in random.sample(PORTS, 100):
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.9", port))
            return port
    sys.exit("  no port is free")


class Paired:
    """The same station in a thread of a process of its own, fed by a socket pair."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "capture.sock")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            Station([Wire("pair", _Source(theirs), 1)], serve(Path(self.path))).run()
            os._exit(0)
        theirs.close()
        self.sender = ours
        self.wanted = [framed(one) for one in packets()]
        while not Path(self.path).exists():
            time.sleep(0.01)

    def cpu(self) -> float:
        return cpu(self._pid)

    def memory(self) -> float:
        return pss(self._pid)

    def close(self) -> None:
        os.kill(self._pid, 15)
        os.waitpid(self._pid, 0)
        self.sender.close()


class _Source:
    """A socket pair as a scapy socket is used."""

    def __init__(self, ins: socket.socket) -> None:
        self.ins = ins

    def recv_raw(self, size: int) -> tuple[Any, bytes, float]:
        return None, self.ins.recv(size), time.time()

    def close(self) -> None:
        self.ins.close()


def main(seconds: float) -> int:
    """Measure; 1 where something was lost, or it took too much."""
    alone = os.geteuid() == 0 and shutil.which("setpriv") is not None
    with tempfile.TemporaryDirectory() as folder:
        ring = Loopback(Path(folder)) if alone else Paired(Path(folder))
        try:
            return _measure(ring, seconds, "loopback" if alone else "a socket pair")
        finally:
            ring.close()


def _measure(ring: Loopback | Paired, seconds: float, where: str) -> int:
    began = ring.cpu()
    asked: list[client.Exchange] = []
    memory: list[float] = []

    def meanwhile() -> None:
        end = time.monotonic() + seconds
        time.sleep(seconds / 2)
        asked.append(_ask(ring.path))
        memory.append(ring.memory())
        while time.monotonic() < end:
            time.sleep(1)
            memory.append(ring.memory())

    thread = threading.Thread(target=meanwhile)
    thread.start()
    sent = send(ring.sender, ring.wanted, seconds)
    thread.join()
    time.sleep(SETTLE)
    used = (ring.cpu() - began) / seconds
    said = asyncio.run(client.figures(ring.path))
    print(f"  {sent} packets in {seconds:g} s over {where}; the ring had {said}")
    print(f"  an exchange asked for meanwhile: {len(asked[0].frames)} frames")
    print(f"  memory after it: {memory[0]:.1f} MB, at the end {memory[-1]:.1f} MB")
    full = seconds >= 2 * FULL
    lost = sent - said["received"]
    well = [
        bound("lost, or foreign", abs(lost), 0, " packets"),
        bound("dropped, as the ring says", said["dropped"], 0, " packets"),
        bound("sent", -sent, -0.99 * RATE * seconds, " packets (negative)"),
        bound("held", said["held"], PACKETS, " packets"),
        bound("memory", max(memory), MOST_MEMORY, " MB"),
        bound("growth", memory[-1] - memory[0], LEVEL if full else BYTES, " MB"),
        bound("CPU", used, MOST_CPU, " of a core"),
    ]
    return 0 if all(well) else 1


def _ask(path: str) -> client.Exchange:
    now = time.time()
    question = Question(since=now - 5, until=now, users=("1001",))
    return asyncio.run(client.exchange(path, question))


if __name__ == "__main__":
    named = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BENCH_SECONDS", "")
    sys.exit(main(float(named) if named else SECONDS))
