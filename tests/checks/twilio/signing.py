"""Requests signed as Twilio signs them, written after its documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"


def signature(token: str, url: str, params: Mapping[str, str] | None = None) -> str:
    """HMAC-SHA1 of the URL and the sorted fields of the form."""
    said = url + "".join(name + (params or {})[name] for name in sorted(params or {}))
    return base64.b64encode(
        hmac.digest(token.encode(), said.encode(), hashlib.sha1)
    ).decode()


def form(
    token: str, url: str, params: Mapping[str, str]
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form that is signed."""
    signed = {"x-twilio-signature": signature(token, url, params), "content-type": FORM}
    return signed, urlencode(params).encode()


def hashed(url: str, body: bytes) -> str:
    """The URL of a JSON body."""
    return f"{url}?bodySHA256={hashlib.sha256(body).hexdigest()}"
