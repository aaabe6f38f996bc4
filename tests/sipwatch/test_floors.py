"""Between two commands, too, lies the time that Twilio wants between two questions."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from sipwatch.floors import NOTES, Claim, TooSoonError, claim, options
from tests.end_to_end.running import sipwatch

NOW = 1_790_000_000.0
HOST = "acme.pstn.twilio.com"
AOR = "line1@acme.sip.twilio.com"
OPTIONS, REGISTER = Claim("OPTIONS", HOST, 15.0), Claim("REGISTER", AOR, 600.0)


def at(now: float, folder: Path, *several: Claim) -> str:
    """What is said to who wants to ask; empty where nothing is in the way."""
    try:
        claim(several, folder=folder, clock=lambda: NOW + now)
    except TooSoonError as soon:
        return str(soon)
    return ""


def test_a_second_question_has_to_wait(tmp_path: Path) -> None:
    assert at(0, tmp_path, OPTIONS) == ""
    assert at(6, tmp_path, OPTIONS) == (
        f"{HOST} was asked 6 s ago, and Twilio allows an OPTIONS every 15 s: wait 9 s"
    )
    assert at(14.99, tmp_path, OPTIONS).endswith(": wait 1 s")
    assert at(15, tmp_path, OPTIONS) == ""
    assert at(29, tmp_path, OPTIONS) != ""


def test_a_register_has_a_floor_of_its_own(tmp_path: Path) -> None:
    assert at(0, tmp_path, REGISTER) == ""
    assert at(20, tmp_path, OPTIONS) == ""
    assert at(40, tmp_path, REGISTER) == (
        f"{AOR} was asked 40 s ago, and Twilio allows a REGISTER every 600 s: wait"
        " 560 s"
    )
    assert at(600, tmp_path, REGISTER) == ""


def test_who_is_refused_has_asked_nobody(tmp_path: Path) -> None:
    other = Claim("OPTIONS", "other.pstn.twilio.com", 15.0)
    assert at(0, tmp_path, OPTIONS) == ""
    assert at(5, tmp_path, other, OPTIONS) != ""
    assert at(5, tmp_path, other) == ""
    assert at(15, tmp_path, OPTIONS) == ""


def test_a_note_of_the_future_is_of_a_clock_that_was_set_back(tmp_path: Path) -> None:
    assert at(0, tmp_path, OPTIONS) == ""
    assert at(-3600, tmp_path, OPTIONS) == ""


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"a": "b"}', '{"a": null}'])
def test_notes_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "asked.json").write_text(text)
    assert at(0, tmp_path, OPTIONS) == ""
    assert at(1, tmp_path, OPTIONS) != ""


def test_the_notes_are_few_and_nobody_else_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for n in range(NOTES + 20):
        assert at(n, folder, Claim("REGISTER", f"{n}@x.sip.twilio.com", 600.0)) == ""
    file = folder / "asked.json"
    assert len(json.loads(file.read_text())) == NOTES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_where_nothing_can_be_noted_it_is_said_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert at(0, tmp_path / "file" / "below", OPTIONS) == ""
    assert capsys.readouterr().err == (
        f"note: it cannot be noted when {HOST} was asked (Not a directory): ask no more"
        " often than every 15 s\n"
    )


def test_twilio_alone_has_floors_for_options() -> None:
    uris = [f"sip:{HOST};transport=tls", f"sip:+1@{HOST.upper()}", "sip:192.0.2.1"]
    assert options([*uris, "pbx.example.com", "sip:twilio.com.example.com"]) == [
        OPTIONS
    ]


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have been asked just now."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    claim([OPTIONS, REGISTER, Claim("OPTIONS", "acme.sip.twilio.com", 15.0)])


@pytest.mark.usefixtures("noted")
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["probe", f"sip:{HOST}"], "an OPTIONS"),
        (["probe", "192.0.2.1", HOST], "an OPTIONS"),
        (["diagnose", f"sip:{HOST}"], "an OPTIONS"),
        (["register", "sip:acme.sip.twilio.com", "-u", "line1"], "a REGISTER"),
        (
            ["bindings", AOR, "--registrar", "sip:acme.sip.twilio.com"],
            "a REGISTER",
        ),
    ],
)
def test_a_command_says_how_long_to_wait_and_asks_nobody(
    words: list[str], what: str
) -> None:
    secret = ["--password-env", "SECRET"] if what == "a REGISTER" else []
    done = sipwatch(*words, *secret, env={**os.environ, "SECRET": "secret"})
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"sipwatch {words[0]}: ")
    assert f"Twilio allows {what} every " in done.stderr
    assert len(done.stderr.splitlines()) == 1
