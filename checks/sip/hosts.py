"""The machine's own file of names, /etc/hosts."""

from __future__ import annotations

import ipaddress
from pathlib import Path

HOSTS_LIMIT = 1_000_000  # octets read; a longer file is an ad blocker's, not a PBX's
_LOOPBACK = ("127.0.0.1", "::1")


class HostsFile:
    """Names of a hosts file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: int | None = None
        self._names: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name; `localhost` always has some (RFC 6761 6.3)."""
        self._refresh()
        name = name.lower().rstrip(".")
        return self._names.get(name) or (_LOOPBACK[:1] if name == "localhost" else ())

    def _refresh(self) -> None:
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._read_at:
                return
            with self._path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(HOSTS_LIMIT)
        except OSError:
            return  # no such file says nothing; what was read before stays
        self._names = parse_hosts(text)
        self._read_at = changed


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Names in small letters to their addresses; lines that are none are skipped."""
    names: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *hosts = line.partition("#")[0].split() or [""]
        try:
            ip = str(ipaddress.ip_address(address))
        except ValueError:
            continue
        for host in hosts:
            names[host.lower()] = (*names.get(host.lower(), ()), ip)
    return names
