"""What a registrar holds for one AOR: the binding query (RFC 3261 10.2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from checks.observation import Binding, Cause, plain
from checks.sip.client import Answer
from checks.sip.digest import Credentials
from checks.sip.errors import SipError
from checks.sip.message import Request, Response
from checks.sip.requests import register_request
from checks.sip.resolver import Address
from checks.sip.uri import NameAddr, SipUri

EXPIRES_LIMIT = 2**32 - 1  # s, RFC 3261 20.19


class Requests(Protocol):
    """What sends the query; `checks.sip.client.Client`."""

    async def request(
        self,
        request: Request,
        address: Address,
        *,
        server_name: str | None = None,
        timeout: float,
        credentials: Credentials | None = None,
    ) -> Answer:
        """The final response, or SipError."""


class RefusedError(SipError):
    """A final response other than 2xx; `response` is it."""

    def __init__(self, answer: Answer) -> None:
        response = answer.response
        said = plain(f"{response.status} {response.reason}", 80)
        cause = Cause.of_response(response.status)
        super().__init__(cause, f"REGISTER: {said}", exchange=answer.exchange)
        self.response = response


@dataclass(frozen=True, slots=True)
class Query:
    """How one registrar is asked for bindings."""

    registrar: SipUri  # the Request-URI: its host is the domain of the AORs
    server_name: str  # that a certificate must be for
    user_agent: str
    timeout: float  # s, for all of one query
    credentials: Credentials | None = None


async def binding_query(
    client: Requests, query: Query, aor: str, address: Address
) -> Response:
    """A REGISTER without Contact, which changes nothing; SipError if it is refused.

    `aor` is user@domain, or user where the domain is the registrar's.
    """
    user, _, domain = aor.partition("@")
    request = register_request(
        query.registrar,
        aor=SipUri(domain or query.registrar.host, user),
        user_agent=query.user_agent,
    )
    answer = await client.request(
        request,
        address,
        server_name=query.server_name,
        timeout=query.timeout,
        credentials=query.credentials,
    )
    if not 200 <= answer.response.status < 300:
        raise RefusedError(answer)
    return answer.response


def bindings(response: Response, aor: str, now: float) -> list[Binding]:
    """The bindings that a 200 to REGISTER lists (RFC 3261 10.3, step 8)."""
    found = []
    for contact in response.contacts:
        expires = seconds_left(contact, response)
        if contact.uri == "*" or expires == 0:
            continue
        found.append(
            Binding(
                aor=aor,
                contact=contact.uri,
                expires_at=None if expires is None else now + expires,
                received=host_port(contact.params.get("received") or contact.uri),
            )
        )
    return found


def seconds_left(contact: NameAddr, response: Response) -> int | None:
    """Its own expires, else that of the message; None where neither tells."""
    text = contact.params.get("expires") or ""
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return min(int(text), EXPIRES_LIMIT)
    return response.expires


def host_port(uri: str) -> str:
    """host:port of a SIP URI; "" of any other."""
    try:
        return SipUri.parse(uri).host_port
    except ValueError:
        return ""
