"""The page of an incident, and the list of all of them."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import FastAPI, HTTPException, Request, Response

from alerting.store.reader import ReaderError
from checks.observation import plain
from sipwatch.views import incidents
from sipwatch.views.incidents import Wanted
from sipwatch.web.access import READ
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.daemon import common
from sipwatch.web.pages.ladder import read
from sipwatch.web.pages.shell import asker, page
from sipwatch.web.pages.subjects import missing
from sipwatch.web.pages.timeline import timeline
from sipwatch.web.pages.told import told

LISTED = 50  # of a page of the list
SEARCHED = 128  # characters that are searched for
ARROWS = "What the messages hold is shown to who may operate."


def add_incidents(app: FastAPI, daemon: Daemon) -> None:
    """Two pages."""

    @app.get("/i/{id}", include_in_schema=False, dependencies=[READ])
    async def incident(id: str, request: Request) -> Response:
        number = int(id) if id.isascii() and id.isdecimal() and len(id) < 16 else 0
        try:
            one = await daemon.incident(number)
        except LookupError as unknown:
            return await missing(daemon, request, str(unknown.args[0]))
        except ReaderError as error:
            raise HTTPException(503, str(error)) from None
        values = common(daemon) | asker(request)
        values |= {"told": told(request), "one": one, "timeline": timeline(one)}
        values |= await _exchange(daemon, number, whole=values["operates"])
        return await page("incident.html", values)

    @app.get("/incidents", include_in_schema=False, dependencies=[READ])
    async def listed(
        request: Request, state: str = "all", cursor: str = "", q: str = ""
    ) -> Response:
        if state not in get_args(Wanted):
            state = "all"
        asked = plain(q[:SEARCHED])
        try:
            found = await incidents.listed(
                daemon, daemon.reader, state=state,  # type: ignore[arg-type]
                search=asked, limit=LISTED, cursor=cursor or None,
            )  # fmt: skip
        except ValueError as wrong:
            raise HTTPException(422, str(wrong)) from None
        except ReaderError as error:
            raise HTTPException(503, str(error)) from None
        values = common(daemon) | asker(request)
        values |= {"found": found, "state": state, "asked": asked}
        return await page("list.html", values)


async def _exchange(daemon: Daemon, id: int, *, whole: bool) -> dict[str, Any]:
    try:
        kept = await daemon.evidence(id, file=False)
    except (LookupError, OSError):
        return {"ladder": None, "notes": []}
    notes = kept["notes"] if whole else [*kept["notes"], ARROWS]
    return {"ladder": read(kept["text"], whole=whole), "notes": notes}
