"""How a connection to a registrar fails, as the one cause that the judge is told."""

from __future__ import annotations

import re
import socket

from checks.observation import Cause
from checks.registrations import Unreadable
from checks.sip.transport import failure_of

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+))(?::(\d{1,5}))?")

MANAGER_CONF = "manager.conf (FreePBX: manager_custom.conf)"


def unreadable(error: OSError, what: str) -> Unreadable:
    """A failed connect, read or write, with a sentence that names what was asked."""
    if isinstance(error, socket.gaierror):
        unknown = error.errno == socket.EAI_NONAME
        cause = Cause.DNS_NXDOMAIN if unknown else Cause.DNS_FAILURE
        return Unreadable(cause, f"{what}: {error.strerror}")
    cause, said = failure_of(error)
    return Unreadable(cause, f"{what}: {said}")


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """The parts of "pbx:5038", "10.0.0.5", "[2001:db8::5]:5038"; else ValueError."""
    found = _ADDRESS.fullmatch(address)
    port = int(found[3] or default) if found else 0
    if not found or not 0 < port < 65536:
        raise ValueError(f"{address} is not host:port")
    return found[1] or found[2], port
