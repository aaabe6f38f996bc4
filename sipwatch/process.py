"""The daemon as a process: configuration, signals, the loop, and its end."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from alerting.store.database import StoreError
from sipwatch import log as logs
from sipwatch import systemd
from sipwatch.config import load as configuration
from sipwatch.config.settings import Config
from sipwatch.daemon import Daemon

FAILED = 1  # systemd restarts
MISTAKEN = 2  # the user's mistake: a restart will not mend it

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 256 * 1024  # bytes: what is larger has pages of its own
# New objects, and collections of each kind until the next: where a long list makes
# 100,000 that stay, Python's own 700 would have each of them looked at thrice.
COLLECT_AFTER = (5_000, 8, 125)

log = logging.getLogger(__name__)


def run(path: str, *, log_json: bool, verbose: bool) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit status."""
    logs.set_up(as_json=log_json, level=logging.DEBUG if verbose else logging.INFO)
    problems = _load(path)
    if not isinstance(problems, Config):
        for problem in problems:
            print(problem, file=sys.stderr)
        return MISTAKEN
    try:
        return asyncio.run(_run(problems, path))
    except (OSError, StoreError) as e:
        log.error("%s", getattr(e, "strerror", None) or e)
        return FAILED


def _load(path: str) -> Config | tuple[object, ...]:
    try:
        return configuration.load(Path(path))
    except configuration.ConfigError as e:
        return e.problems


def give_back_memory() -> None:
    """Let glibc give back at once what a long list took.

    By itself it keeps as much as was once given back, up to 32 MB, and in pieces.
    """
    with suppress(OSError, AttributeError):  # of another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def calm_collector() -> None:
    """Keep the collector from stopping us: what stands now stands for good, and a mass
    event makes thousands of objects, of which none is in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def _run(config: Config, path: str) -> int:
    give_back_memory()
    daemon = Daemon(config)
    stop = asyncio.Event()
    reload = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    await daemon.start()
    calm_collector()
    systemd.notify("READY=1")
    reloading = asyncio.create_task(_reload_on(reload, daemon, path))
    stopping = asyncio.create_task(stop.wait())
    ends: set[asyncio.Future[Any]] = {stopping, reloading, daemon.broken}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        systemd.notify("STOPPING=1")
        failed = reloading.exception() if reloading.done() else None
        for task in (reloading, stopping):
            task.cancel()
        await asyncio.wait({reloading})  # not half a reload beside the stop
        await daemon.stop()
    fault = daemon.broken.exception() if daemon.broken.done() else failed
    if fault is not None:
        log.critical("stopped by a fault", exc_info=fault)
        return FAILED
    return 0


async def _reload_on(asked: asyncio.Event, daemon: Daemon, path: str) -> None:
    while True:
        await asked.wait()
        asked.clear()
        systemd.notify("RELOADING=1")
        config = await asyncio.to_thread(_load, path)
        if isinstance(config, Config):
            await daemon.reload(config)
        else:
            for problem in config:
                log.error("reload: %s", problem)
            daemon.refused_reload(str(config[0]))
        systemd.notify("READY=1")
