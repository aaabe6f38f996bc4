"""The account, as it is set at Twilio: which rung of the ladder breaks."""

from __future__ import annotations

from typing import Any

import pytest

from checks.settings import Secret
from checks.twilio.account import Rung, look, without_edge
from checks.twilio.settings import TwilioSettings
from tests.wires.twilio import ACCOUNT, TOKEN, TwilioServer

BASE = f"/2010-04-01/Accounts/{ACCOUNT}/SIP"
AUTH = f"{BASE}/Domains/SD1/Auth"
DOMAIN = "acme.sip.twilio.com"


def resources() -> dict[str, dict[str, Any]]:
    domain = {"sid": "SD1", "domain_name": DOMAIN, "sip_registration": True}
    acl = {"ip_address": "203.0.113.0", "cidr_prefix_length": 29}
    return {
        f"{BASE}/Domains.json": {"domains": [domain], "next_page_uri": None},
        f"{AUTH}/Registrations/CredentialListMappings.json": {
            "contents": [{"sid": "CL1", "friendly_name": "phones"}]
        },
        f"{BASE}/CredentialLists/CL1/Credentials.json": {
            "credentials": [{"username": "line1"}]
        },
        f"{AUTH}/Calls/IpAccessControlListMappings.json": {
            "contents": [{"sid": "AL1", "friendly_name": "office"}]
        },
        f"{BASE}/IpAccessControlLists/AL1/IpAddresses.json": {"ip_addresses": [acl]},
    }


async def climbed(
    changed: dict[str, Any] | None = None,
    *,
    domain: str = DOMAIN,
    username: str = "line1",
    address: str | None = "203.0.113.5",
    token: str = TOKEN,
) -> list[Rung]:
    async with TwilioServer() as server:
        server.resources = resources() | (changed or {})
        settings = TwilioSettings(
            account_sid=ACCOUNT, auth_token=Secret(token), base_url=server.url
        )
        return await look(settings, domain, username, address)


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (401, "check account_sid and auth_token (or api_key) of `twilio`"),
        (429, "wait a minute: Twilio has had too many questions of this account"),
        (500, "try again later: status.twilio.com tells whether it is Twilio"),
    ],
)
async def test_what_to_do_depends_on_why_twilio_does_not_tell(
    status: int, step: str
) -> None:
    async with TwilioServer() as server:
        server.refusals = [(status, {})]
        settings = TwilioSettings(
            account_sid=ACCOUNT, auth_token=Secret(TOKEN), base_url=server.url
        )
        (rung,) = await look(settings, DOMAIN, "line1")
    assert (rung.name, rung.step) == ("account", step)


async def test_who_refuses_the_connection_is_told_in_plain_words() -> None:
    settings = TwilioSettings(
        account_sid=ACCOUNT, auth_token=Secret(TOKEN), base_url="http://127.0.0.1:9"
    )
    (rung,) = await look(settings, DOMAIN)
    assert rung.said == "127.0.0.1: Connection refused"
    assert rung.step == "let this host reach api.twilio.com over HTTPS (port 443)"


async def test_all_is_well() -> None:
    assert [tuple(rung) for rung in await climbed()] == [
        ("domain", True, "acme.sip.twilio.com is a SIP Domain of the account", ""),
        ("registration", True, "SIP registration is on", ""),
        ("credentials", True, "registrations are checked by phones", ""),
        ("username", True, "line1 is in phones", ""),
        ("address", True, "203.0.113.5 is in office", ""),
    ]


@pytest.mark.parametrize(
    ("changed", "asked", "broken", "said"),
    [
        ({}, {"domain": "acne.sip.twilio.com"}, "domain",
         "the account has no SIP Domain acne.sip.twilio.com (it has "
         "acme.sip.twilio.com); did you mean acme.sip.twilio.com?"),
        ({f"{BASE}/Domains.json": {"domains": []}}, {}, "domain",
         "the account has no SIP Domain acme.sip.twilio.com (it has none);"
         " create it in the Console"),
        ({f"{BASE}/Domains.json": {"domains": [
            {"sid": "SD1", "domain_name": DOMAIN, "sip_registration": False}]}},
         {}, "registration",
         "SIP registration of acme.sip.twilio.com is off: each REGISTER is refused"
         " (32210); switch it on: Voice, SIP Domains, the domain, SIP Registration"),
        ({f"{AUTH}/Registrations/CredentialListMappings.json": {"contents": []}}, {},
         "credentials",
         "no credential list is mapped to registrations of acme.sip.twilio.com (32212);"
         " map one under SIP Registration of the domain; the one for calls is another"),
        ({}, {"username": "Line1"}, "username",
         "Line1 is not in phones; did you mean line1? (case counts)"),
        ({}, {"username": "somebody"}, "username",
         "somebody is not in phones; add it to the list, with its password"),
        ({}, {"address": "198.51.100.7"}, "address",
         "198.51.100.7 is in no IP access list of acme.sip.twilio.com (office): its"
         " calls are dropped without an answer (32201); add 198.51.100.7 to office"),
        ({}, {"token": "y" * 32}, "account",
         "127.0.0.1 answers 401 Unauthorized: Authenticate;"
         " check account_sid and auth_token (or api_key) of `twilio`"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named_with_what_to_do(
    changed: dict[str, Any], asked: dict[str, Any], broken: str, said: str
) -> None:
    rungs = await climbed(changed, **asked)
    (wrong,) = [rung for rung in rungs if rung.ok is False]
    assert (wrong.name, f"{wrong.said}; {wrong.step}") == (broken, said)


@pytest.mark.parametrize(
    ("changed", "address", "said"),
    [
        ({f"{AUTH}/Calls/IpAccessControlListMappings.json": {"contents": []}}, None,
         "no IP access list is mapped to calls: credentials alone let them in"),
        ({}, None, "calls are let in by office"),
    ],
)  # fmt: skip
async def test_an_address_that_does_not_matter_or_is_not_known(
    changed: dict[str, Any], address: str | None, said: str
) -> None:
    rung = (await climbed(changed, address=address))[-1]
    assert (rung.name, rung.ok, rung.said) == ("address", None, said)


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ("acme.sip.twilio.com", "acme.sip.twilio.com"),
        ("Acme.sip.dublin.twilio.com.", "acme.sip.twilio.com"),
        ("sip.example.com", "sip.example.com"),
    ],
)
def test_an_edge_is_a_way_to_the_same_domain(written: str, domain: str) -> None:
    assert without_edge(written) == domain
