"""What Twilio asks of us on `web.public`: its debugger's webhook, and TwiML."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from checks.settings import Secret
from checks.twilio.webhook import ForgedError, fields
from sipwatch.people import NotStoredError

ALERTS = "/twilio/alerts"
BODY = 65_536  # bytes of a request: an alert has a request's headers and body in it
REFUSED, WRONG = 403, 400

log = logging.getLogger(__name__)

Act = Callable[[dict[str, Any], Request], Awaitable[Response]]


class Public(Protocol):
    """What the daemon does with what Twilio says."""

    def token(self, what: str) -> Secret | None:
        """The auth token, where this is switched on; None: there is no such page."""

    @property
    def base(self) -> str:
        """What our address begins with, as Twilio knows it."""

    async def alert(self, said: dict[str, Any]) -> None:
        """Take an alert in; ValueError for what is none, NotStoredError."""

    def answer(self, step: str, said: dict[str, Any], query: dict[str, str]) -> str:
        """TwiML for a call; ValueError for what is no call of ours."""


def add_twilio(app: FastAPI, public: Public) -> None:
    """Serve what is switched on; anything else is not found."""

    @app.post(ALERTS, include_in_schema=False)
    async def alerts(request: Request) -> Response:
        return await _signed(request, public, "webhook", _alert(public))

    @app.post("/twiml/{step}", include_in_schema=False)
    async def twiml(step: str, request: Request) -> Response:
        return await _signed(request, public, "twiml", _twiml(public, step))


def _alert(public: Public) -> Act:
    async def act(said: dict[str, Any], request: Request) -> Response:
        await public.alert(said)
        return Response(status_code=204)

    return act


def _twiml(public: Public, step: str) -> Act:
    async def act(said: dict[str, Any], request: Request) -> Response:
        text = public.answer(step, said, dict(request.query_params))
        return Response(text, media_type="text/xml; charset=utf-8")

    return act


async def _signed(request: Request, public: Public, what: str, act: Act) -> Response:
    """Act on what a request says, if Twilio has signed it for this URL."""
    token = public.token(what)
    if token is None:
        return PlainTextResponse("nothing is here\n", 404)
    body = await _body(request)
    if body is None:
        return PlainTextResponse("that is too much\n", 413)
    try:
        said = fields(token, _url(request, public.base), request.headers, body)
        return await act(said, request)
    except ForgedError as error:
        log.debug("twilio: a request to %s is refused: %s", request.url.path, error)
        return PlainTextResponse("not signed by Twilio for this address\n", REFUSED)
    except NotStoredError:
        return PlainTextResponse("it could not be stored; send it again\n", 503)
    except ValueError as error:
        log.debug("twilio: a request to %s: %s", request.url.path, error)
        return PlainTextResponse("this cannot be read\n", WRONG)


def _url(request: Request, base: str) -> str:
    """The address as Twilio wrote it down: a proxy in between has changed ours."""
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    return f"{base}{path.partition('?')[0]}{'?' if query else ''}{query}"


async def _body(request: Request) -> bytes | None:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY:
            return None
    return body
