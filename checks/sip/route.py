"""From which of our addresses a packet would leave; none is sent."""

from __future__ import annotations

import socket


def local_address(ip: str) -> str | None:
    """Our address towards this one; None where this machine has no route to it."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((ip, 9))  # UDP: only the route is looked up
            return str(probe.getsockname()[0])
    except OSError:
        return None
