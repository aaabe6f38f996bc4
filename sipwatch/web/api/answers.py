"""How the API answers: JSON as it is documented, refusals as one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from typing_extensions import TypedDict

from alerting.store.reader import ReaderError
from checks.observation import plain
from sipwatch.answers.verifying import TooSoonError
from sipwatch.people import NotStoredError
from sipwatch.subjects import AmbiguousError, BusyError
from sipwatch.web.gate import BODY, PATIENCE

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
    408: f"The body has not come within {PATIENCE:.0f} s.",
    409: "Several are named so (the answer lists their keys), or it is under way.",
    413: f"A body is at most {BODY} bytes.",
    422: "A value is none; the sentence says which, and why.",
    429: "Too often; `Retry-After` says when again.",
    503: "The daemon, or its database, cannot now; ask again.",
    504: "It took too long.",
}
COMMON = (401, 403, 408, 413, 429, 503)  # of every route
_REFUSAL = {
    "application/json": {"schema": {"$ref": f"#/components/schemas/{Refusal.__name__}"}}
}


def documented(answer: Any = None, *codes: int, text: str = "") -> Documented:
    """What a route may answer: its 200, and the refusals beside those of all."""
    found: Documented = {
        code: {"content": _REFUSAL, "description": _WHY[code]}
        for code in sorted({*COMMON, *codes})
    }
    if text:
        content = {text: {"schema": {"type": "string"}}}
        found[200] = {"content": content, "description": "As it is."}
        found[503]["content"] = content | _REFUSAL  # of its own, or of the gate
        return found
    # A model costs half a millisecond each time: one names it, the others refer to it.
    found[401] = {"model": Refusal, "description": _WHY[401]}
    if answer is not None:
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
    except (AmbiguousError, BusyError) as several:
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
    """Say in plain words what is wrong with a request."""

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
