"""What people do over HTTP: list and add silences, acknowledge incidents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException

from sipwatch.people import NotStoredError, People


@dataclass
class Wanted:
    """A silence that somebody wants; `ends` or `lasts`, times are ISO 8601."""

    matchers: list[str]
    author: str
    reason: str
    starts: str = ""  # default: now
    ends: str = ""
    lasts: str = ""  # 2h


@dataclass
class Taken:
    """Who takes an incident, and what they say."""

    by: str
    note: str = ""


def add_silences(app: FastAPI, people: People) -> None:
    """Show the silences."""

    @app.get("/api/v1/silences")
    async def silences(ended: bool = False) -> dict[str, Any]:
        """The silences, with `ended` those that were; and the maintenance under way."""
        return people.silences(ended=ended)


def add_acts(app: FastAPI, people: People) -> None:
    """What changes something."""

    @app.post("/api/v1/silences")
    async def silence(wanted: Wanted) -> dict[str, Any]:
        """Silence what fits all matchers; it is stored when this answers."""
        with _told():
            return await people.silence(
                wanted.matchers,
                author=wanted.author,
                reason=wanted.reason,
                starts=wanted.starts,
                ends=wanted.ends,
                lasts=wanted.lasts,
            )

    @app.delete("/api/v1/silences/{id}")
    async def unsilence(id: str) -> dict[str, Any]:
        """End a silence: what it held is told, if it is still so."""
        with _told():
            return await people.unsilence(id)

    @app.post("/api/v1/incidents/{id}/acknowledge")
    async def acknowledge(id: int, taken: Taken) -> dict[str, Any]:
        """Take an open incident: it is not repeated, nor escalated, any more."""
        with _told():
            return await people.acknowledge(id, taken.by, taken.note)


@contextmanager
def _told() -> Iterator[None]:
    """What went wrong, as the status that says so."""
    try:
        yield
    except LookupError as unknown:
        raise HTTPException(404, str(unknown.args[0])) from None
    except ValueError as wrong:
        raise HTTPException(422, str(wrong)) from None
    except NotStoredError as error:
        raise HTTPException(503, str(error)) from None
