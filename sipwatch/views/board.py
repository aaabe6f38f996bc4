"""The open incidents as an on-call wants them: the worst first, each with its cause."""

from __future__ import annotations

import asyncio
import heapq

from typing_extensions import TypedDict

from alerting.incident import Incident, Severity
from alerting.notification.render import why
from checks.observation import plain
from sipwatch.sources import Sources, sliced
from sipwatch.views.incidents import IncidentRow, row, step_of
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
    """At most so many: notices last; before them who nobody sees to before others, then
    the worst and oldest."""
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


def _order(one: Incident) -> tuple[bool, bool, int, float, int]:
    notice, taken = one.severity is Severity.INFO, bool(one.acknowledged_by)
    return notice, taken, -one.severity, one.since, one.id


def _row(lens: Lens, one: Incident) -> BoardRow:
    said = row(lens, one)
    because, step = told(lens.sources, one)
    # Its sentence may have said it already, in brackets.
    return {
        "incident": said,
        "why": "" if said["detail"] and said["detail"] in said["text"] else because,
        "next_step": step,
    }


def told(sources: Sources, one: Incident) -> tuple[str, str]:
    """Why an open incident is and what to do first, as its mail says it."""
    found = sources.findings.explained(one)
    if found is not None:
        return plain(found.why), plain(found.steps[0]) if found.steps else ""
    return plain(why(one)), step_of(sources, one)
