"""Whom to ask with OPTIONS: the settings of a target, and files of targets."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from checks.observation import Kind, Scope, Subject
from checks.settings import Duration, Parsed, written_duration

TWILIO_DOMAIN = ".twilio.com"
TWILIO_FLOOR = 15.0  # s; Twilio bans who asks an address more often than that
FILE_LIMIT = 200_000  # lines of one file: twice what one process is meant to carry
LINE_LIMIT = 512  # characters; a SIP URI that one writes by hand is far shorter

_CODE = re.compile(r"([2-6])(xx|\d\d)", re.IGNORECASE)
_IPV4 = re.compile(r"(?:sip:)?((?:\d{1,3}\.){3}\d{1,3})(?::(\d{1,5}))?")

# A target lives if it answers at all. 403 refuses us, 408 and 480 speak for a phone
# that is away, 5xx and 6xx are trouble; but 501 merely does not know OPTIONS.
DEFAULT_HEALTHY = frozenset(range(200, 500)) - {403, 408, 480} | {501}


def healthy_codes(written: Any) -> frozenset[int]:
    """The codes of [2xx, 401, 404]; ValueError with a sentence."""
    if isinstance(written, frozenset):
        return written
    if not isinstance(written, list | tuple) or not written:
        raise ValueError(f"{written!r} is not a list of codes (write [2xx, 401])")
    codes: set[int] = set()
    for entry in written:
        found = None if isinstance(entry, bool) else _CODE.fullmatch(str(entry))
        if found is None:
            raise ValueError(f"{entry!r} is not a final response (write 2xx or 404)")
        first, rest = int(found[1]) * 100, found[2].lower()
        codes.update(range(first, first + 100) if rest == "xx" else [first + int(rest)])
    return frozenset(codes)


HealthyCodes = Annotated[
    frozenset[int],
    Parsed(
        healthy_codes,
        (
            ("type", "array"),
            ("minItems", 1),
            (
                "items",
                {
                    "anyOf": [
                        {"type": "integer", "minimum": 200, "maximum": 699},
                        {"type": "string", "pattern": r"^[2-6]([xX]{2}|\d\d)$"},
                    ]
                },
            ),
        ),
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTls:
    """How a target's certificate is checked."""

    ca: str = ""
    "A file of certificates to trust instead of the system's."

    verify: bool = True
    "False takes any certificate; its days are watched all the same."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """How to ask: the keys that targets and files of targets share."""

    interval: Duration = 60.0
    "Time between two questions to one address."

    timeout: Duration = 5.0
    "How long a final answer may take, retransmissions included."

    confirm: Duration = 15.0
    "Time between two questions after a failure, until it is settled."

    healthy_codes: HealthyCodes = DEFAULT_HEALTHY
    "The final answers that mean up."

    from_: str = field(default="", metadata={"alias": "from"})
    "The From of our requests, a URI or `Name <uri>`; empty: sip:sipwatch@our-address."

    user_agent: str = ""
    "The User-Agent of our requests; empty: sipwatch and its version."

    source: str = ""
    "The local IP address to ask from; empty leaves it to the routes."

    verdict: Literal["any", "all"] = "any"
    "Of several addresses: how many must be up for the target to be up."

    strict_source: bool = False
    "True refuses an answer from another address than the one asked."

    min_interval: Duration = 0.0
    "The least time between two questions to one IP address, whoever shares it."

    site: str = ""
    "The site it belongs to: what it is seen through."

    tls: TargetTls = TargetTls()
    "How its certificate is checked."

    def __post_init__(self) -> None:
        for name in ("interval", "timeout", "confirm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0s")
        if self.timeout >= self.interval:
            raise ValueError(
                f"timeout {written_duration(self.timeout)} must be shorter than"
                f" interval {written_duration(self.interval)}"
            )
        _check_floor(self.interval, self.min_interval, "min_interval")
        if self.source:
            address_family(self.source)
        for text in (self.from_, self.user_agent):
            if not text.isprintable():
                raise ValueError(f"{text!r} cannot stand in a header field")
        if self.from_:
            from_header(self.from_)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings(ProbeSettings):
    """One target: a SIP URI that is asked with OPTIONS."""

    uri: str
    "sip:host, sips:host, sip:user@host:port;transport=tcp, or host:port."

    role: Literal["trunk", "pbx", "phone"] = "trunk"
    "What it is: sets severities and the amount of metrics."

    depends_on: tuple[str, ...] = ()
    "Targets, registrars, sites that it is seen through."

    history: bool | None = None
    "Whether RTT and loss are kept for charts; default: those of trunks and PBXs are."

    def __post_init__(self) -> None:
        # The zero-argument super() is lost where slots make the class anew.
        ProbeSettings.__post_init__(self)
        check_uri(self.uri)
        if floor_of(self.uri, 0.0):
            _check_floor(self.interval, TWILIO_FLOOR, "what Twilio bans")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFileSettings(ProbeSettings):
    """A file with one SIP URI or host:port a line; `#` begins a comment."""

    file: str
    "Its path; a relative one is taken from the folder of the configuration."

    role: Literal["trunk", "pbx", "phone"] = "phone"
    "What its lines are."

    history: bool = False
    "Whether RTT and loss of each line are kept for charts."

    def __post_init__(self) -> None:
        ProbeSettings.__post_init__(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSettings(ProbeSettings):
    """How what a judge wants asked is asked."""

    role: Literal["contact", "server"] = "contact"
    "What it is: a registered contact, or a server at which a PBX registers."

    routed: bool = False
    "Whether it is asked through a proxy, which may answer in its place."

    asker: str = ""
    "For whom: what is heard is kept apart."

    def __post_init__(self) -> None:
        ProbeSettings.__post_init__(self)


Settings = TargetSettings | TargetFileSettings | AskSettings


@dataclass(slots=True, eq=False)
class Target:
    """One subject to ask, and how. Short-lived: the check keeps rows instead."""

    subject: Subject
    uri: str  # as written: a SIP URI or host:port
    settings: TargetSettings | TargetFileSettings


def configured(
    targets: Mapping[str, TargetSettings],
    files: Sequence[TargetFileSettings] = (),
    parent: Callable[[str], Subject | None] = lambda site: None,
    folder: Path | None = None,
    near: Callable[[str], str] = lambda host: "",
) -> Iterator[Target]:
    """The targets of a configuration; `parent` finds a site's subject by its name,
    `near` the site that an IP address is in: of a target that is written without one.

    Raises ValueError ("phones.txt:3: ...") and OSError for a file that is wrong.
    """
    for name, settings in targets.items():
        site = settings.site or near(host_of(settings.uri))
        scope = _scope(name, settings, parent, site)
        yield Target(Subject(Kind.TARGET, name, scope), settings.uri, settings)
    for number, listed in enumerate(files):
        check_distinct(listed, files[:number])
        path = (folder or Path()) / listed.file
        scopes: dict[str, Scope] = {}  # by site
        for line in read_file(path):
            _check_line_floor(path, line, listed)
            site = listed.site or near(host_of(line))
            if site not in scopes:
                scopes[site] = _scope(path.name, listed, parent, site)
            yield Target(Subject(Kind.TARGET, line, scopes[site]), line, listed)


def check_distinct(
    listed: TargetFileSettings, before: Iterable[TargetFileSettings]
) -> None:
    """ValueError for a second file of one name: that is what tells lines apart."""
    for other in before:
        if Path(other.file).name == Path(listed.file).name:
            raise ValueError(
                f"{listed.file}: {other.file} is a file of the same name, which tells"
                " their targets apart: rename one, or list it once"
            )


def read_file(path: Path) -> Iterator[str]:
    """The lines of a file of targets, each once; ValueError names the line."""
    seen: set[str] = set()
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if not text or text in seen:
                continue
            if len(seen) >= FILE_LIMIT:
                raise ValueError(f"{path.name}: more than {FILE_LIMIT} targets")
            try:
                check_uri(text)
            except ValueError as error:
                raise ValueError(f"{path.name}:{number}: {error}") from None
            seen.add(text)
            yield text


def ipv4(text: str) -> tuple[str, int] | None:
    """Host and port of `[sip:]1.2.3.4[:5060]`, the one form that lists are full of."""
    found = _IPV4.fullmatch(text)
    if found is None:
        return None
    port = _port(found[2])
    try:
        socket.inet_pton(socket.AF_INET, found[1])
    except OSError:
        return None
    return (found[1], port) if 0 < port < 65536 else None


@cache
def _port(digits: str | None) -> int:
    # The same number is the same object: 100,000 addresses share a few ports.
    return int(digits or 5060)


def full_uri(text: str) -> str:
    """A SIP URI from what was written: `host:port` gets its scheme."""
    return (
        text
        if text[:4].lower() == "sip:" or text[:5].lower() == "sips:"
        else (f"sip:{text}")
    )


def host_of(text: str) -> str:
    """The host of what was written: a name or an IP address."""
    if (found := ipv4(text)) is not None:
        return found[0]
    from checks.sip.uri import SipUri

    return SipUri.parse(full_uri(text)).host


def check_uri(text: str) -> None:
    """ValueError with a sentence where it is no SIP URI and no host:port."""
    if len(text) > LINE_LIMIT:
        raise ValueError(f"{text[:40]!r}... is longer than {LINE_LIMIT} characters")
    if ipv4(text) is None:
        # Lists of plain addresses need it never.
        from checks.sip.uri import SPOKEN, SipUri

        uri = SipUri.parse(full_uri(text))
        if uri.transport not in (None, *SPOKEN):
            raise ValueError(f"{text!r}: transport {uri.transport} is not spoken here")


def floor_of(uri: str, min_interval: float) -> float:
    """Seconds that must lie between two questions to an address of this URI."""
    if ipv4(uri) is None and TWILIO_DOMAIN in uri.lower():
        from checks.sip.uri import SipUri

        host = SipUri.parse(full_uri(uri)).host.lower().rstrip(".")
        if host.endswith(TWILIO_DOMAIN):
            return max(TWILIO_FLOOR, min_interval)
    return min_interval


def address_family(text: str) -> socket.AddressFamily:
    """Of an IP address; ValueError where it is none."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return family
    raise ValueError(f"{text!r} is not an IP address")


def from_header(text: str) -> str:
    """A From without its tag; ValueError where it is no address."""
    from checks.sip.uri import NameAddr, SipUri

    found = NameAddr.parse(text)
    SipUri.parse(found.uri)
    if found.tag is not None:
        raise ValueError(f"{text!r}: the tag of From is ours to choose")
    return str(found)


def _scope(
    name: str,
    settings: TargetSettings | TargetFileSettings,
    parent: Callable[[str], Subject | None],
    site: str,
) -> Scope:
    labels = {"site": site} if site else {}
    return Scope(name, settings.role, labels, parent(site))


def _check_floor(interval: float, floor: float, what: str) -> None:
    if interval < floor:
        raise ValueError(
            f"interval {written_duration(interval)} is shorter than"
            f" {what}: {written_duration(floor)}"
        )


def _check_line_floor(path: Path, line: str, settings: TargetFileSettings) -> None:
    if floor_of(line, 0.0) > settings.interval:
        raise ValueError(
            f"{path.name}: {line} must not be asked more often than every"
            f" {written_duration(TWILIO_FLOOR)}: Twilio bans who does"
        )
