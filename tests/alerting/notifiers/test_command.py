"""Commands: real programs that take it, refuse it, hang, shout, and leave others."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from alerting.incident import DeliveryError
from alerting.notification.render import bare
from alerting.notifiers.command import Command, CommandSettings
from checks.settings import Secret
from tests.alerting.mails import INSTANCE, NOW, batch, phones, reception
from tests.servers import eventually

TOLD = bare(batch(reception()), INSTANCE)


def command(script: str, *words: str, **more: Any) -> Command:
    argv = ("/bin/sh", "-c", script, "sh", *words)
    return Command(CommandSettings(argv=argv, **more), clock=lambda: NOW)


async def failure(script: str, **more: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await command(script, **more).send(TOLD)
    return caught.value


async def test_the_notification_is_on_stdin_as_json(tmp_path: Path) -> None:
    await command('cat > "$1"', str(tmp_path / "got")).send(TOLD)
    got = json.loads((tmp_path / "got").read_text())
    assert (got["version"], got["id"], got["change"]) == (1, "b1", "firing")
    assert got["incidents"][0]["subject"] == "extension:hq/1001"


async def test_a_mass_event_is_more_than_a_pipe_holds(tmp_path: Path) -> None:
    many = bare(batch(*phones(400)), INSTANCE)
    await command('sleep 0.1; cat > "$1"', str(tmp_path / "got")).send(many)
    assert len(json.loads((tmp_path / "got").read_text())["incidents"]) == 400


async def test_arguments_are_no_shells(tmp_path: Path) -> None:
    await command('printf %s "$2" > "$1"', str(tmp_path / "got"), "$(id);*").send(TOLD)
    assert (tmp_path / "got").read_text() == "$(id);*"


async def test_its_environment_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    env = {"TOKEN": Secret("t0ken")}
    await command('env > "$1"; pwd >> "$1"', str(tmp_path / "got"), env=env).send(TOLD)
    *lines, folder = (tmp_path / "got").read_text().splitlines()
    got = dict(line.split("=", 1) for line in lines)
    assert folder == "/"
    assert got.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH",
        "LANG",
        "SIPWATCH_ID",
        "SIPWATCH_CHANGE",
        "SIPWATCH_SEVERITY",
        "SIPWATCH_SUBJECT",
        "TOKEN",
    }
    assert (got["SIPWATCH_ID"], got["TOKEN"]) == ("b1", "t0ken")


async def test_a_program_that_reads_nothing_may_take_it_all_the_same() -> None:
    many = bare(batch(*phones(400)), INSTANCE)
    await command("exec <&-; exit 0").send(many)


@pytest.mark.parametrize(
    ("script", "permanent", "said"),
    [
        ("exit 1", False, "sh ended with 1"),
        ("exit 75", False, "sh ended with 75"),
        ("exit 64", True, "sh ended with 64"),
        ("exit 65", True, "sh ended with 65"),
        ("exit 67", True, "sh ended with 67"),
        ("exit 77", True, "sh ended with 77"),
        ("exit 78", True, "sh ended with 78"),
        ("exit 127", False, "sh ended with 127"),
        ("kill -9 $$", False, "sh was ended by SIGKILL"),
        ("echo a >&2; echo 'no modem' >&2; echo >&2; exit 1", False, "1: no modem"),
        ("printf 'no\\033[31m modem\\000' >&2; exit 1", False, "1: no\ufffd[31m mode"),
        ("printf 'bad \\377' >&2; exit 78", True, "78: bad \ufffd"),
        ('echo "no $TOKEN" >&2; exit 1', False, "ended with 1: no ***"),
    ],
)
async def test_its_exit_says_how_it_went(
    script: str, permanent: bool, said: str
) -> None:
    error = await failure(script, env={"TOKEN": Secret("t0ken")})
    assert said in str(error)
    assert error.permanent is permanent


async def test_of_a_long_complaint_the_end_is_kept_and_bounded() -> None:
    error = await failure("head -c 900000 /dev/zero | tr '\\0' x >&2; exit 1")
    assert str(error).startswith("sh ended with 1: xxx")
    assert len(str(error)) < 250


async def test_a_complaint_without_end_ends_the_program() -> None:
    began = time.monotonic()
    error = await failure("yes no >&2")
    assert str(error) == "sh wrote over 1 MB to stderr"
    assert time.monotonic() - began < 20


async def test_what_it_says_on_stdout_is_nobody_s_business() -> None:
    await command("yes | head -c 10000000").send(TOLD)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]
    except OSError:
        return False


async def test_one_that_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    script = 'trap "" TERM; sleep 600 & echo $! $$ > "$1"; wait; sleep 600'
    one = command(script, str(tmp_path / "pids"), timeout=0.5)
    with pytest.raises(DeliveryError) as caught:
        await one.send(TOLD)
    assert str(caught.value) == "sh: no end within 0.5 s"
    assert not caught.value.permanent
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    await eventually(lambda: not any(map(alive, pids)))


async def test_what_it_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """A child that holds stderr open does not make it last."""
    began = time.monotonic()
    await command('sleep 600 & echo $! > "$1"', str(tmp_path / "pid")).send(TOLD)
    assert time.monotonic() - began < 20
    pid = int((tmp_path / "pid").read_text())
    await eventually(lambda: not alive(pid))


async def test_a_courier_that_is_stopped_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    sending = asyncio.create_task(
        command('echo $$ > "$1.new"; mv "$1.new" "$1"; sleep 600', str(path)).send(TOLD)
    )
    await eventually(path.exists)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    pid = int(path.read_text())
    await eventually(lambda: not alive(pid))


async def test_one_that_has_gone_since_the_start_is_told() -> None:
    settings = CommandSettings(argv=("/bin/sh",))
    object.__setattr__(settings, "argv", ("/usr/local/bin/gone",))
    with pytest.raises(DeliveryError) as caught:
        await Command(settings).send(TOLD)
    assert str(caught.value) == "gone cannot be run: No such file or directory"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"argv": ()}, "argv: is a list"),
        ({"argv": "/bin/sh"}, "argv: is a list"),
        ({"argv": ("page",)}, "argv: page is no absolute path"),
        ({"argv": ("/usr/local/bin/gone",)}, "is no program that can be run"),
        ({"argv": ("/etc/passwd",)}, "is no program that can be run"),
        ({"argv": ("/",)}, "is no program that can be run"),
        ({"argv": ("/bin/sh", "a\0")}, "argv: no argument may hold a zero byte"),
        ({"env": {"a b": Secret("1")}}, "env.a b: is no variable"),
        ({"env": {"A": Secret("\0")}}, "env.A: is no variable"),
        ({"timeout": 0.0}, "timeout: must be longer"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(
    more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        CommandSettings(**{"argv": ("/bin/sh",)} | more)
