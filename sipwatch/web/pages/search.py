"""Search: extensions, targets and incidents by a part of what is known of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from alerting.store.reader import ReaderError
from checks.observation import plain
from sipwatch.views import extensions, incidents, registrations, targets
from sipwatch.web.access import READ
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.daemon import common
from sipwatch.web.pages.shell import HEADERS, asker, page
from sipwatch.web.pages.words import path_of

LONGEST = 128  # characters that are searched for
FOUND = 50  # of each kind that are shown
SEE_OTHER = 303


def add_search(app: FastAPI, daemon: Daemon) -> None:
    """One page; of what is named exactly so, its own."""

    @app.get("/search", include_in_schema=False, dependencies=[READ])
    async def search(request: Request, q: str = "") -> Response:
        asked = plain(q.strip()[:LONGEST])
        found = await _found(daemon, asked)
        if (path := exactly(asked, found)) is not None:
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
    return {
        "extensions": await extensions.listed(daemon, search=asked, limit=FOUND),
        "targets": await targets.listed(daemon, search=asked, limit=FOUND),
        "registrations": registrations.listed(daemon, search=asked, limit=FOUND),
        "incidents": past,
    }


def exactly(asked: str, found: dict[str, Any]) -> str | None:
    """The page of the one thing of exactly this name; None where none or several."""
    wanted = asked.lower()
    named = [
        row["key"]
        for row in (*found["extensions"]["items"], *found["targets"]["items"])
        if wanted in (row["name"].lower(), row["name"].partition("@")[0].lower())
    ]
    return path_of(named[0]) if len(named) == 1 and wanted else None
