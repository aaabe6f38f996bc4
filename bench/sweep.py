"""The daemon with 100,000 targets a minute, beside SIPp's UAC at the same rate.

Both run in the same seconds, so that a noisy machine hits both alike. Then the daemon
is stopped twice, for 0.25 s and for 1 s: no target may be called down for that.

python -m bench.sweep [targets [seconds]]
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.machine import bound, cpu, daemon_command, loopback, peer, pss
from bench.responder import Report, Responder

TARGETS = 100_000
INTERVAL = 60.0  # s
MEASURED = 60.0  # s
SETTLED = 10.0  # s after the first pass
BURST = 2.0  # times the mean, in the busiest 10 ms
MEMORY = 160.0  # MB
STOPS = (0.25, 1.0)  # s
AFTER = 8.0  # s after a stop, longer than a timeout
SCENARIO = Path(__file__).with_name("uac.xml")


class Daemon:
    """The daemon on a folder of its own."""

    def __init__(self, folder: Path, targets: int, port: int) -> None:
        self.targets = targets
        self._port = free_port()
        listed = folder / "targets.txt"
        listed.write_text("\n".join(loopback(targets, port)))
        config = folder / "sipwatch.yaml"
        config.write_text(
            f"target_files: [{{file: {listed}, role: phone, interval: 60s}}]\n"
            f'web: {{listen: "127.0.0.1:{self._port}", socket: {folder}/api.sock}}\n'
            f"database: {folder}/sipwatch.db\n"
        )
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            daemon_command(config), stdout=self._log, stderr=subprocess.STDOUT
        )

    def status(self) -> dict[str, Any]:
        """What the API says of it."""
        url = f"http://127.0.0.1:{self._port}/api/v1/status"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return dict(json.load(reply))

    def wait_until_passed(self) -> None:
        """Until each target has been judged once."""
        deadline = time.monotonic() + 2 * INTERVAL + 30
        while time.monotonic() < deadline:
            time.sleep(2)
            try:
                if self.status()["ready"]:
                    return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"  the daemon ended: {self.process.returncode}")
        sys.exit("  the first pass did not end")

    def stop_for(self, seconds: float) -> None:
        """Hold it, as a busy host or a debugger does."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


def main(targets: int = TARGETS, seconds: float = MEASURED) -> int:
    """Measure; 1 where a bound is missed."""
    rate = targets / INTERVAL
    with (
        tempfile.TemporaryDirectory(prefix="sipwatch-bench-") as folder,
        Responder() as ours,
        Responder() as theirs,
        running(Daemon(Path(folder), targets, ours.port)) as daemon,
        sipp(theirs.port, rate) as yardstick,
    ):
        daemon.wait_until_passed()
        time.sleep(SETTLED)
        used, report = measured(daemon.process, ours, yardstick, theirs, seconds)
        memory = pss(daemon.process.pid)
        down = [false_downs(daemon)]
        for stop in STOPS:
            daemon.stop_for(stop)
            time.sleep(AFTER)
            down.append(false_downs(daemon))
    print(f"  {report.received} questions to {report.targets} targets")
    held = [
        bound("CPU a question, SIPp = 1", used, 1.0),
        bound("busiest 10 ms, mean = 1", report.burst, BURST),
        bound("memory (PSS)", memory, MEMORY, " MB"),
        bound("targets falsely down", sum(down), 0),
        bound("questions too few, share", 1 - report.received / (rate * seconds), 0.01),
    ]
    return 0 if all(held) else 1


def measured(
    daemon: subprocess.Popen[bytes],
    ours: Responder,
    yardstick: subprocess.Popen[bytes],
    theirs: Responder,
    seconds: float,
) -> tuple[float, Report]:
    """CPU of a question as a multiple of SIPp's; and what we sent when."""
    ours.mark()
    theirs.mark()
    before = cpu(daemon.pid), cpu(yardstick.pid)
    time.sleep(seconds)
    after = cpu(daemon.pid), cpu(yardstick.pid)
    report, other = ours.report(), theirs.report()
    mine = (after[0] - before[0]) / report.received
    peers = (after[1] - before[1]) / other.received
    print(f"  {1e6 * mine:.1f} us a question; SIPp {1e6 * peers:.1f} us")
    return mine / peers, report


def false_downs(daemon: Daemon) -> int:
    """Targets that are not up, though all answer."""
    return daemon.targets - int(daemon.status()["targets"]["up"])


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """Stops it at the end."""
    try:
        yield daemon
    finally:
        daemon.process.terminate()
        daemon.process.wait()


@contextmanager
def sipp(port: int, rate: float) -> Iterator[subprocess.Popen[bytes]]:
    """SIPp's UAC at a steady rate."""
    command = [*peer("sipp"), "-sf", str(SCENARIO), "-i", "127.0.0.1"]
    command += ["-p", str(free_port()), f"127.0.0.1:{port}", "-r", f"{rate:.0f}"]
    command += ["-m", "100000000", "-l", "50000", "-nostdin"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(*[int(word) for word in words]))
