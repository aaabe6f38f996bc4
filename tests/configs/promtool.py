"""promtool's unit tests of rules, from rows of a table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import require

FOLDER = Path(__file__).parents[2] / "configs/prometheus"
RULES = FOLDER / "sipwatch.rules.yml"
SCRAPED = 'job="sipwatch",instance="pbx:9160"'

Fires = Mapping[str, str]  # a label's value -> severities


@dataclass(frozen=True)
class Case:
    """An alert: a value a minute of each series, and who fires at which minute."""

    alert: str
    by: str  # the label that tells one subject from another
    series: Mapping[str, str]  # name{labels} -> values
    at: Mapping[int, Fires]

    def tested(self) -> dict[str, Any]:
        """As promtool reads it."""
        return {
            "interval": "1m",
            "input_series": [
                {"series": scraped(name), "values": values}
                for name, values in self.series.items()
            ],
            "promql_expr_test": [
                self._looked(minute, fires) for minute, fires in self.at.items()
            ],
        }

    def _looked(self, minute: int, fires: Fires) -> dict[str, Any]:
        firing = f'ALERTS{{alertname="{self.alert}",alertstate="firing"}}'
        return {
            "expr": f"max by ({self.by}, severity) ({firing})",
            "eval_time": f"{minute}m",
            "exp_samples": [
                {"labels": self._labels(who, severity), "value": 1}
                for who, several in fires.items()
                for severity in several.split()
            ],
        }

    def _labels(self, who: str, severity: str) -> str:
        return f'{{{self.by}="{who}",severity="{severity}"}}'


def scraped(name: str) -> str:
    """A series with the labels that a scrape adds."""
    bare, _, labels = name.rstrip("}").partition("{")
    return f"{bare}{{{','.join(filter(None, (labels, SCRAPED)))}}}"


def minutes(*several: tuple[float, int]) -> str:
    """Values, each for so many minutes."""
    return " ".join(f"{value:g}" for value, times in several for _ in range(times))


def promtool(
    folder: Path, *words: object, given: bytes | None = None
) -> tuple[int, str]:
    """A command of promtool: its exit status and what it says."""
    done = subprocess.run(
        require("promtool")(*words),
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=folder,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def run(folder: Path, *cases: Case) -> str:
    """What promtool finds wrong; empty where all is as it should be."""
    file = folder / "tests.yml"
    tests = [case.tested() for case in cases]
    plan = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(json.dumps(plan))
    status, said = promtool(folder, "test", "rules", file)
    return said if status else ""
