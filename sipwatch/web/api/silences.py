"""Silences: what there are, one more, one less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import FastAPI, Path, Request
from fastapi.responses import Response

from sipwatch.people import People
from sipwatch.views.silences import SilenceRow, Silences
from sipwatch.web.access import OPERATE, signed
from sipwatch.web.api.answers import Json, documented, refused, router


@dataclass
class Wanted:
    """A silence that somebody wants; `ends` or `lasts`, times are ISO 8601. Without
    an author it is the caller."""

    matchers: list[str]
    reason: str
    author: str = ""
    starts: str = ""  # default: now
    ends: str = ""
    lasts: str = ""  # 2h


def add_silences(app: FastAPI, people: People) -> None:
    """Show them, add one, end one."""
    api = router()

    @api.get("/silences", responses=documented(Silences, 422))
    async def silences(ended: bool = False) -> Response:
        """The silences, with `ended` those that were; and the maintenance under way."""
        return Json(people.silences(ended=ended))

    @api.post(
        "/silences",
        responses=documented(SilenceRow, 400, 422),
        dependencies=[OPERATE],
    )
    async def silence(wanted: Wanted, request: Request) -> Response:
        """Silence what fits all matchers; it is stored when this answers."""
        with refused():
            made = await people.silence(
                wanted.matchers,
                author=signed(wanted.author, request),
                reason=wanted.reason,
                starts=wanted.starts,
                ends=wanted.ends,
                lasts=wanted.lasts,
            )
        return Json(made)

    @api.delete(
        "/silences/{id}",
        responses=documented(SilenceRow, 404, 422),
        dependencies=[OPERATE],
    )
    async def unsilence(id: Annotated[str, Path(max_length=40)]) -> Response:
        """End a silence: what it held is told, if it is still so."""
        with refused():
            return Json(await people.unsilence(id))

    app.include_router(api, tags=["silences"])
