"""A POST to any address: the whole notification as JSON, or a body of one's own.

Each request carries the batch's id, so that a receiver knows a repeated one, and with
a `secret` the signature of the Standard Webhooks specification: HMAC-SHA256 over id,
time and body. A receiver that refuses old times and known ids cannot be replayed to.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import Template

from alerting.incident import Notification, Severity, Told
from alerting.notification.shape import change, document
from alerting.notifiers.http import HttpSettings, Poster, is_private, url_of
from checks.settings import Secret

SECRET_LEAST = 16  # characters: one that is guessed signs anything
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110 5.6.2
_VALUE = re.compile(r"[\x20-\x7e]{0,4000}")
OURS = ("content-length", "content-type", "host", "transfer-encoding")
_PREFIX = "whsec_"  # what base64 secrets of the specification begin with


def key_of(secret: Secret) -> bytes:
    """The key that a secret stands for; ValueError does not repeat it."""
    text = secret.reveal()
    if not text.startswith(_PREFIX):
        return text.encode("utf-8")
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"secret: what follows {_PREFIX} is not base64") from None


def signature(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature."""
    signed = f"{id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


_COLORS = {"critical": "#d32f2f", "warning": "#f9a825", "info": "#1976d2"}
_RESOLVED = "#2e7d32"


def _severity(n: Notification) -> str:
    return n.labels.get("severity", str(Severity.INFO))


def _level(n: Notification) -> str:
    return str(Severity[_severity(n).upper()].value)


def _color(n: Notification) -> str:
    return _RESOLVED if n.change is Told.RESOLVED else _COLORS[_severity(n)]


# What a template may name, beside the labels that a notification has by itself.
FIELDS: dict[str, Callable[[Notification], str]] = {
    "subject": lambda n: n.subject,
    "text": lambda n: n.text,
    "change": change,  # firing, worse, resolved, test
    "severity": _severity,
    "level": _level,  # 1 info, 2 warning, 3 critical
    "color": _color,  # "#d32f2f"; green once it is over
    "rule": lambda n: n.labels.get("rule", ""),
    "registrar": lambda n: n.labels.get("registrar", ""),
    "count": lambda n: str(len(n.incidents)),
    "id": lambda n: n.id,
    "thread": lambda n: n.thread,
    "instance": lambda n: n.instance,
    "page": lambda n: n.page,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(HttpSettings):
    """`type: webhook`: where to, in which form."""

    url: Secret  # it often holds a token, so it is never printed
    headers: Mapping[str, Secret] = field(default_factory=dict)  # beside our own
    template: str = ""  # the body, with $subject and its kind; default: our JSON
    content_type: str = "application/json"  # of the body
    secret: Secret | None = None  # signs each request, as Standard Webhooks says

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        url = url_of(self.url, "url", "https://chat.example.com/hooks/1")
        for name, value in self.headers.items():
            _check_header(name, value, is_private(url))
        if not _VALUE.fullmatch(self.content_type) or "/" not in self.content_type:
            raise ValueError("content_type: is no media type (write text/plain)")
        if self.secret is not None and len(key_of(self.secret)) < SECRET_LEAST:
            raise ValueError(f"secret: is shorter than {SECRET_LEAST} bytes")
        if self.template:
            _check_template(self)

    @property
    def is_json(self) -> bool:
        """Whether values are escaped as JSON strings want it."""
        media = self.content_type.partition(";")[0].strip().lower()
        return media == "application/json" or media.endswith("+json")


def _check_header(name: str, value: Secret, private: bool) -> None:
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value.reveal()):
        raise ValueError(f"headers.{name}: is no header field of printable ASCII")
    if name.lower() in OURS:
        raise ValueError(f"headers.{name}: is set by sipwatch (see content_type)")
    if name.lower() == "authorization" and not private:
        raise ValueError(
            f"headers.{name}: would be sent in clear text (write an https URL)"
        )


def _check_template(settings: WebhookSettings) -> None:
    template = Template(settings.template)
    if not template.is_valid():
        raise ValueError("template: a lone $ (write $$ for the sign itself)")
    for name in template.get_identifiers():
        if name not in FIELDS:
            close = get_close_matches(name[:100], FIELDS, n=1)
            hint = f"did you mean {close[0]}?" if close else ", ".join(FIELDS)
            raise ValueError(f"template: ${name} is no field ({hint})")
    if settings.is_json:
        try:
            json.loads(template.substitute(dict.fromkeys(FIELDS, "1")))
        except ValueError as error:
            raise ValueError(f"template: is not JSON: {error}") from None


def filled(settings: WebhookSettings, n: Notification) -> bytes:
    """The body by the template."""
    values = {name: field(n) for name, field in FIELDS.items()}
    if settings.is_json:
        values = {k: json.dumps(v, ensure_ascii=False)[1:-1] for k, v in values.items()}
    text = Template(settings.template).substitute(values)
    return text.encode("utf-8", "replace")


class Webhook:
    """Posts notifications; 2xx is accepted, 4xx is refused for good."""

    def __init__(
        self, settings: WebhookSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._clock = clock  # wall time, for the signature
        self._url = url_of(settings.url, "url", "")
        self._key = key_of(settings.secret) if settings.secret else None
        hidden = [settings.url, *settings.headers.values()]
        self._poster = Poster(settings, [*hidden, *filter(None, [settings.secret])])

    async def send(self, notification: Notification) -> None:
        """Returns when the receiver has accepted it; raises DeliveryError."""
        now = self._clock()
        if self._settings.template:
            body = filled(self._settings, notification)
        else:
            body = await document(notification, now)
        id, stamp = notification.id, int(now)
        headers = {
            **{name: value.reveal() for name, value in self._settings.headers.items()},
            "Content-Type": self._settings.content_type,
            "Idempotency-Key": id,
            "webhook-id": id,
            "webhook-timestamp": str(stamp),
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, id, stamp, body)
        await self._poster.post(self._url, body, headers)
