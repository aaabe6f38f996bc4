"""Who has signed a request, by both of Twilio's schemes."""

from __future__ import annotations

import json

import pytest

from checks.settings import Secret
from checks.twilio.webhook import ForgedError, fields
from tests.checks.twilio.signing import FORM, form, hashed, signature

TOKEN = "12345"
URL = "https://example.com/myapp.php?foo=1&bar=2"
# The example of Twilio's documentation of request validation.
DOCUMENTED = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}


def read(url: str, headers: dict[str, str], body: bytes) -> dict[str, object]:
    return fields(Secret(TOKEN), url, headers, body)


def test_the_form_of_the_documentation_is_signed() -> None:
    headers, body = form(TOKEN, URL, DOCUMENTED)
    assert read(URL, headers, body) == DOCUMENTED


@pytest.mark.parametrize(
    ("signed", "received"),
    [
        ("https://example.com:443/x", "https://example.com/x"),
        ("https://example.com/x", "https://example.com:443/x"),
    ],
)
def test_the_port_of_the_scheme_is_written_or_not(signed: str, received: str) -> None:
    headers, body = form(TOKEN, signed, {"a": "1"})
    assert read(received, headers, body) == {"a": "1"}


def test_fields_that_are_empty_or_come_twice_are_signed_too() -> None:
    said = "https://example.com/x" + "a1" + "a2" + "b"
    headers = {"x-twilio-signature": signature(TOKEN, said), "content-type": FORM}
    assert read("https://example.com/x", headers, b"a=2&a=1&b=") == {"a": "2", "b": ""}


def test_a_json_body_is_signed_by_its_hash() -> None:
    body = json.dumps({"Sid": "NO1"}).encode()
    url = hashed("https://example.com/x", body)
    headers = {
        "x-twilio-signature": signature(TOKEN, url),
        "content-type": "application/json",
    }
    assert read(url, headers, body) == {"Sid": "NO1"}
    with pytest.raises(ForgedError):
        read(url, headers, body.replace(b"NO1", b"NO2"))


def test_a_json_body_without_its_hash_is_not_signed_at_all() -> None:
    url = "https://example.com/x"
    headers = {
        "x-twilio-signature": signature(TOKEN, url),
        "content-type": "application/json",
    }
    with pytest.raises(ForgedError, match="its body is not signed"):
        read(url, headers, b'{"Sid": "NO1"}')


@pytest.mark.parametrize(
    "changed",
    [
        {"x-twilio-signature": ""},
        {"x-twilio-signature": signature("other", URL, DOCUMENTED)},
        {"x-twilio-signature": signature(TOKEN, URL)},
        {"x-twilio-signature": signature(TOKEN, URL + "x", DOCUMENTED)},
        {"x-twilio-signature": "ü" * 28},
        {"x-twilio-signature": "x" * 10_000},
        {"x-twilio-webhooks-signature-settings": "key=k,algorithm=HMAC_MD5"},
    ],
    ids=["missing", "other token", "no fields", "other url", "no ascii", "long", "md5"],
)
def test_what_twilio_has_not_signed_is_forged(changed: dict[str, str]) -> None:
    headers, body = form(TOKEN, URL, DOCUMENTED)
    with pytest.raises(ForgedError):
        read(URL, headers | changed, body)


@pytest.mark.parametrize("body", [b"\xff", b"&".join([b"a=1"] * 500)])
def test_a_body_that_cannot_be_read_is_a_mistake(body: bytes) -> None:
    headers, _ = form(TOKEN, URL, {})
    with pytest.raises(ValueError):
        read(URL, headers, body)
