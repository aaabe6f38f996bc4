"""What systemd is told, over a socket as it opens one."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from sipwatch.systemd import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_is_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"@sipwatch-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens() -> None:
    assert not notify("READY=1", {})


def test_a_manager_that_went_away_stops_nobody(tmp_path: Path) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


def test_a_manager_that_reads_nothing_holds_nobody_up(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        taken = 0
        while notify("WATCHDOG=1", {"NOTIFY_SOCKET": name}):
            taken += 1  # until the kernel's queue is full
        began = time.monotonic()
        assert not notify("WATCHDOG=1", {"NOTIFY_SOCKET": name})
        assert time.monotonic() - began < 1
        assert [manager.recv(100) for _ in range(taken)] == [b"WATCHDOG=1"] * taken
