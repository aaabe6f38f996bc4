"""The daemon as a process of its own, as systemd starts, signals and kills it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sipwatch.commands.remote import NoAnswerError, _Connection, ask
from sipwatch.demo.mail import MailCatcher
from tests.servers import Process, eventually

SIPWATCH = (sys.executable, "-m", "sipwatch")
START = 60.0  # s; a start takes less than one where nobody else computes

FRAME = """
group: {{wait: 0s, interval: 0s}}
web: {{listen: "127.0.0.1:0", socket: {folder}/api.sock}}
database: {folder}/sipwatch.db
secrets_dir: {folder}
instance: watcher.example.com
"""
MAIL = """
notifiers:
  oncall:
    type: email
    to: [oncall@example.com]
    from: sipwatch@example.com
    smtp: {{host: {host}, port: {port}, tls: none}}
"""


def mail_to(catcher: MailCatcher) -> str:
    """The section that sends mails to this server."""
    return MAIL.format(host=catcher.address[0], port=catcher.address[1])


def sipwatch(
    *words: object, timeout: float = 60.0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command to its end; its output as text."""
    return subprocess.run(
        [*SIPWATCH, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=env,
    )


async def command(
    *words: object, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same beside a running loop, which plays the network."""
    return await asyncio.to_thread(sipwatch, *words, env=env)


class Running:
    """`sipwatch run` in a folder; what it tells systemd is in `told`."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        *,
        frame: str = FRAME,
        environment: Mapping[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "sipwatch.yaml"
        self.socket = str(folder / "api.sock")
        self.database = folder / "sipwatch.db"
        self.told: list[str] = []
        self._frame = frame
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.setblocking(False)
        self.write(configuration)
        argv = (*wrapper, *SIPWATCH, "run", "-c", str(self.path))
        named = {"NOTIFY_SOCKET": str(folder / "notify"), **(environment or {})}
        self.process = Process("sipwatch", argv, folder, named)

    def write(self, configuration: str) -> None:
        """Put a configuration in place; it is read at a start or a reload."""
        frame = self._frame.format(folder=self.folder)
        self.path.write_text(textwrap.dedent(configuration) + frame, encoding="utf-8")

    # --- life -----------------------------------------------------------------------

    async def start(self, within: float = START) -> Running:
        """Start; returns when it is READY=1."""
        self.told.clear()
        self.hear()
        self.told.clear()
        self.process.start()
        await eventually(
            lambda: "READY=1" in self.hear() or not self.process.alive, within, "READY"
        )
        assert self.process.alive, self.log
        return self

    async def refuses(self) -> str:
        """Start where it cannot: exit status 1, one line, which is returned."""
        self.process.log.unlink(missing_ok=True)
        self.process.start()
        assert await asyncio.to_thread(self.process.wait, START) == 1
        (line,) = self.log.splitlines()
        return line

    async def stop(self) -> float:
        """SIGTERM; the seconds that it took, which ends well."""
        self.hear()
        began = time.monotonic()
        self.process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 10.0) == 0, self.log
        self.hear()
        return time.monotonic() - began

    def close(self) -> None:
        """End it however it is."""
        self.process.kill9()
        self._notify.close()

    def hear(self) -> list[str]:
        """What systemd was told so far."""
        while True:
            try:
                self.told.append(self._notify.recv(4096).decode())
            except BlockingIOError:
                return self.told

    async def reload(self, configuration: str | None = None) -> None:
        """SIGHUP; returns when it has said that it is done."""
        if configuration is not None:
            self.write(configuration)
        self.hear()
        before = len(self.told)
        self.process.signal(signal.SIGHUP)
        await eventually(lambda: "READY=1" in self.hear()[before:], 60, "a reload")

    # --- what it shows --------------------------------------------------------------

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self.process.tail()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer over its Unix socket."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, str]:
        connection = _Connection(self.socket)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    async def status(self) -> dict[str, Any]:
        """The answer of /api/v1/status."""
        found: dict[str, Any] = await asyncio.to_thread(
            ask, self.socket, "GET", "/api/v1/status"
        )
        return found

    async def is_ready(self) -> bool:
        """Whether the first pass is over."""
        try:
            return (await self.get("/-/ready"))[0] == 200
        except (OSError, NoAnswerError):
            return False

    async def metrics(self) -> Samples:
        """All of /metrics."""
        return Samples((await self.get("/metrics"))[1])

    async def open(self) -> list[tuple[str, str]]:
        """Rule and subject of the open incidents."""
        answer = await self.status()
        return [(i["rule"], i["subject"]) for i in answer["incidents"]]

    async def opens(self, rule: str, within: float = 60.0) -> None:
        """Wait for an incident of a rule."""

        async def is_open() -> bool:
            return any(one == rule for one, _ in await self.open())

        await eventually(is_open, within, f"{rule}\n{self.log}")

    async def is_over(self, rule: str, within: float = 60.0) -> None:
        """Wait until no incident of a rule is open."""

        async def is_closed() -> bool:
            return all(one != rule for one, _ in await self.open())

        await eventually(is_closed, within, f"no {rule}\n{self.log}")

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Of its database, read beside it or after it; what a crash left stays so."""
        file = self.database if self.process.alive else self._copied()
        connection = sqlite3.connect(f"file:{file}?mode=rw", uri=True)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def _copied(self) -> Path:
        folder = self.folder / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in self.folder.glob(f"{self.database.name}*"):
            shutil.copy(file, folder)
        return folder / self.database.name

    def stored(self, key: str) -> tuple[str, float] | None:
        """State and since of a subject, as stored."""
        found = self.rows("SELECT state, since FROM subjects WHERE key = ?", key)
        return (found[0][0], found[0][1]) if found else None


class Samples:
    """What Prometheus reads, by its own parser."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float | None:
        """The one sample with exactly these labels."""
        return self._samples.get((name, frozenset(labels.items())))

    def total(self, name: str) -> float:
        """The sum of all samples of a name."""
        return sum(v for (found, _), v in self._samples.items() if found == name)

    def label(self, name: str, wanted: str, **labels: str) -> str | None:
        """The value of a label of the sample with these others that is 1."""
        known = labels.items()
        for (found, all_labels), value in self._samples.items():
            if found == name and value == 1 and known <= dict(all_labels).items():
                return dict(all_labels).get(wanted)
        return None

    def __str__(self) -> str:
        lines = [
            f"{name}{json.dumps(dict(labels))} {value}"
            for (name, labels), value in self._samples.items()
        ]
        return "\n".join(sorted(lines))
