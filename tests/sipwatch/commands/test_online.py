"""check-config --online: what is printed, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checks.accounts.settings import AccountSettings
from checks.settings import Secret
from checks.twilio.settings import TwilioSettings
from sipwatch.commands import online
from sipwatch.config.settings import Config
from tests.checks.twilio.test_account import BASE, DOMAIN, resources
from tests.wires.twilio import ACCOUNT, TOKEN, TwilioServer


def configured(server: TwilioServer, *users: str) -> Config:
    accounts = {
        user: AccountSettings(
            registrar="sip:acme.sip.dublin.twilio.com;transport=tls",
            username=user,
            password=Secret("x"),
        )
        for user in users
    }
    twilio = TwilioSettings(
        account_sid=ACCOUNT,
        auth_token=Secret(TOKEN),
        base_url=server.url,
        domains=(DOMAIN,),
    )
    return Config(accounts=accounts, twilio=twilio)


def test_each_domain_is_looked_at_once_with_its_users() -> None:
    config = configured(TwilioServer(url="http://127.0.0.1:9"), "line1", "line2")
    assert online.asked(config) == [(DOMAIN, "line1"), (DOMAIN, "line2")]
    assert online.asked(replace(config, accounts={})) == [(DOMAIN, "")]


async def looked(
    monkeypatch: pytest.MonkeyPatch, config: Config, *, as_json: bool = False
) -> int:
    found = await online._all(config.twilio, online.asked(config))  # type: ignore[arg-type]
    monkeypatch.setattr(online.asyncio, "run", lambda work: (work.close(), found)[1])
    return online.run(config, as_json=as_json)


async def test_what_is_wrong_is_printed_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with TwilioServer() as server:
        server.resources = resources()
        assert await looked(monkeypatch, configured(server, "Line1")) == 1
    assert capsys.readouterr().out == (
        "Line1@acme.sip.twilio.com\n"
        "✓ domain        acme.sip.twilio.com is a SIP Domain of the account\n"
        "✓ registration  SIP registration is on\n"
        "✓ credentials   registrations are checked by phones\n"
        "✗ username      Line1 is not in phones\n"
        "                did you mean line1? (case counts)\n"
        "· address       calls are let in by office\n"
        "                give twilio.address, from which Twilio sees us, to have it"
        " looked up\n"
    )


async def test_all_is_well_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with TwilioServer() as server:
        server.resources = resources()
        config = configured(server, "line1")
        assert await looked(monkeypatch, config, as_json=True) == 0
        assert server.asked[0].startswith(f"{BASE}/Domains.json")
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["domain"], one["username"]) == (DOMAIN, "line1")
    assert one["rungs"][0]["ok"] is True


def test_without_an_account_there_is_nothing_to_look_at() -> None:
    assert online.run(Config()) == 3
