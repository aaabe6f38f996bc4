"""Prism: a server made of an OpenAPI description, by npm; for tests alone.

with Prism(description, address, folder) as server:
    ... ask server.url ...
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.servers.process import Process
from tests.servers.tree import cache_folder

VERSION = "5.16.0"
PORT = 4010
INSTALL = 240.0  # s


def program() -> tuple[str, str]:
    """Where it is, or why it cannot be had; installed once for all tests."""
    if found := os.environ.get("SIPWATCH_PRISM") or shutil.which("prism"):
        return found, ""
    npm = shutil.which("npm")
    if npm is None:
        return "", "Prism needs npm"
    folder = cache_folder() / f"prism-{VERSION}"
    binary = folder / "node_modules" / ".bin" / "prism"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.exists():
            return str(binary), ""
        package = f"@stoplight/prism-cli@{VERSION}"
        argv = (npm, "install", "--no-fund", "--no-audit", "--ignore-scripts", package)
        try:
            subprocess.run(
                argv, cwd=folder, check=True, capture_output=True, timeout=INSTALL
            )
        except (OSError, subprocess.SubprocessError) as error:
            return "", f"Prism cannot be installed: {type(error).__name__}"
    return str(binary), ""


class Prism:
    """A mock of a description at an address of its own."""

    def __init__(self, description: Path, address: str, folder: Path) -> None:
        binary, _ = program()
        self.url = f"http://{address}:{PORT}"
        argv = (binary, "mock", "-h", address, "-p", str(PORT), str(description))
        self.process = Process("prism", argv, folder)

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill9()
