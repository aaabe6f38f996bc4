"""CPU and memory of programs; where the peers are."""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers import program

TICKS = os.sysconf("SC_CLK_TCK")


def sipwatch() -> list[str]:
    """The command as it is installed beside this Python."""
    return [str(Path(sysconfig.get_path("scripts"), "sipwatch"))]


def daemon_command(config: Path) -> list[str]:
    """What runs a daemon on a configuration: the seam for measuring another one."""
    named = os.environ.get("BENCH_DAEMON")  # "{config}" stands for the file
    if named:
        return [word.replace("{config}", str(config)) for word in named.split()]
    return [*sipwatch(), "run", "-c", str(config)]


def peer(name: str) -> list[str]:
    """How to start a fetched or installed program; ends the run where there is none."""
    found = program(name)
    if found is not None:
        return list(found.argv)
    path = shutil.which(name)
    if path is None:
        sys.exit(f"  {name} is missing: python -m tests.servers.fetch {name}")
    return [path]


def tree(root: int) -> Iterator[int]:
    """A process and its children, and theirs."""
    yield root
    for task in Path(f"/proc/{root}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))


def cpu(root: int) -> float:
    """CPU seconds that a running process and its children have used."""
    total = 0
    for pid in tree(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def pss(root: int) -> float:
    """Memory of a process and its children, shared pages by their share; in MB."""
    total = 0
    for pid in tree(root):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1000


def anonymous() -> float:
    """Memory of this process that is no file's, in MB: what objects and buffers take,
    whoever else has the same libraries open."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return 1024 * int(line.split()[1]) / 1e6
    raise OSError("this kernel does not tell Pss_Anon")


def cpu_of(command: list[str], **options: object) -> float:
    """CPU seconds of a command from start to end, with all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interleaved(
    rounds: int, first: Callable[[], float], second: Callable[[], float]
) -> tuple[float, float]:
    """Medians of two measurements taken in turn, so that noise hits both alike."""
    pairs = [(first(), second()) for _ in range(rounds)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )


def loopback(count: int, port: int) -> Iterator[str]:
    """So many targets of different addresses, all of this machine."""
    begin = 127 << 24 | 1 << 16 | 1
    for ip in range(begin, begin + count):
        yield f"127.{ip >> 16 & 255}.{ip >> 8 & 255}.{ip & 255}:{port}"


def bound(what: str, value: float, most: float, unit: str = "") -> bool:
    """Print a figure beside its bound; whether it is held."""
    held = value <= most
    verdict = "held" if held else "MISSED"
    print(f"  {what:44} {value:10.3f}{unit}  at most {most:g}{unit}  {verdict}")
    return held
