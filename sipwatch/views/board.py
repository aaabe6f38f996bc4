"""The open incidents as an on-call wants them: the worst first, each with its cause."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

from typing_extensions import TypedDict

from alerting.incident import Incident
from checks.observation import plain
from sipwatch.findings import finding_json
from sipwatch.sources import Sources, sliced
from sipwatch.views.incidents import IncidentRow, row
from sipwatch.views.lens import Lens

MADE = 10  # rows made in one turn of the loop: some 3 ms


class BoardRow(TypedDict):
    """An open incident, why it is, and what to do."""

    incident: IncidentRow
    why: str
    next_step: str


class Board(TypedDict):
    """The worst of them; what is part of an incident of many is told by that."""

    items: list[BoardRow]
    total: int
    covered: int  # that are part of others


async def board(sources: Sources, most: int) -> Board:
    """At most so many: who nobody sees to before others, then the worst and oldest."""
    everything = sources.alarms.incidents
    alone = [one for one in everything if one.part_of is None]
    first = heapq.nsmallest(most, alone, key=_order)
    lens, items = Lens(sources), list[BoardRow]()
    for some in sliced(first, MADE):
        items += [_row(lens, one) for one in some]
        await asyncio.sleep(0)
    return {
        "items": items,
        "total": len(alone),
        "covered": len(everything) - len(alone),
    }


def _order(one: Incident) -> tuple[bool, int, float, int]:
    return bool(one.acknowledged_by), -one.severity, one.since, one.id


def _row(lens: Lens, one: Incident) -> BoardRow:
    found: dict[str, Any] = {}
    if (cause := lens.sources.findings.of(one.subject, one, around=False)) is not None:
        found = finding_json(cause, lens.at)
    steps = found.get("steps") or [one.next_step]
    return {
        "incident": row(lens, one),
        "why": plain(one.detail) or found.get("sentence", ""),
        "next_step": plain(steps[0]),
    }
