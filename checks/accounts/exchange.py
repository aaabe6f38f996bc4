"""The requests of one test: REGISTER to a registrar, and what comes back of it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from checks.accounts.contact import OwnContact
from checks.accounts.evidence import Phase, Seen
from checks.accounts.settings import LONGEST, AccountSettings
from checks.observation import Cause, plain
from checks.register import seconds_left
from checks.sip.client import ROUND_LIMIT, Answer, Client
from checks.sip.digest import Challenge, Credentials, challenges, choose
from checks.sip.errors import SipError
from checks.sip.fields import CSeq, delta_seconds
from checks.sip.message import Request, Response
from checks.sip.requests import register_request
from checks.sip.resolver import Address
from checks.sip.trace import Exchanged
from checks.sip.uri import NameAddr

PLACES = 3  # addresses of a name that are tried: the first of many that answers will do
CONTACT_LIMIT = 64  # contacts read of one answer; an AOR with more is no phone's
SAID_LIMIT = 80  # characters of a reason phrase, a realm, a contact
_ASKED = re.compile(rb"\r\n(?:Proxy-)?Authorization[ \t]*:", re.IGNORECASE)


class Step(NamedTuple):
    """One line of what a test does, as it does it."""

    ok: bool | None  # None: neither well nor ill
    what: str  # "DNS", "REGISTER", "UDP 5060"
    text: str
    seconds: float | None = None


class RegisterError(Exception):
    """A REGISTER that did not end in a 2xx: what was seen of it."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(seen.said or seen.detail)
        self.seen = seen


@dataclass(slots=True)
class Exchange:
    """All REGISTERs of one test: one Call-ID, one address, CSeq counting up.

    RFC 3261 10.2.4 wants both of whoever registers; the registrar would else take the
    removal for an older request than the binding.
    """

    settings: AccountSettings
    client: Client
    own: OwnContact
    agent: str
    tell: Callable[[Step], None]
    places: tuple[Address, ...] = ()  # where the registrar is; the good one once known
    call_id: str = field(default_factory=lambda: secrets.token_hex(16))
    answer: Answer | None = None  # the last one
    messages: list[Exchanged] = field(default_factory=list)
    proven: bool = False  # a digest was sent, and accepted or not
    known: bool = False  # some REGISTER was accepted
    granted: int = 0  # s for which our contact was last held
    not_after: float | None = None  # the certificate's end
    _cseq: int = 0

    async def locate(self, fallback: tuple[Address, ...] = ()) -> None:
        """Find the registrar's addresses; the old ones serve while our DNS fails."""
        uri, began = self.settings.next_hop, time.monotonic()
        try:
            found = await self.client.resolve(uri)
        except SipError as error:
            if error.cause is Cause.DNS_FAILURE and fallback:
                self.places = fallback
                self.tell(Step(None, "DNS", f"{error.detail}; the last ones serve"))
                return
            self.tell(Step(False, "DNS", plain(error.detail)))
            raise RegisterError(self._failed(Phase.QUERY, error)) from None
        self.places = found.addresses
        if found.steps:
            names = ", ".join(dict.fromkeys(a.ip for a in found.addresses[:4]))
            took = time.monotonic() - began
            self.tell(Step(True, "DNS", f"{uri.host} is {names}", took))

    async def query(self) -> Response:
        """Ask for the bindings, which changes nothing (RFC 3261 10.2.3)."""
        return await self._over_places(Phase.QUERY, (), None)

    async def bind(self, uri: str) -> tuple[Response, int]:
        """Register a contact; what was asked for may be raised to its Min-Expires."""
        expires = self.granted = round(self.settings.expires)
        try:
            return await self._register(Phase.BIND, [uri], expires), expires
        except RegisterError as error:
            least = error.seen.min_expires
            if error.seen.status != 423 or least is None or not least <= LONGEST:
                raise
        text = f"423, so for {least} s instead of {expires} s (Min-Expires)"
        self.tell(Step(None, "REGISTER", text))
        self.granted = least
        return await self._register(Phase.BIND, [uri], least), least

    async def remove(self, uris: list[str]) -> Response:
        """Remove exactly these contacts of ours, never `*`."""
        return await self._register(Phase.REMOVE, uris, 0)

    async def _register(self, phase: Phase, uris: list[str], expires: int) -> Response:
        contacts = [self.own.field(uri, expires) for uri in uris]
        return await self._ask(phase, contacts, expires)

    def contacts(self, response: Response) -> tuple[NameAddr, ...]:
        """Those that a 200 lists, the ended ones left out."""
        listed = response.contacts[:CONTACT_LIMIT]
        return tuple(c for c in listed if (c.params.get("expires") or "1") != "0")

    # --- one request ----------------------------------------------------------------

    async def _over_places(
        self, phase: Phase, contacts: tuple[str, ...], expires: int | None
    ) -> Response:
        """The first answer that any address gives; from then on it alone is asked."""
        places = self.places[:PLACES]
        for place in places:
            self.places = (place,)
            try:
                return await self._ask(phase, list(contacts), expires)
            except RegisterError as error:
                # RFC 3263 4.3: after silence or a 503 the next one has its turn.
                if place is places[-1] or error.seen.status not in (0, 503):
                    raise
        raise AssertionError("a resolution has an address")

    async def _ask(
        self, phase: Phase, contacts: list[str], expires: int | None
    ) -> Response:
        (place,) = self.places
        request = self._request(contacts, expires)
        try:
            answer = await self.client.request(
                request,
                place,
                server_name=self.settings.next_hop.host,
                timeout=self.settings.timeout,
                credentials=self._credentials(),
            )
        except SipError as error:
            self._cseq += ROUND_LIMIT  # how many of them went out is not told
            self._keep(error.exchange)
            self.not_after = error.not_after or self.not_after
            seen = self._failed(phase, error)
            self.tell(Step(False, _WHAT[phase], seen.detail))
            raise RegisterError(seen) from None
        return self._answered(phase, answer, expires)

    def _answered(self, phase: Phase, answer: Answer, expires: int | None) -> Response:
        response, self.answer = answer.response, answer
        self._cseq = response.cseq.number
        self._keep(answer.exchange)
        self.not_after = answer.not_after
        sent = [m for m in answer.exchange if m.sent]
        self.proven = bool(sent) and _ASKED.search(sent[-1].data) is not None
        ok = 200 <= response.status < 300
        said = _said(response)
        digest = " after a digest" if self.proven else ""
        step = Step(ok, _WHAT[phase], f"{said}{digest}", answer.rtt)
        self.tell(step)
        if not ok:
            raise RegisterError(self._refused(phase, response, expires))
        self.known = True
        self._see_granted(response)
        return response

    def _see_granted(self, response: Response) -> None:
        """For how long a registrar holds our contact may be less, or more, than what
        was asked for."""
        ours = [c for c in self.contacts(response) if self.own.owns(c)]
        told = [left for c in ours if (left := seconds_left(c, response)) is not None]
        if told:
            whole = response.expires  # Asterisk's contact has one second less of it
            self.granted = max(told)
            if whole is not None and 0 <= whole - self.granted <= 1:
                self.granted = whole

    def _request(self, contacts: list[str], expires: int | None) -> Request:
        settings, identity = self.settings, self.settings.identity
        serves = settings.domain or (settings.aor and identity.host)
        registrar = replace(settings.uri, host=serves, port=None) if serves else None
        request = register_request(
            registrar or settings.uri,
            aor=identity,
            user_agent=settings.user_agent or self.agent,
            expires=expires,
        )
        if settings.from_ is not None:
            request.headers.set("From", settings.from_)
        for contact in contacts:
            request.headers.add("Contact", contact)
        request.headers.add("Call-ID", self.call_id)
        request.headers.add("CSeq", str(CSeq(self._cseq + 1, "REGISTER")))
        return request

    def _credentials(self) -> Credentials:
        settings = self.settings
        name = settings.auth_username or settings.username
        return Credentials(name, settings.password)

    def _keep(self, exchange: tuple[Exchanged, ...]) -> None:
        self.messages += exchange

    # --- what was seen --------------------------------------------------------------

    def seen(self, phase: Phase) -> Seen:
        """What is known of this test whatever comes of it."""
        settings = self.settings
        place = self.places[0] if self.places else None
        return Seen(
            phase=phase,
            aor=settings.identity.aor,
            user=settings.auth_username or settings.username,
            host=settings.uri.host,
            place=str(place or ""),
            port=f"{place.transport.upper()} {place.port}" if place else "",
            proven=self.proven,
            known=self.known,
            expires=round(settings.expires),
            granted=self.granted,
        )

    def _failed(self, phase: Phase, error: SipError) -> Seen:
        detail = plain(error.detail)
        return replace(self.seen(phase), cause=error.cause, detail=detail)

    def _refused(self, phase: Phase, response: Response, expires: int | None) -> Seen:
        asked = challenge_of(response)
        offered = [c for several in challenges(response).values() for c in several]
        contacts = response.contacts
        warning = response.warnings[0].text if response.warnings else ""
        return replace(
            self.seen(phase),
            cause=Cause.of_response(response.status),
            status=response.status,
            said=_said(response),
            agent=plain(response.agent, SAID_LIMIT),
            realm=plain(asked.realm, SAID_LIMIT) if asked else "",
            algorithm=plain(asked.algorithm, SAID_LIMIT) if asked else "",
            stale=asked is not None and asked.stale,
            answerable=any(one.known for one in offered) or not asked,
            retry_after=response.retry_after,
            min_expires=_min_expires(response),
            expires=round(self.settings.expires) if expires is None else expires,
            warning=plain(warning, SAID_LIMIT),
            elsewhere=plain(contacts[0].uri, SAID_LIMIT) if contacts else "",
        )


_WHAT = {Phase.QUERY: "REGISTER", Phase.BIND: "register", Phase.REMOVE: "remove"}


def challenge_of(response: Response) -> Challenge | None:
    """The challenge that was, or would have been, answered."""
    offered = [c for several in challenges(response).values() for c in several]
    return next(iter(choose(offered) or offered), None)


def _said(response: Response) -> str:
    return plain(f"{response.status} {response.reason}".rstrip(), SAID_LIMIT)


def _min_expires(response: Response) -> int | None:
    try:
        return delta_seconds(response.get("min-expires") or "")
    except ValueError:
        return None
