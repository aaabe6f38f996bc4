"""`twilio:` of the configuration: whose alerts are read, and which of them count."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from checks.settings import Duration, Parsed, Secret
from checks.twilio.library import library

# Faults that are told at once: whoever calls is hit until somebody corrects them.
AT_ONCE = (
    *(31201, 31203, 32002, 32010, 32011, 32014),
    *(32201, 32202, 32210, 32212, 32222),
)
PER_CALL = (31480, 32009)  # one for each call that fails: a single one is everyday
DAY = 86400.0
LEAST_INTERVAL = 15.0  # s; the API counts requests of all of the account's programs
LONGEST_URL = 500  # characters
_ACCOUNT = re.compile(r"AC[0-9a-f]{32}")
_KEY = re.compile(r"SK[0-9a-f]{32}")

Level = Literal["error", "warning", "notice", "debug"]


def base_url(written: Any) -> str:
    """`https://...` where the API is; plain HTTP to this machine alone."""
    text = str(written).rstrip("/")
    found = re.fullmatch(r"(https?)://([^/@\s]+?)(:\d{1,5})?", text)
    if not found or len(text) > LONGEST_URL:
        raise ValueError(f"{text[:80]} is no address (write https://proxy.example.com)")
    if found[1] == "http" and not _is_here(found[2]):
        raise ValueError(f"{text[:80]}: credentials go over https only")
    return text


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def address(written: Any) -> str:
    """An IP address, as text."""
    try:
        return str(ipaddress.ip_address(str(written)))
    except ValueError:
        raise ValueError(f"{str(written)[:80]} is not an IP address") from None


BaseUrl = Annotated[str, Parsed(base_url, (("type", "string"), ("format", "uri")))]
Address = Annotated[str, Parsed(address, (("type", "string"),))]


def needed(key: str) -> None:
    """ValueError where a key needs Twilio's library, and it is not installed."""
    try:
        library("request_validator")
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioSettings:
    """Alerts of one account of Twilio, read and received."""

    account_sid: str  # AC..., as the Console shows it
    auth_token: Secret | None = None  # signs webhooks; reads, where there is no api_key
    api_key: str = ""  # SK..., to read with instead of the auth token
    api_secret: Secret | None = None  # of api_key
    interval: Duration = 60.0  # between two looks at the alerts
    overlap: Duration = 3600.0  # an alert may come so much later than what it is about
    webhook: bool = False  # take the debugger's webhook on web.public as well
    levels: tuple[Level, ...] = ("error", "warning")  # that count
    at_once: tuple[int, ...] = AT_ONCE  # codes that are told at once
    per_call: tuple[int, ...] = PER_CALL  # codes that one failed call brings
    calls: int = 3  # failed calls of one user that are told
    window: Duration = 600.0  # in which so many are
    calm: Duration = 3600.0  # without another alert, after which it is over
    domains: tuple[str, ...] = ()  # SIP Domains that check-config --online looks at
    address: Address | None = None  # from which Twilio sees our SIP come
    base_url: BaseUrl | None = None  # instead of https://*.twilio.com: a proxy

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.account_sid):
            raise ValueError("account_sid: is AC and 32 hexadecimal digits")
        if self.api_key and not _KEY.fullmatch(self.api_key):
            raise ValueError("api_key: is SK and 32 hexadecimal digits")
        if bool(self.api_key) != (self.api_secret is not None):
            raise ValueError("api_key and api_secret go together")
        if self.auth_token is None and not self.api_key:
            raise ValueError("auth_token is missing (or api_key and api_secret)")
        if self.webhook and self.auth_token is None:
            raise ValueError("webhook: its signature is checked with auth_token")
        if self.webhook:
            needed("webhook")
        self._check_times()
        for key in ("at_once", "per_call"):
            wrong = [c for c in getattr(self, key) if not 10_000 <= c <= 99_999]
            if wrong:
                raise ValueError(f"{key}: {wrong[0]} is no error code (five digits)")

    def _check_times(self) -> None:
        # What stands in for Twilio may be asked more often.
        least = 1.0 if self.base_url else LEAST_INTERVAL
        if self.interval < least:
            raise ValueError(f"interval: is at least {least:g}s")
        if not 60 <= self.overlap <= DAY:
            raise ValueError("overlap: is between 1m and 1d")
        if not 60 <= self.window <= DAY or not 60 <= self.calm <= DAY:
            raise ValueError("window and calm: are between 1m and 1d")
        if not 1 <= self.calls <= 50:
            raise ValueError(f"calls: {self.calls} is not between 1 and 50")

    @property
    def login(self) -> tuple[str, str]:
        """User and password of the API."""
        if self.api_secret is not None:
            return self.api_key, self.api_secret.reveal()
        assert self.auth_token is not None  # noqa: S101  # one of both, by its checks
        return self.account_sid, self.auth_token.reveal()
