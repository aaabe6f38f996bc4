"""The page of a refusal, with the search at hand; programs get it as JSON."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException

from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.daemon import common
from sipwatch.web.pages.shell import asker, page
from sipwatch.web.refused import title_of, to_browser


def add_refused(app: FastAPI, daemon: Daemon) -> None:
    """For whatever a route refuses, and for what is no route."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if not to_browser(request):
            return await http_exception_handler(request, error)
        values = common(daemon) | asker(request)
        values |= {"why": str(error.detail), "title": title_of(error.status_code)}
        answer = await page("missing.html", values, status=error.status_code)
        answer.headers.update(error.headers or {})
        return answer
