"""The account at Twilio as a rung of a diagnosis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from checks.settings import Secret
from checks.twilio.settings import TwilioSettings
from sipwatch.diagnosis.provider import Provider
from tests.checks.twilio.test_account import DOMAIN, resources
from tests.wires.twilio import ACCOUNT, TOKEN, TwilioServer


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioServer]:
    async with TwilioServer() as server:
        server.resources = resources()
        yield server


def settings_for(server: TwilioServer, token: str = TOKEN) -> TwilioSettings:
    return TwilioSettings(
        account_sid=ACCOUNT, auth_token=Secret(token), base_url=server.url
    )


async def test_a_domain_that_is_set_up_is_well(twilio: TwilioServer) -> None:
    provider = Provider(settings_for(twilio), "acme.sip.dublin.twilio.com", "line1")
    rung = await provider.rung()
    assert rung is not None
    assert (rung.what, rung.ok, provider.wrong) == ("Twilio", True, [])
    assert rung.text.startswith("acme.sip.twilio.com is a SIP Domain of the account; ")


async def test_what_is_wrong_there_is_part_of_the_verdict(twilio: TwilioServer) -> None:
    provider = Provider(settings_for(twilio), DOMAIN, "Line1")
    rung = await provider.rung()
    assert rung is not None
    assert (rung.ok, rung.text) == (False, "Line1 is not in phones")
    assert provider.wrong[0].step == "did you mean line1? (case counts)"


async def test_credentials_that_are_wrong_say_nothing_of_the_domain(
    twilio: TwilioServer,
) -> None:
    provider = Provider(settings_for(twilio, "y" * 32), DOMAIN, "line1")
    rung = await provider.rung()
    assert rung is not None
    assert (rung.ok, provider.wrong) == (None, [])
    assert rung.text == "127.0.0.1 answers 401 Unauthorized: Authenticate"


@pytest.mark.parametrize("host", ["sip.example.com", "acme.pstn.twilio.com"])
async def test_others_are_not_asked_of(twilio: TwilioServer, host: str) -> None:
    assert await Provider(settings_for(twilio), host, "line1").rung() is None
    assert await Provider(None, DOMAIN, "line1").rung() is None
    assert twilio.asked == []
