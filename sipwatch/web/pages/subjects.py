"""The page of an extension and that of a target."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from alerting.store.reader import ReaderError
from sipwatch.retelling import retold
from sipwatch.subjects import AmbiguousError
from sipwatch.views import extensions, targets
from sipwatch.web.access import READ
from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages import story
from sipwatch.web.pages.charts import Chart, charts_of
from sipwatch.web.pages.daemon import common
from sipwatch.web.pages.ladder import Ladder, read
from sipwatch.web.pages.shell import asker, page
from sipwatch.web.pages.told import told

CHANGES = 50  # of one subject, the newest of them: its history has all
PAST = 10  # incidents of one subject


def add_subjects(app: FastAPI, daemon: Daemon) -> None:
    """Two pages."""

    @app.get("/e/{key:path}", include_in_schema=False, dependencies=[READ])
    async def extension(key: str, request: Request) -> Response:
        key = key if key.startswith("extension:") else f"extension:{key}"
        try:
            one = extensions.one(daemon, key)
        except (LookupError, AmbiguousError) as unknown:
            return await missing(daemon, request, str(unknown.args[0]))
        values = await _values(daemon, request, one["key"], one["incidents"])
        evidence = _evidence(values["open"])
        values["ladder"] = values["packets"] or story.of_extension(
            one["registrar"], one["bindings"], evidence, values["now"]
        )
        return await page("extension.html", values | {"one": one})

    @app.get("/t/{key:path}", include_in_schema=False, dependencies=[READ])
    async def target(key: str, request: Request) -> Response:
        key = key if key.startswith("target:") else f"target:{key}"
        try:
            one = targets.one(daemon, key)
        except (LookupError, AmbiguousError) as unknown:
            return await missing(daemon, request, str(unknown.args[0]))
        values = await _values(daemon, request, one["key"], one["incidents"])
        values["ladder"] = values["packets"]
        return await page("target.html", values | {"one": one})


async def missing(daemon: Daemon, request: Request, why: str) -> Response:
    """The page that there is none, with the search at hand."""
    values = common(daemon) | asker(request) | {"why": why}
    return await page("missing.html", values, status=404)


async def _values(
    daemon: Daemon, request: Request, key: str, open_: list[int]
) -> dict[str, Any]:
    """What both pages show of the past of a subject."""
    values = common(daemon) | asker(request) | {"told": told(request)}
    values["open"] = [await _incident(daemon, id) for id in open_]
    try:
        past = (await retold(daemon, daemon.reader, key))["rows"]
    except (LookupError, ReaderError):
        past = []
    values["history"] = past[: -CHANGES - 1 : -1]
    chart: Chart = await charts_of(daemon, key, past, values["now"])
    values["chart"] = chart
    values["packets"] = await exchange(daemon, open_, whole=values["operates"])
    return values


async def _incident(daemon: Daemon, id: int) -> Any:
    try:
        return await daemon.incident(id)
    except LookupError:
        raise HTTPException(404, f"incident {id} is over") from None
    except ReaderError as error:
        raise HTTPException(503, str(error)) from None


async def exchange(daemon: Daemon, ids: list[int], *, whole: bool) -> Ladder | None:
    """What is kept of the exchange of the first of these that has one; its bytes as
    well where all of it may be seen."""
    for id in ids:
        try:
            kept = await daemon.evidence(id, file=False)
            return read(kept["text"], whole=whole)
        except (LookupError, OSError):
            continue
    return None


def _evidence(open_: list[Any]) -> list[Any]:
    return open_[0]["incident"]["evidence"] if open_ else []
