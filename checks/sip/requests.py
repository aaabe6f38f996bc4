"""The requests that a watcher sends; what belongs to one sending is the client's."""

from __future__ import annotations

from checks.sip.headers import Headers
from checks.sip.message import Request
from checks.sip.uri import SipUri

MAX_FORWARDS = "70"  # RFC 3261 8.1.1.6
_TARGET_PARAMS = ("maddr", "ttl", "transport", "lr", "method")


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


def _request_uri(uri: SipUri) -> SipUri:
    # RFC 3261 19.1.1: neither headers nor a method parameter may stand there; where
    # to send it is settled, and a transport in it confuses some peers' routing.
    kept = [
        p for p in uri.params.written if p[0].lower() not in ("method", "transport")
    ]
    params = type(uri.params)(kept)
    return SipUri(uri.host, uri.user, uri.port, params, uri.scheme)


def _address_of(uri: SipUri) -> SipUri:
    # RFC 3261 19.1.1, table 1: a To or From holds none of these, and no port.
    kept = [p for p in uri.params.written if p[0].lower() not in _TARGET_PARAMS]
    params = type(uri.params)(kept)
    return SipUri(uri.host, uri.user, None, params, uri.scheme)
