"""The settings that are the daemon's own, and the whole configuration as one value."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from alerting.muting.maintenance import MaintenanceSettings, Window
from alerting.muting.schedule import Schedule, ScheduleSettings
from alerting.routes import GroupSettings, RouteSettings
from alerting.rules.rule import RuleSettings
from checks.accounts.settings import AccountSettings
from checks.options.targets import TargetFileSettings, TargetSettings
from checks.registrations.judge import RegistrarSettings
from checks.settings import Duration, Glob, Parsed, Zone
from checks.twilio.settings import TwilioSettings
from checks.twilio.twiml import TwimlSettings
from checks.vantage.settings import VantageSettings
from sipwatch.config.access import TlsSettings, TokenSettings, UserSettings
from sipwatch.config.alive import HeartbeatSettings, SelfTestSettings
from sipwatch.config.credentials import SECRETS_DIR
from sipwatch.config.files import named_by
from sipwatch.keeping.settings import CaptureSettings, EvidenceSettings

DATABASE = "/var/lib/sipwatch/sipwatch.db"
SOCKET = "/run/sipwatch/api.sock"
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def listen_address(written: Any) -> str:
    """`127.0.0.1:9160` or `[::1]:9160`: an IP address of this machine and a port."""
    text = str(written)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text} is not an address to listen on (127.0.0.1:9160)")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if host == bare and ":" in host:
        raise ValueError(f"{text}: write an IPv6 address in brackets ([::1]:9160)")
    if host != "localhost" and not _is_ip(bare):
        raise ValueError(f"{host or 'nothing'} is not an IP address of this machine")
    return f"127.0.0.1:{port}" if host == "localhost" else text


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach what listens there."""
    host = listen.rpartition(":")[0].strip("[]")
    return ipaddress.ip_address(host).is_loopback


def network(written: Any) -> str:
    """`10.0.0.0/24` or one address, as text."""
    try:
        return str(ipaddress.ip_network(str(written)))
    except ValueError as error:
        if "host bits" in str(error):
            meant = ipaddress.ip_network(str(written), strict=False)
            raise ValueError(
                f"{written} is an address, its network is {meant}"
            ) from None
        raise ValueError(f"{written} is not a network (write 10.0.0.0/24)") from None


def ip_address(written: Any) -> str:
    """An IP address, as text."""
    try:
        return str(ipaddress.ip_address(str(written)))
    except ValueError:
        raise ValueError(f"{written} is not an IP address") from None


def web_address(written: Any) -> str:
    """`https://sipwatch.example.com`: what links begin with."""
    text = str(written).rstrip("/")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError(f"{written} is not an address (https://sipwatch.example.com)")
    return text


def instance_name(written: Any) -> str:
    """The name of this daemon, fit for the right side of a Message-ID."""
    text = str(written)
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{text} is not a host name (write sipwatch.example.com)")
    return text


def this_machine() -> str:
    """The machine's own name, where the configuration gives none."""
    name = socket.gethostname()
    return name if _HOST_NAME.fullmatch(name) else "sipwatch.localhost"


_STRING = (("type", "string"),)
Listen = Annotated[str, Parsed(listen_address, _STRING)]
Network = Annotated[str, Parsed(network, _STRING)]
IpAddress = Annotated[str, Parsed(ip_address, _STRING)]
WebAddress = Annotated[str, Parsed(web_address, (*_STRING, ("format", "uri")))]
InstanceName = Annotated[str, Parsed(instance_name, _STRING)]


def _said(text: str) -> dict[str, str]:
    return {"description": text}


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """A place with a name: phones and trunks are told by it."""

    timezone: Zone | None = field(
        default=None,
        metadata=_said("Times in mails about this site; default: this machine's zone."),
    )
    subnets: tuple[Network, ...] = field(
        default=(),
        metadata=_said(
            "Networks of its phones, as the PBX sees them, and of targets without site."
        ),
    )
    extensions: tuple[Glob, ...] = field(
        default=(), metadata=_said("Patterns of its numbers, wherever they register.")
    )
    depends_on: tuple[str, ...] = field(
        default=(),
        metadata=_said("Targets, registrars, sites that it is seen through."),
    )


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """Prometheus metrics: on the common listener, and on one of their own."""

    listen: Listen | None = field(
        default=None,
        metadata=_said("An address with nothing but /metrics, for Prometheus."),
    )
    allow: tuple[Network, ...] = field(
        default=(),
        metadata=_said("Networks that may read that address, and need no password."),
    )
    detail: tuple[str, ...] = field(
        default=("trunk", "pbx"),
        metadata=_said("Roles of targets that export every series."),
    )


@dataclass(frozen=True, kw_only=True)
class PublicSettings:
    """What others than the users of this machine may reach."""

    listen: Listen | None = field(
        default=None,
        metadata=_said("An address with nothing but what is signed: links, webhooks."),
    )


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """The HTTP interface of the daemon."""

    listen: Listen = field(
        default="127.0.0.1:9160",
        metadata=_said("Address and port; any but loopback needs users or tokens."),
    )
    external_url: WebAddress | None = field(
        default=None, metadata=_said("What links in notifications begin with.")
    )
    socket: str = field(
        default=SOCKET, metadata=_said("The Unix socket of the command line.")
    )
    users: Mapping[str, UserSettings] = field(
        default_factory=dict,
        metadata=_said("People by name; without users and tokens, who is here may."),
    )
    tokens: Mapping[str, TokenSettings] = field(
        default_factory=dict, metadata=_said("Programs by name.")
    )
    tls: TlsSettings | None = field(
        default=None, metadata=_said("The certificate of `listen`; default: no TLS.")
    )
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    """What Prometheus reads, and where."""
    public: PublicSettings = field(default_factory=PublicSettings)
    """A listener for signed links and Twilio."""


@dataclass(frozen=True, kw_only=True)
class ResolverSettings:
    """Who is asked where SIP URIs lead: NAPTR, SRV and addresses of their names."""

    nameservers: tuple[IpAddress, ...] = field(
        default=(), metadata=_said("IP addresses; default: those of /etc/resolv.conf.")
    )
    port: int = field(default=53, metadata=_said("Of these name servers."))
    timeout: Duration = field(
        default=5.0, metadata=_said("How long all questions about one URI may take.")
    )

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError("timeout must be more than 0s")
        if not 0 < self.port < 65536:
            raise ValueError(f"port: {self.port} is no port (1 to 65535)")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A configuration that is well: every name in it is known, every file is there."""

    targets: Mapping[str, TargetSettings] = field(default_factory=dict)
    target_files: tuple[TargetFileSettings, ...] = ()
    registrars: Mapping[str, RegistrarSettings] = field(default_factory=dict)
    accounts: Mapping[str, AccountSettings] = field(default_factory=dict)
    sites: Mapping[str, SiteSettings] = field(default_factory=dict)
    schedules: Mapping[str, ScheduleSettings] = field(default_factory=dict)
    maintenance: Mapping[str, MaintenanceSettings] = field(default_factory=dict)
    vantage: VantageSettings = field(default_factory=VantageSettings)
    rules: Mapping[str, RuleSettings] = field(default_factory=dict)
    notifiers: Mapping[str, Any] = field(default_factory=dict)  # each its own class
    routes: tuple[RouteSettings, ...] = ()
    group: GroupSettings = field(default_factory=GroupSettings)
    heartbeat: HeartbeatSettings | None = None
    self_test: SelfTestSettings | None = None
    twilio: TwilioSettings | None = None
    twiml: TwimlSettings | None = None
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    runbook: str = ""  # a file: the page that `sipwatch runbook` prints
    web: WebSettings = field(default_factory=WebSettings)
    resolver: ResolverSettings = field(default_factory=ResolverSettings)
    database: str = DATABASE
    secrets_dir: str = SECRETS_DIR
    instance: InstanceName = field(default_factory=this_machine)
    folder: Path = Path("/")  # of the file: relative paths begin here
    contents: Mapping[str, str] = field(default_factory=dict)  # hashes of files named


@dataclass(frozen=True)
class Diff:
    """What a reload does to each entry; keys are `targets.twilio`, `group`."""

    kept: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.removed)

    @staticmethod
    def named(section: str, keys: Iterable[str]) -> list[str]:
        """The names of one section's entries among these keys."""
        prefix = f"{section}."
        return sorted(k.removeprefix(prefix) for k in keys if k.startswith(prefix))

    def summary(self) -> str:
        """What changed, in a line."""
        words = {"changed": self.changed, "added": self.added, "removed": self.removed}
        parts = [f"{what} {', '.join(sorted(k))}" for what, k in words.items() if k]
        return "; ".join(parts) or "nothing changed"


def diff(old: Config, new: Config) -> Diff:
    """What differs between two configurations, by entry."""
    before, after = _entries(old), _entries(new)
    both = before.keys() & after.keys()
    kept = frozenset(key for key in both if before[key] == after[key])
    return Diff(
        kept,
        frozenset(both) - kept,
        frozenset(after.keys() - before.keys()),
        frozenset(before.keys() - after.keys()),
    )


_NAMED = (
    *("targets", "registrars", "accounts", "sites", "schedules", "maintenance"),
    *("rules", "notifiers"),
)


def _entries(config: Config) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for section in _NAMED:
        for name, settings in getattr(config, section).items():
            entries[f"{section}.{name}"] = _with_files(settings, config.contents)
    for one in config.target_files:
        entries[f"target_files.{one.file}"] = _with_files(one, config.contents)
    alone = ("vantage", "routes", "group", "web", "resolver", "database", "instance")
    for section in (*alone, "capture", "evidence"):
        entries[section] = getattr(config, section)
    if config.runbook:
        entries["runbook"] = config.runbook
    for section in ("heartbeat", "self_test", "twilio", "twiml"):
        if (settings := getattr(config, section)) is not None:
            entries[section] = _with_files(settings, config.contents)
    return entries


def _with_files(settings: Any, contents: Mapping[str, str]) -> Any:
    """Settings, and what the files say that they name."""
    files = [file for _, file in named_by(settings)]
    return (settings, *(contents.get(file) for file in files)) if files else settings


def timetables(config: Config) -> tuple[dict[str, Schedule], list[Window]]:
    """The schedules and the maintenance windows of a configuration."""
    zone = local_zone()
    schedules = {name: Schedule(s, zone) for name, s in config.schedules.items()}
    return schedules, [Window(name, s, zone) for name, s in config.maintenance.items()]


UTC_ZONE = ZoneInfo("UTC")


def local_zone() -> ZoneInfo:
    """The zone of this machine (TZ, /etc/timezone, /etc/localtime), else UTC."""
    for name in (os.environ.get("TZ", ""), _read_zone(), _linked_zone()):
        if name:
            try:
                found = ZoneInfo(name.removeprefix(":"))
            except (OSError, ValueError, LookupError):
                continue
            # What Debian calls it would stand in every mail.
            return UTC_ZONE if found.key == "Etc/UTC" else found
    return UTC_ZONE


def _read_zone() -> str:
    try:
        return Path("/etc/timezone").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _linked_zone() -> str:
    try:
        return str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    except OSError:
        return ""
