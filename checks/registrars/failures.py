"""How a connection to a registrar fails, as the one cause that the judge is told."""

from __future__ import annotations

import re
import socket
import ssl
from urllib.parse import urlsplit

from checks.observation import Cause
from checks.registrars.complaints import Complaint
from checks.registrations.judge import Unreadable
from checks.sip.transport import failure_of

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+))(?::(\d{1,5}))?")

ATTEMPTS = 2  # with credentials that are refused, before we hold back
HOLD_BACK = 300.0  # s between attempts from then on: bans are made of more
REJECTED = (Cause.UNAUTHORIZED, Cause.FORBIDDEN)


class HoldBack:
    """Keeps from asking again and again where our credentials are refused."""

    def __init__(self) -> None:
        self._rejections = 0
        self._last: Unreadable | None = None
        self._until = 0.0

    def check(self, now: float) -> None:
        """Raise the last refusal again while it is too early for another."""
        if self._last and now < self._until:
            raise self._last

    def refused(self, failure: Unreadable, now: float) -> None:
        """Count a failure, where it is a refusal."""
        if failure.cause not in REJECTED:
            return
        self._rejections += 1
        if self._rejections >= ATTEMPTS:
            self._last, self._until = failure, now + HOLD_BACK

    def accepted(self) -> None:
        """Our credentials are right."""
        self._rejections, self._last = 0, None


def unreadable(error: OSError, what: str) -> Unreadable:
    """A failed connect, read or write, with a sentence that names what was asked."""
    if isinstance(error, socket.gaierror):
        unknown = error.errno == socket.EAI_NONAME
        cause = Cause.DNS_NXDOMAIN if unknown else Cause.DNS_FAILURE
        return Unreadable(cause, f"{what}: {error.strerror}")
    cause, said = failure_of(error)
    return Unreadable(cause, f"{what}: {said}")


def trusting(ca: str | None) -> ssl.SSLContext:
    """A context for TLS that trusts these CAs, or the system's; blocks. Unreadable."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # that of TLS is one
        why = error.strerror or error
        raise Complaint.NO_CA.of(ca=ca, why=why) from None


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """The parts of "pbx:5038", "10.0.0.5", "[2001:db8::5]:5038"; else ValueError."""
    found = _ADDRESS.fullmatch(address)
    port = int(found[3] or default) if found else 0
    if not found or not 0 < port < 65536 or not _is_host(found[1] or found[2]):
        raise ValueError(f"{address} is not host:port")
    return found[1] or found[2], port


def check_url(address: str) -> None:
    """Raise ValueError unless this is http://host or https://host, port and path.

    A password in it would be shown wherever the address is, so it must not be there.
    """
    if "@" in address.partition("://")[2].partition("/")[0]:
        raise ValueError("a URL here holds no password: give `username` and `password`")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # a port beyond 65535, half an IPv6 address
        usable = False
    if not usable or not _is_host(parts.hostname or ""):
        raise ValueError(f"{address} is no URL (http://127.0.0.1:8090/RPC)")


def _is_host(host: str) -> bool:
    """Whether a resolver can be asked for it: `a..b` raises no OSError there."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and bool(host) and ("%" not in host or ":" in host)
