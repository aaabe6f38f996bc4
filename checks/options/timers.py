"""Timers E and F of all questions in flight (RFC 3261 17.1.2.2): deques of batches.

All rows asked in one tick are one `Batch`. When its timer fires it is filtered for the
rows whose nonce is still the one in flight; those are asked again, the rest forgotten.
Every timer has one length, so each is one deque with its batches in order of time, and
what was answered costs nothing but the filter. Over a stream nothing is sent again.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from checks.options.rows import PROCEEDING, Rows

T1, T2 = 0.5, 4.0  # s
STAGES = (T1, 2 * T1, 4 * T1, T2)  # what timer E is set to, the last one for ever


@dataclass(slots=True, eq=False)
class Batch:
    """Rows that were asked together, and wait for the same timer."""

    due: float
    give_up: float  # when their timeout passes
    began: float
    timeout: float
    rows: list[int]
    nonces: list[int]


class Timers:
    """What is in flight; `again` asks a row again with the same request."""

    def __init__(self, rows: Rows, again: Callable[[int, float], None]) -> None:
        self._rows = rows
        self._again = again
        self._stages: tuple[deque[Batch], ...] = tuple(deque() for _ in STAGES)
        self._timeouts: dict[float, deque[Batch]] = {}

    def start(
        self,
        rows: list[int],
        nonces: list[int],
        timeout: float,
        stream: bool,
        now: float,
    ) -> None:
        """These rows have just been asked."""
        batch = Batch(now + T1, now + timeout, now, timeout, rows, nonces)
        if stream or timeout <= T1:
            self._await(batch)
        else:
            self._stages[0].append(batch)

    def resend(self, now: float, allowance: int) -> None:
        """Ask again what timer E says; at most about so many."""
        for stage, queue in enumerate(self._stages):
            while queue and queue[0].due <= now and allowance > 0:
                batch = self._still(queue.popleft())
                allowance -= len(batch.rows)
                if not batch.rows:
                    continue
                if stage == 0:
                    self._await(replace(batch))
                if now < batch.give_up:
                    for row in batch.rows:
                        self._again(row, now)
                    self._wait_on(batch, stage, now)

    def expired(self, now: float) -> Iterator[tuple[int, float]]:
        """Rows whose timeout has passed, and when they were first asked."""
        for queue in self._timeouts.values():
            while queue and queue[0].due <= now:
                batch = self._still(queue.popleft())
                for row in batch.rows:
                    yield row, batch.began

    def pause(self, now: float, gap: float) -> list[int]:
        """We did not run for `gap` seconds: all get them on top.

        Returns the rows whose timeout would have passed meanwhile.
        """
        overdue: list[int] = []
        for queue in self._timeouts.values():
            while queue and queue[0].due <= now:
                overdue += self._still(queue.popleft()).rows
            for batch in queue:
                batch.due += gap
                batch.give_up += gap
        for queue in self._stages:
            for batch in queue:
                batch.give_up += gap
        return overdue

    def next_due(self) -> float | None:
        """When the next timer fires."""
        queues = (*self._stages, *self._timeouts.values())
        return min((queue[0].due for queue in queues if queue), default=None)

    def _await(self, batch: Batch) -> None:
        batch.due = batch.give_up
        self._timeouts.setdefault(batch.timeout, deque()).append(batch)

    def _wait_on(self, batch: Batch, stage: int, now: float) -> None:
        """Set timer E anew: doubled, or to T2 once a 1xx was heard."""
        doing, last = self._rows.doing, len(STAGES) - 1
        pairs: dict[int, list[tuple[int, int]]] = {}
        for row, nonce in zip(batch.rows, batch.nonces, strict=True):
            after = last if doing[row] == PROCEEDING else min(stage + 1, last)
            pairs.setdefault(after, []).append((row, nonce))
        for after, found in pairs.items():
            due = now + STAGES[after]
            if due < batch.give_up:
                rows, nonces = [row for row, _ in found], [n for _, n in found]
                ahead = replace(batch, due=due, rows=rows, nonces=nonces)
                self._stages[after].append(ahead)

    def _still(self, batch: Batch) -> Batch:
        """The batch without the rows that are no longer in flight."""
        current: array[int] = self._rows.nonce
        pairs = zip(batch.rows, batch.nonces, strict=True)
        found = [pair for pair in pairs if current[pair[0]] == pair[1]]
        batch.rows = [row for row, _ in found]
        batch.nonces = [nonce for _, nonce in found]
        return batch
