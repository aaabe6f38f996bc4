"""What depends on what, as the configuration may say it and may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.observation import Kind
from sipwatch.config.load import check, load
from sipwatch.config.topology import dependencies

MAIL = """
notifiers:
  oncall: {type: email, to: [a@example.com], from: b@example.com,
           smtp: {host: mail.example.com}}
"""
PBX = "type: sip, address: '10.0.0.5:5060', extensions: {file: names.csv}"


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "names.csv").write_text("extension\n1001\n")
    path = tmp_path / "sipwatch.yaml"
    path.write_text(text + MAIL)
    return path


def complaints(tmp_path: Path, text: str) -> str:
    return "\n".join(map(str, check(write(tmp_path, text), {})))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            """
targets:
  a: {uri: "sip:10.0.0.1", depends_on: [b]}
  b: {uri: "sip:10.0.0.2", depends_on: [a]}
""",
            "depends on itself: target:a -> target:b -> target:a",
        ),
        (
            """
targets:
  a: {uri: "sip:10.0.0.1", depends_on: [a]}
""",
            "depends on itself: target:a -> target:a",
        ),
        (
            """
targets:
  a: {uri: "sip:10.0.0.1", depends_on: [b]}
  b: {uri: "sip:10.0.0.2", depends_on: [c]}
  c: {uri: "sip:10.0.0.3", depends_on: [a]}
""",
            "target:a -> target:b -> target:c -> target:a",
        ),
        (
            """
sites:
  lyon: {depends_on: [router]}
targets:
  router: {uri: "sip:10.0.0.1", site: lyon}
""",
            "depends on itself: site:lyon -> target:router -> site:lyon",
        ),
        (
            f"""
sites:
  lyon: {{depends_on: [hq]}}
registrars:
  hq: {{{PBX}, site: lyon}}
""",
            "depends on itself: site:lyon -> registrar:hq -> site:lyon",
        ),
    ],
)
def test_a_circle_is_refused_with_the_way_around(
    tmp_path: Path, text: str, said: str
) -> None:
    found = complaints(tmp_path, text)
    assert said in found
    assert found.count("depends on itself") == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("gone", "no target, registrar or site is named gone"),
        ("routr", "did you mean router?"),
        ("site:router", "no target, registrar or site is named site:router"),
    ],
)
def test_a_name_that_nobody_has_is_refused(
    tmp_path: Path, written: str, said: str
) -> None:
    text = f"""
targets:
  router: {{uri: "sip:10.0.0.1"}}
  trunk: {{uri: "sip:10.0.0.2", depends_on: ["{written}"]}}
"""
    assert said in complaints(tmp_path, text)


def test_a_name_of_two_is_to_be_told_apart(tmp_path: Path) -> None:
    text = """
sites:
  lyon: {}
targets:
  lyon: {uri: "sip:10.0.0.1"}
  trunk: {uri: "sip:10.0.0.2", depends_on: [lyon]}
"""
    found = complaints(tmp_path, text)
    assert "lyon is several: write target:lyon or site:lyon" in found


def test_what_depends_on_what_is_found_by_name_and_kind(tmp_path: Path) -> None:
    text = """
sites:
  lyon: {depends_on: [router]}
targets:
  router: {uri: "sip:10.0.0.1"}
  trunk: {uri: "sip:10.0.0.2", depends_on: [router, site:lyon]}
"""
    assert dependencies(load(write(tmp_path, text), {})) == {
        (Kind.SITE, "lyon"): [(Kind.TARGET, "router")],
        (Kind.TARGET, "trunk"): [(Kind.TARGET, "router"), (Kind.SITE, "lyon")],
    }
