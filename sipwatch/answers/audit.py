"""The audit of the registrars: its table when it is asked for, its summary each day.

A table looks at every extension. It is made in slices, so that what else the loop does
goes on meanwhile; who comes or goes in between is in it or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from checks.observation import State
from checks.registrations.audit import Audit, Row, shown
from checks.registrations.judge import Judge
from sipwatch.follow import Following
from sipwatch.sources import Sources, sliced

SLICE = 500  # extensions in one turn of the loop: some 5 ms


async def table(judge: Judge) -> list[Row]:
    """How the phones of one registrar register."""
    audit = Audit(judge.refreshes.policy)
    for part in sliced(list(judge.extensions.values()), SLICE):
        for extension in part:
            audit.add(extension)
        await asyncio.sleep(0)
    for registration in judge.outgoing.registrations.values():
        audit.add_trunk(registration.server, registration.renewals)
    return audit.rows()


async def audit(sources: Sources, name: str = "") -> dict[str, Any]:
    """The answer of /api/v1/audit; LookupError where there is no such registrar."""
    judges = list(sources.judges.values())
    if name:
        judges = [judge for judge in judges if judge.name == name]
        if not judges:
            raise LookupError(f"there is no registrar {name}")
    return {"registrars": [await _shown(judge) for judge in judges]}


async def _shown(judge: Judge) -> dict[str, Any]:
    policy = judge.refreshes.policy
    return {
        "name": judge.name,
        "state": judge.state or "unknown",
        "expiry": {over: policy.bounds(over)._asdict() for over in ("UDP", "TCP")},
        "kinds": [shown(row) for row in await table(judge)],
    }


async def summarize(followings: Iterable[Following]) -> None:
    """Tell of each registrar whose table is another than the one last told."""
    for following in list(followings):
        if following.judge.state is State.READABLE:
            following.audited(await table(following.judge))
