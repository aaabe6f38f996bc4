"""Fetch the real servers: python -m tests.servers.fetch [NAME...]

Debian packages come from the mirror that the machine's own apt names, by a private apt
that believes nothing is installed, and are unpacked side by side without root. Trees
that are there already cost a look at their stamps.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.tree import (
    LOADERS,
    MACHINE,
    SERVERS,
    cache_folder,
    is_ready,
    reason_file,
    recipe,
    root_of,
    stamp_file,
)

APT_TIMEOUT = 300.0  # seconds for one apt run on a slow line
ABANDONED = 86400.0  # seconds after which a killed fetch's working folder is removed
AT_ONCE = 2  # trees in the making; unpacking is bound by one core each

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
# Suites of a machine's sources that hold no more than what the others hold.
OPTIONAL_SUITES = re.compile(r"backports|proposed|experimental")
# What a running server never reads, a third of the disk.
PRUNED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
MERGED = ("bin", "sbin", "lib", "lib64")


class FetchError(Exception):
    """A server cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class Source:
    """One suite at one mirror, as the machine's own apt knows it."""

    uri: str
    suite: str

    def line(self, keyring: Path) -> str:
        return f"deb [signed-by={keyring}] {self.uri} {self.suite} main\n"


# --- the machine's apt sources -------------------------------------------------------


def machine_sources(folder: Path = Path("/etc/apt")) -> list[Source]:
    """The Debian sources of this machine, in one-line and deb822 files."""
    found: list[Source] = []
    parts = folder / "sources.list.d"
    for path in [folder / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            found += one_line_sources(path.read_text(errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        found += deb822_sources(path.read_text(errors="replace"))
    return list(dict.fromkeys(found))


def one_line_sources(text: str) -> list[Source]:
    """sources.list(5), ONE-LINE-STYLE FORMAT."""
    found: list[Source] = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if match is None:
            continue
        options, uri, suite, components = match.groups()
        signed = re.search(r"signed-by=(\S+)", options or "")
        signer = signed[1] if signed else ""
        found += _debian([uri], [suite], components.split(), signer)
    return found


def deb822_sources(text: str) -> list[Source]:
    """sources.list(5), DEB822-STYLE FORMAT."""
    found: list[Source] = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        pairs = re.findall(r"^([\w-]+):(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        fields = {key.lower(): value.strip() for key, value in pairs}
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        found += _debian(
            fields.get("uris", "").split(),
            fields.get("suites", "").split(),
            fields.get("components", "").split(),
            fields.get("signed-by", ""),
        )
    return found


def _debian(
    uris: Iterable[str], suites: list[str], components: list[str], signer: str
) -> Iterator[Source]:
    """Keep what Debian signs: another archive names its own key."""
    if "main" not in components or (signer and "debian-archive" not in signer):
        return
    for uri in uris:
        for suite in suites:
            if not uri.startswith("cdrom:") and not OPTIONAL_SUITES.search(suite):
                yield Source(uri, suite)


def sources_for(suite: str) -> list[list[Source]]:
    """The source lists to try for a suite, the likeliest first."""
    own = machine_sources()
    if suite == MACHINE:
        return [own] if own else []
    # The mirror of a plain suite carries sid too; a security mirror does not.
    mirrors = [s.uri for s in own if "security" not in f"{s.uri} {s.suite}"]
    return [[Source(uri, suite)] for uri in dict.fromkeys(mirrors)]


# --- a private apt -------------------------------------------------------------------


@dataclass
class Apt:
    """One suite's private apt: own state, lists and cache, and nothing installed."""

    folder: Path
    suite: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    outcome: str | None = None  # of the update: "" when well, else why not

    def update(self) -> None:
        """Fetch the package lists, once, from the first mirror that has them."""
        if self.outcome is None:
            self.outcome = self._update()
        if self.outcome:
            raise FetchError(self.outcome)

    def _update(self) -> str:
        keyring = next((k for k in KEYRINGS if k.exists()), None)
        if keyring is None:
            return "this machine has no Debian archive keyring"
        tried = "the machine's apt sources name no Debian mirror"
        for sources in sources_for(self.suite):
            self._configure(sources, keyring)
            done = self._run("update", "--error-on=any")
            if done.returncode == 0:
                return ""
            tried = _first_error(done)
        return f"apt-get update of {self.suite or 'own suite'}: {tried}"

    def download(self, packages: tuple[str, ...], into: Path) -> list[Path]:
        """Fetch packages with all that they need; returns the .debs, linked `into`."""
        with self.lock:
            self.update()
            empty = self.folder / "empty"
            (empty / "partial").mkdir(parents=True, exist_ok=True)
            plan = self._install(
                packages, "--print-uris", f"-oDir::Cache::archives={empty}/"
            )
            names = re.findall(r"^'\S+' (\S+\.deb) ", plan, re.MULTILINE)
            self._install(packages)
            for name in names:
                os.link(self.folder / "archives" / name, into / name)
        return [into / name for name in names]

    def _install(self, packages: tuple[str, ...], *options: str) -> str:
        done = self._run("install", "--download-only", "-y", "-qq", *options, *packages)
        if done.returncode != 0:
            raise FetchError(f"apt-get install {packages[0]}: {_first_error(done)}")
        return done.stdout

    def _configure(self, sources: list[Source], keyring: Path) -> None:
        for name in ("state/lists/partial", "archives/partial", "none"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        lines = [source.line(keyring) for source in sources]
        (self.folder / "sources.list").write_text("".join(lines))
        (self.folder / "apt.conf").write_text(_machine_acquire() + self._own_options())

    def _own_options(self) -> str:
        here = self.folder
        options = {
            "Dir::State": here / "state",
            "Dir::State::lists": here / "state/lists",
            "Dir::State::status": here / "status",
            "Dir::Cache": here,
            "Dir::Cache::archives": here / "archives",
            "Dir::Log": here,
            "Dir::Etc::sourcelist": here / "sources.list",
            "Dir::Etc::sourceparts": here / "none",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": here / "none",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": here / "none",
            "APT::Install-Recommends": "false",
            "APT::Install-Suggests": "false",
            "APT::Sandbox::User": "root" if os.getuid() == 0 else "",
            "Acquire::Languages": "none",
            "Acquire::Check-Valid-Until": "false",  # clocks and mirrors lag
            "Acquire::Check-Date": "false",
            "Acquire::Retries": "3",
        }
        return "".join(f'{key} "{value}";\n' for key, value in options.items())

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "APT_CONFIG": str(self.folder / "apt.conf"),
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C",
        }
        try:
            return subprocess.run(
                ["apt-get", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=APT_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            late = f"E: apt-get took over {APT_TIMEOUT:.0f} s"
            return subprocess.CompletedProcess(arguments, 124, "", late)


def _machine_acquire() -> str:
    """How this machine reaches its mirror (proxies, timeouts), and nothing else."""
    done = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, check=False
    )
    kept = re.findall(
        r"^Acquire::(?:https?|ftp|mirror)\b.*$", done.stdout, re.MULTILINE
    )
    return "".join(line + "\n" for line in kept)


def _first_error(done: subprocess.CompletedProcess[str]) -> str:
    lines = [x for x in (done.stderr + done.stdout).splitlines() if x.startswith("E:")]
    return next(iter(lines), "") or f"exit status {done.returncode}"


# --- one tree ------------------------------------------------------------------------


def build(server: str, apts: dict[str, Apt], work: Path) -> str:
    """Make one tree in `work` and move it to its place; returns what was done."""
    started = time.monotonic()
    refusals = []
    for suite in SERVERS[server].suites:
        debs = work / f"{server}-debs"
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir()
        try:
            packages = apts[suite].download(SERVERS[server].packages, debs)
        except FetchError as error:
            refusals.append(str(error))
            continue
        size = sum(deb.stat().st_size for deb in packages)
        root = work / server
        unpack(packages, root)
        shutil.rmtree(debs)
        _stamp(server, root, suite, [deb.name for deb in packages])
        _put_in_place(root, root_of(server), work)
        took = time.monotonic() - started
        return f"{len(packages)} packages, {size / 1e6:.0f} MB, {took:.0f} s"
    raise FetchError("; ".join(refusals))


def unpack(debs: list[Path], root: Path) -> None:
    """dpkg-deb -x of every package, over links that merge lib into usr/lib."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    base_first = sorted(
        debs, key=lambda d: (not d.name.startswith("base-files_"), d.name)
    )
    for deb in base_first:
        # Not dpkg-deb -x: its tar would put a folder where a link stands.
        reader = subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE
        )
        with reader:
            done = subprocess.run(
                ["tar", "-x", "--keep-directory-symlink", "--no-same-owner"],
                cwd=root,
                stdin=reader.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode or reader.returncode:
            raise FetchError(f"cannot unpack {deb.name}: {done.stderr.strip()[-200:]}")
    for name in PRUNED:
        shutil.rmtree(root / name, ignore_errors=True)


def _stamp(server: str, root: Path, suite: str, packages: list[str]) -> None:
    facts = {"recipe": recipe(server), "suite": suite, "packages": sorted(packages)}
    stamp_file(root).write_text(json.dumps(facts, indent=1))


def _put_in_place(root: Path, place: Path, work: Path) -> None:
    if place.exists():
        place.rename(work / f"{place.name}-old")
    root.rename(place)


# --- the command ---------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One maker per tree; a second one waits, and then finds it made."""
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def fetch(servers: Iterable[str], say: Callable[[str], None] = print) -> dict[str, str]:
    """Make the trees that are not there; returns why, of those that cannot be."""
    wanted = [name for name in servers if not is_ready(name)]
    if not wanted:
        return {}
    if why := _unfit():
        return {name: _refuse(name, why) for name in wanted}
    place = cache_folder()
    _sweep(place)
    with tempfile.TemporaryDirectory(
        prefix="fetching-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        work = Path(folder)
        suites = {suite for name in wanted for suite in SERVERS[name].suites}
        apts = {s: Apt(work / f"apt-{s or 'own'}", s) for s in suites}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            refusals = pool.map(lambda name: _fetch_one(name, apts, work, say), wanted)
            return {
                name: why for name, why in zip(wanted, refusals, strict=True) if why
            }


def _fetch_one(
    name: str, apts: dict[str, Apt], work: Path, say: Callable[[str], None]
) -> str:
    with locked(root_of(name).with_suffix(".lock")):
        if is_ready(name):
            return ""
        try:
            say(f"{name}: {build(name, apts, work)}")
        except FetchError as error:
            return _refuse(name, str(error))
        reason_file(name).unlink(missing_ok=True)
        return ""


def _unfit() -> str:
    """Why no server at all can be fetched on this machine, or nothing."""
    for tool in ("apt-get", "apt-config", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            return f"this machine has no {tool}: the servers come from Debian's archive"
    if platform.machine() not in LOADERS:
        return f"no recipe for {platform.machine()}"
    return ""


def _refuse(name: str, why: str) -> str:
    reason_file(name).write_text(why + "\n")
    return why


def _sweep(place: Path) -> None:
    for left in place.glob("fetching-*"):
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Fetch all or the named servers; without them fails only where CI=true."""
    unknown = [name for name in arguments if name not in SERVERS]
    if unknown:
        print(f"no such server: {', '.join(unknown)} (there are {', '.join(SERVERS)})")
        return 2
    refusals = fetch(arguments or SERVERS)
    for name, why in refusals.items():
        print(f"{name}: cannot be had, its tests are skipped: {why}", file=sys.stderr)
    return 1 if refusals and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
