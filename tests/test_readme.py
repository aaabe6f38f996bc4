"""The README tells what the code does: its tables are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerting.notification.wording import explain
from alerting.rules.builtin import BUILT_IN
from checks.observation import Cause

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("cause", [c for c in Cause if not c.startswith("response_")])
def test_every_cause_stands_in_the_table_of_diagnoses(cause: Cause) -> None:
    words, step = explain(cause)
    assert f"| `{cause}` | {words} | {step} |" in README


@pytest.mark.parametrize("rule", BUILT_IN)
def test_every_rule_stands_in_the_table_of_rules(rule: str) -> None:
    assert re.search(rf"^\|[^|]*\b{rule}\b[^|]*\|", README, re.MULTILINE)
