"""Extensions that the PBX itself says are not to be reached, on purpose."""

from __future__ import annotations

from collections.abc import Mapping

from checks.observation import Cause
from checks.registrations.extension import Extension
from checks.registrations.readings import Paused, Pausing


class Pauses:
    """What each member says; one that cannot be read is believed what it said last."""

    def __init__(self, extensions: Mapping[str, Extension]) -> None:
        self._extensions = extensions
        self._of: dict[str, dict[str, Cause]] = {}

    def take(self, member: str, reading: Paused | Pausing) -> None:
        """Take what a member says, and mark the extensions that it is about."""
        known = self._of.get(member, {})
        if isinstance(reading, Pausing):
            named = {reading.aor: reading.cause} if reading.on else {}
            several = {k: v for k, v in known.items() if k != reading.aor} | named
        else:
            several = dict(reading.causes)
        self._of[member] = several
        for aor in known.keys() | several.keys():
            self._mark(aor)

    def _mark(self, aor: str) -> None:
        extension = self._extensions.get(aor)
        if extension is not None:
            said = [causes[aor] for causes in self._of.values() if aor in causes]
            # In maintenance nothing of it is an alarm, so that goes before all else.
            said.sort(key=lambda cause: cause is not Cause.MAINTENANCE)
            extension.subject.paused = said[0] if said else None

    def mark(self) -> None:
        """Extensions may be new: mark all again that are paused."""
        for causes in self._of.values():
            for aor in causes:
                self._mark(aor)
