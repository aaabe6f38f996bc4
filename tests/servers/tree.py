"""Where the fetched servers live, and how a program of theirs is started in place.

Every server has a root folder of its own, a small Debian without maintainer scripts:
its programs run under the tree's own loader and libraries, so neither root, chroot nor
the machine's own versions matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LAYOUT = 1  # raised when the way of unpacking changes: older trees are fetched again
MACHINE = ""  # stands for the suites that the machine's own apt uses

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Server:
    """One tree: its packages, the suites to try in order, and what it can run."""

    packages: tuple[str, ...]
    suites: tuple[str, ...]
    programs: dict[str, str]


SERVERS = {
    # Debian's stable suites carry no Asterisk.
    "asterisk": Server(("asterisk",), ("sid",), {"asterisk": "usr/sbin/asterisk"}),
    "kamailio": Server(
        (
            "kamailio",
            "kamailio-json-modules",
            "kamailio-extra-modules",
            "kamailio-tls-modules",
            "kamailio-websocket-modules",
            "kamailio-presence-modules",
        ),
        (MACHINE, "sid"),
        {"kamailio": "usr/sbin/kamailio"},
    ),
    "sipp": Server(("sip-tester",), (MACHINE, "sid"), {"sipp": "usr/bin/sipp"}),
    "sipsak": Server(("sipsak",), (MACHINE, "sid"), {"sipsak": "usr/bin/sipsak"}),
    "baresip": Server(
        ("baresip-core",), (MACHINE, "sid"), {"baresip": "usr/bin/baresip"}
    ),
    "postfix": Server(
        ("postfix",),
        (MACHINE, "sid"),
        {"postfix": "usr/sbin/postfix", "postconf": "usr/sbin/postconf"},
    ),
    "prometheus": Server(
        ("prometheus",),
        (MACHINE, "sid"),
        {"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"},
    ),
    # The small Chromium without windows, and what it draws letters with.
    "chromium": Server(
        ("chromium-headless-shell", "fontconfig-config", "fonts-inter"),
        (MACHINE,),
        {"chromium": "usr/lib/chromium/chromium-headless-shell"},
    ),
    "tshark": Server(("tshark",), (MACHINE, "sid"), {"tshark": "usr/bin/tshark"}),
    "alertmanager": Server(
        ("prometheus-alertmanager",),
        (MACHINE, "sid"),
        {"alertmanager": "usr/bin/prometheus-alertmanager", "amtool": "usr/bin/amtool"},
    ),
}

# machine -> the loader inside a tree, and the folder of its libraries
LOADERS = {
    "x86_64": ("usr/lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
    "aarch64": ("usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
}


@cache
def cache_folder() -> Path:
    """The first writable of $SIPWATCH_CACHE, the user's cache, the checkout, /tmp.

    A user's cache serves every clone of theirs, so a second one downloads nothing.
    """
    named = os.environ.get("SIPWATCH_CACHE")
    candidates = [Path(named)] if named else _usual_folders()
    for folder in candidates:
        try:
            (folder / "servers").mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder / "servers", os.W_OK | os.X_OK):
            return folder
    raise OSError(f"no writable cache folder among {', '.join(map(str, candidates))}")


def _usual_folders() -> list[Path]:
    folders = [
        CHECKOUT / ".cache",
        Path(tempfile.gettempdir(), f"sipwatch-{os.getuid()}"),
    ]
    if os.environ.get("HOME"):
        folders.insert(0, Path(os.environ["HOME"], ".cache", "sipwatch"))
    if os.environ.get("XDG_CACHE_HOME"):
        folders.insert(0, Path(os.environ["XDG_CACHE_HOME"], "sipwatch"))
    return folders


def root_of(server: str) -> Path:
    return cache_folder() / "servers" / server


def reason_file(server: str) -> Path:
    """Where the last fetch left why it could not get this server."""
    return cache_folder() / "servers" / f"{server}.reason"


def recipe(server: str) -> str:
    """What a tree was made from; a tree made from anything else is stale."""
    wanted = SERVERS[server]
    text = json.dumps([LAYOUT, platform.machine(), wanted.packages, wanted.suites])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stamp_file(root: Path) -> Path:
    return root / ".sipwatch-stamp.json"


def is_ready(server: str) -> bool:
    try:
        stamp = json.loads(stamp_file(root_of(server)).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp.get("recipe") == recipe(server))


def server_of(program: str) -> str:
    """The tree that holds a program; KeyError where none does."""
    for name, server in SERVERS.items():
        if program in server.programs:
            return name
    raise KeyError(program)


@dataclass(frozen=True)
class Command:
    """A fetched program: `argv` starts it, `root` is its tree."""

    argv: tuple[str, ...]
    root: Path
    libraries: Path

    def __call__(self, *arguments: object) -> list[str]:
        return [*self.argv, *map(str, arguments)]


def program(name: str) -> Command | None:
    """How to start a fetched program, or None where it has not been fetched."""
    server = server_of(name)
    found = LOADERS.get(platform.machine())
    if found is None or not is_ready(server):
        return None
    loader, multiarch = found
    root = root_of(server)
    libraries = root / "usr/lib" / multiarch
    paths = [libraries, libraries / server, root / "usr/lib" / server, root / "usr/lib"]
    argv = (
        str(root / loader),
        "--library-path",
        ":".join(map(str, paths)),
        str(root / SERVERS[server].programs[name]),
    )
    return Command(argv, root, libraries)


def missing(name: str) -> str | None:
    """Why a program cannot be had, or None where it can."""
    if program(name) is not None:
        return None
    server = server_of(name)
    try:
        why = reason_file(server).read_text().strip()
    except OSError:
        why = f"not fetched yet: python -m tests.servers.fetch {server}"
    return f"{name}: {why}"
