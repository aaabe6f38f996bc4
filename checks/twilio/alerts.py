"""One alert of Twilio, as its API lists it and as its debugger's webhook brings it.

All of it is a stranger's: every field may be missing, null or nonsense. What has no
sid, no time or no code is none, and raises ValueError.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from checks.observation import plain

SID_LIMIT = 64  # characters; they are two letters and 32 digits
WHO_LIMIT = 128  # characters of user@domain
TEXT_LIMIT = 200  # characters of what Twilio says of it
DEPTH = 6  # of a payload that is searched for a SIP URI
_SID = re.compile(rf"[A-Za-z0-9_-]{{1,{SID_LIMIT}}}")
_WHO = re.compile(
    r"(?:sips?:|client:)"
    r"([^\s@;<>?\"'&]{1,64})"
    r"(?:@([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\]))?"
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One error or warning that Twilio noted."""

    sid: str  # by which it is known again
    code: int
    level: str  # error warning notice debug
    at: float  # when it happened, UTC s of the wall clock
    who: str = ""  # user@domain that it is about, where it names one
    resource: str = ""  # sid of the call, mostly
    text: str = ""  # what Twilio says of it

    @property
    def user(self) -> str:
        """The user part of who it is about."""
        return self.who.partition("@")[0]


def of_api(row: Mapping[str, Any]) -> Alert:
    """A row of /v1/Alerts; ValueError."""
    said = _text(row, "alert_text")
    fields = parse_qs(said, max_num_fields=50) if "=" in said else {}
    named = next((fields[k][0] for k in ("Msg", "msg") if fields.get(k)), said)
    when = _text(row, "date_generated") or _text(row, "date_created")
    sources = (row.get("request_url"), *_values(fields), row.get("more_info"))
    return Alert(
        _sid(row.get("sid")),
        _code(row.get("error_code")),
        _text(row, "log_level").lower(),
        _moment(when),
        _who(sources),
        plain(_text(row, "resource_sid"), SID_LIMIT),
        plain(named, TEXT_LIMIT),
    )


def of_webhook(form: Mapping[str, Any]) -> Alert:
    """What the debugger's webhook posts; ValueError."""
    payload = form.get("Payload")
    if isinstance(payload, str):
        payload = _json(payload)
    if not isinstance(payload, Mapping):
        raise ValueError("the payload of an alert is no JSON object")
    more = payload.get("more_info")
    if isinstance(more, str) and more.startswith("{"):
        more = _json(more)
    more = more if isinstance(more, Mapping) else {}
    named = next((more[k] for k in ("Msg", "msg", "message") if more.get(k)), "")
    request = _inner(payload, "webhook", "request")
    sources = (
        request.get("url"),
        _inner(request, "parameters").get("To"),
        *_values(more),
        *_values(_inner(request, "parameters")),
    )
    return Alert(
        _sid(form.get("Sid")),
        _code(payload.get("error_code")),
        _text(form, "Level").lower(),
        _moment(_text(form, "Timestamp")),
        _who(sources),
        plain(_text(payload, "resource_sid"), SID_LIMIT),
        plain(str(named), TEXT_LIMIT),
    )


def _json(text: str) -> Any:
    """JSON; some deliveries have passed through a program that escaped it as HTML."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(html.unescape(text))
    except (ValueError, RecursionError):
        raise ValueError("the payload of an alert is no JSON") from None


def _inner(value: Any, *path: str) -> Mapping[str, Any]:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _sid(value: Any) -> str:
    if not isinstance(value, str) or not _SID.fullmatch(value):
        raise ValueError("an alert has no sid")
    return value


def _code(value: Any) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise ValueError(f"{plain(text, 40)} is no error code")
    return int(text)


def _moment(written: str) -> float:
    """UTC s of ISO 8601; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{plain(written, 40)} is no time of an alert") from None


def _who(sources: tuple[Any, ...]) -> str:
    """user@domain of the first SIP URI, or the user of a client: URI."""
    for text in sources:
        if isinstance(text, str) and (found := _WHO.search(text[:4096])):
            user, host = found[1], found[2] or ""
            return plain(f"{user}@{host.lower()}" if host else user, WHO_LIMIT)
    return ""


def _values(value: Any, depth: int = DEPTH) -> Iterator[str]:
    """The texts within nested mappings and lists, as far as they are looked at."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for one in value.values():
            yield from _values(one, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for one in value:
            yield from _values(one, depth - 1)
