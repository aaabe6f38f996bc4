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
            transport, run = await self._start(notification)
        except OSError as error:
            why = f"{self._program} cannot be run: {error.strerror}"
            raise DeliveryError(why) from None
        try:
            async with asyncio.timeout(self._settings.timeout):
                _feed(transport, given)
                await run.ended()
        except TimeoutError:
            limit = f"{self._settings.timeout:g} s"
            why = f"{self._program}: no end within {limit}"
            raise DeliveryError(why, in_doubt=True) from None
        finally:
            await _end(transport, run)
        if run.total > STDERR_LIMIT:
            why = f"{self._program} wrote over {STDERR_LIMIT // 1_000_000} MB to stderr"
            raise DeliveryError(why)
        self._judge(transport.get_returncode(), run.last_words())

    async def _start(
        self, notification: Notification
    ) -> tuple[asyncio.SubprocessTransport, _Run]:
        return await asyncio.get_running_loop().subprocess_exec(
            _Run,
            *self._settings.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(notification),
            cwd="/",
            start_new_session=True,
        )

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


class _Run(asyncio.SubprocessProtocol):
    """What a program says on stderr, and that it has ended.

    Not asyncio's Process, whose wait() also waits for whoever holds its stderr.
    """

    def __init__(self) -> None:
        self.total = 0  # bytes that it wrote
        self.exited = asyncio.Event()
        self._silent = asyncio.Event()  # nobody can write any more
        self._tail = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._tail = (self._tail + data)[-TAIL:]
        self.total += len(data)
        if self.total > STDERR_LIMIT:
            self.exited.set()  # as good as: now we end it

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 2:
            self._silent.set()

    def process_exited(self) -> None:
        self.exited.set()

    async def ended(self) -> None:
        """Return once it has ended, or writes without end."""
        await self.exited.wait()
        if self.total <= STDERR_LIMIT:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._silent.wait()

    def last_words(self) -> str:
        """The last line that says something."""
        text = self._tail.decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines()]
        return next((line for line in reversed(lines) if line), "")


def _feed(transport: asyncio.SubprocessTransport, given: bytes) -> None:
    """What it does not want to read is no failure: its exit status says that."""
    stdin = transport.get_pipe_transport(0)
    if isinstance(stdin, asyncio.WriteTransport):
        stdin.write(given)
        stdin.write_eof()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _end(transport: asyncio.SubprocessTransport, run: _Run) -> None:
    """End it and all that it has started; it may be over already."""
    if transport.get_returncode() is None:
        run.exited.clear()
        _signal_all(transport, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await run.exited.wait()
    _signal_all(transport, signal.SIGKILL)
    transport.close()


def _signal_all(transport: asyncio.SubprocessTransport, number: signal.Signals) -> None:
    # Its group keeps its number for as long as anybody is in it.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(transport.get_pid(), number)
