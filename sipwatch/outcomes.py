"""Tests of accounts as JSON: what the daemon streams and the command line prints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from checks.accounts.exchange import Step
from checks.accounts.trial import Outcome
from checks.observation import Binding, plain
from checks.sip.trace import ladder

DAY = 86400.0

Tell = Callable[[Step], None]


def step_json(step: Step) -> dict[str, Any]:
    """One line of a test."""
    return {
        "ok": step.ok,
        "what": step.what,
        "text": plain(step.text),
        "seconds": step.seconds,
    }


def outcome_json(outcome: Outcome, *, verbose: bool = False) -> dict[str, Any]:
    """How a test ended; with `verbose` what went over the wire, without secrets."""
    ends = outcome.not_after
    shown: dict[str, Any] = {
        "state": outcome.state,
        "cause": outcome.cause,
        "sentence": outcome.sentence,
        "next_step": outcome.step,
        "evidence": list(outcome.evidence),
        "address": outcome.address,
        "transport": outcome.transport,
        "rtt": outcome.rtt,
        "retry_after": outcome.retry_after,
        "certificate_days": None
        if ends is None
        else round((ends - outcome.at) / DAY, 1),
        "bindings": [binding_json(row, outcome.at) for row in outcome.bindings],
    }
    if verbose:
        shown["exchange"] = ladder(outcome.exchange)
    return shown


def binding_json(row: Binding, now: float) -> dict[str, Any]:
    """One contact."""
    left = None if row.expires_at is None else round(row.expires_at - now)
    return {
        "aor": plain(row.aor),
        "contact": plain(row.contact),
        "expires_in": left,
        "received": plain(row.received),
        "user_agent": plain(row.user_agent),
        "reachable": row.reachable,
    }


_running: set[asyncio.Task[Any]] = set()  # a test ends also when nobody listens


async def stream(
    test: Callable[[Tell], Awaitable[Outcome]], *, verbose: bool
) -> AsyncIterator[bytes]:
    """The steps of a test as they come and its outcome, one JSON text a line."""
    steps: asyncio.Queue[Step | None] = asyncio.Queue()

    async def run() -> Outcome:
        try:
            return await test(steps.put_nowait)
        finally:
            steps.put_nowait(None)

    task = asyncio.create_task(run())
    _running.add(task)
    task.add_done_callback(_running.discard)
    while (step := await steps.get()) is not None:
        yield json.dumps({"step": step_json(step)}).encode() + b"\n"
    outcome = outcome_json(await task, verbose=verbose)
    yield json.dumps({"outcome": outcome}).encode() + b"\n"
