"""What does it cost to follow a registrar by its `reg` events, beside the queries?

Told for information: nothing is held against a bound. The registrar is another process.
It grants every SUBSCRIBE, and says at once in a NOTIFY what is bound.

python -m bench.subscriptions 2000
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
from pathlib import Path

from bench.registrars import WITHIN, Site
from bench.stalls import MeteredLoop

CONTACTS = 2_000
TELLING = "telling"  # of `bench.lists`


async def measure(
    pbx: str, count: int, folder: Path, loop: MeteredLoop
) -> tuple[float, float, float]:
    """Until all is known, of each extension: s of CPU, and bytes that are alive; the
    longest turn of the loop, s."""
    site = Site(folder, loop)
    await site.start("sip", count, pbx)
    began = time.process_time()
    await site.first()
    await site.rest()
    if pbx == TELLING:
        assert site.pbx.stdout is not None
        async with asyncio.timeout(WITHIN):
            await site.pbx.stdout.readline()
        await asyncio.sleep(0.5)  # the last NOTIFY is on its way
    cpu, stall = time.process_time() - began, loop.worst.cpu
    gc.collect()
    alive = tracemalloc.get_traced_memory()[0]
    extensions = len(site.daemon.judges["hq"].extensions)
    await site.stop()
    return cpu / extensions, alive / extensions, stall


def one(pbx: str, count: int, *, traced: bool) -> None:
    """Measure here, and print it."""
    if traced:
        tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        with asyncio.Runner(loop_factory=MeteredLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, MeteredLoop)
            found = runner.run(measure(pbx, count, Path(folder), loop))
    print(json.dumps(found))


def alone(how: str, pbx: str, count: int) -> list[float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "bench.subscriptions", how, pbx, str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return list(json.loads(done.stdout))


def main(words: list[str]) -> int:
    """Print what a subscription takes."""
    count = next((int(word) for word in words if word.isdigit()), CONTACTS)
    cpu, _, stall = alone("--alone", TELLING, count)
    cpu -= alone("--alone", "sip", count)[0]
    grown = alone("--traced", TELLING, count)[1] - alone("--traced", "sip", count)[1]
    print(
        f"  reg events of {count:,d} contacts: {1000 * cpu:.2f} ms CPU and"
        f" {grown:.0f} B for each that is followed, longest stall {1000 * stall:.1f} ms"
    )
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["--alone"], ["--traced"]):
        one(sys.argv[2], int(sys.argv[3]), traced=sys.argv[1] == "--traced")
    else:
        sys.exit(main(sys.argv[1:]))
