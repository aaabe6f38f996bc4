"""What the judge of a registrar wants to find again after a restart of sipwatch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from checks.observation import State
from checks.registrations.extension import Extension
from checks.registrations.habit import packed, unpacked
from checks.registrations.member import Member

FORGOTTEN = "null"  # the JSON of what is remembered no more
# In our time; "boot" is in the PBX's.
MOMENTS = ("read", "since", "first", "dormant")


@dataclass(frozen=True, slots=True)
class Remembered:
    """One thing under a name of its own; a later one replaces it."""

    name: str  # "member/10.0.0.5:5038", "aor/1001", "audit/told"
    json: str


def of_member(member: Member, active: bool) -> Remembered:
    """When a member was last read, and its boot time."""
    kept = {
        "read": member.read_at,
        "boot": member.boot,
        "run": member.run,
        "readable": member.readable,
        "since": member.since,
        "active": active,
    }
    return Remembered(f"member/{member.name}", json.dumps(kept))


def of_extension(extension: Extension, members: Iterable[Member]) -> Remembered:
    """What of an extension no read can tell."""
    kept = {
        "first": extension.first_seen,
        "learned": extension.learned,
        "bound": extension.bound,
        "answered": extension.answered,
        "held": [m.name for m in members if m.bit & extension.held_by],
        "dormant": extension.since if extension.dormant else None,
        "breach": extension.breach,
        "overdue": extension.overdue,
        "site": extension.found_at,
    }
    text = msgspec.json.encode(kept).decode()  # of each in a first list
    return Remembered(f"aor/{extension.aor}", text)


def of_habits(habits: Mapping[str, bytes]) -> Remembered:
    """When everybody refreshes, in one; it may be late, and takes 16 bytes each."""
    return Remembered("habits", json.dumps(packed(habits)))


def of_servers(answered: Iterable[str]) -> Remembered:
    """The servers of outbound registrations that have answered OPTIONS of ours."""
    return Remembered("servers", json.dumps(list(answered)))


def forgotten(aor: str) -> Remembered:
    """An AOR that is watched no more."""
    return Remembered(f"aor/{aor}", FORGOTTEN)


def shifted(row: Remembered, seconds: float) -> Remembered:
    """The same with its times moved, as when the wall clock was set."""
    kept = json.loads(row.json)
    if not isinstance(kept, dict):
        return row
    moved = {k: t + seconds for k in MOMENTS if (t := _time(kept, k)) is not None}
    return Remembered(row.name, json.dumps(kept | moved))


class Memory:
    """What was remembered, read back; rows that make no sense are left out."""

    def __init__(self, remembered: Iterable[Remembered]) -> None:
        self._members: dict[str, dict[str, Any]] = {}
        self.aors: dict[str, dict[str, Any]] = {}
        self._audit: dict[str, dict[str, Any]] = {}
        kinds = {"member": self._members, "aor": self.aors, "audit": self._audit}
        self._habits: dict[str, bytes] = {}
        self.servers: list[str] | None = None  # None: nobody has noted any
        for row in remembered:
            kind, _, name = row.name.partition("/")
            try:
                kept = json.loads(row.json)
            except ValueError:
                continue  # written by a disk that failed: learned anew
            if kind in kinds and isinstance(kept, dict):
                kinds[kind][name] = kept
            elif kind == "habits" and isinstance(kept, dict):
                self._habits = unpacked(kept)
            elif kind == "servers" and isinstance(kept, list):
                self.servers = [one for one in kept if isinstance(one, str)]

    @property
    def audit(self) -> dict[str, Any]:
        """What was last told of the audit."""
        return self._audit.get("told", {})

    def restore_member(self, member: Member, now: float, gap: float) -> bool:
        """Put a member where it stood; whether it was the active one.

        After a pause of ours that is longer than `gap` what it was says nothing of now.
        """
        kept = self._members.get(member.name, {})
        member.read_at, member.boot = _time(kept, "read"), _time(kept, "boot")
        member.run = str(kept.get("run") or "")
        since = _time(kept, "since")
        if since is not None and kept.get("readable") is False:
            member.blind_since = since
        elif member.read_at is not None and now - member.read_at <= gap:
            member.well_since, member.blind_since = since, member.read_at
        return bool(kept.get("active"))

    def restore_extension(
        self, extension: Extension, members: Iterable[Member]
    ) -> Extension:
        """Give an extension back what is remembered of it."""
        extension.habit = self._habits.pop(extension.aor, b"")
        if kept := self.aors.pop(extension.aor, None):  # it knows by itself from now
            extension.first_seen = _time(kept, "first") or extension.first_seen
            extension.learned = bool(kept.get("learned"))
            extension.bound = bool(kept.get("bound"))
            extension.answered = bool(kept.get("answered"))
            breach = kept.get("breach")
            extension.breach = breach if isinstance(breach, int) else 0
            extension.overdue = bool(kept.get("overdue"))
            site = kept.get("site")
            extension.found_at = site if isinstance(site, str) else ""
            held = kept.get("held") or ()
            extension.held_by = sum(m.bit for m in members if m.name in held)
            since = _time(kept, "dormant")
            if since is not None:  # given up, so that the alarms have no state of it
                extension.state, extension.since = State.UNREGISTERED, since
                extension.dormant = True
        return extension


def _time(kept: dict[str, Any], name: str) -> float | None:
    value = kept.get(name)
    return float(value) if isinstance(value, int | float) else None
