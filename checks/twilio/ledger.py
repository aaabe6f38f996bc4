"""What of Twilio's alerts was handled: how far, and which of the latest by their sids.

Alerts are listed by when they happened, and may be listed later than that. So each
look begins some time before the last one ended (`overlap`), and what it brings again
is known by its sid. Sids are kept for longer than any look goes back; what is older
than the oldest kept one (`floor`) is never taken: nobody could say whether it is new.

The ledger is stored in the transaction of what an alert has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from checks.twilio.alerts import Alert

KEPT = 2 * 86400.0  # s for which a sid is kept: twice the longest overlap
WINDOW = 30 * 86400.0 - 3600.0  # s; Twilio lists no more, and our clocks may differ
MOST = 20_000  # sids that are kept: two looks of as many alerts as one may bring
AHEAD = 3600.0  # s that an alert may seem to lie ahead of us


@dataclass(slots=True)
class Ledger:
    """All times are UTC s of the wall clock: they are compared with Twilio's."""

    until: float  # everything up to here has been listed once
    floor: float = 0.0
    seen: dict[str, float] = field(default_factory=dict)  # sid: when it happened
    stale: int = 0  # too old to know whether they are new: replays

    @classmethod
    def begun(cls, now: float) -> Ledger:
        """Without a past: what happened before is not ours."""
        return cls(now, now - KEPT)

    def start(self, now: float, overlap: float) -> float:
        """From when on to look."""
        return max(self.until - overlap, self.floor, now - WINDOW)

    def new(self, alerts: Iterable[Alert], now: float) -> list[Alert]:
        """Those that were never handled, the oldest first; each once."""
        found: dict[str, Alert] = {}
        for alert in alerts:
            if alert.sid in self.seen:
                continue
            if alert.at < self.floor or alert.at > now + AHEAD:
                self.stale += 1
                continue
            found[alert.sid] = alert
        return sorted(found.values(), key=lambda a: (a.at, a.sid))

    def handled(self, alerts: Iterable[Alert]) -> None:
        """These are taken in; the same transaction stores it."""
        for alert in alerts:
            self.seen[alert.sid] = alert.at
        if len(self.seen) > MOST:
            self._forget(len(self.seen) - MOST)

    def listed(self, until: float) -> None:
        """All that had been listed by now is handled."""
        self.until = max(self.until, until)
        floor = self.until - KEPT
        if floor > self.floor:
            self.floor = floor
            old = [sid for sid, at in self.seen.items() if at < floor]
            for sid in old:
                del self.seen[sid]

    def _forget(self, count: int) -> None:
        """The oldest sids go; no look goes back to them any more."""
        oldest = sorted(self.seen.items(), key=lambda item: item[1])[:count]
        for sid, at in oldest:
            del self.seen[sid]
            self.floor = max(self.floor, at)
        # Of one moment all or none: its others would be taken anew.
        for sid in [sid for sid, at in self.seen.items() if at <= self.floor]:
            del self.seen[sid]
        self.floor += 0.001

    def dump(self) -> dict[str, object]:
        """Itself as JSON values."""
        return {"until": self.until, "floor": self.floor, "seen": self.seen}

    @classmethod
    def load(cls, stored: object) -> Ledger:
        """From `dump`; ValueError for anything else."""
        if not isinstance(stored, dict):
            raise ValueError("the position at Twilio cannot be read")
        try:
            seen = {str(sid): float(at) for sid, at in stored["seen"].items()}
            return cls(float(stored["until"]), float(stored["floor"]), seen)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ValueError("the position at Twilio cannot be read") from None


def dumped(ledger: Ledger, **more: object) -> str:
    """A ledger, and what is kept beside it, as one JSON text."""
    return json.dumps({**ledger.dump(), **more}, separators=(",", ":"))
