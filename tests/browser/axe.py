"""axe-core: the rules of WCAG for a page that is open; by npm, for tests alone."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.tree import cache_folder

VERSION = "4.14.1"
INSTALL = 120.0  # s


def script() -> tuple[Path | None, str]:
    """Where it is, or why it cannot be had; installed once for all tests."""
    if named := os.environ.get("SIPWATCH_AXE"):
        return Path(named), ""
    npm = shutil.which("npm")
    if npm is None:
        return None, "axe-core needs npm"
    folder = cache_folder() / f"axe-core-{VERSION}"
    found = folder / "node_modules" / "axe-core" / "axe.min.js"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found.exists():
            return found, ""
        argv = (npm, "install", "--no-fund", "--no-audit", "--ignore-scripts")
        try:
            subprocess.run(
                (*argv, f"axe-core@{VERSION}"),
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=INSTALL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return None, f"axe-core cannot be installed: {type(error).__name__}"
    return found, ""
