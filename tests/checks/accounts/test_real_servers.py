"""Real registrars answer the binding query and the REGISTER of a test contact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Around, Intent, Trial
from checks.observation import Cause, State
from checks.settings import Secret
from tests.checks.accounts.registrar import OWN, Kept, Tried
from tests.conftest import StartAsterisk, StartKamailio
from tests.end_to_end.conftest import MakePhone, phone  # noqa: F401 - a fixture
from tests.servers.asterisk import Asterisk, Extension
from tests.servers.kamailio import Kamailio
from tests.servers.kamailio_parts import WS_PORT, WSS_PORT, web
from tests.servers.loopback import Loopback

SECRET = Secret("secret")


async def examined(
    server: Asterisk | Kamailio,
    user: str,
    mode: str = "query",
    transport: str = "udp",
    **more: Any,
) -> Tried:
    """One test of a user of it."""
    keys: dict[str, Any] = {
        "registrar": f"{server.uri};transport={transport}",
        "username": user,
        "password": SECRET,
        "mode": mode,
        "dedicated": mode == "bind",
        "timeout": 5.0,
    }
    leftover = more.pop("leftover", None)
    settings = AccountSettings(**(keys | more))
    steps: list[Any] = []
    around = Around(clock=time.time, agent="sipwatch/1", tell=steps.append)
    intents = Kept(leftover)
    trial = Trial(settings, OWN, around, intents, leftover=leftover)
    return Tried(await trial.run(), steps, intents)


def verdict(done: Tried) -> tuple[State, Cause | None]:
    return done.outcome.state, done.outcome.cause


# --- Kamailio -------------------------------------------------------------------------


@pytest.mark.real("kamailio")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_kamailio_answers_a_query_and_keeps_nothing_of_a_bind(
    kamailio: StartKamailio, transport: str
) -> None:
    server = kamailio({"2001": "secret"})
    asked = await examined(server, "2001", transport=transport)
    assert verdict(asked) == (State.OK, None)
    assert asked.outcome.bindings == ()

    bound = await examined(server, "2001", "bind", transport)
    assert verdict(bound) == (State.OK, None)
    assert [step.what for step in bound.steps] == ["REGISTER", "register", "remove"]
    assert server.contacts() == []
    assert bound.intents.history == ["keep", "drop"]


@pytest.mark.real("kamailio")
async def test_kamailio_refuses_wrong_password_and_unknown_user(
    kamailio: StartKamailio,
) -> None:
    server = kamailio({"2001": "secret"})
    wrong = await examined(server, "2001", password=Secret("wrong"))
    assert verdict(wrong) == (State.REJECTED, Cause.UNAUTHORIZED)
    assert wrong.outcome.sentence == (
        f"401 after a correct digest (realm {server.address}, MD5)"
    )
    unknown = await examined(server, "7777")
    assert verdict(unknown) == (State.REJECTED, Cause.UNAUTHORIZED)
    other = await examined(server, "2001", aor=f"7777@{server.address}")
    assert verdict(other) == (State.REJECTED, Cause.FORBIDDEN)


@pytest.mark.real("kamailio")
async def test_kamailio_wants_a_longer_registration_and_gets_it(
    kamailio: StartKamailio,
) -> None:
    server = kamailio({"2001": "secret"}, min_expires=120, too_brief=True)
    done = await examined(server, "2001", "bind")
    assert verdict(done) == (State.OK, None)
    assert "423, so for 120 s instead of 60 s (Min-Expires)" in [
        step.text for step in done.steps
    ]
    assert server.contacts() == []

    far = kamailio({"2001": "secret"}, min_expires=7200, max_expires=0, too_brief=True)
    refused = await examined(far, "2001", "bind")
    assert verdict(refused) == (State.REJECTED, Cause.INTERVAL_TOO_BRIEF)


@pytest.mark.real("kamailio")
async def test_two_phones_of_a_kamailio_are_listed_and_let_alone(
    kamailio: StartKamailio,
    phone: MakePhone,  # noqa: F811
) -> None:
    server = kamailio({"2001": "secret"})
    phones = [phone("2001", server) for _ in range(2)]
    for one in phones:
        one.register()
    asked = await examined(server, "2001")
    assert {b.contact for b in asked.outcome.bindings} == {
        f"sip:2001@{one.contact}" for one in phones
    }
    refused = await examined(server, "2001", "bind")
    assert verdict(refused) == (State.FAILING, Cause.IN_USE)
    assert len(server.contacts()) == 2


@pytest.mark.real("kamailio")
async def test_an_overloaded_and_a_silent_kamailio(kamailio: StartKamailio) -> None:
    server = kamailio({"2001": "secret"})
    server.mode("503")
    busy = await examined(server, "2001")
    assert verdict(busy) == (State.FAILING, Cause.OVERLOADED)
    assert busy.outcome.retry_after == 10
    server.mode("drop")
    silent = await examined(server, "2001", timeout=1.0)
    assert verdict(silent) == (State.FAILING, Cause.TIMEOUT)


# --- Asterisk -------------------------------------------------------------------------

DENIED = Extension("1003", deny="0.0.0.0/0.0.0.0")


@pytest.mark.real("asterisk")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("rewrites", [False, True])
async def test_asterisk_answers_a_query_and_keeps_nothing_of_a_bind(
    asterisk: StartAsterisk, transport: str, rewrites: bool
) -> None:
    server = asterisk([Extension("1001", rewrite_contact=rewrites)])
    assert verdict(await examined(server, "1001", transport=transport)) == (
        State.OK,
        None,
    )
    bound = await examined(server, "1001", "bind", transport)
    assert verdict(bound) == (State.OK, None)
    assert server.contacts() == []


@pytest.mark.real("asterisk")
async def test_asterisk_says_401_to_wrong_password_unknown_user_and_acl(
    asterisk: StartAsterisk,
) -> None:
    server = asterisk([Extension("1001"), DENIED], watcher="127.0.0.99")
    for user, password in (("1001", "wrong"), ("1999", "secret"), ("1003", "secret")):
        done = await examined(server, user, password=Secret(password))
        assert verdict(done) == (State.REJECTED, Cause.UNAUTHORIZED), user
        assert done.outcome.sentence.startswith(
            "401 after a correct digest (realm asterisk, MD5); Asterisk says so of"
        )


@pytest.mark.real("asterisk")
async def test_two_contacts_of_an_asterisk_and_one_that_would_be_thrown_out(
    asterisk: StartAsterisk,
    phone: MakePhone,  # noqa: F811
) -> None:
    server = asterisk([Extension("1001", max_contacts=2), Extension("1002")])
    phones = [phone("1001", server) for _ in range(2)] + [phone("1002", server)]
    for one in phones:
        one.register()
    asked = await examined(server, "1001")
    assert len(asked.outcome.bindings) == 2
    for user in ("1001", "1002"):  # 1002: max_contacts=1, remove_existing=yes
        refused = await examined(server, user, "bind")
        assert verdict(refused) == (State.FAILING, Cause.IN_USE)
    assert server.contacts() == ["1001", "1001", "1002"]


@pytest.mark.real("asterisk")
@pytest.mark.parametrize("rewrites", [False, True])
async def test_what_a_crash_left_on_an_asterisk_is_removed(
    asterisk: StartAsterisk,
    phone: MakePhone,  # noqa: F811
    rewrites: bool,
) -> None:
    server = asterisk([Extension("1001", rewrite_contact=rewrites)])
    left = phone("1001", server, contact_user=OWN.user)
    ip, _, port = left.contact.partition(":")
    assert left.register().startswith("SIP/2.0 200")
    left.close()  # its port is free, as after a kill
    assert server.contacts() == ["1001"]

    contact = f"sip:{OWN.user}@{left.contact}"
    intent = Intent(contact, server.uri, "1001", ip, int(port), time.time() + 60)
    done = await examined(server, "1001", "bind", leftover=intent)
    assert verdict(done) == (State.OK, None)
    assert server.contacts() == []


# --- WebSocket ------------------------------------------------------------------------


@pytest.mark.real("kamailio")
@pytest.mark.parametrize(("transport", "port"), [("ws", WS_PORT), ("wss", WSS_PORT)])
async def test_kamailio_binds_over_web_socket_and_keeps_nothing(
    kamailio: StartKamailio,
    loopback: Loopback,
    tmp_path: Path,
    transport: str,
    port: int,
) -> None:
    address, authority = loopback.address(), trustme.CA()
    ca, certificate = tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(ca)
    issued = authority.issue_cert(address)
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    server = kamailio(
        {"2001": "secret"}, address=address, parts=[web(address, certificate)]
    )
    registrar = f"sip:{address}:{port};transport={transport}"
    done = await examined(server, "2001", "bind", registrar=registrar, ca=str(ca))
    assert verdict(done) == (State.OK, None)
    assert server.contacts() == []

    distrusted = await examined(server, "2001", registrar=registrar)
    if transport == "wss":
        assert verdict(distrusted) == (State.FAILING, Cause.TLS_VERIFY)


@pytest.mark.real("asterisk")
async def test_asterisk_binds_over_web_socket_and_keeps_nothing(
    asterisk: StartAsterisk,
) -> None:
    server = asterisk([Extension("1001", rewrite_contact=True)])
    registrar = f"sip:{server.address}:8088;transport=ws"
    done = await examined(server, "1001", "bind", registrar=registrar)
    assert verdict(done) == (State.OK, None)
    assert server.contacts() == []
