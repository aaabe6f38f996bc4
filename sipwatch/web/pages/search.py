"""Search: extensions, targets and incidents by a part of what is known of them."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from alerting.store.reader import ReaderError
from checks.observation import plain
from sipwatch.views import extensions, incidents, registrations, targets
from sipwatch.views.incidents import IncidentRow
from sipwatch.views.paging import Page
from sipwatch.web.access import READ
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.daemon import common
from sipwatch.web.pages.shell import HEADERS, asker, page
from sipwatch.web.pages.words import path_of

LONGEST = 128  # characters that are searched for
FOUND = 50  # of each kind that are shown
SEE_OTHER = 303
_NUMBER = re.compile(r"(?:#|incident )? ?([1-9][0-9]{0,14})", re.ASCII | re.I)


def add_search(app: FastAPI, daemon: Daemon) -> None:
    """One page; of what is named exactly so, or is all there is, its own."""

    @app.get("/search", include_in_schema=False, dependencies=[READ])
    async def search(request: Request, q: str = "") -> Response:
        asked = plain(q.strip()[:LONGEST])
        found = await _found(daemon, asked)
        if asked and (path := exactly(asked, found) or alone(found)):
            return RedirectResponse(path, SEE_OTHER, HEADERS)
        values = common(daemon) | asker(request) | {"asked": asked}
        return await page("search.html", values | found)


async def _found(daemon: Daemon, asked: str) -> dict[str, Any]:
    try:
        past = await incidents.listed(
            daemon, daemon.reader, state="all", search=asked, limit=FOUND
        )
    except ReaderError:  # too many read it now: what is open is found all the same
        past = await incidents.listed(daemon, daemon.reader, search=asked, limit=FOUND)
    if number := number_of(asked):
        past = await _with(daemon, number, past)
    return {
        "extensions": await extensions.listed(daemon, search=asked, limit=FOUND),
        "targets": await targets.listed(daemon, search=asked, limit=FOUND),
        "registrations": registrations.listed(daemon, search=asked, limit=FOUND),
        "incidents": past,
    }


async def _with(
    daemon: Daemon, number: int, past: Page[IncidentRow]
) -> Page[IncidentRow]:
    """With the incident of this number, if there is one, before all others."""
    try:
        first = (await daemon.incident(number))["incident"]
    except (LookupError, ReaderError):
        return past
    others = [one for one in past["items"] if one["id"] != number]
    more = len(others) == len(past["items"])
    return {**past, "items": [first, *others], "total": past["total"] + more}


def number_of(asked: str) -> int:
    """7, #7 and "incident 7" ask for an incident; 0 for what does not."""
    found = _NUMBER.fullmatch(asked)
    return int(found[1]) if found else 0


def exactly(asked: str, found: dict[str, Any]) -> str | None:
    """The page of the one thing of exactly this name; None where none or several."""
    wanted = asked.lower()
    if (number := number_of(asked)) and not asked[0].isdecimal():
        known = found["incidents"]["items"]
        return f"/i/{number}" if known and known[0]["id"] == number else None
    named = [
        row["key"]
        for row in (*found["extensions"]["items"], *found["targets"]["items"])
        if wanted in (row["name"].lower(), row["name"].partition("@")[0].lower())
    ]
    return path_of(named[0]) if len(named) == 1 and wanted else None


def alone(found: dict[str, Any]) -> str | None:
    """The page of the one thing that was found, whatever incidents it has, or of the
    one incident; None where there are several, or it has no page."""
    rows = [*found["extensions"]["items"], *found["targets"]["items"]]
    told = found["incidents"]
    if found["registrations"]["total"] or len(rows) > 1:
        return None
    if rows:
        key = rows[0]["key"]
        whole = told["total"] == len(told["items"])
        its_own = whole and all(one["key"] == key for one in told["items"])
        return path_of(key) if its_own else None
    return f"/i/{told['items'][0]['id']}" if told["total"] == 1 else None
