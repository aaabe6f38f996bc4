"""How many notifications went out by each limited route within the last hour.

Where a route has used up its hour, what is owed by it waits for room, and goes as one
notification for all: fewer, later, and none lost.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from alerting.alarms.changes import Changes
from alerting.store.rows import Memo

HOUR = 3600.0  # s
PREFIX = "alarms/sent/"  # of the memos that keep it
FOLDED = "more "  # what the name of a group begins with that waited for room

Key = tuple[str, int]  # a notifier, and the number of a route

log = logging.getLogger(__name__)


class Limits:
    """The times of what went out, by our clock; stored by that of the wall."""

    def __init__(self, changes: Changes, ahead: Callable[[], float]) -> None:
        self._changes = changes
        self._ahead = ahead
        self._sent: dict[Key, list[float]] = defaultdict(list)

    def room_at(self, key: Key, most: int, now: float) -> float | None:
        """When there is room again; None: there is."""
        # As what is returned is added up: else, by a rounding, there would be no room
        # and would have been room by now, for ever.
        sent = self._sent[key] = [at for at in self._sent[key] if at + HOUR > now]
        return sent[-most] + HOUR if len(sent) >= most else None

    def count(self, key: Key, now: float) -> None:
        """One more goes out."""
        self._sent[key].append(now)
        notifier, number = key
        ahead = self._ahead()
        times = json.dumps([at + ahead for at in self._sent[key]])
        self._changes.memo(Memo(f"{PREFIX}{number}/{notifier}", times))

    def restore(self, memos: Mapping[str, str], now: float) -> None:
        """Take over what is stored; what cannot be read is forgotten."""
        ahead = self._ahead()
        for name, text in memos.items():
            if not name.startswith(PREFIX):
                continue
            number, _, notifier = name.removeprefix(PREFIX).partition("/")
            try:
                times = [float(at) - ahead for at in json.loads(text)]
                # A clock that was set back while we were away must not hold us up.
                self._sent[notifier, int(number)] = [at for at in times if at <= now]
            except (ValueError, TypeError) as error:
                log.warning("%s is stored wrongly: %s", name, error)
