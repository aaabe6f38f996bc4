"""`sipwatch capture`: listen for SIP, and keep the last of it for the daemon."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from socket import socket as Listening  # noqa: N812 - its name is an option's here

from sipwatch import systemd
from sipwatch.capture.filters import PORTS
from sipwatch.capture.listening import Wire, interfaces, listen
from sipwatch.capture.ring import Ring
from sipwatch.capture.sizes import size_of
from sipwatch.capture.station import Station, only, serve

DAEMON = ("sipwatch",)  # who asks, where nobody is named


def run(
    names: Sequence[str],
    *,
    ports: str,
    size: str,
    packets: int,
    buffer: str,
    socket: str,
    group: str,
    users: Sequence[str],
) -> int:
    """Run in the foreground until a signal; 2 for wrong use, 1 where it may not."""
    try:
        wanted = ports_of(ports)
        ring = Ring(packets, size_of(size))
        opened = partial(listen, ports=wanted, buffer=size_of(buffer))
        allowed = only(*(users or DAEMON))
    except (ValueError, LookupError) as error:
        print(error.args[0], file=sys.stderr)
        return 2
    wires: list[Wire] = []
    absent: list[str] = []
    try:
        for name in names or interfaces():
            wires += _opened(name, opened, absent, chosen=bool(names))
        if not (wires or absent):
            raise OSError("no interface can be listened to")
        server = _served(Path(socket), group)
    except (OSError, LookupError) as error:
        for wire in wires:
            wire.close()
        print(_said(error), file=sys.stderr)
        return 1
    station = Station(
        wires,
        server,
        ring=ring,
        allowed=allowed,
        listen=opened,
        absent=absent,
        names=None if names else interfaces,
    )
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: station.stop())
    heard = ", ".join(wire.name for wire in wires) or "nothing as yet"
    print(f"listening to {heard}; ports {', '.join(map(str, wanted))}", flush=True)
    systemd.notify("READY=1")
    station.run()
    station.close()
    Path(socket).unlink(missing_ok=True)
    return 0


def _served(path: Path, group: str) -> Listening:
    """The socket that answers; OSError that names it, LookupError."""
    try:
        return serve(path, group)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from None


def _opened(
    name: str, opened: Callable[[str], Wire], absent: list[str], *, chosen: bool
) -> list[Wire]:
    """One interface. It may be down as yet; where nobody chose it, it may be of a kind
    that is not read."""
    try:
        return [opened(name)]
    except ValueError as error:
        if chosen:
            raise OSError(str(error)) from None
        print(f"{error}; it is left out", file=sys.stderr)
        return []
    except PermissionError:
        raise
    except OSError as error:
        if error.errno == errno.ENETDOWN:
            print(f"{name} is down; it is listened to once it is up", file=sys.stderr)
            absent.append(name)
            return []
        raise OSError(error.errno, f"{name}: {error.strerror or error}") from None


def _said(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return (
            "not allowed to listen: run it by sipwatch-capture.service, or as root "
            "(it needs CAP_NET_RAW alone)"
        )
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error.args[0])


def ports_of(written: str) -> tuple[int, ...]:
    """`5060,5080` as numbers; ValueError."""
    found = []
    for word in written.split(","):
        if not (word.isascii() and word.isdigit() and 0 < int(word) < 65536):
            raise ValueError(f"{word or 'nothing'} is not a port (write 5060,5080)")
        found.append(int(word))
    if len(found) > PORTS:
        raise ValueError(f"{len(found)} ports, over {PORTS}")
    return tuple(dict.fromkeys(found))
