"""A real Prometheus Alertmanager on loopback, alone or in a cluster.

with Alertmanager(folder, "127.100.1.9", receiver="http://...") as server:
    ... post to server.url ...
    server.alerts()
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tests.servers import Command, require
from tests.servers.process import Process

PORT, CLUSTER_PORT = 9093, 9094

# Debian's build reads its templates from this folder of the machine, which has none.
FILES = b"/usr/share/prometheus/alertmanager"
HERE = "am"  # a link to the tree's, where it is started

# It tells its receiver at once what fires, and a second later what is over.
CONFIG = """\
global: {{resolve_timeout: 5m}}
route:
  receiver: hook
  group_by: [{group_by}]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - {{url: "{receiver}", send_resolved: true}}
"""


class Alertmanager:
    """One Alertmanager; `receiver` is the URL that it notifies."""

    def __init__(
        self,
        folder: Path,
        address: str,
        receiver: str = "http://127.0.0.1:9/",
        *,
        group_by: Sequence[str] = ("alertname",),
        peers: Sequence[str] = (),
    ) -> None:
        command = _at_home(require("alertmanager"))
        self.url = f"http://{address}:{PORT}"
        self.peer = f"{address}:{CLUSTER_PORT}"
        folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(receiver=receiver, group_by=", ".join(group_by))
        (folder / "alertmanager.yml").write_text(text)
        (folder / HERE).symlink_to(command.root / FILES.decode().lstrip("/"))
        argv = command(
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address={address}:{PORT}",
            f"--cluster.listen-address={self.peer if peers else ''}",
            f"--cluster.advertise-address={self.peer}",
            *(f"--cluster.peer={peer}" for peer in peers),
            *(["--cluster.settle-timeout=2s"] if peers else []),
        )
        self.process = Process("alertmanager", argv, folder)

    def start(self) -> Self:
        self.process.start()
        self.process.wait_ready(self._is_ready)
        return self

    def stop(self) -> None:
        """As a restart does: it keeps what it told, and no alert."""
        self.process.stop()

    def close(self) -> None:
        self.process.kill9()

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire, by their names."""
        found = json.loads(self._get("/api/v2/alerts"))
        return sorted(found, key=lambda alert: str(alert["labels"]))

    def groups(self) -> list[dict[str, Any]]:
        """The groups in which they are told."""
        found: list[dict[str, Any]] = json.loads(self._get("/api/v2/alerts/groups"))
        return found

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            content: bytes = answer.read()
            return content

    def _is_ready(self) -> bool:
        try:
            return self._get("/-/ready") == b"OK"
        except (OSError, urllib.error.URLError):
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _at_home(command: Command) -> Command:
    """The same, with a folder of its own in place of the machine's: a path as long."""
    there = Path(command.argv[-1])
    here = there.with_name(f"{there.name}-here")
    if not here.exists():
        path = (b"./" * len(FILES))[: len(FILES) - len(HERE)] + HERE.encode()
        made = here.with_name(f"{here.name}.{os.getpid()}")
        made.write_bytes(there.read_bytes().replace(FILES, path))
        made.chmod(0o755)
        made.rename(here)
    return replace(command, argv=(*command.argv[:-1], str(here)))
