"""A program of one's own: argv without a shell, the notification as JSON on its stdin.

Its exit status says how it went, in the words of sysexits.h: 0 took it, those of
`NEVER` say that it never will, any other that it may later. It begins in a session of
its own, and what it has started ends with it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from alerting.incident import DeliveryError, Notification
from alerting.notification.shape import change, document
from checks.observation import plain
from checks.settings import Duration, Secret

# sysexits.h: used wrongly, data it cannot take, nobody of that name, no right, set up
# wrongly. All else (also 1, and 75, EX_TEMPFAIL) may be over the next time.
NEVER = (64, 65, 67, 77, 78)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STDERR_LIMIT = 1_000_000  # bytes; more is no complaint, and costs our loop its time
TAIL = 2000  # bytes of it that are kept: the last line says what was wrong
REASON_LIMIT = 200  # characters of that line that are worth repeating
LAST_WORDS = 0.5  # s to read what it wrote, once it has ended
GRACE = 1.0  # s between SIGTERM and SIGKILL
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """`type: command`: the program and its arguments."""

    argv: tuple[str, ...]  # no shell: [/usr/local/bin/page, --team, voice]
    env: Mapping[str, Secret] = field(default_factory=dict)  # beside PATH and LANG
    timeout: Duration = 30.0  # then it is ended

    def __post_init__(self) -> None:
        if isinstance(self.argv, str) or not self.argv:
            raise ValueError("argv: is a list (write [/usr/local/bin/page, voice])")
        program = self.argv[0]
        if not program.startswith("/"):
            raise ValueError(f"argv: {program} is no absolute path")
        if not (os.path.isfile(program) and os.access(program, os.X_OK)):
            raise ValueError(f"argv: {program} is no program that can be run")
        if any("\0" in word for word in self.argv):
            raise ValueError("argv: no argument may hold a zero byte")
        for name, value in self.env.items():
            if not _NAME.fullmatch(name) or "\0" in value.reveal():
                raise ValueError(f"env.{name}: is no variable of an environment")
        if self.timeout <= 0:
            raise ValueError("timeout: must be longer than 0s")


class Command:
    """Runs the program, once for each attempt."""

    def __init__(
        self, settings: CommandSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._program = os.path.basename(settings.argv[0])

    async def send(self, notification: Notification) -> None:
        """Returns when it has ended with 0; raises DeliveryError."""
        given = await document(notification, self._clock())
        try:
            process = await asyncio.create_subprocess_exec(
                *self._settings.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(notification),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            why = f"{self._program} cannot be run: {error.strerror}"
            raise DeliveryError(why) from None
        try:
            async with asyncio.timeout(self._settings.timeout):
                said = await self._converse(process, given)
        except TimeoutError:
            limit = f"{self._settings.timeout:g} s"
            raise DeliveryError(f"{self._program}: no end within {limit}") from None
        finally:
            await _end(process)
        self._judge(process.returncode, said)

    def _environment(self, n: Notification) -> dict[str, str]:
        """Little of ours: credentials and sockets of the daemon are none of its."""
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "SIPWATCH_ID": n.id,
            "SIPWATCH_CHANGE": change(n),
            "SIPWATCH_SEVERITY": n.labels.get("severity", ""),
            "SIPWATCH_SUBJECT": plain(n.subject),
            **{name: value.reveal() for name, value in self._settings.env.items()},
        }

    async def _converse(self, process: asyncio.subprocess.Process, given: bytes) -> str:
        """Give it the notification, hear its complaints, wait for its end."""
        feeding = asyncio.create_task(_feed(process, given))
        hearing = asyncio.create_task(_hear(process))
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({hearing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await hearing  # raises where it never ends
                await ending
            else:
                # What it has left behind may hold its stderr open for ever.
                await asyncio.wait({hearing}, timeout=LAST_WORDS)
            return _tail(await hearing) if hearing.done() else ""
        except _EndlessError:
            why = f"{self._program} wrote over {STDERR_LIMIT // 1_000_000} MB to stderr"
            raise DeliveryError(why) from None
        finally:
            for task in (feeding, hearing, ending):
                task.cancel()
            await asyncio.gather(feeding, hearing, ending, return_exceptions=True)

    def _judge(self, status: int | None, said: str) -> None:
        if status == 0:
            return
        for value in self._settings.env.values():
            said = said.replace(value.reveal(), "***")
        how = f"ended with {status}"
        if status is not None and status < 0:
            how = f"was ended by {_signal(-status)}"
        why = f"{self._program} {how}" + (f": {plain(said, REASON_LIMIT)}" * bool(said))
        raise DeliveryError(why, permanent=status in NEVER)


class _EndlessError(Exception):
    """More on stderr than any complaint has."""


async def _feed(process: asyncio.subprocess.Process, given: bytes) -> None:
    """What it does not want to read is no failure: its exit status says that."""
    if process.stdin is None:
        return
    with suppress(ConnectionError):
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()
    with suppress(ConnectionError):
        await process.stdin.wait_closed()


async def _hear(process: asyncio.subprocess.Process) -> bytes:
    """All of stderr to its end; the last of it."""
    tail, total = b"", 0
    if process.stderr is None:
        return tail
    while part := await process.stderr.read(65_536):
        tail = (tail + part)[-TAIL:]
        total += len(part)
        if total > STDERR_LIMIT:
            raise _EndlessError
    return tail


def _tail(said: bytes) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it and all that it has started; it may be over already."""
    if process.returncode is None:
        _signal_all(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()
    _signal_all(process, signal.SIGKILL)
    await process.wait()


def _signal_all(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Its group keeps its number for as long as anybody is in it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
