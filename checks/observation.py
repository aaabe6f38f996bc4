"""The words that travel upstairs: what a check saw, of what, since when, and why.

All times are UTC seconds as floats, read from the daemon's one clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec

EVIDENCE_LINES = 4  # what a tired reader takes in
MEMBER = "member"  # the role of one of several addresses of a registrar
TEXT_LIMIT = 300  # characters of one line that came from the network


class Kind(StrEnum):
    """What a subject is."""

    TARGET = "target"
    EXTENSION = "extension"
    REGISTRATION = "registration"
    ACCOUNT = "account"
    REGISTRAR = "registrar"
    SITE = "site"
    VANTAGE = "vantage"
    TWILIO = "twilio"
    SELF = "self"


class State(StrEnum):
    """The states of all kinds; each kind uses the few that are its own."""

    UP = "up"  # target
    DEGRADED = "degraded"
    DOWN = "down"
    REGISTERED = "registered"  # extension
    UNREACHABLE = "unreachable"
    UNREGISTERED = "unregistered"
    NEVER_REGISTERED = "never_registered"
    OK = "ok"  # registration, account, self
    REJECTED = "rejected"
    FAILING = "failing"
    READABLE = "readable"  # registrar
    UNREADABLE = "unreadable"


class Loss(StrEnum):
    """How the last binding of an extension ended."""

    EXPIRED = "expired"
    DEREGISTERED = "deregistered"
    CONNECTION_LOST = "connection_lost"
    UNKNOWN = "unknown"


class Event(StrEnum):
    """What happens to a registrar or to us at one moment, and is no state."""

    RESTARTED = "restarted"
    FAILED_OVER = "failed_over"
    CLOCK_JUMPED = "clock_jumped"
    AUDITED = "audited"  # who is outside the expiry policy is not who it was


class Cause(StrEnum):
    """Why, in stable names; a final response without a name is response_<code>, an
    error that Twilio reports twilio_<code>."""

    TIMEOUT = "timeout"
    ICMP_UNREACHABLE = "icmp_unreachable"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    DNS_NXDOMAIN = "dns_nxdomain"
    DNS_FAILURE = "dns_failure"
    TLS_VERIFY = "tls_verify"
    TLS_EXPIRED = "tls_expired"
    TLS_HANDSHAKE = "tls_handshake"
    WEBSOCKET_HANDSHAKE = "websocket_handshake"  # refused, or no WebSocket for SIP
    MALFORMED = "malformed"
    OVERLOADED = "overloaded"  # 503
    UNAUTHORIZED = "unauthorized"  # 401, 407; a refused log-in
    FORBIDDEN = "forbidden"  # 403; rights missing
    NOT_FOUND = "not_found"  # 404
    UNAVAILABLE = "unavailable"  # 480
    UNREGISTERED = "unregistered"  # 480 refined, from here on
    DO_NOT_DISTURB = "do_not_disturb"
    OUT_OF_HOURS = "out_of_hours"
    MAINTENANCE = "maintenance"
    STALE_BINDING = "stale_binding"
    UNREACHABLE_CONTACT = "unreachable_contact"
    EXPIRED = "expired"
    BUSY = "busy"
    FORWARDING_FAILED = "forwarding_failed"
    UNKNOWN = "unknown"  # nothing that is known explains it
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - REGISTER refined, from here on
    UNKNOWN_USER = "unknown_user"
    ADDRESS_DENIED = "address_denied"
    STALE_NONCE = "stale_nonce"
    UNKNOWN_DIGEST = "unknown_digest"
    INTERVAL_TOO_BRIEF = "interval_too_brief"  # 423
    REDIRECTED = "redirected"  # 3xx
    WRONG_NAME = "wrong_name"
    TRANSPORT_BLOCKED = "transport_blocked"
    IN_USE = "in_use"
    NOT_REMOVED = "not_removed"
    NO_LIST = "no_list"  # of a PBX that is up: a module is missing, or it loads

    @classmethod
    def _missing_(cls, value: object) -> Cause | None:
        if not (isinstance(value, str) and _RESPONSE.fullmatch(value)):
            return None
        member = str.__new__(cls, value)
        member._name_ = value.upper()
        member._value_ = value
        # The same object for the same code, so that `is` holds as for the others.
        found: Cause = cls._value2member_map_.setdefault(value, member)  # type: ignore[assignment]
        return found

    @classmethod
    def of_response(cls, code: int) -> Cause:
        """The cause that a final response stands for (RFC 3261 21)."""
        return _BY_CODE.get(code) or cls(f"response_{code}")

    @classmethod
    def of_twilio(cls, code: int) -> Cause:
        """The cause that an error code of Twilio's dictionary stands for."""
        return cls(f"twilio_{code}")


_RESPONSE = re.compile(r"response_[2-6]\d\d|twilio_\d{5}")
_BY_CODE = {
    401: Cause.UNAUTHORIZED,
    403: Cause.FORBIDDEN,
    404: Cause.NOT_FOUND,
    407: Cause.UNAUTHORIZED,
    480: Cause.UNAVAILABLE,
    503: Cause.OVERLOADED,
}


@dataclass(slots=True, eq=False)
class Scope:
    """What all subjects of one configuration entry share."""

    name: str
    role: str = ""  # of targets: trunk, pbx, phone
    labels: dict[str, str] = field(default_factory=dict)  # registrar, site, ...
    parent: Subject | None = None  # its state makes ours effectively unknown
    depends_on: tuple[Subject, ...] = ()  # so do these: its site, what is configured


# One for each phone: the collector, which would find no cycle, need not look at it.
class Subject(msgspec.Struct, eq=False, gc=False):
    """One thing that is watched; made once, compared by identity."""

    kind: Kind
    name: str
    scope: Scope
    title: str = ""  # a human's name for it ("Reception"), from the PBX or a file
    required: bool = False  # its loss is critical
    logout_ok: bool = False  # it may de-register: that is no problem
    paused: Cause | None = None  # by the PBX's word: in maintenance, do not disturb

    @property
    def key(self) -> str:
        """Its stable name in store, API and links: extension:hq/1001@example.com.

        Only what is alone in its scope has the short form: an AOR, a registration or
        a member may bear the name of its registrar.
        """
        several = self.kind in (Kind.EXTENSION, Kind.REGISTRATION)
        alone = not several and self.scope.role != MEMBER
        if alone and self.name == self.scope.name:
            return f"{self.kind}:{self.name}"
        return f"{self.kind}:{self.scope.name}/{self.name}"

    @property
    def parent(self) -> Subject | None:
        """The subject through which this one is seen, if any."""
        return self.scope.parent


@dataclass(slots=True, unsafe_hash=True)  # hashable, so that NONE can be a default
class Figures:
    """What a check counted; rules read it, so that they need no memory."""

    failures: int = 0  # in a row
    successes: int = 0  # in a row
    outcomes: int = 0  # the last 32 probes as bits, newest lowest, 1 = failed
    resent: int = 0  # the last 32 probes as bits, 1 = needed a retransmission
    probes: int = 0  # how many of those bits are real, at most 32
    rtt: float | None = None  # s, of the last answer
    rtt_mean: float | None = None  # s, exponentially weighted
    days: float | None = None  # until the certificate ends; below 0 after
    expires: int | None = None  # s granted; of a lost extension: at least
    expected: int | None = None  # registrar: extensions that should be there
    present: int | None = None  # registrar: extensions that are
    due_by: float | None = None  # registrar: end of the grace after a restart
    options_failed: bool = False  # registrar: OPTIONS to it fails too
    answered: bool = True  # target: has it ever answered
    silent: int | None = None  # registrar: contacts that fell silent together, for us
    contacts: int | None = None  # extension: that it has, where a number is `wanted`
    wanted: int = 0  # extension: contacts that it should have
    days_at: str = ""  # ip:port whose certificate ends first, where others' do not
    breach: str | None = None  # of `expiry`, in words; "": none, None: not known
    refresh_point: float | None = None  # the usual one, as a share of Expires
    refresh_late_by: float | None = None  # s; 0: it is in time, None: not known
    refresh_left: float | None = None  # s until its registration ends, if it is late
    lost: int | None = None  # registrar, site: extensions lost together, still missing
    changes: int | None = None  # of state within the window of the rule on flapping
    unavailable: float | None = None  # share of real calls answered 480, once it rises


NONE = Figures()


class Fact(NamedTuple):
    """One line of evidence; the time is rendered in the reader's zone."""

    at: float | None
    text: str


@dataclass(slots=True)
class Observation:
    """What a check says of a subject. The state holds `since` (UTC s); seen `at`."""

    subject: Subject
    state: State
    since: float
    at: float
    cause: Cause | None = None
    loss: Loss | None = None
    event: Event | None = None
    not_before: float = 0.0  # `for` counts from here at the earliest (restart grace)
    figures: Figures = NONE
    detail: str = ""  # why, in one sentence
    last_seen: str = ""  # where: "10.20.0.31:5060 over UDP, Yealink SIP-T46U"
    evidence: tuple[Fact, ...] = ()  # at most EVIDENCE_LINES
    next_step: str = ""  # what to do, where the check knows it better than its cause


# Thousands in one list: the collector, which would find no cycle, need not look.
class Binding(msgspec.Struct, gc=False):
    """One contact that a registrar holds for an AOR (RFC 3261 10)."""

    aor: str  # canonical: user@domain, or user where the registrar has a domain
    contact: str  # the Contact URI as the registrar gives it
    expires_at: float | None = None  # UTC s on the registrar's clock
    granted: int | None = None  # s
    reachable: bool | None = None  # the registrar's own qualify; None: not asked
    user_agent: str = ""
    received: str = ""  # ip:port that the registrar saw
    rtt: float | None = None  # s, of the registrar's qualify
    asked: bool = False  # the registrar asks it itself, though it may not have yet
    path: str = ""  # proxies on the way to it (RFC 3327), as the registrar gives them


class Place(NamedTuple):
    """One contact of an extension as its history has it: where it is, and what."""

    uri: str
    address: str  # 10.20.0.31:5060, as the PBX saw it
    user_agent: str


def plain(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text from the network made harmless for a line: printable, bounded."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
