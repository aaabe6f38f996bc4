"""How the API answers: JSON as it is documented, refusals as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import TypedDict

from alerting.store.reader import ReaderError
from checks.observation import plain
from sipwatch.people import NotStoredError
from sipwatch.subjects import AmbiguousError
from sipwatch.verifying import TooSoonError

BODY = 65_536  # bytes of a request: a long silence has some thousand
NAMED = 5  # things that are wrong with a request and are said
LINES = "application/x-ndjson"

Documented = dict[int | str, dict[str, Any]]


class Refusal(TypedDict):
    """Why it was not done, in one sentence."""

    detail: str


class Json(JSONResponse):
    """JSON of a thousand rows in a millisecond; what is no number is null."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return msgspec.json.encode(content)


_WHY = {
    400: "The body cannot be read.",
    401: "Say who you are: a token, or name and password.",
    403: "Not from here, or not with this role.",
    404: "Nothing of this name is known.",
    409: "Several are named so: the answer lists their keys.",
    413: f"A body is at most {BODY} bytes.",
    422: "A value is none; the sentence says which, and why.",
    429: "Too often; `Retry-After` says when again.",
    503: "The daemon, or its database, cannot now; ask again.",
    504: "It took too long.",
}
COMMON = (401, 403, 413, 429, 503)  # of every route


def documented(answer: Any = None, *codes: int, text: str = "") -> Documented:
    """What a route may answer: its 200, and the refusals beside those of all."""
    found: Documented = {
        code: {"model": Refusal, "description": _WHY[code]}
        for code in sorted({*COMMON, *codes})
    }
    if text:
        content = {text: {"schema": {"type": "string"}}}
        found[200] = {"content": content, "description": "As it is."}
    elif answer is not None:
        found[200] = {"model": answer, "description": "As it is."}
    return found


def router() -> APIRouter:
    """Routes under /api/v1."""
    return APIRouter(prefix="/api/v1", default_response_class=Json)


@contextmanager
def refused() -> Iterator[None]:
    """What went wrong, as the status that says so."""
    try:
        yield
    except AmbiguousError as several:
        raise HTTPException(409, _said(several)) from None
    except LookupError as unknown:
        raise HTTPException(404, _said(unknown)) from None
    except TooSoonError as soon:
        headers = {"Retry-After": str(soon.seconds)}
        raise HTTPException(429, _said(soon), headers) from None
    except ValueError as wrong:
        raise HTTPException(422, _said(wrong)) from None
    except (NotStoredError, ReaderError) as error:
        raise HTTPException(503, _said(error)) from None
    except OSError as error:
        raise HTTPException(503, plain(error.strerror or str(error))) from None


def _said(error: Exception) -> str:
    return plain(str(error.args[0]) if error.args else str(error))


def add_refusals(app: FastAPI) -> None:
    """Bound all bodies, and say in plain words what is wrong with a request."""
    app.add_middleware(Bounded)

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> Response:
        return Json({"detail": _in_words(error.errors())}, 422)


def _in_words(errors: Iterable[Any]) -> str:
    """`limit: input should be less than or equal to 1000`."""
    told = []
    for one in list(errors)[:NAMED]:
        where = [str(part) for part in one["loc"] if part not in ("query", "path")]
        message = str(one["msg"])
        told.append(f"{'.'.join(where)}: {message[:1].lower()}{message[1:]}")
    return plain("; ".join(told), 1000)


class Bounded:
    """Reads no more of a body than BODY bytes, whatever the request says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """413 for a body that is longer, before anybody has taken it in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _body(Headers(scope=scope), receive)
        if body is None:
            await _TOO_LONG(scope, receive, send)
            return
        rest = iter(({"type": "http.request", "body": body, "more_body": False},))

        async def replay() -> Message:
            return next(rest, None) or await receive()

        await self._app(scope, replay, send)


async def _body(headers: Headers, receive: Receive) -> bytes | None:
    """All of it; None where it is too long."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > BODY:
        return None
    body, more = b"", length != "0" or "transfer-encoding" in headers
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return body  # they hung up: the route finds out
        body += message.get("body", b"")
        if len(body) > BODY:
            return None
        more = message.get("more_body", False)
    return body


_TOO_LONG = Json({"detail": f"a body is at most {BODY} bytes"}, 413)
