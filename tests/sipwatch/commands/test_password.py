"""Hashes of passwords, and the command that makes them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from sipwatch import scrypt
from sipwatch.commands import password

VECTOR = scrypt.Hash(  # RFC 7914 12, the third
    (14, 8, 1),
    b"SodiumChloride",
    bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    ),
)


def test_it_is_the_scrypt_of_the_rfc() -> None:
    assert VECTOR.fits("pleaseletmein")
    assert not VECTOR.fits("pleaseletmeout")


def test_a_hash_is_found_again_in_its_line() -> None:
    made = scrypt.hashed("çà va 🔑")
    assert scrypt.parse(made.line) == made
    assert made.fits("çà va 🔑")
    assert scrypt.hashed("çà va 🔑") != made, "a salt of its own"
    assert made.line.split("$")[4] not in repr(made)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "secret",
        "bcrypt$14$8$5$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
        "scrypt$14$8$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
        "scrypt$14$8$0$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
        "scrypt$0$8$5$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
        "scrypt$-1$8$5$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
        "scrypt$١٤$8$5$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
        "scrypt$14$8$5$c2Fs$a2V5a2V5a2V5a2V5a2V5a2V5",
        "scrypt$14$8$5$c2FsdHNhbHQ$a2V5",
        "scrypt$14$8$5$c2FsdHNhbHQ!$a2V5a2V5a2V5a2V5a2V5a2V5",
        "scrypt$31$255$255$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
        "scrypt$16$8$99$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
    ],
)
def test_what_is_no_hash_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(ValueError) as refused:
        scrypt.parse(line)
    assert not line or line not in str(refused.value)


@pytest.mark.parametrize("typed", ["tea for two", "tea for two\n", "tea for two\r\nx"])
def test_a_password_is_read_from_a_pipe(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert password.run(as_json=False) == 0
    assert scrypt.parse(capsys.readouterr().out.strip()).fits("tea for two")


def test_it_is_also_json(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("tea\n"))
    assert password.run(as_json=True) == 0
    assert scrypt.parse(json.loads(capsys.readouterr().out)["password"]).fits("tea")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "an empty password keeps nobody out"),
        ("\n", "an empty password keeps nobody out"),
        ("x" * 2000, "a password has at most 1024 bytes"),
    ],
)
def test_what_is_no_password_is_told(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert password.run(as_json=False) == 3
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(
    ("typed", "status"), [(["tea", "tea"], 0), (["tea", "coffee"], 3)]
)
def test_at_a_terminal_it_is_typed_twice_and_not_shown(
    typed: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = iter(typed)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(said))
    assert password.run(as_json=False) == status
