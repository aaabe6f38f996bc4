"""The page behind a link of a notification: it says of what, and has a button."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from alerting.incident import Incident
from alerting.notification.headline import name_of
from checks.observation import plain
from sipwatch.links import PATH, Claim, Shown
from sipwatch.people import NotStoredError, People

LISTED = 20  # incidents named on a page
BODY = 4096  # bytes of a form: a button and a line
GONE, NOT_FOUND = 410, 404
# Only its own form and its own style: no script, no picture, nothing from elsewhere.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Robots-Tag": "noindex, nofollow",
}
_STYLE = (
    "body{font:18px/1.5 sans-serif;max-width:36em;margin:2em auto;padding:0 1em}"
    "button,input{font:inherit;padding:.6em 1em;margin:.3em 0;width:100%;"
    "box-sizing:border-box}li{overflow-wrap:anywhere}"
)
UNKNOWN = "This link is not complete, or is not one of ours."


def add_links(app: FastAPI, people: People) -> None:
    """Serve the pages of links; reading one changes nothing."""

    @app.get(PATH + "{token}", include_in_schema=False)
    async def show(token: str) -> Response:
        claim = people.claim(token)
        if claim is None:
            return _page(UNKNOWN, NOT_FOUND)
        return _shown(people.links.look(claim))

    @app.post(PATH + "{token}", include_in_schema=False)
    async def take(token: str, request: Request) -> Response:
        claim = people.claim(token)
        if claim is None:
            return _page(UNKNOWN, NOT_FOUND)
        form = await _form(request)
        if form is None:
            return _page("That is too much to say here.", 413)
        return await _taken(people, claim, form)


async def _taken(people: People, claim: Claim, form: dict[str, str]) -> Response:
    number = form.get("as", "0")
    try:
        recipient = int(number) if number.isascii() and number.isdecimal() else -1
        who, shown = await people.follow(claim, recipient, form.get("note", ""))
    except LookupError:
        return _page("Nobody of that name gets these notifications.", 400)
    except NotStoredError:
        return _page("It is taken, but could not be stored: tell your colleagues.", 503)
    if shown.gone:
        return _page(shown.gone, GONE)
    count = len(shown.incidents)
    what = "It is" if count == 1 else f"All {count} are"
    return _page(f"{what} yours now, {who}: nobody else is told of it any more.")


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form, each once; None where it is too long, or has too many."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY:
            return None
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}


def _shown(shown: Shown) -> Response:
    if shown.gone:
        return _page(shown.gone, GONE)
    lines = "".join(f"<li>{escape(_line(i))}</li>" for i in shown.incidents[:LISTED])
    if (more := len(shown.incidents) - LISTED) > 0:
        lines += f"<li>and {more} more</li>"
    buttons = "".join(_buttons(shown.recipients))
    form = (
        f"<ul>{lines}</ul>"
        '<form method="post"><input name="note" maxlength="300" '
        'placeholder="what you do about it, if you like" autocomplete="off">'
        f"{buttons}</form>"
    )
    return _page("Will you see to it?", body=form)


def _buttons(recipients: Iterable[str]) -> Iterable[str]:
    for number, name in enumerate(recipients):
        words = escape(f"Acknowledge as {name}")
        yield f'<button name="as" value="{number}">{words}</button>'


def _line(incident: Incident) -> str:
    name = name_of(incident.subject)
    return f"[{incident.severity}] {name}: {plain(incident.rule)}"


def _page(title: str, status: int = 200, *, body: str = "") -> Response:
    words = escape(title)
    text = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>sipwatch</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{words}</h1>\n{body}</body></html>\n"
    )
    return HTMLResponse(text, status, HEADERS)
