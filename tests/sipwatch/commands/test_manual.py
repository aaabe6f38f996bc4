"""The manual page is whole, and troff finds nothing wrong with it."""

from __future__ import annotations

import shutil
import subprocess

import click
import pytest

from sipwatch.cli import main
from sipwatch.commands import manual

PAGE = manual.page()


def commands(group: click.Group, above: str = "") -> list[str]:
    found: list[str] = []
    for name, command in group.commands.items():
        inside = isinstance(command, click.Group)
        found += commands(command, f"{name} ") if inside else [f"{above}{name}"]
    return found


@pytest.mark.parametrize("command", commands(main))
def test_every_command_is_in_it(command: str) -> None:
    assert f".SS {command}\n".replace("-", "\\-") in PAGE


def test_every_option_is_in_it() -> None:
    head = PAGE[PAGE.index(".SS silence add") :]
    about = head[: head.index(".SS", 3)]
    for option in ("reason", "for", "until", "from", "by", "socket", "json"):
        assert f".B \\-\\-{option}" in about


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("plain", "plain"),
        ("--json", "\\-\\-json"),
        (".TH is no request", "\\&.TH is no request"),
        ("'quoted", "\\&'quoted"),
        ("a\\fB", "a\\efB"),
    ],
)
def test_no_text_is_taken_for_a_request(said: str, written: str) -> None:
    assert manual._text(said) == written


def test_every_line_is_text_or_a_known_request() -> None:
    known = {"TH", "SH", "SS", "B", "BR", "I", "IR", "RI", "PP", "TP", "nf", "fi"}
    asked = {line[1:].split()[0] for line in PAGE.splitlines() if line[:1] == "."}
    assert asked <= known


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff on this machine")
def test_groff_finds_nothing_to_warn_of() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-z"], input=PAGE, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
