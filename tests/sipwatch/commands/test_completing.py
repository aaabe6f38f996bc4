"""What the Tab key offers, by a real shell and by a real socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sipwatch.cli import main
from sipwatch.commands import completing
from tests.sipwatch.commands.test_remote import daemon, http

STATUS = {
    "incidents": [{"id": 71, "text": "1001 evil\x1b[2J"}, {"id": 8, "text": "b"}],
    "registrars": [{"name": "hq"}],
    "accounts": [{"name": "line1"}],
    "notifiers": [{"name": "oncall"}, {"name": "desk"}],
}


def offered(words: list[str], begun: str) -> list[str]:
    """What click offers behind these words."""
    found = completing.get_completion_class("bash")
    assert found is not None
    shell = found(main, {}, "sipwatch", completing.VARIABLE)
    return [item.value for item in shell.get_completions(words, begun)]


@pytest.mark.parametrize(
    ("words", "begun", "values"),
    [
        (["ack"], "7", ["71"]),
        (["evidence"], "", ["71", "8"]),
        (["test-notify"], "on", ["oncall"]),
        (["audit"], "", ["hq"]),
        (["register"], "li", ["line1"]),
    ],
)
def test_names_are_those_of_the_daemon(
    tmp_path: Path, words: list[str], begun: str, values: list[str]
) -> None:
    reply = http("200 OK", json.dumps(STATUS))
    with daemon(tmp_path / "s", reply) as path:
        assert offered([*words, "--socket", path], begun) == values


def test_what_is_offered_cannot_move_the_cursor(tmp_path: Path) -> None:
    reply = http("200 OK", json.dumps(STATUS))
    with daemon(tmp_path / "s", reply) as path:
        context = click.Context(main)
        context.params["socket"] = path
        parameter = click.Argument(["incident"])
        found = completing.incidents(context, parameter, "7")
    assert [(one.value, one.help) for one in found] == [("71", "1001 evil�[2J")]


@pytest.mark.parametrize("reply", [b"", http("200 OK", "[1]"), http("500 No", "")])
def test_no_answer_offers_nothing(tmp_path: Path, reply: bytes) -> None:
    with daemon(tmp_path / "s", reply) as path:
        assert offered(["ack", "--socket", path], "") == []
    assert offered(["ack", "--socket", str(tmp_path / "none")], "") == []


@pytest.mark.parametrize("shell", completing.SHELLS)
def test_each_shell_has_its_script(shell: str) -> None:
    assert completing.VARIABLE in completing.script(main, shell)


def test_a_real_bash_completes_commands() -> None:
    """The script as bash reads it, and the function as Tab calls it."""
    text = completing.script(main, "bash")
    asked = (
        f"{text}\nCOMP_WORDS=(sipwatch ex); COMP_CWORD=1\n"
        "_sipwatch_completion sipwatch\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", asked],
        env={**os.environ, "PATH": path},
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("explain\n", "")
