"""Who asks over HTTP, and what they may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fastapi import Depends, HTTPException, Request
from starlette.types import ASGIApp, Receive, Scope, Send

KEY = "sipwatch.caller"  # of the scope of a request


class Role(IntEnum):
    """What somebody may; each may what those below it may."""

    NONE = 0
    READ = 1
    OPERATE = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name is empty where nobody said it."""

    name: str
    role: Role


NOBODY = Caller("", Role.NONE)


def caller_of(request: Request) -> Caller:
    """Who asks; the gate of the application has found out."""
    found = request.scope.get(KEY, NOBODY)
    return found if isinstance(found, Caller) else NOBODY


def _reads(request: Request) -> None:
    _needs(request, Role.READ)


def _operates(request: Request) -> None:
    _needs(request, Role.OPERATE)


def _needs(request: Request, role: Role) -> None:
    if caller_of(request).role < role:
        raise HTTPException(403, f"this needs the role {role.name.lower()}")


READ = Depends(_reads)
OPERATE = Depends(_operates)


class Gate:
    """All who come to one application are the same caller."""

    def __init__(self, app: ASGIApp, caller: Caller) -> None:
        self._app = app
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let them in, under their name."""
        scope[KEY] = self._caller
        await self._app(scope, receive, send)
