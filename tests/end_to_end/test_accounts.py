"""Accounts in the running daemon: tested, told, reloaded, killed in the middle."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import StartAsterisk, StartKamailio
from tests.end_to_end.conftest import MakePhone, MakeRunning, StartWatch
from tests.end_to_end.relay import Relay
from tests.end_to_end.running import Running, command
from tests.end_to_end.watch import asterisk_at, body, row
from tests.servers import eventually
from tests.servers.asterisk import Asterisk, Extension
from tests.servers.kamailio import Kamailio

BIND = {"mode": "bind", "dedicated": True}


def accounts(**several: dict[str, Any]) -> str:
    """The section of accounts."""
    return f"accounts: {json.dumps(several)}\n"


def at(server: Asterisk | Kamailio, user: str, **more: Any) -> dict[str, Any]:
    """An account of a server."""
    common = {"registrar": server.uri, "username": user, "password": "secret"}
    return common | {"timeout": "2s"} | more


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    made = await Relay(("127.0.0.1", 9)).open()
    yield made
    made.close()


def is_removal(data: bytes) -> bool:
    return b"expires=0" in data.partition(b"\r\n\r\n")[0]


async def shown(daemon: Running, name: str) -> dict[str, Any]:
    """An account in the status."""
    found = await daemon.status()
    return next(one for one in found["accounts"] if one["name"] == name)


# --- kill -9 --------------------------------------------------------------------------


@pytest.mark.real("kamailio")
async def test_what_kill_9_leaves_is_removed_first_at_the_next_start(
    running: MakeRunning, kamailio: StartKamailio, relay: Relay
) -> None:
    server = kamailio({"2001": "secret"})
    relay.server = (server.address, server.sip_port)
    relay.swallows = is_removal
    proxy = f"sip:127.0.0.1:{relay.port}"
    probe = at(server, "2001", outbound_proxy=proxy, **BIND)
    daemon = await running(accounts(probe=probe)).start()

    await eventually(lambda: relay.swallowed, what="a removal")
    assert len(server.contacts()) == 1
    daemon.process.kill9()
    assert len(server.contacts()) == 1
    ((name, text),) = daemon.rows(
        "SELECT name, json FROM memos WHERE name LIKE 'account/%'"
    )
    assert name == "account/probe"
    assert json.loads(text)["aor"] == f"2001@{server.address}"

    relay.swallows = lambda data: False
    await daemon.start()
    await eventually(lambda: not server.contacts(), what="a removal")

    async def is_well() -> bool:
        return (await shown(daemon, "probe"))["state"] == "ok"

    await eventually(is_well, what="ok")
    assert daemon.rows("SELECT name FROM memos WHERE name LIKE 'account/%'") == []
    assert server.contacts() == []


@pytest.mark.real("kamailio")
async def test_who_is_told_to_stop_removes_its_contact_and_stops_in_time(
    running: MakeRunning, kamailio: StartKamailio, relay: Relay
) -> None:
    server = kamailio({"2001": "secret"})
    relay.server = (server.address, server.sip_port)
    relay.swallows = is_removal
    proxy = f"sip:127.0.0.1:{relay.port}"
    probe = at(server, "2001", outbound_proxy=proxy, **BIND)
    daemon = await running(accounts(probe=probe)).start()
    await eventually(lambda: relay.swallowed, what="a removal")
    relay.swallows = lambda data: False
    assert await daemon.stop() < 3.0
    assert server.contacts() == []


@pytest.mark.real("kamailio")
async def test_an_account_that_is_gone_after_a_crash_is_told(
    running: MakeRunning, kamailio: StartKamailio, relay: Relay
) -> None:
    server = kamailio({"2001": "secret"})
    relay.server = (server.address, server.sip_port)
    relay.swallows = is_removal
    proxy = f"sip:127.0.0.1:{relay.port}"
    daemon = running(accounts(probe=at(server, "2001", outbound_proxy=proxy, **BIND)))
    await daemon.start()
    await eventually(lambda: relay.swallowed, what="a removal")
    daemon.process.kill9()
    daemon.write(accounts(other=at(server, "2001")))
    await daemon.start()
    assert "account probe is no longer configured" in daemon.log
    assert daemon.rows("SELECT name FROM memos WHERE name LIKE 'account/%'") == []


# --- what it tells --------------------------------------------------------------------


@pytest.mark.real("asterisk")
async def test_asterisk_s_security_events_tell_what_its_401_does_not(
    watching: StartWatch, asterisk: StartAsterisk
) -> None:
    denied = Extension("1003", deny="0.0.0.0/0.0.0.0")
    server = asterisk([Extension("1001"), denied], watcher="127.0.0.99")
    watch = await watching(
        asterisk_at(server)
        + accounts(
            wrong=at(server, "1001", password="wrong"),
            unknown=at(server, "1999"),
            denied=at(server, "1003"),
        )
    )
    await eventually(lambda: watch.daemon.accounts.passed, what="all tests")
    causes = {
        name: (one.outcome.state, one.outcome.cause)
        for name, one in watch.daemon.accounts.items()
        if one.outcome
    }
    assert causes == {
        "wrong": ("rejected", "wrong_password"),
        "unknown": ("rejected", "unknown_user"),
        "denied": ("rejected", "address_denied"),
    }


@pytest.mark.real("asterisk")
async def test_a_test_contact_is_no_extension_that_comes_and_goes(
    watching: StartWatch, asterisk: StartAsterisk
) -> None:
    server = asterisk([Extension("1001"), Extension("1002")])
    watch = await watching(
        asterisk_at(server) + accounts(probe=at(server, "1001", **BIND))
    )
    await eventually(lambda: watch.daemon.accounts.passed, what="a test")
    for _ in range(3):
        await watch.daemon.accounts.test("probe", lambda step: None)
    await watch.read_again()
    assert watch.state("1001") == "never_registered"
    assert watch.moves("1001") == ["never_registered"]
    assert server.contacts() == []
    assert (await watch.metrics())['sipwatch_account_up{account="probe"}'] == 1.0


@pytest.mark.real("asterisk")
async def test_a_phone_that_the_pbx_holds_is_never_thrown_out(
    watching: StartWatch, asterisk: StartAsterisk, phone: MakePhone
) -> None:
    server = asterisk([Extension("1001")])  # max_contacts=1, remove_existing=yes
    desk = phone("1001", server)
    desk.register()
    watch = await watching(
        asterisk_at(server) + accounts(probe=at(server, "1001", **BIND))
    )
    await eventually(lambda: watch.daemon.accounts.passed, what="a test")
    account = watch.daemon.accounts["probe"]
    assert (account.outcome and account.outcome.cause) == "in_use"

    desk.deregister()  # it reboots: nothing of ours may take its place
    await watch.daemon.accounts.test("probe", lambda step: None)
    assert (account.outcome and account.outcome.cause) == "in_use"
    desk.register()
    assert server.contacts() == ["1001"]


@pytest.mark.real("kamailio")
async def test_a_refused_account_is_one_mail_and_its_end_another(
    watching: StartWatch, kamailio: StartKamailio
) -> None:
    server = kamailio({"2001": "secret"})
    line = at(server, "2001", password="wrong")
    watch = await watching(accounts(line1=line))
    await eventually(lambda: watch.daemon.accounts.passed, what="a test")
    await watch.daemon.accounts.test("line1", lambda step: None)  # the second in a row
    mail = await watch.mail(1, within=10)
    assert re.sub(r"\d\d:\d\d", "10:02", str(mail["Subject"])) == (
        "[critical] account line1 cannot register since 10:02 (credentials refused, "
        f"401 after a correct digest (realm {server.address}, MD5))"
    )
    assert body(mail).splitlines()[0] == (
        "Account line1 cannot register: a phone that registers like this is cut off "
        "from calls."
    )
    assert (
        row(mail, "why").rstrip()
        == f"401 after a correct digest (realm {server.address}, MD5)"
    )
    assert row(mail, "registrar").rstrip() == f"{server.address}:5060 over UDP"

    watch.write(accounts(line1=line | {"password": "secret"}))
    from sipwatch.config.load import load

    await watch.daemon.reload(load(watch.path))
    over = await watch.mail(2, within=10)
    assert str(over["Subject"]).startswith(
        "[resolved] account line1 can register again"
    )


@pytest.mark.real("kamailio")
async def test_a_restart_brings_no_further_attempt_of_one_that_is_refused(
    watching: StartWatch, kamailio: StartKamailio
) -> None:
    server = kamailio({"2001": "secret"})
    line = at(server, "2001", password="wrong")
    watch = await watching(accounts(line1=line))
    await eventually(lambda: watch.daemon.accounts.passed, what="a test")
    await watch.daemon.accounts.test("line1", lambda step: None)  # the second in a row
    await watch.restart()
    await eventually(lambda: watch.daemon.ready, what="ready, though nothing is tested")
    account = watch.daemon.accounts["line1"]
    assert account.outcome is None
    assert 200 < account.due - watch.daemon.clock.now() <= 300
    assert watch.incidents() == [("RegisterFailing", "line1")]  # as it was left
    await watch.daemon.accounts.test("line1", lambda step: None)  # by hand it goes
    assert account.rejections == 3


# --- reload ---------------------------------------------------------------------------


@pytest.mark.real("kamailio")
async def test_what_a_reload_touched_is_tested_at_once_and_told(
    running: MakeRunning, kamailio: StartKamailio
) -> None:
    server = kamailio({"2001": "secret", "2002": "secret"})
    line, kept = at(server, "2001", password="wrong"), at(server, "2002")
    daemon = await running(accounts(line=line, kept=kept)).start()
    await eventually(daemon.is_ready, what="ready")
    before = await shown(daemon, "kept")

    targets = {"kam": {"uri": server.uri}, "dead": {"uri": "sip:127.0.0.1:9"}}
    await daemon.reload(
        accounts(line=line | {"password": "secret"}, kept=kept, new=at(server, "2002"))
        + f"targets: {json.dumps(targets)}\n"
    )

    async def all_told() -> bool:
        found = (await daemon.status())["reload"]
        return bool(found and not found["waiting"])

    await eventually(all_told, what="all told")
    found = (await daemon.status())["reload"]
    assert found["summary"] == (
        "changed accounts.line; added accounts.new, targets.dead, targets.kam"
    )
    assert {one["subject"]: one["state"] for one in found["tested"]} == {
        "account:line": "ok",
        "account:new": "ok",
        "target:kam": "up",
        "target:dead": "down",
    }
    for line_ in (
        "reload: account:line is ok: ",
        "reload: account:new is ok: ",
        "reload: target:kam is up: ",
        "reload: target:dead is down: ICMP: port unreachable",
    ):
        assert line_ in daemon.log
    assert (await shown(daemon, "kept"))["tested_at"] == before["tested_at"]


# --- by hand --------------------------------------------------------------------------


@pytest.mark.real("kamailio")
async def test_by_hand_in_the_daemon_and_from_here(
    running: MakeRunning, kamailio: StartKamailio, phone: MakePhone
) -> None:
    server = kamailio({"2001": "secret", "2002": "secret"})
    desk = phone("2002", server)
    desk.register()
    daemon = await running(
        accounts(probe=at(server, "2001", **BIND), used=at(server, "2002", **BIND))
    ).start()
    await eventually(daemon.is_ready, what="ready")
    socket = ("--socket", daemon.socket)

    done = await command("register", "probe", *socket)
    assert (done.returncode, done.stderr) == (0, "")
    assert [
        re.sub(r" +[0-9.]+ ms$", "", line) for line in done.stdout.splitlines()
    ] == [
        "✓ REGISTER   200 OK after a digest",
        "✓ register   200 OK after a digest",
        "✓ remove     200 OK after a digest",
        "",
        f"{server.address} registered a test contact of 2001@{server.address} for "
        "60 s, and removed it.",
    ]
    both = await command("register", *socket, "--json")
    assert both.returncode == 1
    told = {one["account"]: one["cause"] for one in json.loads(both.stdout)}
    assert told == {"probe": None, "used": "in_use"}

    password = daemon.folder / "password"
    password.write_text("secret\n")
    here = await command(
        *("register", server.uri, "-u", "2001", "--password-file", password)
    )
    assert here.returncode == 0
    wrong = await command(
        *("register", server.uri, "-u", "2001", "--password-env", "WRONG"),
        env={"WRONG": "hunter2", "PATH": "/bin"},
    )
    assert wrong.returncode == 2
    assert "hunter2" not in wrong.stdout + wrong.stderr

    held = await command("bindings", "2002", *socket)
    assert held.returncode == 0
    assert f"sip:2002@{desk.contact}" in held.stdout
    none = await command("bindings", f"2001@{server.address}", *socket, "--json")
    assert none.returncode == 1
    assert json.loads(none.stdout)["accounts"][0]["bindings"] == []
    assert len(server.contacts()) == 1
