"""What an account is: where it registers, as whom, how often and how far we may go."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal

from checks.accounts.twilio import is_twilio
from checks.observation import TEXT_LIMIT
from checks.settings import Duration, Parsed, Secret, written_duration
from checks.sip.uri import NameAddr, SipUri

SPOKEN = (None, "udp", "tcp", "tls", "ws", "wss")
TWILIO_FLOOR = 600.0  # s; the refresh that Twilio's registrar documents as its fastest
FLOOR = 10.0  # s between two tests anywhere: it is a test, not a load
SHORTEST, LONGEST = 30.0, 3600.0  # s of `expires`: what a crash leaves behind ends soon
TIMEOUT = 10.0

QUERY: Literal["query"] = "query"
BIND: Literal["bind"] = "bind"


def sip_uri(written: Any, what: str = "registrar") -> str:
    """A SIP URI, its scheme left out or not; ValueError with a sentence."""
    text = str(written).strip()
    head, colon, rest = text.partition(":")
    if rest.startswith("//") or head.lower() in ("http", "https", "ws", "wss"):
        host = rest.lstrip("/").partition("/")[0]
        raise ValueError(f"{text} is no SIP URI (write sip:{host})")
    if not colon or head.lower() not in ("sip", "sips"):
        text = f"sip:{text}"
    elif rest.lower().startswith(("sip:", "sips:")):
        raise ValueError(f"{text}: the scheme stands there twice (write {rest})")
    if len(text) > TEXT_LIMIT:
        raise ValueError(f"{text[:40]}... is longer than {TEXT_LIMIT} characters")
    uri = SipUri.parse(text)
    if uri.transport not in SPOKEN:
        raise ValueError(f"transport {uri.transport} is not spoken here")
    if what == "registrar" and uri.user is not None:
        if uri.password:
            text = str(replace(uri, password="***"))  # noqa: S106 - hides one
        raise ValueError(
            f"{text}: the user does not belong there (write username: {uri.user}, "
            f"and registrar: {SipUri(uri.host, None, uri.port, uri.params, uri.scheme)}"
            ")"
        )
    return text


def aor_uri(written: Any) -> str:
    """`1001@example.com` or a SIP URI with a user, as user@domain."""
    text = str(written).strip()
    uri = SipUri.parse(text if text[:5].lower().startswith("sip") else f"sip:{text}")
    if not uri.user:
        raise ValueError(f"{text} is no address of record (write 1001@example.com)")
    return f"{uri.user}@{uri.host}"


def host_name(written: Any) -> str:
    """The domain of an AOR: no scheme, no user, no port."""
    text = str(written).strip()
    try:
        bare = SipUri.parse(f"sip:{text}")
    except ValueError:
        bare = None
    if bare is None or bare != SipUri(bare.host):
        raise ValueError(f"{text} is not a domain (write example.com)")
    return text


def from_header(written: Any) -> str:
    """A From without its tag, as a header field has it."""
    found = NameAddr.parse(str(written))
    SipUri.parse(found.uri)
    if found.tag is not None:
        raise ValueError(f"{written!s}: the tag of From is ours to choose")
    return str(found)


def ip_address(written: Any) -> str:
    """An address of this machine, as text."""
    try:
        return str(ipaddress.ip_address(str(written)))
    except ValueError:
        raise ValueError(f"{written} is not an IP address") from None


_STRING = (("type", "string"),)
RegistrarUri = Annotated[str, Parsed(sip_uri, _STRING)]
ProxyUri = Annotated[str, Parsed(partial(sip_uri, what="proxy"), _STRING)]
Aor = Annotated[str, Parsed(aor_uri, _STRING)]
Domain = Annotated[str, Parsed(host_name, _STRING)]
FromHeader = Annotated[str, Parsed(from_header, _STRING)]
SourceIp = Annotated[str, Parsed(ip_address, _STRING)]


@dataclass(frozen=True, kw_only=True)
class AccountSettings:
    """One account that is registered as a phone would register it."""

    registrar: RegistrarUri
    "Where it registers: sip:example.com, sip:10.0.0.5:5060;transport=tcp."

    username: str
    "The user part of its address of record."

    password: Secret
    "Of the digest."

    auth_username: str = ""
    "The user name of the digest, where it is not `username`."

    aor: Aor | None = None
    "Its address of record; default: username@domain."

    domain: Domain | None = None
    "The domain of the address of record; default: the registrar's host."

    interval: Duration = 600.0
    "Time between two tests."

    mode: Literal["query", "bind"] = "query"
    "query: ask for the bindings, which changes nothing. bind: register a test contact."

    dedicated: bool = False
    "No phone uses this account: bind may register a contact of its own for a moment."

    expires: Duration = 60.0
    "What bind asks for; a crash leaves its contact behind for no longer."

    timeout: Duration = TIMEOUT
    "For each request, retransmissions and the digest included."

    outbound_proxy: ProxyUri | None = None
    "Where requests are sent instead of the registrar's own address."

    from_: FromHeader | None = field(default=None, metadata={"alias": "from"})
    "The From of our requests; default: the address of record."

    user_agent: str = ""
    "The User-Agent of our requests; empty: sipwatch and its version."

    source: SourceIp | None = None
    "Our address to ask from; default: as the routes say."

    ca: str | None = None
    "A file of certificates to trust instead of the system's."

    site: str = ""
    "The site it belongs to."

    depends_on: tuple[str, ...] = ()
    "Targets, registrars, sites that it is seen through."

    def __post_init__(self) -> None:
        for text in (self.username, self.auth_username, self.user_agent):
            if not text.isprintable():
                raise ValueError(f"{text!r} cannot stand in a header field")
        if not self.username:
            raise ValueError("username is empty")
        user, at, domain = self.username.partition("@")
        if at and self.aor is None:
            raise ValueError(
                f"username {self.username} has a domain (write username: {user}, and "
                f"domain: {domain}; what the digest wants is auth_username)"
            )
        if self.timeout <= 0:
            raise ValueError("timeout must be more than 0s")
        self._check_mode()
        floor = self.floor
        if self.interval < floor:
            raise ValueError(
                f"interval {written_duration(self.interval)} is shorter than "
                f"{written_duration(floor)}, what {self.uri.host} may be asked"
            )

    def _check_mode(self) -> None:
        if self.mode == BIND and not self.dedicated:
            raise ValueError(
                "mode bind registers a contact, which may throw a phone out: write "
                "dedicated: true if no phone uses this account, else mode: query"
            )
        if not SHORTEST <= self.expires <= LONGEST:
            least, most = written_duration(SHORTEST), written_duration(LONGEST)
            raise ValueError(f"expires must be {least} to {most}")

    @property
    def uri(self) -> SipUri:
        """The registrar."""
        return SipUri.parse(self.registrar)

    @property
    def next_hop(self) -> SipUri:
        """Whom requests are sent to."""
        return SipUri.parse(self.outbound_proxy or self.registrar)

    @property
    def identity(self) -> SipUri:
        """The address of record."""
        if self.aor is not None:
            user, _, host = self.aor.rpartition("@")
            return SipUri(host, user)
        return SipUri(self.domain or self.uri.host, self.username)

    @property
    def floor(self) -> float:
        """s that must lie between two tests."""
        hosts = (self.uri.host, self.next_hop.host)
        return TWILIO_FLOOR if any(map(is_twilio, hosts)) else FLOOR
