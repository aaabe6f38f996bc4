"""What is to be written, kept by subject until it is taken.

State, incident and outbox rows of one subject belong in one transaction; those of
different subjects need not. So a mass event is taken in slices of subjects, in the
order in which they first changed, and what changes twice before it is taken is
written once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from alerting.alarms.restoring import snapshot
from alerting.alarms.watched import Watched
from alerting.incident import Delivery, Incident, Outcome, Told
from alerting.store.rows import (
    AttemptRow,
    DeliveryRow,
    DropDelivery,
    DropMemo,
    DropSubject,
    Memo,
    TrailRow,
    What,
    Write,
)
from checks.observation import Subject, plain

TRAIL = 50  # rows of one subject that wait to be written: as many as are kept


class _Said(NamedTuple):
    """An attempt at a batch, for all that it tells: there may be thousands."""

    notifier: str
    batch: str
    telling: Told
    attempts: int
    begun: float
    at: float
    outcome: str
    error: str

    def row(self, incident: int, step: int) -> AttemptRow:
        """What is written of it for one incident."""
        return AttemptRow(incident, self.notifier, step, *self[1:])


@dataclass(slots=True)
class _Change:
    """What changed of one subject."""

    watched: Watched | None = None
    # Of a mass event there are thousands: what they lack they have no room for.
    incidents: dict[Incident, None] | None = None
    dropped: list[DropDelivery] | None = None
    deliveries: dict[Delivery, None] | None = None
    attempts: dict[tuple[int, int, str], _Said] | None = None
    trail: deque[TrailRow] | None = None

    def rows(self) -> list[Write]:
        """All of it as rows; an outbox row that came again is not the dropped one."""
        rows: list[Write] = []
        if self.watched is not None:
            self.watched.stored = True
            rows.append(self.watched.row())
        if self.incidents:
            rows += map(snapshot, self.incidents)
        rows += self.dropped or ()
        if self.deliveries:
            rows += map(_outbox_row, self.deliveries)
        if self.attempts:
            rows += [
                said.row(incident, step)
                for (incident, step, _), said in self.attempts.items()
            ]
        rows += self.trail or ()
        return rows


class Changes:
    """The subjects of which something is to be written."""

    def __init__(self) -> None:
        self._of: dict[Subject, _Change] = {}
        self._removed: list[DropSubject] = []
        self._memos: dict[str, Memo | DropMemo] = {}  # a few, by their names

    def __bool__(self) -> bool:
        return bool(self._of or self._removed or self._memos)

    def _find(self, subject: Subject) -> _Change:
        found = self._of.get(subject)
        if found is None:
            found = self._of[subject] = _Change()
        return found

    def subject(self, watched: Watched) -> None:
        """The state of a subject is to be written."""
        self._find(watched.subject).watched = watched

    def unchanged(self, watched: Watched) -> bool:
        """The state of a subject need not be written after all; whether it was to."""
        found = self._of.get(watched.subject)
        if found is None or found.watched is None:
            return False
        found.watched = None
        return True

    def removed(self, key: str) -> None:
        """A subject is watched no more."""
        self._removed.append(DropSubject(key))

    def memo(self, memo: Memo | DropMemo) -> None:
        """What is of no subject: a silence, a link that was used."""
        self._memos[memo.name] = memo

    def incident(self, incident: Incident) -> None:
        """An incident is to be written."""
        found = self._find(incident.subject)
        if found.incidents is None:
            found.incidents = {}
        found.incidents[incident] = None

    def delivery(self, row: Delivery) -> None:
        """An outbox row is to be written."""
        found = self._find(row.incident.subject)
        if found.deliveries is None:
            found.deliveries = {}
        found.deliveries[row] = None

    def deliveries(self, rows: Iterable[Delivery]) -> None:
        """Several are to be written."""
        for row in rows:
            self.delivery(row)

    def attempt(
        self,
        rows: Sequence[Delivery],
        now: float,
        outcome: Outcome | None = None,
        error: str = "",
    ) -> None:
        """An attempt at the rows of one batch has begun, or ended."""
        if not rows:
            return
        first = rows[0]
        said = _Said(
            first.notifier,
            first.batch,
            first.telling,
            first.attempts,
            first.begun or now,
            now,
            outcome or "",
            plain(error),
        )
        for row in rows:
            found = self._find(row.incident.subject)
            if found.attempts is None:
                found.attempts = {}
            found.attempts[row.incident.id, row.step, said.batch] = said

    def note(
        self,
        subject: Subject,
        what: What,
        rule: str,
        text: str,
        now: float,
        incident: Incident | None = None,
    ) -> None:
        """Why something was done, or not done, is to be written."""
        id_ = incident.id if incident else None
        row = TrailRow(subject.key, now, what, rule, plain(text), id_)
        found = self._find(subject)
        if found.trail is None:
            found.trail = deque(maxlen=TRAIL)
        found.trail.append(row)

    def dropped(self, row: Delivery) -> None:
        """An outbox row is owed no more."""
        change = self._find(row.incident.subject)
        if change.deliveries:
            change.deliveries.pop(row, None)
        if change.dropped is None:
            change.dropped = []
        change.dropped.append(DropDelivery(row.incident.id, row.notifier, row.step))

    def take(self, most: int | None) -> list[Write]:
        """The rows of the first `most` subjects, or of all; a removal counts as one."""
        writes: list[Write] = list(self._removed[:most])
        del self._removed[:most]
        left = None if most is None else most - len(writes)
        for subject in list(islice(self._of, left)):
            writes += self._of.pop(subject).rows()
        writes += self._memos.values()
        self._memos.clear()
        return writes


def _outbox_row(row: Delivery) -> DeliveryRow:
    return DeliveryRow(
        incident=row.incident.id,
        notifier=row.notifier,
        step=row.step,
        group=row.group,
        wanted=row.wanted,
        told=row.told,
        telling=row.telling,
        thread=row.thread,
        batch=row.batch,
        not_before=row.not_before,
        attempts=row.attempts,
        error=row.error,
        dead=row.dead,
    )
