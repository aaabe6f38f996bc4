"""Acknowledging by a link in a notification: once, in time, for what it told of."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping

from alerting.alarms.changes import Changes
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.incidents import Incidents
from alerting.incident import Incident
from alerting.store.rows import DropMemo, Memo

PREFIX = "alarms/link/"  # of the memos that keep which links were used

log = logging.getLogger(__name__)


class Acknowledging:
    """Links: what they are about, and which were used; `now` is the daemon's time.

    That a link was used is one transaction with what it did.
    """

    def __init__(
        self, incidents: Incidents, deliveries: Deliveries, changes: Changes
    ) -> None:
        self._incidents = incidents
        self._deliveries = deliveries
        self._changes = changes
        self._used: dict[str, float] = {}  # until when each would have been good

    def restore(self, memos: Mapping[str, str]) -> None:
        """Take over what is stored; what cannot be read is forgotten."""
        for name, text in memos.items():
            if not name.startswith(PREFIX):
                continue
            try:
                self._used[name.removeprefix(PREFIX)] = float(json.loads(text))
            except (ValueError, TypeError) as error:
                log.warning("%s is stored wrongly: %s", name, error)

    def told(self, notifier: str, thread: str) -> list[Incident]:
        """The open incidents that a notifier was told of in a thread, oldest first."""
        return list(self._told(notifier, thread))

    def _told(self, notifier: str, thread: str) -> Iterator[Incident]:
        for incident in self._incidents.open.values():
            for row in self._deliveries.of(incident):
                if row.notifier == notifier and thread in (row.thread, row.batch):
                    yield incident

    def used(self, link: str) -> bool:
        """Whether a link has done its work."""
        return link in self._used

    def use(
        self,
        link: str,
        good_until: float,
        incidents: list[Incident],
        who: str,
        note: str,
        now: float,
    ) -> None:
        """Take these for somebody, by a link that is used up by it."""
        self._used[link] = good_until
        self._changes.memo(Memo(PREFIX + link, json.dumps(good_until)))
        for incident in incidents:
            self._incidents.acknowledge(incident.id, who, now, note)

    def prune(self, wall: float) -> None:
        """Forget the links that are good no more."""
        for link in [link for link, until in self._used.items() if until <= wall]:
            del self._used[link]
            self._changes.memo(DropMemo(PREFIX + link))
