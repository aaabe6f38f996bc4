"""The README tells what the code does: its tables are whole."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from alerting.notification.causes import explain
from alerting.rules.builtin import BUILT_IN
from checks.observation import Cause
from checks.registrars import REGISTRARS
from sipwatch.config.load import check

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("cause", [c for c in Cause if not c.startswith("response_")])
def test_every_cause_stands_in_the_table_of_diagnoses(cause: Cause) -> None:
    words, step = explain(cause)
    assert f"| `{cause}` | {words} | {step} |" in README


@pytest.mark.parametrize("rule", BUILT_IN)
def test_every_rule_stands_in_the_table_of_rules(rule: str) -> None:
    assert re.search(rf"^\|[^|]*\b{rule}\b[^|]*\|", README, re.MULTILINE)


CONFIGURATIONS = re.findall(r"(?ms)^ *```yaml\n(.*?)^ *```$", README)


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_every_configuration_that_is_shown_is_right(text: str, tmp_path: Path) -> None:
    (tmp_path / "sipwatch.yaml").write_text(textwrap.dedent(text))
    (tmp_path / "extensions.csv").write_text("extension,name\n1001,Reception\n")
    for secret in re.findall(r"!secret ([\w-]+)", text):
        (tmp_path / secret).write_text("https://chat.example.com/of-whatever-kind")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert check(tmp_path / "sipwatch.yaml", environ) == []


def test_every_type_of_registrar_is_shown() -> None:
    shown = set(re.findall(r"(?m)^ +type: (\w+)", "\n".join(CONFIGURATIONS)))
    assert set(REGISTRARS) <= shown
