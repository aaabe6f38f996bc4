"""What of `twilio:` is refused, and what it needs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from checks.settings import Secret
from checks.twilio.settings import TwilioSettings
from tests.wires.twilio import ACCOUNT, TOKEN

GIVEN: dict[str, Any] = {"account_sid": ACCOUNT, "auth_token": Secret(TOKEN)}


def test_by_default_all_is_as_it_should_be() -> None:
    made = TwilioSettings(**GIVEN)
    assert made.login == (ACCOUNT, TOKEN)
    assert made.at_once == (
        *(31201, 31203, 32002, 32010, 32011, 32014),
        *(32201, 32202, 32210, 32212, 32222),
    )
    assert (made.per_call, made.calls, made.window) == ((31480, 32009), 3, 600.0)


def test_a_key_reads_instead_of_the_token() -> None:
    key = "SK" + "1" * 32
    made = TwilioSettings(
        account_sid=ACCOUNT, api_key=key, api_secret=Secret("of-the-key")
    )
    assert made.login == (key, "of-the-key")


def test_a_webhook_without_the_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "twilio.request_validator", None)
    with pytest.raises(ValueError) as refused:
        TwilioSettings(**GIVEN, webhook=True)
    assert str(refused.value) == (
        "webhook: needs one more package: pip install 'sipwatch[twilio]'"
    )
    assert TwilioSettings(**GIVEN).webhook is False  # polls work without it


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"auth_token": None}, "auth_token is missing"),
        ({"overlap": 5.0}, "overlap: is between 1m and 1d"),
        ({"window": 1e6}, "window and calm"),
        ({"calls": 0}, "calls: 0 is not between 1 and 50"),
        ({"at_once": (480,)}, "at_once: 480 is no error code"),
    ],
)
def test_what_makes_no_sense_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TwilioSettings(**(GIVEN | changed))
