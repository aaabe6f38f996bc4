"""The requests that a watcher sends; what belongs to one sending is the client's."""

from __future__ import annotations

import secrets

from checks.sip.fields import CSeq
from checks.sip.headers import Headers
from checks.sip.message import Request, Response
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


def invite_request(
    uri: SipUri, *, from_uri: SipUri | str, user_agent: str, contact: SipUri, media: str
) -> Request:
    """INVITE to a URI (RFC 3261 13.2.1), offering to hear nothing and say nothing.

    `media` is the IP address of the offer: its stream is inactive (RFC 3264 8.4).
    """
    family = "IP6" if ":" in media else "IP4"
    offer = (
        f"v=0\r\no=- 1 1 IN {family} {media}\r\ns=-\r\nc=IN {family} {media}\r\n"
        "t=0 0\r\nm=audio 9 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n"
        "a=rtpmap:8 PCMA/8000\r\na=inactive\r\n"
    )
    headers = Headers(
        [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", f"<{from_uri}>"),
            ("To", f"<{_address_of(uri)}>"),
            ("Contact", f"<{contact}>"),
            ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS"),
            ("User-Agent", user_agent),
            ("Content-Type", "application/sdp"),
        ]
    )
    return Request("INVITE", str(_request_uri(uri)), headers, offer.encode())


def ack_request(invite: Request, response: Response) -> Request:
    """ACK of a final response that is no success: part of the INVITE's transaction, so
    with its Via (RFC 3261 17.1.1.3). `invite` is as it was sent."""
    return _of_transaction("ACK", invite, response.get("to") or "")


def cancel_request(invite: Request) -> Request:
    """CANCEL of an INVITE that was sent, and had a provisional response (9.1)."""
    return _of_transaction("CANCEL", invite, invite.get("to") or "")


def _of_transaction(method: str, invite: Request, to: str) -> Request:
    number = invite.cseq.number
    headers = Headers([("Via", invite.all("via")[0]), ("Max-Forwards", MAX_FORWARDS)])
    for name in ("Route", "From"):
        for value in invite.headers.lines(name):
            headers.add(name, value)
    headers.add("To", to)
    headers.add("Call-ID", invite.call_id)
    headers.add("CSeq", str(CSeq(number, method)))
    return Request(method, invite.uri, headers)


def dialog_request(method: str, invite: Request, response: Response) -> Request:
    """ACK or BYE within the dialog that a 2xx to our INVITE began (12.2.1.1, 13.2.2.4).

    It has no Via yet. Routers are taken for loose ones, as all are since RFC 3261.
    """
    contacts = response.contacts
    number = invite.cseq.number + (method != "ACK")
    headers = Headers([("Max-Forwards", MAX_FORWARDS)])
    for route in reversed(response.all("record-route")):
        headers.add("Route", route)
    for name in ("Authorization", "Proxy-Authorization"):
        for value in invite.headers.lines(name) if method == "ACK" else ():
            headers.add(name, value)  # 13.2.2.4: the same credentials
    headers.add("From", invite.get("from") or "")
    headers.add("To", response.get("to") or "")
    headers.add("Call-ID", invite.call_id)
    headers.add("CSeq", str(CSeq(number, method)))
    return Request(method, contacts[0].uri if contacts else invite.uri, headers)


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
