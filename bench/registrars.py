"""What do 20,000 contacts in one registrar cost, for each type of registrar?

The PBX is another process. The daemon is in a process of its own as well, once for each
type and once more with an empty PBX: what it takes more is what the contacts take.

What an extension takes are the bytes that are alive once all is read and written down
(`tracemalloc`, in runs of their own, as it makes all slower). By how much the process
has grown is told beside it: in that are the free pools that the first list leaves to
the next one, and the database's page cache, which is full from some thousand rows on.

python -m bench.registrars                    all types, 20,000 contacts
python -m bench.registrars kamailio 100000    told for information
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.lists import SERVERS, sip_user
from bench.machine import anonymous, bound
from bench.stalls import MeteredLoop
from checks.observation import State
from sipwatch.config.load import load
from sipwatch.daemon import Daemon
from sipwatch.itself.selfwatch import BEAT
from sipwatch.process import calm_collector, give_back_memory

CONTACTS = 20_000
MOST_CPU = 2.0  # s: listed, judged and exported
MOST_STALL = 0.020  # s of CPU for which the loop may not look at its sockets
MOST_BYTES = 1_000  # an extension, on top of a daemon whose PBX is empty
HERE = (State.REGISTERED, State.UNREACHABLE)
WITHIN = 300.0  # s for one step
CONFIGURATION = """
registrars:
  hq: {{type: {kind}, address: "{address}", interval: 1h, timeout: 60s, {keys}}}
web: {{listen: "127.0.0.1:0", socket: "{folder}/api.sock"}}
database: "{folder}/sipwatch.db"
instance: bench.example.com
"""
KEYS = {
    "asterisk": "username: u, password: p",
    "freeswitch": "password: labpw",
    "opensips": 'events: "off"',
    "sip": 'domain: example.com, extensions: {{file: "{folder}/extensions.csv"}}',
}
LEAST = {"sip": 1}  # contacts of the empty PBX: one that names nobody is not asked


class Cost(NamedTuple):
    """What one daemon took."""

    extensions: int
    registered: int
    cpu: float  # s, of the first list, its judgement and its export
    again: float  # s, of the next list, which is quiet
    history: float  # s, of what was written down after the export
    stall: float  # s of CPU, the longest turn of the loop
    memory: float  # MB, of the process
    alive: float  # MB, of what is alive; 0: not measured


class Site:
    """A daemon beside a PBX in another process."""

    def __init__(self, folder: Path, loop: MeteredLoop) -> None:
        self.folder, self.loop = folder, loop

    async def start(self, kind: str, count: int, pbx: str = "") -> None:
        """Start both; nothing is read yet. `pbx` names one that is not of `kind`."""
        self.pbx = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.lists", pbx or kind, str(count)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.pbx.stdout is not None
        address = (await self.pbx.stdout.readline()).decode().strip()
        path = self.folder / "sipwatch.yaml"
        values = {"kind": kind, "address": address, "folder": self.folder}
        values["keys"] = KEYS.get(kind, "").format(folder=self.folder)
        users = dict.fromkeys(map(sip_user, range(count)))
        listed = "\n".join(("extension", *users))
        (self.folder / "extensions.csv").write_text(listed, encoding="utf-8")
        path.write_text(CONFIGURATION.format(**values), encoding="utf-8")
        give_back_memory()  # as the process does
        self.daemon = Daemon(load(path))

    async def stop(self) -> None:
        """End both."""
        await self.daemon.stop()
        assert self.pbx.stdin is not None
        self.pbx.stdin.close()
        await self.pbx.wait()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait, asking so seldom that it costs nothing."""
        async with asyncio.timeout(WITHIN):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def listed(self) -> float:
        """When the last list was read whole and judged."""
        judge = self.daemon.judges["hq"]
        (member,) = judge.members.values()
        judged = member.read_whole and judge.next_deadline() != 0.0
        return member.read_at or 0.0 if judged else 0.0

    async def export(self) -> None:
        """One scrape."""
        async for _ in self.daemon.metrics(gzip=True) or ():
            pass

    async def first(self) -> float:
        """From the start to the first scrape; s of CPU."""
        began = time.process_time()
        await self.daemon.start()
        calm_collector()  # as the process does
        await asyncio.sleep(0)  # what the start takes holds up nobody yet
        self.loop.forget()
        await self.until(lambda: self.daemon.ready and self.listed() > 0)
        await self.export()
        return time.process_time() - began

    async def rest(self) -> float:
        """Until all is written down; s of CPU."""
        began = time.process_time()
        await self.daemon.chronicle._idle.wait()
        await self.daemon.flow.commit()
        took = time.process_time() - began
        await asyncio.sleep(BEAT + 0.1)  # it settles: the collector need not look
        return took

    async def again(self) -> float:
        """Another list, which changes nothing; s of CPU."""
        last, began = self.listed(), time.process_time()
        self.daemon.followings["hq"].relist()
        await self.until(lambda: self.listed() > last)
        await self.export()
        return time.process_time() - began


async def measure(
    kind: str, count: int, folder: Path, loop: MeteredLoop, *, traced: bool
) -> Cost:
    """What a daemon takes for so many contacts."""
    if traced:
        tracemalloc.start()
    site = Site(folder, loop)
    await site.start(kind, count)
    first = await site.first()
    history = await site.rest()
    again = await site.again()
    gc.collect()
    judge = site.daemon.judges["hq"]
    counts = judge.counts()
    cost = Cost(
        len(judge.extensions),
        sum(counts.get(state, 0) for state in HERE),
        first,
        again,
        history,
        loop.worst.cpu,
        anonymous(),
        tracemalloc.get_traced_memory()[0] / 1e6,
    )
    await site.stop()
    return cost


def alone(kind: str, count: int, how: str = "--alone") -> Cost:
    """The same in a process of its own."""
    count = max(count, LEAST.get(kind, 0))
    command = [sys.executable, "-m", "bench.registrars", how, kind, str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return Cost(*json.loads(done.stdout))


def compare(kind: str, count: int) -> bool:
    """Measure one type; whether its bounds are held."""
    empty, full = alone(kind, 0), alone(kind, count)
    grown = 1e6 * (full.memory - empty.memory) / max(1, full.extensions)
    more = alone(kind, count, "--traced").alive - alone(kind, 0, "--traced").alive
    each = 1e6 * more / max(1, full.extensions)
    print(
        f"  {kind}: {count:,d} contacts, {full.extensions:,d} extensions,"
        f" {full.registered:,d} registered; the next list {full.again:.2f} s CPU,"
        f" history {full.history:.2f} s, base {empty.memory:.0f} MB,"
        f" the process has grown by {grown:.0f} B an extension"
    )
    held = [
        bound("listed, judged and exported", full.cpu - empty.cpu, MOST_CPU, " s"),
        bound("longest stall of the loop", 1000 * full.stall, 1000 * MOST_STALL, " ms"),
        bound("alive for an extension", each, MOST_BYTES, " B"),
    ]
    return all(held) and full.registered == full.extensions


def main(words: list[str]) -> int:
    """Measure some types, or all; 1 where a bound is missed by CONTACTS or fewer."""
    numbers = [int(word) for word in words if word.isdigit()] or [CONTACTS]
    kinds = [word for word in words if word in SERVERS] or list(SERVERS)
    held = True
    for count in numbers:
        for kind in kinds:
            held &= compare(kind, count) or count > CONTACTS
    return 0 if held else 1


def one(kind: str, count: int, *, traced: bool) -> None:
    """Measure here, and print it."""
    with tempfile.TemporaryDirectory() as folder:
        with asyncio.Runner(loop_factory=MeteredLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, MeteredLoop)
            cost = runner.run(measure(kind, count, Path(folder), loop, traced=traced))
    print(json.dumps(cost))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--alone"], ["--traced"]):
        one(sys.argv[2], int(sys.argv[3]), traced=sys.argv[1] == "--traced")
    else:
        sys.exit(main(sys.argv[1:]))
