"""Pauses between questions: whatever ends one, a cancelling is not forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from checks.registrars.clocks import DUTY, EVENT_AGE, Pace, happened, pause
from checks.registrars.session import Session

Pausing = tuple[Coroutine[Any, Any, object], Callable[[], object]]


def of_itself() -> Pausing:
    stirred = asyncio.Event()
    return pause(stirred, 60.0), stirred.set


def of_a_pace() -> Pausing:
    pace = Pace(60.0, time.time)
    pace.end(pace.begin())
    return pace.rest(), lambda: pace.wish(0.0)


def of_a_session() -> Pausing:
    session = Session(60.0, time.time, ())
    return session.wait(60.0), session.nudge


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("begin", [of_itself, of_a_pace, of_a_session])
async def test_who_is_cancelled_as_it_is_woken_does_not_go_on(
    begin: Callable[[], Pausing], turns: int
) -> None:
    pausing, wake = begin()
    task = asyncio.create_task(pausing)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    if task.cancel():  # False: it had ended before
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_pause_ends_by_itself() -> None:
    for seconds in (0.0, 0.001):
        await asyncio.wait_for(pause(asyncio.Event(), seconds), 5)


@pytest.mark.parametrize(
    ("stamp", "offset", "at"),
    [
        (None, 0.0, 1000.0),
        (990.0, None, 1000.0),  # whose clock is not known
        (990.0, 0.0, 990.0),
        (8190.0, 7200.0, 990.0),  # hours ahead, and known to be
        (1003.0, 0.0, 1000.0),  # nothing happens in times to come
        (990.0, 7200.0, 1000.0),  # set back by hours since it was measured
        (1.0, 1e11, 1000.0),
        (1000.0 - EVENT_AGE, 0.0, 1000.0),
    ],
)
def test_when_an_event_was(
    stamp: float | None, offset: float | None, at: float
) -> None:
    assert happened(stamp, offset, 1000.0) == at


@pytest.mark.parametrize(
    ("took", "due"),
    [
        (0.0, 60.0),
        (2.0, 60.0),  # from the time it was asked for
        (20.0, 220.0),  # a server that is slow is asked less often
        (EVENT_AGE, EVENT_AGE + DUTY * EVENT_AGE),
        (14_400.0, 14_400.0 + DUTY * EVENT_AGE),  # the machine slept meanwhile
    ],
)
def test_when_the_next_list_is_due(took: float, due: float) -> None:
    times = iter((0.0, took))
    pace = Pace(60.0, lambda: next(times))
    pace.end(pace.begin())
    assert pace.due() == due
