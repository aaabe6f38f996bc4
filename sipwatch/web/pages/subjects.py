"""The page of an extension and that of a target."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from alerting.store.reader import ReaderError
from sipwatch.subjects import AmbiguousError
from sipwatch.views import extensions, targets
from sipwatch.views.extensions import OneExtension
from sipwatch.views.targets import OneTarget
from sipwatch.web.access import READ
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages import story
from sipwatch.web.pages.charts import Chart, charts_of
from sipwatch.web.pages.daemon import common
from sipwatch.web.pages.ladder import Ladder, read
from sipwatch.web.pages.shell import asker, page
from sipwatch.web.pages.told import told
from sipwatch.web.pages.words import Clockwork

CHANGES = 50  # of one subject, the newest of them: its history has all
PAST = 10  # incidents of one subject


def add_subjects(app: FastAPI, daemon: Daemon) -> None:
    """Two pages."""

    @app.get("/e/{key:path}", include_in_schema=False, dependencies=[READ])
    async def extension(key: str, request: Request) -> Response:
        if "/" in key and not key.startswith("extension:"):
            key = f"extension:{key}"  # a bare name is found as everywhere
        try:
            one = extensions.one(daemon, key, whole=True)
        except (LookupError, AmbiguousError) as unknown:
            return await missing(daemon, request, str(unknown.args[0]))
        values = await _values(daemon, request, one)
        if values["ladder"] is None:
            evidence = (
                values["open"][0]["incident"]["evidence"] if values["open"] else []
            )
            values["ladder"] = story.of_extension(
                one["registrar"], one["bindings"], evidence, values["now"]
            )
            values["source"] = "as the registrar tells it"
        return await page("extension.html", values | {"one": one})

    @app.get("/t/{key:path}", include_in_schema=False, dependencies=[READ])
    async def target(key: str, request: Request) -> Response:
        key = key if key.startswith("target:") else f"target:{key}"
        try:
            one = targets.one(daemon, key, whole=True)
        except (LookupError, AmbiguousError) as unknown:
            return await missing(daemon, request, str(unknown.args[0]))
        values = await _values(daemon, request, one)
        return await page("target.html", values | {"one": one})


async def missing(daemon: Daemon, request: Request, why: str) -> Response:
    """The page that there is none, with the search at hand."""
    values = common(daemon) | asker(request) | {"why": why}
    return await page("missing.html", values, status=404)


async def _values(
    daemon: Daemon, request: Request, one: OneExtension | OneTarget
) -> dict[str, Any]:
    """What both pages show of the past of a subject."""
    key, open_ = one["key"], one["incidents"]
    values = common(daemon) | asker(request) | {"told": told(request)}
    values["open"] = [await _incident(daemon, id) for id in open_]
    try:
        past = (await daemon.history(key, ""))["rows"]
    except (LookupError, ReaderError):
        past = []
    values["history"] = past[: -CHANGES - 1 : -1]
    chart: Chart = await charts_of(daemon, key, past, values["now"])
    values["chart"] = chart
    values["ladder"], values["source"] = await _exchange(
        daemon, one, values["now"], whole=values["operates"]
    )
    return values


async def _incident(daemon: Daemon, id: int) -> Any:
    try:
        return await daemon.incident(id)
    except LookupError:
        raise HTTPException(404, f"incident {id} is over") from None
    except ReaderError as error:
        raise HTTPException(503, str(error)) from None


async def _exchange(
    daemon: Daemon, one: OneExtension | OneTarget, now: Clockwork, *, whole: bool
) -> tuple[Ladder | None, str]:
    """The newest that is kept of one, and whose it is; its bytes as well where all of
    it may be seen."""
    asked = one["exchange"]
    for id in one["incidents"]:
        try:
            kept = await daemon.evidence(id, file=False)
        except (LookupError, OSError):
            continue
        if asked is None or asked["at"] < kept["at"]:
            found = read(kept["text"], whole=whole)
            return found, f"packets of incident {id}"
    if asked is None:
        return None, ""
    said = f"asked by hand {now.clock(asked['at'])}"
    return read(asked["text"] or "", whole=whole), said
