"""The command line as a user types it: one line for a mistake, never a traceback."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from sipwatch.demo.mail import MailCatcher
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import SIPWATCH, command, mail_to, sipwatch
from tests.end_to_end.test_daemon import dead_port, sections, smtp, targets
from tests.servers import eventually

COMMANDS = ("run", "check-config", "probe", "status", "test-notify", "demo")


def mistaken(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that a mistake is told in."""
    assert (done.returncode, done.stdout) == (status, "")
    lines = [line for line in done.stderr.splitlines() if line]
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    return lines[0]


# --- mistakes ---------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "check-config"])
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("nowhere.yaml", None, "No such file or directory"),
        ("folder.yaml", "", "Is a directory"),
        (
            "uri.yaml",
            'targets: {t: {uri: "sip:"}}\n',
            ":1:20: targets.t.uri: 'sip:' is not a SIP URI",
        ),
        ("key.yaml", "target: {}\n", ":1:1: target: unknown key (did you mean "),
        ("bytes.yaml", "\udcff\udcfe", "UTF-8"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_a_line_and_status_2(
    tmp_path: Path, command: str, name: str, text: str | None, words: str
) -> None:
    path = tmp_path / name
    if text == "":
        path.mkdir()
    elif text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = sipwatch(command, "-c", path)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert lines[0].startswith(str(path))
    assert words in lines[0]
    assert lines[1:] == (["1 error"] if command == "check-config" else [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["watch"], "No such command 'watch'"),
        (["run", "--fast"], "No such option"),
        (["demo", "--seconds", "soon"], "'soon' is not a valid float"),
        (["ack", "abc"], "'abc' is not a valid integer"),
        (["silence", "put"], "No such command 'put'"),
        (["--loud"], "No such option"),
    ],
)
def test_a_command_that_is_not_there_is_told_with_the_usage(
    words: list[str], said: str
) -> None:
    done = sipwatch(*words)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr.splitlines()[-1]
    assert done.stderr.startswith("Usage: ")


@pytest.mark.parametrize("command", ["status", "test-notify"])
def test_without_a_daemon_there_is_one_line_and_status_3(
    tmp_path: Path, command: str
) -> None:
    path = tmp_path / "api.sock"
    line = mistaken(sipwatch(command, "--socket", path), 3)
    assert line == f"no daemon at {path}: is sipwatch running?"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))  # as a killed daemon leaves it
    line = mistaken(sipwatch(command, "--socket", path), 3)
    assert line.startswith(f"the daemon at {path} does not answer: ")


# --- check-config -----------------------------------------------------------------


def test_what_may_surprise_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "sipwatch.yaml"
    path.write_text("instance: pbx.example.com\n")
    done = sipwatch("check-config", "-c", path)
    assert (done.returncode, done.stdout) == (0, f"{path}: well\n")
    assert done.stderr.splitlines() == [
        "note: no targets and no registrars: nothing is watched",
        "note: no notifiers: problems show in metrics and status, nobody is told",
    ]


async def test_the_daemon_notes_it_too(running: MakeRunning) -> None:
    daemon = await running(sections()).start()
    assert "warning  no targets and no registrars: nothing is watched" in daemon.log
    assert "warning  no notifiers: problems show in metrics" in daemon.log


def test_a_secret_comes_from_the_credentials_of_systemd(tmp_path: Path) -> None:
    path, credentials = tmp_path / "sipwatch.yaml", tmp_path / "credentials"
    credentials.mkdir()
    path.write_text(
        "registrars: {hq: {type: asterisk, address: 127.0.0.1, username: a,"
        " password: !secret hq-ami}}\n"
    )
    given = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
    missing = sipwatch("check-config", "-c", path, env=given)
    assert missing.returncode == 2
    assert "!secret hq-ami: not found in" in missing.stderr
    (credentials / "secrets_hq-ami").write_text("hunter2\n")
    found = sipwatch("check-config", "-c", path, env=given)
    assert found.returncode == 0
    assert "hunter2" not in found.stdout + found.stderr


# --- with a daemon ----------------------------------------------------------------


def on_a_terminal(*words: str, columns: int) -> tuple[int, list[str]]:
    """Exit status and lines of a command on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([*SIPWATCH, *words], stdout=theirs, stderr=theirs) as done:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the terminal was hung up: all is read
            pass
        os.close(ours)
        text = re.sub(r"\x1b\[[\d;]*m", "", shown.decode())  # its colours
        return done.wait(10), [line.rstrip() for line in text.splitlines()]


async def test_status_fits_a_terminal(running: MakeRunning, trunk: StartTrunk) -> None:
    provider, gone = await trunk(), await trunk()
    gone.silent = True
    with dead_port() as port:
        hq = {"type": "asterisk", "address": f"127.0.0.1:{port}", "username": "a"}
        daemon = running(
            sections(
                targets=targets(provider=provider, gone=gone),
                registrars={"hq": hq | {"password": "b"}},
                instance_="",
            ).replace('instance_: ""\n', "")
        )
        await daemon.start()
        await eventually(daemon.is_ready, 60, "the first pass")
        await daemon.opens("OptionsFailing")
    status, lines = on_a_terminal("status", "--socket", daemon.socket, columns=80)
    assert status == 1  # something is wrong
    assert max(map(len, lines)) <= 80
    assert re.match(r"sipwatch \S+, up since \d\d:\d\d:\d\d, ready$", lines[0])
    text = "\n".join(lines)
    for words in (
        "warning  trunk gone does not answer OPTIONS since",
        "hq",
        "unreadable",
        "1 up, 1 down",
    ):
        assert words in text
    done = await command("status", "--socket", daemon.socket, "--json")
    assert done.returncode == 1
    assert '"targets": {' in done.stdout
    gone.silent = False
    await daemon.is_over("OptionsFailing")
    done = await command("status", "--socket", daemon.socket)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no open incident" in done.stdout


async def test_a_test_notification_is_accepted_or_refused_in_words(
    running: MakeRunning, catcher: MailCatcher
) -> None:
    with dead_port() as port:
        broken = smtp(port).replace("oncall:", "broken:").replace("notifiers:\n", "")
        configuration = sections() + mail_to(catcher) + broken.lstrip("\n")
        daemon = await running(configuration).start()
        where = ("--socket", daemon.socket)
        done = await command("test-notify", *where, "oncall")
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"oncall +accepted\n", done.stdout)
        (mail,) = catcher.mails
        assert str(mail["Subject"]) == (
            "[test] sipwatch on watcher.example.com can reach you"
        )
        done = await command("test-notify", *where)
        assert done.returncode == 2
        told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
        assert told["oncall"] == "accepted"
        assert "refused" in told["broken"] or "failed" in told["broken"]
        assert "Traceback" not in done.stdout + done.stderr
        done = await command("test-notify", *where, "nobody")
        assert done.returncode == 2
        assert re.fullmatch(r"nobody +there is no such notifier\n", done.stdout)


# --- help -------------------------------------------------------------------------


def test_help_names_every_command_in_a_sentence() -> None:
    done = sipwatch("-h")
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"(?m)^  {name} +[A-Z]\S+ .*\S$", done.stdout), name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_explains_every_option(name: str) -> None:
    done = sipwatch(name, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.match(rf"Usage: .* {name} ", lines[0])
    assert lines[2].strip().endswith((".", ",")) or lines[3].strip()
    options = "\n".join(lines[lines.index("Options:") + 1 :])
    for entry in re.split(r"\n(?=  -)", options):
        assert re.search(r"  +[A-Z][^\n]*[^\s,]", entry), entry


def test_the_version_is_one_line() -> None:
    done = sipwatch("--version")
    assert re.fullmatch(r"sipwatch \d+\.\d+\.\d+\S*\n", done.stdout)
