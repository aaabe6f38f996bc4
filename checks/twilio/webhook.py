"""Requests that Twilio signs: whether they are its own, and what they say.

X-Twilio-Signature is the HMAC-SHA1, under the auth token, of the URL as Twilio knows
it and of the form's fields in order; of a JSON body the URL has the SHA-256 in
`bodySHA256`. The validator of Twilio's library knows both, with and without port.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from checks.settings import Secret
from checks.twilio.library import library

FIELDS = 200  # of a form: a call has some 40
SIGNATURE = "X-Twilio-Signature"
SIGNED_BY = "X-Twilio-Webhooks-Signature-Settings"
_BASE64 = 64  # characters of a signature: 28 by SHA-1, 44 by SHA-256


class ForgedError(ValueError):
    """Not signed by who holds the auth token; in a sentence."""


def validator(token: Secret) -> Any:
    """The library's RequestValidator; ValueError where it is not installed."""
    return library("request_validator").RequestValidator(token.reveal())


def fields(
    token: Secret, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """What a request says, once its signature holds; ForgedError, ValueError.

    `url` is as Twilio knows it, its query included.
    """
    given = headers.get(SIGNATURE.lower(), "")
    if not given:
        raise ForgedError("it is not signed")
    # Their comparison takes text of the same length only.
    if len(given) > _BASE64 or not given.isascii():
        raise ForgedError("its signature is none")
    text = _text(body)
    is_json = "json" in headers.get("content-type", "")
    if is_json and "bodySHA256" not in dict(parse_qsl(urlsplit(url).query)):
        raise ForgedError("its body is not signed")
    said = text if is_json else _form(text)
    algorithm = _algorithm(headers.get(SIGNED_BY.lower(), ""))
    checked = validator(token)
    # One line of a form's name that came twice is signed with each of its values.
    params = said if isinstance(said, str) else Several(said)
    if not checked.validate(url, params, given, algorithm):
        raise ForgedError("its signature is not that of our auth token")
    return _object(text) if is_json else {k: v[0] for k, v in said.items()}  # type: ignore[union-attr]


def _algorithm(written: str) -> str:
    found = library("request_validator").get_signature_algorithm(written[:200])
    return str(found)


class Several(dict[str, list[str]]):
    """A form whose names may come more than once, as the validator reads one."""

    def getall(self, name: str) -> list[str]:
        """All values of a name."""
        return self[name]


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("its body is not UTF-8") from None


def _form(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS)
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("its body is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("its body is no JSON object")
    return found
