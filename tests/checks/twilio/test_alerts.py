"""Alerts as the API lists them and as the webhook brings them."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from checks.twilio.alerts import Alert, of_api, of_webhook

AT = datetime(2026, 11, 21, 10, 2, 14, tzinfo=UTC).timestamp()
ROW = {
    "account_sid": "AC" + "0" * 32,
    "alert_text": "sourceComponent=14100&Msg=user+is+not+registered&ErrorCode=32009",
    "date_created": "2026-11-21T10:02:20Z",
    "date_generated": "2026-11-21T10:02:14Z",
    "error_code": "32009",
    "log_level": "warning",
    "more_info": "https://www.twilio.com/docs/errors/32009",
    "request_method": "INVITE",
    "request_url": "sip:204@Acme.sip.twilio.com;transport=tls",
    "resource_sid": "CA1",
    "sid": "NO1",
    "service_sid": None,
}
PAYLOAD: dict[str, Any] = {
    "resource_sid": "CA1",
    "service_sid": None,
    "error_code": "32009",
    "more_info": {"Msg": "not registered", "LogLevel": "WARNING"},
    "webhook": {
        "type": "application/json",
        "request": {
            "url": "sip:204@acme.sip.twilio.com",
            "method": "INVITE",
            "headers": {},
            "parameters": {"To": "sip:204@acme.sip.twilio.com"},
        },
        "response": {"status_code": None, "headers": {}, "body": None},
    },
}
FORM = {
    "Sid": "NO1",
    "AccountSid": "AC" + "0" * 32,
    "Timestamp": "2026-11-21T10:02:14Z",
    "Level": "Warning",
    "PayloadType": "application/json",
}
WHOLE = Alert(
    "NO1", 32009, "warning", AT, "204@acme.sip.twilio.com", "CA1", "not registered"
)


def test_a_row_of_the_api_is_an_alert() -> None:
    assert of_api(ROW) == Alert(
        "NO1",
        32009,
        "warning",
        AT,
        "204@acme.sip.twilio.com",
        "CA1",
        "user is not registered",
    )


def test_the_time_is_when_it_happened_not_when_it_was_written_down() -> None:
    assert of_api(ROW | {"date_generated": None}).at == AT + 6


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(PAYLOAD),
        html.escape(json.dumps(PAYLOAD)),
        json.dumps(PAYLOAD | {"more_info": json.dumps(PAYLOAD["more_info"])}),
        PAYLOAD,
    ],
    ids=["json", "escaped", "more_info as text", "object"],
)
def test_a_webhook_is_an_alert(payload: object) -> None:
    assert of_webhook(FORM | {"Payload": payload}) == WHOLE


@pytest.mark.parametrize(
    ("changed", "who"),
    [
        ({"request_url": None, "alert_text": "Msg=x&url=sip%3A7%40a.sip.twilio.com"},
         "7@a.sip.twilio.com"),
        ({"request_url": "https://example.com", "more_info": "client:alice"}, "alice"),
        ({"request_url": "https://example.com/voice"}, ""),
        ({"request_url": None}, ""),
    ],
)  # fmt: skip
def test_who_it_is_about_is_looked_for(changed: dict[str, Any], who: str) -> None:
    assert of_api(ROW | changed).who == who


@pytest.mark.parametrize(
    "changed",
    [
        {"sid": None},
        {"sid": ""},
        {"sid": "N" * 65},
        {"sid": ["NO1"]},
        {"error_code": None},
        {"error_code": "many"},
        {"error_code": "٣٢٠٠٩"},
        {"date_generated": None, "date_created": None},
        {"date_generated": "yesterday"},
        {"date_generated": "99999-01-01T00:00:00Z"},
    ],
)
def test_what_has_no_sid_no_code_or_no_time_is_none(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        of_api(ROW | changed)


@pytest.mark.parametrize(
    "payload", [None, "", "[]", "{", "[" * 100_000, '{"error_code": {}}', 7]
)
def test_a_payload_that_cannot_be_read_is_no_alert(payload: object) -> None:
    with pytest.raises(ValueError):
        of_webhook(FORM | {"Payload": payload})


def test_what_a_stranger_wrote_is_harmless_and_bounded() -> None:
    evil = "\x1b[31m" + "x" * 10_000
    found = of_api(
        ROW | {"alert_text": evil, "resource_sid": evil, "request_url": f"sip:{evil}@a"}
    )
    assert "\x1b" not in found.text + found.resource + found.who
    assert len(found.text) <= 200
    assert len(found.resource) <= 64
    assert len(found.who) <= 128
