"""`sipwatch register` and `sipwatch bindings`, against a registrar in this process."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sipwatch.commands.registering import _outcome_lines, _step_lines
from tests.checks.accounts.registrar import PHONE, Registrar, serving
from tests.checks.sip.peer import Peer
from tests.end_to_end.running import command

Ran = Any


@pytest.fixture
async def served() -> AsyncIterator[tuple[Registrar, Peer]]:
    registrar = Registrar()
    async with serving(registrar) as peer:
        yield registrar, peer


async def run(peer: Peer, *words: object, password: str = "secret") -> Ran:
    uri = f"sip:127.0.0.1:{peer.address.port}"
    env = dict(os.environ, PASSWORD=password)
    given = ("-u", "line1", "--password-env", "PASSWORD", "--timeout", "2s")
    return await command("register", uri, *given, *words, env=env)


async def test_a_query_says_what_is_held(served: tuple[Registrar, Peer]) -> None:
    registrar, peer = served
    registrar.contacts[PHONE] = 42
    done = await run(peer)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✓ REGISTER   200 OK after a digest")
    assert lines[1:] == [
        "",
        "127.0.0.1 accepts line1 and holds 1 binding of line1@127.0.0.1.",
        f"  contact    {PHONE}, 42 s left, from 10.0.0.31:5060",
    ]


async def test_a_refusal_names_the_next_step(served: tuple[Registrar, Peer]) -> None:
    _, peer = served
    done = await run(peer, password="hunter2")
    assert done.returncode == 2
    assert "401 after a correct digest (realm example.com, MD5)." in done.stdout
    assert "  next step  check the password (case counts)" in done.stdout
    verbose = await run(peer, "-v", "--json", password="hunter2")
    (told,) = json.loads(verbose.stdout)
    assert "REGISTER sip:127.0.0.1" in told["exchange"]
    assert "hunter2" not in verbose.stdout


async def test_an_account_in_use_is_no_failure_of_the_registrar(
    served: tuple[Registrar, Peer],
) -> None:
    registrar, peer = served
    registrar.contacts[PHONE] = 42
    assert (await run(peer, "--bind", "--dedicated")).returncode == 1
    assert registrar.contacts == {PHONE: 42}


async def test_a_bind_leaves_nothing(served: tuple[Registrar, Peer]) -> None:
    registrar, peer = served
    done = await run(peer, "--bind", "--dedicated", "--json")
    assert done.returncode == 0
    assert [step["what"] for step in json.loads(done.stdout)[0]["steps"]] == [
        "REGISTER",
        "register",
        "remove",
    ]
    assert registrar.contacts == {}


async def test_bindings_asks_a_registrar_from_here(
    served: tuple[Registrar, Peer], tmp_path: Path
) -> None:
    registrar, peer = served
    password = tmp_path / "password"
    password.write_text("secret\n")
    words = ("--registrar", f"sip:127.0.0.1:{peer.address.port}", "-u", "auth1")
    words = ("bindings", "line1@127.0.0.1", *words, "--password-file", str(password))
    assert (await command(*words)).returncode == 1
    registrar.contacts[PHONE] = 42
    done = await command(*words)
    assert done.returncode == 0
    assert f"  contact    {PHONE}, 42 s left" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sip:10.0.0.5",), "whose registration? give -u USER"),
        (
            ("https://10.0.0.5", "-u", "x", "--password-env", "HOME"),
            "https://10.0.0.5 is no SIP URI (write sip:10.0.0.5)",
        ),
        (
            ("sip:10.0.0.5", "-u", "x", "--bind"),
            "--bind registers a contact, which may throw a phone out: add --dedicated "
            "if no phone uses this account",
        ),
        (
            ("sip:10.0.0.5", "-u", "x", "--password-env", "NO_SUCH"),
            "the environment has no NO_SUCH",
        ),
        (
            ("sip:10.0.0.5", "-u", "x", "--password-file", "/no/such"),
            "/no/such: No such file or directory",
        ),
        (
            ("sip:10.0.0.5", "-u", "x", "--password-file", "/dev/null"),
            "/dev/null has nothing in it (write the password alone)",
        ),
        (
            ("sip:10.0.0.5", "-u", "x", "--password-file", __file__),
            f"{__file__} has more than one line (write the password alone)",
        ),
        (
            ("sip:10.0.0.5", "-u", "x", "--password-env", "HOME", "--source", "me"),
            "me is not an IP address",
        ),
        (
            ("line1", "--socket", "/no/such.sock"),
            "no daemon at /no/such.sock: is sipwatch running?",
        ),
    ],
)
async def test_a_mistake_is_one_line(words: tuple[str, ...], told: str) -> None:
    done = await command("register", *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"sipwatch register: {told}\n"


def test_at_80_columns_nothing_is_wider() -> None:
    outcome = {
        "state": "rejected",
        "cause": "unauthorized",
        "sentence": "401 after a correct digest (realm asterisk, MD5); Asterisk says "
        "so of a wrong password, an unknown user and an ACL alike",
        "next_step": "check the password (case counts), then that the endpoint exists",
        "bindings": [],
    }
    step = {
        "ok": False,
        "what": "REGISTER",
        "text": "401 Unauthorized",
        "seconds": 0.071,
    }
    lines = [*_step_lines(step, 80), *_outcome_lines(outcome, 80)]
    assert lines == [
        f"{'✗ REGISTER   401 Unauthorized':<73}71.0 ms",
        "",
        "401 after a correct digest (realm asterisk, MD5); Asterisk says so of a wrong",
        "password, an unknown user and an ACL alike.",
        "  next step  check the password (case counts), then that the endpoint exists",
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("sentence", "first"),
    [
        ("a phone is registered as 1001@hq", "A phone is registered as 1001@hq."),
        ("acme.pstn.twilio.com is a trunk", "acme.pstn.twilio.com is a trunk."),
        ("401 after a correct digest", "401 after a correct digest."),
    ],
)
def test_a_name_keeps_its_small_letter(sentence: str, first: str) -> None:
    outcome = {"state": "ok", "cause": None, "sentence": sentence, "bindings": []}
    assert list(_outcome_lines(outcome, 80)) == ["", first]


async def test_a_user_may_be_written_with_its_domain(
    served: tuple[Registrar, Peer],
) -> None:
    registrar, peer = served
    done = await run(peer, "-u", "line1@example.com")
    assert done.returncode == 0
    assert registrar.seen[0].to.uri == "sip:line1@example.com"


async def test_each_mistake_of_a_configuration_has_a_line(tmp_path: Path) -> None:
    file = tmp_path / "sipwatch.yaml"
    file.write_text("accounts:\n  a: [1]\n  b: [2]\n")
    done = await command("register", "--local", "-c", str(file))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        f"sipwatch register: {file}:{line}:3: accounts.{name}: a list is not a mapping "
        "(write key: value)"
        for line, name in ((2, "a"), (3, "b"))
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--source", "1.2.3.4"), "Nothing can be sent from 1.2.3.4: "),
        (("--ca-file", "/no/such"), "/no/such cannot be read: No such file"),
        (("--ca-file", __file__), f"{__file__} holds no certificate"),
    ],
)
async def test_what_is_wrong_on_this_host_is_not_laid_on_the_registrar(
    served: tuple[Registrar, Peer], words: tuple[str, ...], told: str
) -> None:
    registrar, peer = served
    done = await run(peer, *words)
    assert done.returncode == 2
    assert done.stdout.strip().startswith(told)
    assert "  next step  correct `ca` or `source`, or what" in done.stdout
    assert registrar.seen == []
