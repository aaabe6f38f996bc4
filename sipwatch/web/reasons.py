"""Explain over HTTP: why there is an alarm, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fastapi import FastAPI, HTTPException

from alerting.store.reader import ReaderError
from sipwatch.subjects import AmbiguousError


class Explains(Protocol):
    """What the daemon says of its alarms."""

    async def explain_incident(self, id: int) -> dict[str, Any]:
        """Why an incident is; LookupError, ReaderError."""

    async def explain(self, subject: str, registrar: str) -> dict[str, Any]:
        """Why there is no alarm of a subject, or which; LookupError, ReaderError."""


def add_reasons(app: FastAPI, daemon: Explains) -> None:
    """Two questions: of an incident, of a subject."""

    @app.get("/api/v1/incidents/{id}/explain")
    async def explain_incident(id: int) -> dict[str, Any]:
        """Rule, observations, what was considered and suppressed, routes, attempts."""
        with _refused():
            return await daemon.explain_incident(id)

    @app.get("/api/v1/explain")
    async def explain(subject: str, registrar: str = "") -> dict[str, Any]:
        """Why there is no alarm of a subject now, by its key or its name."""
        with _refused():
            return await daemon.explain(subject, registrar)


@contextmanager
def _refused() -> Iterator[None]:
    """What went wrong, as the status that says so."""
    try:
        yield
    except AmbiguousError as several:
        raise HTTPException(409, str(several)) from None
    except LookupError as unknown:
        raise HTTPException(404, str(unknown)) from None
    except ReaderError as error:
        raise HTTPException(503, str(error)) from None
