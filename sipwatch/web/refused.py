"""A refusal as who asked reads it: a program JSON, a browser a page."""

from __future__ import annotations

from html import escape

from fastapi import HTTPException
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import HTTPConnection

# What a page of a refusal is called; of others "Refused".
TITLES = {
    401: "Log in",
    403: "Not allowed",
    404: "Not found",
    413: "Too much",
    429: "Too often",
    503: "Not now",
}
NEXT = {
    401: "Load this page again to be asked for your name and password.",
    429: "Wait a little, then load this page again.",
    503: "Load this page again in a moment.",
}
# Without a style: who is not let in is given no other file.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} - sipwatch</title>
</head>
<body>
<main><h1>{title}</h1><p>{why}.</p><p>{next}</p></main>
</body>
</html>
"""


def to_browser(asked: HTTPConnection) -> bool:
    """Whether a person reads the answer, and not a program."""
    accepted = asked.headers.get("accept", "")
    return "text/html" in accepted and not asked.url.path.startswith("/api/")


def title_of(status: int) -> str:
    """The heading of its page."""
    return TITLES.get(status, "Refused")


def refusal(
    asked: HTTPConnection, refused: HTTPException, headers: dict[str, str]
) -> Response:
    """The answer to who is not let in."""
    if not to_browser(asked):
        said = {"detail": refused.detail}
        return JSONResponse(said, refused.status_code, headers)
    page = _PAGE.format(
        title=title_of(refused.status_code),
        why=escape(str(refused.detail)),
        next=NEXT.get(refused.status_code, ""),
    )
    return HTMLResponse(page, refused.status_code, headers)
