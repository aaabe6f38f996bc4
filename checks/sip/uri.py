"""SIP and SIPS URIs (RFC 3261 19.1), and the name-addr around them (20.10)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from checks.sip.params import NO_PARAMS, Params, quoted, unquoted

# Characters that stand unescaped in each part, besides letters and digits.
_UNRESERVED = "-_.!~*'()"
_USER = _UNRESERVED + "&=+$,;?/"
_PASSWORD = _UNRESERVED + "&=+$,"
_PARAM = _UNRESERVED + "[]/:&+$"
_HEADER = _UNRESERVED + "[]/?:+$"

_URI = re.compile(
    r"""(?P<scheme>sips?):
    (?:(?P<user>[^@:\s<>"]*)(?::(?P<password>[^@\s<>"]*))?@)?
    (?:\[(?P<ipv6>[^\]\s]*)\]|(?P<host>[A-Za-z0-9._-]+))
    (?::(?P<port>\d{1,5}))?
    (?P<params>(?:;[^?\s<>"]*)?)
    (?:\?(?P<headers>[^\s<>"]*))?""",
    re.IGNORECASE | re.VERBOSE,
)
_NAME_ADDR = re.compile(
    r'(?:(?P<quoted>"(?:[^"\\]|\\.)*")\s*|(?P<display>[^"<]*))'
    r"<(?P<uri>[^>]*)>\s*(?P<params>;.*)?",
    re.DOTALL,
)
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ ]*")

SPOKEN = ("udp", "tcp", "tls", "ws", "wss")  # what `transport` may ask for here
# Asterisk has its WebSocket there and nowhere else, and the others take any path.
WEB_PATH = "/ws"
_WEB_PATH = "/?" + _USER + ":@[]"  # RFC 3986 3.3 and 3.4; no blank, no line end


@dataclass(frozen=True, slots=True)
class SipUri:
    """`sip:user:password@host:port;params?headers`; every part is held unescaped."""

    host: str
    "A name, an IPv4 address, or an IPv6 address without its brackets."

    user: str | None = None
    "User part; None where there is no `@`."

    port: int | None = None
    "As written; None leaves it to RFC 3263."

    params: Params = NO_PARAMS
    "URI parameters: transport, user, lr, maddr, ..."

    scheme: str = "sip"
    "sip or sips, in small letters."

    password: str | None = None
    "Seen in the wild, deprecated by the RFC."

    headers: Params = NO_PARAMS
    "What follows the question mark."

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Read a URI; ValueError with a sentence that names it."""
        found = _URI.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a SIP URI")
        scheme, user, password, ipv6, host, port, params, headers = found.groups()
        if ipv6 is not None:
            host = _checked_ipv6(ipv6)
        number = int(port) if port else None
        if number is not None and not 0 < number < 65536:
            raise ValueError(f"{text!r} has no such port: {number}")
        return cls(
            host=host,
            user=_unescaped(user) if user is not None else None,
            port=number,
            params=_parsed(params[1:], ";", None),
            scheme=scheme.lower(),
            password=_unescaped(password) if password is not None else None,
            headers=_parsed(headers or "", "&", ""),  # RFC 3261 25.1: no flags
        )

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.user is not None:
            text += _escaped(self.user, _USER)
            if self.password is not None:
                text += ":" + _escaped(self.password, _PASSWORD)
            text += "@"
        text += self.host_port
        for name, value in self.params.written:
            text += ";" + _pair(name, value, _PARAM)
        if self.headers:
            pairs = (_pair(n, v or "", _HEADER) for n, v in self.headers.written)
            text += "?" + "&".join(pairs)
        return text

    @property
    def host_port(self) -> str:
        """`host:port` as it stands in a URI or a Via, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def aor(self) -> str:
        """user@host, the host in small letters; the host alone without a user."""
        host = self.host.lower()
        return host if self.user is None else f"{self.user}@{host}"

    @property
    def transport(self) -> str | None:
        """udp, tcp, tls, ... as asked for by the URI; None leaves it to RFC 3263."""
        named = (self.params.get("transport") or "").lower()
        if self.scheme == "sips":
            # RFC 3261 26.2.2: sips over TCP is TLS. RFC 7118 5.2: so for WebSocket.
            named = {"": "tls", "tcp": "tls", "ws": "wss"}.get(named, named)
        return named or None

    @property
    def path(self) -> str:
        """What a WebSocket server is asked for: `;path=/ws`, a parameter of ours.

        No RFC has a place for it in a SIP URI. It is never sent as a part of one.
        """
        written = self.params.get("path") or WEB_PATH
        return "/" + quote(written.lstrip("/"), safe=_WEB_PATH, errors="replace")


@dataclass(frozen=True, slots=True)
class NameAddr:
    """`"Display" <uri>;params`, as in From, To, Contact and Route."""

    uri: str
    "As written; a From may be a tel: URI."

    display: str = ""
    "The display name, without its quotes."

    params: Params = NO_PARAMS
    "Header parameters: tag, expires, q, ..."

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read one address; ValueError where there is none."""
        text = text.strip()
        if found := _NAME_ADDR.fullmatch(text):
            in_quotes, display, uri, params = found.groups()
            name = unquoted(in_quotes) if in_quotes else display.strip()
            return cls(uri, name, Params.parse(params[1:] if params else ""))
        # RFC 3261 20: without brackets, what follows the semicolon is the header's.
        uri, _, params = text.partition(";")
        uri = uri.rstrip()
        if not uri or '"' in uri or "<" in uri:
            raise ValueError(f"{text!r} is not an address")
        return cls(uri, "", Params.parse(params))

    def __str__(self) -> str:
        name = self.display
        if name:
            name = f"{name if _TOKEN.fullmatch(name) else quoted(name)} "
        return f"{name}<{self.uri}>{self.params}"

    @property
    def sip(self) -> SipUri:
        """The URI read as a SIP URI; ValueError where it is another's."""
        return SipUri.parse(self.uri)

    @property
    def tag(self) -> str | None:
        """The tag of a From or To."""
        return self.params.get("tag")


def _checked_ipv6(text: str) -> str:
    address = ipaddress.IPv6Address(text)  # AddressValueError is a ValueError
    return str(address)


def _unescaped(text: str) -> str:
    return unquote(text, errors="surrogateescape") if "%" in text else text


def _escaped(text: str, safe: str) -> str:
    return quote(text, safe=safe, errors="surrogateescape")


def _parsed(text: str, separator: str, missing: str | None) -> Params:
    if not text:
        return NO_PARAMS
    items: list[tuple[str, str | None]] = []
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        if name:  # a semicolon too many is common and harmless
            items.append((_unescaped(name), _unescaped(value) if equals else missing))
    return Params(items)


def _pair(name: str, value: str | None, safe: str) -> str:
    if value is None:
        return _escaped(name, safe)
    return f"{_escaped(name, safe)}={_escaped(value, safe)}"
