"""When a registrar is asked, and what a clock says in a zone that it leaves out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

QUARTER = 900  # s; every time zone is whole quarters of an hour from UTC
EVENT_AGE = 180.0  # s; a list and a directory are given up after that in all
DUTY = 10  # a list that took t s is asked for again after 10 t at the earliest


def in_utc(text: str, form: str, near: float) -> float | None:
    """Local time of an unknown zone as UTC s, by a time within 7 min of it."""
    try:
        local = datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return local - QUARTER * round((local - near) / QUARTER)


def in_our_zone(text: str, form: str) -> float | None:
    """Local time of a zone that nothing tells, as UTC s: most often it is ours.

    A wrong guess is off by the same hours each time, so that a change is seen.
    """
    try:
        return datetime.strptime(text, form).astimezone().timestamp()
    except (ValueError, OverflowError):
        return None


def happened(stamp: float | None, offset: float | None, now: float) -> float:
    """Our time of an event, by its stamp on a clock that is `offset` ahead of ours.

    No event is older than a list takes, beside which it is kept. One that seems to be
    tells of a clock that was set after it was measured: then it was now.
    """
    if stamp is None or offset is None:
        return now
    at = min(now, stamp - offset)
    return at if at > now - EVENT_AGE else now


async def pause(stirred: asyncio.Event, seconds: float) -> None:
    """Sleep until it stirs, but no longer.

    Not by `asyncio.wait_for`: Python 3.11's forgets a cancellation that comes in the
    turn of the loop in which it stirs, and who was cancelled would go on for ever.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stirred.wait()


class Pace:
    """When the next full list is due: each interval, or when wished.

    A wish made while a list is read asks for another. A server that slows down is
    asked less often; but a clock that was set ahead, or a machine that slept, while
    one was read makes no list longer than the longest that is waited for.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self.reading = False  # a list is under way
        self._wished: float | None = None
        self._next = self._not_before = 0.0
        self._stirred = asyncio.Event()

    def wish(self, at: float) -> None:
        """A list is wanted at that time, or as soon after as the load allows."""
        self._wished = at if self._wished is None else min(at, self._wished)
        self._stirred.set()

    def due(self) -> float:
        """When the next list shall be asked for."""
        if self._wished is None:
            return self._next
        return min(self._next, max(self._wished, self._not_before))

    def begin(self) -> float:
        """A list is asked for; returns the time, which `end` wants back."""
        self._wished, self.reading = None, True
        return self._clock()

    def end(self, began: float) -> None:
        """The list that began then has been read."""
        now, self.reading = self._clock(), False
        took = min(now - began, EVENT_AGE)
        self._not_before = now + DUTY * took
        self._next = max(began + self._interval, self._not_before)

    async def rest(self) -> None:
        """Sleep until a list is due."""
        while (left := self.due() - self._clock()) > 0:
            self._stirred.clear()
            await pause(self._stirred, left)
