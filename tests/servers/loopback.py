"""Loopback addresses that no other test, worker or test run uses at the same time."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FIRST_BLOCK = 100  # 127.(100 + worker).0.0/16
PROBED_PORTS = (5060, 5038)


def worker_number() -> int:
    """This pytest-xdist worker: gw3 is 3, and no worker is 0."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(name.removeprefix("gw"))


class Loopback:
    """Addresses out of a worker's block, a /24 at a time, each held by a file lock."""

    def __init__(self, worker: int | None = None) -> None:
        self._second = FIRST_BLOCK + (worker_number() if worker is None else worker)
        self._held: list[IO[str]] = []
        self._addresses: Iterator[str] = iter(())

    def address(self) -> str:
        """The next address that nothing listens on: a killed run may leave servers."""
        while True:
            for address in self._addresses:
                if _is_free(address):
                    return address
            network, held = _claim(self._second)
            self._held.append(held)
            self._addresses = (f"{network}.{last}" for last in range(1, 255))

    def close(self) -> None:
        for held in self._held:
            held.close()


def _claim(second: int) -> tuple[str, IO[str]]:
    folder = Path(tempfile.gettempdir(), "sipwatch-loopback")
    folder.mkdir(exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o1777)
    for third in range(1, 255):
        network = f"127.{second}.{third}"
        try:
            held = (folder / network).open("a")
        except PermissionError:  # another user's
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            continue
        return network, held
    raise OSError(f"every block of 127.{second}.0.0/16 is in use")


def _is_free(address: str) -> bool:
    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    for port in PROBED_PORTS:
        for kind in kinds:
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    return False
    return True
