"""What systemd is told: sd_notify(3) in one datagram."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

PATIENCE = 1.0  # s that a full queue may take; a sign of life comes again anyway


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd `READY=1`, `STOPPING=1`, `WATCHDOG=1`; False where it is not there.

    A leading @ is an abstract socket. Failures are silent: the daemon runs without
    systemd, and a manager that went away, or reads nothing, must not stop it.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.settimeout(0.0 if state == "WATCHDOG=1" else PATIENCE)
            s.sendto(state.encode(), address)
    except OSError:
        return False
    return True
