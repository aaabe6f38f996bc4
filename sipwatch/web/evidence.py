"""Evidence over HTTP, for those alone who may use the Unix socket: packets hold more
than the daemon shows to others."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import FastAPI, HTTPException


class Keeps(Protocol):
    """What the daemon keeps of incidents."""

    async def evidence(self, id: int, *, file: bool) -> dict[str, Any]:
        """The exchange of an incident; LookupError, OSError."""


def add_evidence(app: FastAPI, daemon: Keeps) -> None:
    """One question."""

    @app.get("/api/v1/incidents/{id}/evidence")
    async def evidence(id: int, file: bool = False) -> dict[str, Any]:
        """Size, SHA-256 and text of an exchange; with `file` the pcapng in base64."""
        try:
            return await daemon.evidence(id, file=file)
        except LookupError as unknown:
            raise HTTPException(404, str(unknown)) from None
        except OSError as error:
            raise HTTPException(503, error.strerror or str(error)) from None
