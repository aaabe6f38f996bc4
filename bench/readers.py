"""200 pages are open and read the same parts in the same moment, as after an incident:
does the loop go on beside it?

The clients are a process of their own; what counts is the CPU of the server, and the
longest for which its loop did not look at its sockets.

python -m bench.readers 20000
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from bench.machine import bound
from bench.page import NOBODY, STALL, Paper, fetched
from bench.stalls import MeteredLoop
from sipwatch.web.app import application
from sipwatch.web.listen import Listener, tcp_socket

PAGES = 200
EXTENSIONS = 20_000
TRUNKS = 20
PARTS = ("head", "incidents", "extensions", "aside", "cells?registrar=hq")
CPU = 0.005  # s of the server for one answer; of the grid it is 2 MB
REST = 1.5  # s until no rendering stands any more


async def clients(port: int, path: str) -> None:
    """Ask with all of them when a line comes in; say how many were answered well."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PAGES)]
    print("connected", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for _, writer in ends:
        writer.write(request.encode())
    answers = await asyncio.gather(*(reader.read(-1) for reader, _ in ends))
    well = sum(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    print(well, flush=True)


async def asked(port: int, path: str, loop: MeteredLoop) -> bool:
    """One part, by all at once; whether every bound is held."""
    readers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.readers", "clients", str(port), path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert readers.stdout is not None
    assert readers.stdin is not None
    await readers.stdout.readline()
    await asyncio.sleep(REST)
    loop.forget()
    began = time.thread_time()
    readers.stdin.write(b"go\n")
    well = int(await readers.stdout.readline())
    took, worst = (time.thread_time() - began) / PAGES, loop.worst.cpu
    await readers.wait()
    held = bound(f"{path} longest stall, CPU", worst, STALL, " s")
    held &= bound(f"{path} CPU of an answer", took, CPU, " s")
    return held and well == PAGES


async def measured(number: int, loop: MeteredLoop, folder: Path) -> bool:
    """All parts."""
    site, held = Paper(folder), True
    aors = {f"{100_000 + n}": n % 10 != 0 for n in range(number)}
    site.registrar("hq", aors, rtt=0.0123)
    for n in range(TRUNKS):
        site.target(f"trunk{n}", f"203.0.113.{n}", role="trunk")
    sock = tcp_socket("127.0.0.1:0")
    app = application(cast(Any, site), operate=True, people=NOBODY, feed=site.feed)
    listener = Listener(app, sock)
    listener.start()
    gc.collect()
    gc.freeze()  # as the daemon does
    try:
        port = sock.getsockname()[1]
        for part in PARTS:
            await asyncio.to_thread(fetched, port, f"/parts/{part}")
        for part in PARTS:
            held &= await asked(port, f"/parts/{part}", loop)
    finally:
        site.feed.close()
        await listener.close()
        site.close()
        site.reader.close()
        site.store.close()
    return held


def main(number: int) -> int:
    """Measure; 1 where a bound is missed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=MeteredLoop) as runner,
    ):
        loop = runner.get_loop()
        assert isinstance(loop, MeteredLoop)
        return 0 if runner.run(measured(number, loop, Path(folder))) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["clients"]:
        asyncio.run(clients(int(sys.argv[2]), sys.argv[3]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else EXTENSIONS))
