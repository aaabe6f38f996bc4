"""Our answers to what a peer asks us (RFC 3261 8.2.6)."""

from __future__ import annotations

from checks.sip.headers import Headers
from checks.sip.message import Request, Response
from checks.sip.uri import NameAddr

_COPIED = ("Via", "From", "Call-ID", "CSeq")


def response_to(
    request: Request, status: int, reason: str, *, tag: str, **fields: str
) -> Response:
    """A response, with more fields by their names (`allow="NOTIFY"`).

    `tag` is given to a To that has none. ValueError where the request has no To.
    """
    headers = Headers()
    for name in _COPIED:
        for value in request.headers.lines(name):
            headers.add(name, value)
    to = request.to
    if to.tag is None:
        to = NameAddr(to.uri, to.display, to.params.with_("tag", tag))
    headers.add("To", str(to))
    for name, value in fields.items():
        headers.add(name.replace("_", "-").title(), value)
    return Response(status, reason, headers)
