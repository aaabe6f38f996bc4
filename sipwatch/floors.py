"""Who bans those that ask too often is not asked too often by hand either.

A daemon remembers when it asked; a command does not live so long. So each notes in a
file of its user what it asked at Twilio and when, and the next looks there first.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple

from checks.observation import plain
from checks.options.targets import floor_of, full_uri

NOTES = 200  # at most; the oldest go
NOTES_LIMIT = 64 * 1024  # bytes of the file; 200 notes have a quarter of it
FILE = "asked.json"


class TooSoonError(ValueError):
    """It was asked a moment ago: who, when, and how long to wait, in one sentence."""


class Claim(NamedTuple):
    """Somebody wants to ask this of them."""

    what: str  # OPTIONS, REGISTER
    whom: str  # host, or user@host
    floor: float  # s between two


def options(uris: Iterable[str]) -> list[Claim]:
    """Those of these that may be asked by OPTIONS only now and then."""
    floors = ((uri, floor_of(uri, 0.0)) for uri in uris)
    found = (Claim("OPTIONS", _host(uri), floor) for uri, floor in floors if floor)
    return list(dict.fromkeys(found))


def _host(uri: str) -> str:
    from checks.sip.uri import SipUri

    return SipUri.parse(full_uri(uri)).host.lower().rstrip(".")


def claim(
    wanted: Iterable[Claim],
    *,
    folder: Path | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Note that all of these are asked now; TooSoonError, and nothing is noted, where
    one of them was asked within its floor."""
    if not (several := list(wanted)):
        return
    try:
        _claim(several, folder or _folder(), clock)
    except OSError as error:  # a user without a home may ask all the same
        sys.stderr.write(
            f"note: it cannot be noted when {plain(several[0].whom)} was asked"
            f" ({error.strerror}): ask no more often than every"
            f" {several[0].floor:.0f} s\n"
        )


def _claim(several: list[Claim], folder: Path, clock: Callable[[], float]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / FILE, "r+", opener=_private, encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the next one waits, and finds our note
        notes, now = _read(file), clock()
        for one in several:
            _check(one, notes.get(_key(one)), now)
        notes |= {_key(one): now for one in several}
        _write(file, notes)


def _check(one: Claim, asked: float | None, now: float) -> None:
    # A note of the future is of a clock that was set back.
    if asked is None or not asked <= now < asked + one.floor:
        return
    ago, wait = now - asked, max(1.0, asked + one.floor - now)
    article = "an" if one.what[0] in "AEIO" else "a"
    raise TooSoonError(
        f"{plain(one.whom)} was asked {ago:.0f} s ago, and Twilio allows {article}"
        f" {one.what} every {one.floor:.0f} s: wait {wait:.0f} s"
    )


def _key(one: Claim) -> str:
    return f"{one.what} {one.whom}"[:300]


def _read(file: IO[str]) -> dict[str, float]:
    """What was noted; nothing where the file is new, or not ours."""
    text = file.read(NOTES_LIMIT)
    try:
        return {str(key): float(at) for key, at in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def _write(file: IO[str], notes: dict[str, float]) -> None:
    latest = sorted(notes.items(), key=lambda note: note[1])[-NOTES:]
    file.seek(0)
    file.truncate()
    json.dump(dict(latest), file)


def _folder() -> Path:
    """Of this user: what is gone with a restart of the machine, else his cache."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "sipwatch"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "sipwatch"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
