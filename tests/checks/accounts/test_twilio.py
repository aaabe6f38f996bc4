"""Names at Twilio, right and wrong."""

from __future__ import annotations

import pytest

from checks.accounts.twilio import EDGES, check, is_twilio


@pytest.mark.parametrize(
    "host",
    [
        "acme.sip.twilio.com",
        "ACME.sip.Twilio.com.",
        *(f"acme.sip.{edge}.twilio.com" for edge in EDGES),
        "acme.sip.dublin-ix.twilio.com",
        "pbx.example.com",
        "10.0.0.5",
        "sip.twilight.com",
        "twillio.example.com",
    ],
)
def test_a_name_that_is_right_or_nobody_s_business_is_let_be(host: str) -> None:
    assert check(host) is None


@pytest.mark.parametrize(
    ("host", "problem", "meant"),
    [
        (
            "acme.pstn.twilio.com",
            "acme.pstn.twilio.com is an Elastic SIP Trunk; it takes calls and no "
            "REGISTER",
            "acme.sip.twilio.com",
        ),
        (
            "acme.pstn.ashburn.twilio.com",
            "acme.pstn.ashburn.twilio.com is an Elastic SIP Trunk; it takes calls "
            "and no REGISTER",
            "acme.sip.twilio.com",
        ),
        (
            "acme.sip.dubln.twilio.com",
            "dubln is no edge of Twilio (ashburn, umatilla, dublin, frankfurt, "
            "singapore, tokyo, sao-paulo, sydney)",
            "acme.sip.dublin.twilio.com",
        ),
        (
            "acme.twilio.com",
            "a SIP Domain has .sip. after acme",
            "acme.sip.twilio.com",
        ),
        (
            "acme.dublin.twilio.com",
            "a SIP Domain has .sip. after acme",
            "acme.sip.dublin.twilio.com",
        ),
        ("acme.sipp.twilio.com", "sipp is not sip", "acme.sip.twilio.com"),
        (
            "a.acme.sip.twilio.com",
            "a.acme is more than the name of a domain",
            "acme.sip.twilio.com",
        ),
        (
            "acme.sip.twillio.com",
            "twillio.com is not Twilio's domain",
            "acme.sip.twilio.com",
        ),
        (
            "acme.sip.twilio.con",
            "twilio.con is not Twilio's domain",
            "acme.sip.twilio.com",
        ),
        (
            "sip.dublin.twilio.com",
            "the name of the SIP Domain is missing in front of sip",
            "",
        ),
        ("twilio.com", "the name of the SIP Domain is missing in front of sip", ""),
    ],
)
def test_a_wrong_name_is_told_with_what_was_meant(
    host: str, problem: str, meant: str
) -> None:
    assert check(host) == (problem, meant)


def test_only_its_own_domain_is_twilio_s() -> None:
    assert is_twilio("acme.sip.twilio.com")
    assert not is_twilio("nottwilio.com")
