"""The requests that a watcher sends; what belongs to one sending is the client's."""

from __future__ import annotations

import secrets

from checks.sip.fields import CSeq
from checks.sip.headers import Headers
from checks.sip.message import Request
from checks.sip.params import Params
from checks.sip.uri import NameAddr, SipUri
from checks.sip.via import MAGIC_COOKIE

MAX_FORWARDS = "70"  # RFC 3261 8.1.1.6
_TARGET_PARAMS = ("maddr", "ttl", "transport", "lr", "method")
_WEB = ("ws", "wss")


def options_request(
    uri: SipUri,
    *,
    from_uri: SipUri | str,
    user_agent: str,
    contact: SipUri | str | None = None,
) -> Request:
    """OPTIONS to a URI (RFC 3261 11.1)."""
    headers = Headers(
        [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", f"<{from_uri}>"),
            ("To", f"<{_address_of(uri)}>"),
            ("Accept", "application/sdp"),
            ("User-Agent", user_agent),
        ]
    )
    if contact is not None:
        headers.add("Contact", f"<{contact}>")
    return Request("OPTIONS", str(_request_uri(uri)), headers)


def register_request(
    registrar: SipUri,
    *,
    aor: SipUri,
    user_agent: str,
    contact: SipUri | str | None = None,
    expires: int | None = None,
) -> Request:
    """REGISTER of an AOR; without a contact it only asks for the bindings (10.2.3)."""
    address = _address_of(aor)
    headers = Headers(
        [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", f"<{address}>"),
            ("To", f"<{address}>"),
            ("User-Agent", user_agent),
        ]
    )
    if contact is not None:
        headers.add("Contact", f"<{contact}>")
    if expires is not None:
        headers.add("Expires", str(expires))
    # RFC 3261 10.2: the Request-URI names the domain, without a user.
    uri = _request_uri(registrar)
    domain = SipUri(uri.host, None, uri.port, uri.params, uri.scheme)
    return Request("REGISTER", str(domain), headers)


def message_request(
    uri: SipUri, *, from_uri: SipUri | str, user_agent: str, text: str
) -> Request:
    """MESSAGE with a text (RFC 3428 4). It has no Contact, as no dialog may follow."""
    headers = Headers(
        [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", f"<{from_uri}>"),
            ("To", f"<{_address_of(uri)}>"),
            ("User-Agent", user_agent),
            ("Content-Type", "text/plain;charset=UTF-8"),
        ]
    )
    return Request("MESSAGE", str(_request_uri(uri)), headers, text.encode("utf-8"))


def completed(request: Request) -> Request:
    """A copy with what RFC 3261 8.1.1 wants of every request, where it is missing."""
    request = request.copy()
    headers = request.headers
    if "max-forwards" not in headers:
        headers.add("Max-Forwards", MAX_FORWARDS)
    if "call-id" not in headers:
        headers.add("Call-ID", secrets.token_hex(16))
    if "cseq" not in headers:
        headers.add("CSeq", str(CSeq(1, request.method)))
    sender = request.from_
    if sender.tag is None:
        params = sender.params.with_("tag", secrets.token_hex(8))
        headers.set("From", str(NameAddr(sender.uri, sender.display, params)))
    return request


def new_branch() -> str:
    """A branch that nobody can guess: 64 random bits behind the magic cookie."""
    return MAGIC_COOKIE + secrets.token_hex(8)


def _request_uri(uri: SipUri) -> SipUri:
    # RFC 3261 19.1.1, table 1: neither headers nor a method may stand there. The path
    # of a WebSocket is for the way there alone.
    out = ("method", "path") if uri.transport in _WEB else ("method",)
    kept = [p for p in uri.params.written if p[0].lower() not in out]
    return SipUri(uri.host, uri.user, uri.port, Params(kept), uri.scheme)


def _address_of(uri: SipUri) -> SipUri:
    # RFC 3261 19.1.1, table 1: a To or From holds none of these, and no port.
    out = (*_TARGET_PARAMS, "path") if uri.transport in _WEB else _TARGET_PARAMS
    kept = [p for p in uri.params.written if p[0].lower() not in out]
    return SipUri(uri.host, uri.user, None, Params(kept), uri.scheme)
