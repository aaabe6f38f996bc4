"""Of whom points are kept: by their role, by their word, and so many at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipwatch.config import charting
from sipwatch.config.load import check, load

TARGETS = """
targets:
  trunk: {uri: "sip:192.0.2.1"}
  pbx: {uri: "sip:192.0.2.2", role: pbx}
  phone: {uri: "sip:192.0.2.3", role: phone}
  door: {uri: "sip:192.0.2.4", role: phone, history: true}
  other: {uri: "sip:192.0.2.5", history: false}
"""
REST = """
target_files:
  - {file: lines.txt, history: true}
vantage:
  targets: {gateway: {tcp: "192.0.2.9:22"}}
registrars:
  hq:
    type: kamailio
    address: "http://127.0.0.1:8090/RPC"
    extensions: {history: ["1001", "1002", "2*"]}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "lines.txt").write_text("192.0.2.21\n192.0.2.22\n# none\n")
    written = tmp_path / "sipwatch.yaml"
    written.write_text(TARGETS + REST)
    return written


def test_trunks_and_pbxs_are_charted_unless_they_say_otherwise(path: Path) -> None:
    assert list(charting.charted_targets(load(path))) == ["trunk", "pbx", "door"]


@pytest.mark.parametrize(
    ("most", "problem"),
    [
        (9, None),
        (8, "10:23: target_files[0].history: {} 8 {} 9: {}"),
        (6, "6:3: targets.door: {} 6 {} 7: {}"),
        (3, "17:18: registrars.hq.extensions.history: {} 3 {} 4: {}"),
    ],
)
def test_the_entry_that_is_one_too_many_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, most: int, problem: str | None
) -> None:
    monkeypatch.setattr(charting, "CHARTED", most)
    words = (
        "history is kept of",
        "subjects at most, and this makes it",
        "write history: false where no chart is wanted",
    )
    told = [str(p).removeprefix(f"{path}:") for p in check(path, {})]
    assert told == ([problem.format(*words)] if problem else [])
