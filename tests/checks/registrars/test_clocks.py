"""Pauses between questions: whatever ends one, a cancelling is not forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from checks.registrars.clocks import Pace, pause
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
