"""The first page: incidents, extensions, trunks and the rest, and its live parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, HTTPException, Request, Response

from sipwatch.sources import Sources
from sipwatch.views import (
    accounts,
    board,
    certificates,
    grid,
    registrars,
    registrations,
    schedules,
    silences,
    sites,
    targets,
    twilio,
)
from sipwatch.views.registrars import RegistrarRow
from sipwatch.web.access import READ
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.charts import sparks
from sipwatch.web.pages.daemon import clockwork, common
from sipwatch.web.pages.grid import CHIPS, written
from sipwatch.web.pages.shared import Shared
from sipwatch.web.pages.shell import (
    asker,
    fragment,
    last_change,
    page,
    pieces,
    whole,
)
from sipwatch.web.pages.told import told

INCIDENTS = 40  # on the first page; more have a page of their own
INLINE = 2000  # extensions on one page; of more a site or registrar opens on demand
LISTED = 100  # rows of a table beside the grid
SILENT = 30  # phones that do not answer OPTIONS, the first of them
ENDING = 8  # certificates
ALERTS = 8  # of Twilio, the latest
PART = 500  # cells that a browser lays out together, in a large grid


@dataclass(frozen=True, slots=True)
class Place:
    """Extensions that are shown together: of a site, or of a registrar."""

    name: str
    by: str  # site, registrar
    counts: dict[str, int]
    state: str  # of the registrar
    said: str

    @property
    def query(self) -> str:
        """How it is asked for."""
        return urlencode({self.by: self.name})

    @property
    def id(self) -> str:
        """Of its element."""
        return f"place-{self.by}-{self.name}"

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


async def places(sources: Sources) -> list[Place]:
    """By site where there are several with extensions, else by registrar."""
    several = [row for row in await sites.listed(sources) if any_of(row["extensions"])]
    rows = registrars.listed(sources)
    if len(several) < 2:
        return [
            Place(r["name"], "registrar", r["extensions"], r["state"], _said(r))
            for r in rows
            if any_of(r["extensions"]) or r["state"] != "readable"
        ]
    return [Place(r["name"], "site", r["extensions"], "", "") for r in several]


def any_of(counts: Mapping[str, int]) -> bool:
    """Whether there is anything of it."""
    return any(counts.values())


def _said(row: RegistrarRow) -> str:
    return row["detail"] if row["state"] == "unreadable" else ""


def add_overview(app: FastAPI, daemon: Daemon) -> None:
    """The first page, its parts, and the grid of one place."""
    shared = Shared()

    @app.get("/", include_in_schema=False, dependencies=[READ])
    async def overview(request: Request) -> Response:
        values = common(daemon) | asker(request)
        values |= {"told": told(request)}
        values["board"] = await board.board(daemon, INCIDENTS)
        values |= await _extensions(daemon)
        inline = values["inline"]
        shown = values["places"]
        named = sum(one.total for one in shown) <= CHIPS
        holes = [_cells(daemon, one, named=named) for one in shown if inline]
        aside = _part(daemon, "aside.html", _aside, asker(request))
        return await page("overview.html", values, [*holes, aside])

    @app.get("/parts/cells", include_in_schema=False, dependencies=[READ])
    async def cells(
        request: Request, registrar: str = "", site: str | None = None
    ) -> Response:
        async def make() -> bytes:
            place = await _place(daemon, registrar, site)
            values = {"place": place, "big": place.total > INLINE}
            cells = _cells(daemon, place, named=place.total <= CHIPS)
            return await whole("cells.html", values, [cells])

        name = ("cells", registrar, site)
        written = await shared.of(name, last_change(request), make)
        return fragment(written, shared.turnstile)

    @app.get("/parts/{name}", include_in_schema=False, dependencies=[READ])
    async def part(name: str, request: Request) -> Response:
        made = PARTS.get(name)
        if made is None:
            raise HTTPException(404, "there is no such part")
        who = asker(request)

        async def make() -> bytes:
            return await whole(
                f"{name}.html", common(daemon) | who | await made(daemon)
            )

        # Nobody's name is in it, only whether it is known.
        key = (name, who["operates"], bool(who["who"]))
        written = await shared.of(key, last_change(request), make)
        return fragment(written, shared.turnstile)

    @app.get("/grid", include_in_schema=False, dependencies=[READ])
    async def one_grid(
        request: Request, registrar: str = "", site: str | None = None
    ) -> Response:
        place = await _place(daemon, registrar, site)
        values = common(daemon) | asker(request)
        values |= {"place": place, "big": place.total > INLINE}
        named = place.total <= CHIPS
        return await page("grid.html", values, [_cells(daemon, place, named=named)])


async def _place(sources: Sources, registrar: str, site: str | None) -> Place:
    by, name = ("registrar", registrar) if site is None else ("site", site)
    for one in await _all_places(sources):
        if (one.by, one.name) == (by, name):
            return one
    raise HTTPException(404, f"there is no {by} of that name")


async def _all_places(sources: Sources) -> list[Place]:
    found = [
        Place(r["name"], "registrar", r["extensions"], r["state"], _said(r))
        for r in registrars.listed(sources)
    ]
    return found + [
        Place(row["name"], "site", row["extensions"], "", "")
        for row in await sites.listed(sources)
    ]


async def _cells(sources: Sources, place: Place, *, named: bool) -> AsyncIterator[str]:
    """The grid of a place, a slice at a time."""
    clock = clockwork(sources).clock
    which = {place.by: place.name}
    for registrar, cells in grid.cells(sources, **which):
        for at in range(0, len(cells), PART):
            few = cells[at : at + PART]
            inside = "".join(written(registrar, few, clock, named=named))
            yield f'<div class="part">{inside}</div>'
        await asyncio.sleep(0)


async def _extensions(daemon: Daemon) -> dict[str, Any]:
    shown = await places(daemon)
    total = sum(one.total for one in shown)
    return {"places": shown, "inline": total <= INLINE, "named": total <= CHIPS}


async def _incidents(daemon: Daemon) -> dict[str, Any]:
    return {"board": await board.board(daemon, INCIDENTS)}


async def _aside(daemon: Daemon) -> dict[str, Any]:
    """The tables beside the grid."""
    trunks = await _listed(daemon, "trunk")
    pbxs = await _listed(daemon, "pbx")
    rows = trunks["items"] + pbxs["items"]
    down = await targets.listed(daemon, role="phone", state="down", limit=SILENT)
    drawn = await sparks(daemon, [row["key"] for row in rows], clockwork(daemon))
    return {
        "registrars": registrars.listed(daemon),
        "trunks": {"items": rows, "total": trunks["total"] + pbxs["total"]},
        "sparks": drawn.charts,
        "day_loss": drawn.losses,
        "phones": down,
        "registrations": registrations.listed(daemon, limit=LISTED),
        "accounts": accounts.listed(daemon)[:LISTED],
        "certificates": certificates.listed(daemon, ENDING),
        "twilio": daemon.twilio.status(),
        "alerts": twilio.latest(daemon, ALERTS),
        "schedules": schedules.listed(daemon)[:LISTED],
        "windows": [w for w in schedules.windows(daemon) if w["active"]],
        "silences": silences.listed(daemon)[:LISTED],
    }


async def _listed(daemon: Daemon, role: str) -> Any:
    return await targets.listed(daemon, role=role, limit=LISTED)


async def _head(daemon: Daemon) -> dict[str, Any]:
    return {}


Make = Callable[[Daemon], Awaitable[dict[str, Any]]]
PARTS: dict[str, Make] = {
    "head": _head,
    "incidents": _incidents,
    "extensions": _extensions,
    "aside": _aside,
}


async def _part(
    daemon: Daemon, template: str, make: Make, who: dict[str, Any]
) -> AsyncIterator[str]:
    """A part that is only made when what is above it was sent."""
    values = {"now": clockwork(daemon)} | who | await make(daemon)
    async for piece in pieces(template, values):
        yield piece
