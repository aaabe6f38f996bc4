"""One server process: started, waited for, frozen, killed; its log when it fails."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

POLL = 0.02  # seconds between two looks at a condition
STOP_TIME = 5.0  # seconds a server gets to end by itself
LOG_TAIL = 3000  # characters of the log in a failure


class ServerError(Exception):
    """A server ended early or never became ready; the text carries its log's tail."""


def until(condition: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Look until the condition is true, and return it; ServerError at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise ServerError(f"not within {timeout:g} s: {what or condition}")
        time.sleep(POLL)


async def eventually(
    condition: Callable[[], object], timeout: float = 10.0, what: str = ""
) -> object:
    """`until` for a test on a loop; a condition may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise ServerError(f"not within {timeout:g} s: {what or condition}")
        await asyncio.sleep(POLL)


@asynccontextmanager
async def within(timeout: float, what: str) -> AsyncIterator[None]:
    """A wait that ends: ServerError says what did not come."""
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError:
        raise ServerError(f"not within {timeout:g} s: {what}") from None


class Process:
    """A program in a folder of its own, with its output in `<name>.log` there.

    It leads a process group, so that signals reach a server's children as well.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.folder = folder
        self.environment = {**os.environ, **(environment or {})}
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} was never started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def wait_ready(
        self, condition: Callable[[], object], timeout: float = 60.0
    ) -> None:
        """Look until ready; a server that ends first fails at once, with its log."""
        try:
            until(lambda: not self.alive or condition(), timeout, f"{self.name} ready")
        except ServerError as error:
            self.kill9()
            raise ServerError(f"{error}\n{self.tail()}") from None
        if not self.alive:
            status = self._process.returncode if self._process else None
            raise ServerError(f"{self.name} ended ({status})\n{self.tail()}")

    def wait(self, timeout: float = STOP_TIME) -> int:
        """Wait for its end; returns the exit status (negative: the signal's number)."""
        if self._process is None:
            raise ServerError(f"{self.name} was never started")
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.name} still runs\n{self.tail()}") from None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end by that."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.wait()
            except ServerError:
                self.kill9()
        self._end_group()

    def kill9(self) -> None:
        """SIGKILL: it dies without a word to its peers."""
        if self.alive:
            self.signal(signal.SIGKILL)
            self.wait()
        self._end_group()

    def freeze(self) -> None:
        """SIGSTOP: ports stay open, nothing answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def tail(self) -> str:
        try:
            return self.log.read_text(errors="replace")[-LOG_TAIL:]
        except OSError:
            return ""

    def _end_group(self) -> None:
        """Children that outlived their leader; the group keeps its number till then."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
