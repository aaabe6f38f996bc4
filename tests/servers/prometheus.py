"""A real Prometheus on loopback.

with Prometheus(folder, "127.100.1.9", {"sipwatch": "127.0.0.1:9160"}) as server:
    server.query("sipwatch_target_up")
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.servers import require
from tests.servers.process import Process

PORT = 9090


class Prometheus:
    """One Prometheus that scrapes each of `jobs` (name -> host:port) every second."""

    def __init__(
        self,
        folder: Path,
        address: str,
        jobs: Mapping[str, str],
        rules: Sequence[Path] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://{address}:{PORT}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(file) for file in rules],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [where]}]}
                for name, where in jobs.items()
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        argv = require("prometheus")(
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={address}:{PORT}",
        )
        self.process = Process("prometheus", argv, folder)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression as of now; ValueError where it is none."""
        return list(self._result("query", query=expression))

    def query_range(
        self, expression: str, start: float, end: float
    ) -> list[dict[str, Any]]:
        """The series of an expression between two moments (UTC s)."""
        when = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": "1"}
        return list(self._result("query_range", query=expression, **when))

    def names(self) -> set[str]:
        """Of all metrics that it has seen."""
        found: list[str] = self._get("label/__name__/values", {})
        return set(found)

    def values(self, label: str, selector: str) -> list[str]:
        """Of a label in the series of a selector: what label_values() of Grafana is."""
        found: list[str] = self._get(f"label/{label}/values", {"match[]": selector})
        return found

    def rules(self) -> list[dict[str, Any]]:
        """As it has evaluated them."""
        groups = self._get("rules", {})["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _result(self, how: str, **asked: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get(how, asked)["result"]
        return found

    def _get(self, path: str, asked: Mapping[str, str]) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def __enter__(self) -> Self:
        self.process.start()
        self.process.wait_ready(self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
