"""Does the loop stand still while thousands of phones come and go at once?

The real daemon is in this process; Asterisk and the mail server are in another. What
counts is the CPU time of the loop's thread between two looks at its sockets, so that
what else runs on the machine fails nothing.

python -m bench.mass 2000 20000 100000      more than 2,000 are told for information
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.machine import bound
from bench.stalls import MeteredLoop
from checks.observation import State
from sipwatch.clock import Clock
from sipwatch.config.load import load
from sipwatch.daemon import Daemon
from sipwatch.itself.selfwatch import BEAT
from sipwatch.log import Plain
from sipwatch.metrics.exposition import Exposition
from sipwatch.process import calm_collector, give_back_memory

MOST = 0.020  # s of CPU for which the loop may not look at its sockets
HELD = 2_000  # phones for which that holds; of more it is only told
ROUNDS = 3  # a busy neighbour slows a core for a moment; what we do lasts
WITHIN = 600.0  # s for one step
CONFIGURATION = """
registrars:
  hq: {{type: asterisk, address: "{ami}", username: u, password: p, interval: 5s,
       expiry: {{max: 24h}}}}
rules:
  ExtensionUnregistered: {{for: 1s, keep_firing_for: 1s}}
  MassUnregistration: {{for: 1s, keep_firing_for: 1s}}
  Flapping: {{enabled: false}}  # a dozen changes in a minute are the bench's own
notifiers:
  oncall:
    type: email
    to: [oncall@example.com]
    from: sipwatch@example.com
    smtp: {{host: {host}, port: {port}, tls: none}}
group: {{wait: 2s, interval: 2s}}
web: {{listen: "127.0.0.1:0", socket: "{folder}/api.sock"}}
database: "{folder}/sipwatch.db"
instance: bench.example.com
"""


class Mass:
    """One daemon with a crowd of phones; `step` measures what one event costs."""

    configuration = CONFIGURATION
    clock: Clock | None = None  # that of the machine

    def __init__(self, number: int, folder: Path, loop: MeteredLoop) -> None:
        self.number, self.folder, self.loop = number, folder, loop
        self.mails: list[str] = []
        self.stalls: dict[str, list[float]] = {}  # by step: CPU s, in each round

    async def start(self) -> None:
        """Start the crowd, and the daemon that watches it."""
        self.crowd = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.crowd", str(self.number)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.crowd.stdout is not None
        ami, host, port = (await self.crowd.stdout.readline()).decode().split()
        self._reading = asyncio.create_task(self._read(self.crowd.stdout))
        path = self.folder / "sipwatch.yaml"
        values = {"ami": ami, "host": host, "port": port, "folder": self.folder}
        path.write_text(self.configuration.format(**values), encoding="utf-8")
        give_back_memory()  # as the process does
        self.daemon = Daemon(load(path), self.clock)
        await self.daemon.start()
        calm_collector()  # as the process does

    async def stop(self) -> None:
        """End both."""
        await self.daemon.stop()
        assert self.crowd.stdin is not None
        self.crowd.stdin.close()
        await self.crowd.wait()
        await self._reading

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self.hear(line.decode().strip())

    def hear(self, line: str) -> None:
        """The subject of a mail that the crowd's server took."""
        self.mails.append(line)

    def tell(self, command: str) -> None:
        """Let the crowd do something."""
        assert self.crowd.stdin is not None
        self.crowd.stdin.write(f"{command}\n".encode())

    def count(self, state: State) -> int:
        """How many phones are seen in a state."""
        return self.daemon.judges["hq"].counts().get(state, 0)

    async def step(
        self, what: str, done: Callable[[], bool], command: str = ""
    ) -> None:
        """Let something happen, and see how long the loop stood still by it."""
        self.loop.forget()
        began = self.loop.time()
        if command:
            self.tell(command)
        async with asyncio.timeout(WITHIN):
            while not done():  # noqa: ASYNC110 - asked seldom, so that it costs nothing
                await asyncio.sleep(0.1)
        await self.daemon.flow.commit()
        stall, took = self.loop.worst, self.loop.time() - began
        self.stalls.setdefault(what, []).append(stall.cpu)
        print(f"  {self.number:7,d}  {what:34s} {stall}   in {took:5.1f} s", flush=True)

    async def told(self, word: str, what: str, command: str) -> None:
        """A change of all phones, until the mail of it has come."""
        before = len(self.mails)
        well = word == "resolved"
        # One incident covers all but those who are taken to have logged out.
        opened = {0} if well else {1, self.number}
        state = State.REGISTERED if well else State.UNREGISTERED

        def done() -> bool:
            alarms = self.daemon.alarms
            return (
                self.count(state) == self.number
                and len(alarms.incidents) in opened
                and not alarms.owed()
            )

        await self.step(what, done, command)
        mails = self.mails[before:]
        print(f"{'':12}{len(mails)} mails, the first: {mails[0] if mails else None}")


async def whole(mass: Mass) -> None:
    """What can happen to a crowd, one after the other."""
    await mass.start()
    await asyncio.sleep(0)  # the start is over, its turn of the loop is not counted
    everybody = mass.number
    await mass.step("first list", lambda: mass.count(State.REGISTERED) == everybody)
    await asyncio.sleep(BEAT)  # what was read is out of the collector's sight by then
    for _ in range(ROUNDS if everybody <= HELD else 1):
        await mass.told("firing", "all removed by events", "remove")
        await shown(mass)
        await mass.told("resolved", "all back by events", "restore")
        if everybody <= HELD:
            await mass.told("firing", "all missed by a list", "lose")
            await mass.told("resolved", "all back by events", "restore")
    await mass.stop()


async def shown(mass: Mass) -> None:
    """Status and metrics, while all are away."""
    exposition: Exposition = mass.daemon.exposition

    async def read() -> None:
        await mass.daemon.status()
        await asyncio.sleep(0)
        async for _ in exposition.render(gzip=True) or ():
            pass

    reading = asyncio.create_task(read())
    await mass.step("status and metrics", reading.done)


def measure(number: int) -> float:
    """The longest stall by so many phones, s of CPU; of each step the median round."""
    with tempfile.TemporaryDirectory() as folder:
        with asyncio.Runner(loop_factory=MeteredLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, MeteredLoop)
            mass = Mass(number, Path(folder), loop)
            runner.run(whole(mass))
    gc.unfreeze()
    return max(statistics.median(stalls) for stalls in mass.stalls.values())


def main(numbers: list[int]) -> int:
    """Measure; 1 where a crowd of HELD or less makes the loop stand still."""
    log = logging.StreamHandler(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    log.setFormatter(Plain())  # its lines are worded, as they are in the daemon
    logging.basicConfig(level=logging.INFO, handlers=[log])
    held = True
    for number in numbers:
        worst = measure(number)
        if number <= HELD:
            what = f"longest stall by {number:,} phones"
            held &= bound(what, 1000 * worst, 1000 * MOST, " ms")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]] or [HELD, 10 * HELD]))
