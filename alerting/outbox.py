"""The courier: one task for each notifier, which brings it what is due.

Told at least once. The batch id is committed before the first attempt and the outcome
after each, so a crash between leaves the row due and the repeat carries the same id.
A commit that fails or takes too long does not hold a message up: late bookkeeping
beats silence.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from alerting.incident import (
    Batch,
    Delivery,
    DeliveryError,
    Incident,
    Notification,
    Notifier,
    Outcome,
    Told,
)
from alerting.notification.render import bare, trial
from checks.observation import plain

COMMIT_PATIENCE = 5.0  # s that a message waits for its row
SEND_PATIENCE = 60.0  # s for a notifier that sets itself no limit, or misses it
STOP_PATIENCE = 1.0  # s for a delivery in flight when we stop
MIN_REST = 0.1  # s between two looks, whatever the core says is due

_log = logging.getLogger(__name__)


class Outbox(Protocol):
    """What a courier asks of the core."""

    def due(self, notifier: str, now: float) -> Batch | None:
        """The next batch to send, with its id; None if nothing is due yet."""

    def settle(
        self,
        batch: Batch,
        outcome: Outcome,
        now: float,
        error: str = "",
        retry_after: float = 0.0,
        *,
        in_doubt: bool = False,
    ) -> object:
        """Mark a batch as told, to be tried again, or dead; `error` says why not, or
        who of several has it not although it was accepted; `in_doubt`: somebody may
        have it although it was not."""

    def next_due(self, notifier: str) -> float | None:
        """When something may be due; None if nothing is owed."""

    def told(self, notifier: str) -> list[Delivery]:
        """What it was told as firing, and still does."""

    def fared(
        self, notifier: str, outcome: Outcome, now: float, error: str = ""
    ) -> object:
        """Mark how an attempt to tell nothing new ended."""


@dataclass(slots=True)
class Delays:
    """A histogram of s in plain ints: from the change to its acceptance."""

    bounds: tuple[float, ...] = (1, 5, 15, 30, 60, 300, 900, 3600, 14400, 86400)
    counts: list[int] = field(default_factory=lambda: [0] * 11)  # the last: beyond
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class _End(NamedTuple):
    """How an attempt ended."""

    outcome: Outcome
    error: str
    wait: float = 0.0  # s that it wants to be left alone
    in_doubt: bool = False  # somebody may have it, though it did not end well


class Courier:
    """Brings one notifier its batches, one at a time, until stopped.

    `failures` counts the attempts in a row that failed; `flush` commits what the core
    has to write.
    """

    def __init__(
        self,
        name: str,
        notifier: Notifier,
        alarms: Outbox,
        *,
        render: Callable[[Batch, float], Notification],
        flush: Callable[[], Awaitable[object]],
        clock: Callable[[], float],
        instance: str,
        barely: Callable[[Batch], Notification] | None = None,
        patience: float = SEND_PATIENCE,
    ) -> None:
        self.name = name
        self.outcomes = dict.fromkeys(Outcome, 0)  # attempts since the start
        self.delays = Delays()
        self.failures = 0  # attempts in a row
        self.accepted_at: float | None = None  # the last of them, since the start
        self.notifier = notifier
        self._alarms = alarms
        self._render = render
        self._flush = flush
        self._clock = clock
        self._barely = barely or (lambda batch: bare(batch, instance))
        self._patience = patience
        self._every: float = getattr(notifier, "renew", 0.0)
        # None: nothing is told as firing. At a start nobody knows how long ago it was.
        self._renew_at: float | None = clock() if self._every else None
        self._woken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[object] | None = None
        self._commits: set[asyncio.Future[object]] = set()

    def wake(self) -> None:
        """Something may be due now."""
        self._woken.set()

    def renew(self) -> None:
        """Somebody took an incident: who asks for renewals hears of it now."""
        if self._every:
            self._renew_at = self._clock()
        self.wake()

    async def run(self) -> None:
        """Deliver what is due, rest until more is; ends by `stop`."""
        self._task = asyncio.current_task()
        while not self._stopping:
            self._woken.clear()
            # First, so that no lot of deliveries lets the peer forget what fires.
            if told := self._to_renew():
                await self._renew(told)
            batch = self._alarms.due(self.name, self._clock())
            if batch is None:
                await self._rest()
            else:
                await self._deliver(batch)

    async def stop(self) -> None:
        """End; a delivery in flight has a second, then its row stays due."""
        self._stopping = True
        self.wake()
        if self._task is None:
            return
        _, late = await asyncio.wait({self._task}, timeout=STOP_PATIENCE)
        while late:  # aiosmtplib eats a cancelling that comes together with a reply
            self._task.cancel()
            _, late = await asyncio.wait({self._task}, timeout=STOP_PATIENCE)

    async def _rest(self) -> None:
        times = (self._alarms.next_due(self.name), self._renew_at)
        due = min((at for at in times if at is not None), default=None)
        delay = None if due is None else max(due - self._clock(), MIN_REST)
        try:
            async with asyncio.timeout(delay):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _deliver(self, batch: Batch) -> None:
        await self._commit()
        end = await self._send(batch, self._worded(batch))
        now = self._clock()
        self._count(batch, end.outcome, now)
        self._alarms.settle(
            batch, end.outcome, now, end.error, end.wait, in_doubt=end.in_doubt
        )
        self._report(end.outcome, end.error)
        await self._commit()

    def _to_renew(self) -> list[Delivery]:
        """What is to be told again now, to a notifier that asks for it."""
        now = self._clock()
        if not self._every or (self._renew_at is not None and now < self._renew_at):
            return []
        told = self._alarms.told(self.name)
        if told and self._renew_at is None:
            self._renew_at = now + self._every
            return []
        if not told:
            self._renew_at = None
        return told

    async def _renew(self, told: list[Delivery]) -> None:
        batch = Batch("renewal", self.name, Told.FIRING, tuple(told), "renewal")
        renewal = replace(self._barely(batch), renewal=True)
        end = await self._send(batch, renewal)
        now = self._clock()
        self._renew_at = now + self._every
        self.tested(end.outcome, now)
        self._alarms.fared(self.name, end.outcome, now, end.error)
        self._report(end.outcome, end.error)
        await self._commit()

    async def _commit(self) -> None:
        """Wait for the commit, but not for ever; it goes on behind our back."""
        commit = asyncio.ensure_future(self._flush())
        self._commits.add(commit)
        commit.add_done_callback(self._committed)
        _, late = await asyncio.wait({commit}, timeout=COMMIT_PATIENCE)
        if late:
            _log.warning("%s: the commit takes long; going on without it", self.name)

    def _committed(self, commit: asyncio.Future[object]) -> None:
        self._commits.discard(commit)
        if not commit.cancelled() and (error := commit.exception()):
            _log.error("%s: the commit failed: %s", self.name, plain(str(error)))

    async def _send(self, batch: Batch, notification: Notification) -> _End:
        try:
            async with asyncio.timeout(self._patience):
                await self.notifier.send(notification)
        except DeliveryError as error:
            outcome = Outcome.PERMANENT if error.permanent else Outcome.TRANSIENT
            return _End(outcome, plain(str(error)), error.retry_after, error.in_doubt)
        except TimeoutError:
            why = f"no end within {self._patience:g} s"
            return _End(Outcome.TRANSIENT, why, in_doubt=True)
        except Exception as error:  # noqa: BLE001 - a stranger's notifier may do anything
            _log.exception("%s: the notifier broke on batch %s", self.name, batch.id)
            why = plain(f"{type(error).__name__}: {error}")
            return _End(Outcome.TRANSIENT, why, in_doubt=True)
        # Taken, but not for everybody: that is to be known as well.
        complaint = plain(getattr(self.notifier, "complaint", ""))
        return _End(Outcome.ACCEPTED, complaint)

    def _worded(self, batch: Batch) -> Notification:
        """In good words; in bare ones if those fail: an ugly mail beats none."""
        try:
            return self._render(batch, self._clock())
        except Exception:  # noqa: BLE001 - part of the one delivery
            _log.exception("%s: batch %s could not be worded", self.name, batch.id)
            return self._barely(batch)

    def _count(self, batch: Batch, outcome: Outcome, now: float) -> None:
        self.outcomes[outcome] += 1
        self.tested(outcome, now)
        if outcome is Outcome.ACCEPTED and batch.change is not Told.WORSE:
            changes = [
                _changed(d.incident, batch) for d in batch.deliveries if not d.step
            ]
            if changes:
                self.delays.add(max(0.0, now - min(changes)))

    def tested(self, outcome: Outcome, now: float) -> None:
        """Note whether it works, by whatever it was asked to take."""
        if outcome is Outcome.ACCEPTED:
            self.failures, self.accepted_at = 0, now
        else:
            self.failures += 1

    def _report(self, outcome: Outcome, error: str) -> None:
        if outcome is Outcome.ACCEPTED:
            return
        level = logging.WARNING if self.failures == 1 else logging.DEBUG
        _log.log(level, "%s: %s failure: %s", self.name, outcome, error)


def _changed(incident: Incident, batch: Batch) -> float:
    """When it happened what the batch tells."""
    if batch.change is Told.RESOLVED and incident.resolved_at is not None:
        return incident.resolved_at
    return incident.opened_at


async def send_test(
    notifier: Notifier,
    name: str,
    *,
    instance: str,
    zone: ZoneInfo,
    now: float,
    ways: str = "",
) -> Notification:
    """Send what `sipwatch test-notify` sends; raises DeliveryError, also where it was
    taken, but not for everybody. `ways` are the routes that lead there."""
    notification = trial(
        instance=instance, notifier=name, zone=zone, now=now, ways=ways
    )
    try:
        async with asyncio.timeout(SEND_PATIENCE):
            await notifier.send(notification)
    except TimeoutError:
        raise DeliveryError(f"no end within {SEND_PATIENCE:g} s") from None
    except DeliveryError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's notifier may do anything
        _log.exception("%s: the notifier broke on a test", name)
        raise DeliveryError(plain(f"{type(error).__name__}: {error}")) from None
    if complaint := plain(getattr(notifier, "complaint", "")):
        raise DeliveryError(complaint)
    return notification
