"""One test of one account, from the name of its registrar to the verdict.

    query:  DNS -> REGISTER without a Contact -> what it holds
    bind:   the same; a contact that is not ours -> in_use, and nothing is registered
            else -> intent on the disk -> REGISTER of our contact -> its removal
                 -> nothing of ours is listed any more -> intent off the disk

The intent stands on the disk before the registrar can hold anything of ours, and until
it was seen to hold nothing: whoever finds one at a start removes what it names first.
A contact that is not ours is never touched, and `*` is never sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple, Protocol

from checks.accounts import ports
from checks.accounts.contact import Contact, OwnContact, is_test
from checks.accounts.diagnosis import diagnose
from checks.accounts.evidence import UNREACHED, Phase, Seen
from checks.accounts.exchange import SAID_LIMIT, Exchange, RegisterError, Step
from checks.accounts.settings import BIND, AccountSettings
from checks.observation import Binding, Cause, State, plain
from checks.register import bindings
from checks.sip.client import Client
from checks.sip.errors import SipError
from checks.sip.message import Response
from checks.sip.resolver import Address, Resolver
from checks.sip.trace import Exchanged
from checks.sip.uri import NameAddr

FAREWELL = 1.0  # s to remove a contact when we are told to stop
REMOVALS = 2  # attempts: of what we asked for, then of what is listed


@dataclass(frozen=True, slots=True)
class Intent:
    """That a contact of ours may be bound: what a crash leaves to be removed."""

    contact: str  # the Contact URI that was to be registered
    registrar: str
    aor: str
    ip: str  # where it was sent from: some registrars know a contact by that
    port: int
    ends_at: float  # UTC s when it has expired whatever happened

    @property
    def json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Intent:
        """As it was stored; ValueError where it is none."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not an intent: {error}") from None


class Intents(Protocol):
    """Where the intents of one account are kept."""

    async def keep(self, intent: Intent) -> None:
        """Have it on the disk before this returns; OSError where that fails."""

    def drop(self) -> None:
        """Nothing of ours is bound any more."""


class NoIntents:
    """Of a test by hand, without a store: what is left behind expires by itself."""

    async def keep(self, intent: Intent) -> None:
        """Nowhere."""

    def drop(self) -> None:
        """There is none."""


Tell = Callable[[Step], None]
Hint = Callable[[Exchange], Awaitable[Cause | None]]
Held = Callable[[str], Iterable[str]]


async def no_hint(exchange: Exchange) -> Cause | None:
    """Nobody but the registrar's answer tells why it refused."""
    return None


def nothing_held(aor: str) -> Iterable[str]:
    """Nobody but the registrar's answer tells who is registered."""
    return ()


@dataclass(slots=True, kw_only=True)
class Around:
    """What a test may use of the one who runs it."""

    clock: Callable[[], float]
    agent: str
    resolver: Resolver | None = None
    hint: Hint = no_hint  # what the PBX's own security events say of a refusal
    held: Held = nothing_held  # contacts that a watched registrar holds for an AOR
    tell: Tell = field(default=lambda step: None)


@dataclass(slots=True)
class Outcome:
    """How a test ended."""

    state: State
    cause: Cause | None
    sentence: str
    step: str
    at: float
    evidence: tuple[str, ...] = ()
    bindings: tuple[Binding, ...] = ()
    others: tuple[str, ...] = ()  # contacts of whoever else uses the account
    rtt: float | None = None  # s, of the last answer
    not_after: float | None = None  # UTC s when the certificate ends
    retry_after: int | None = None  # s that the registrar wants to be left alone
    address: str = ""
    transport: str = ""
    places: tuple[Address, ...] = ()  # where it was found, for the next time
    exchange: tuple[Exchanged, ...] = ()


@dataclass(slots=True)
class Trial:
    """`run()` once. `forbidden` says who was seen to use the account, so that it is
    only asked; `leftover` is an intent that a crash left."""

    settings: AccountSettings
    own: OwnContact
    around: Around
    intents: Intents = field(default_factory=NoIntents)
    leftover: Intent | None = None
    forbidden: tuple[str, ...] = ()
    places: tuple[Address, ...] = ()
    thorough: bool = True  # False: other transports are not tried again
    _evidence: list[str] = field(default_factory=list)

    async def run(self) -> Outcome:
        """Test it; what is not expected is raised."""
        contact = Contact(self.around.agent, self.around.clock)
        client, fault = await self._client(contact)
        exchange = Exchange(
            self.settings, client, self.own, self.around.agent, self._step
        )
        try:
            seen, response = await self._tested(exchange, contact, fault)
            seen = await self._looked_around(exchange, seen)
            await contact.settle()
        finally:
            contact.close()
            client.close()
        return self._outcome(exchange, seen, response)

    async def _tested(
        self, exchange: Exchange, contact: Contact, fault: _OwnFault | None
    ) -> tuple[Seen, Response | None]:
        try:
            if fault is not None:
                seen = exchange.seen(Phase.QUERY)
                raise RegisterError(replace(seen, cause=fault.cause, ours=fault.text))
            await exchange.locate(self.places)
            response = await exchange.query()
            await self._clear(exchange, response)
            others = self._others(exchange, response)
            if self.settings.mode != BIND:
                return replace(
                    exchange.seen(Phase.QUERY), bindings=len(others)
                ), response
            if others or self.forbidden:
                return self._in_use(exchange, others), response
            return await self._bind(exchange, contact), response
        except RegisterError as error:
            return error.seen, None

    # --- contacts -------------------------------------------------------------------

    def _others(self, exchange: Exchange, response: Response) -> list[str]:
        """Contacts that are not ours: as the registrar lists them, or as one that is
        watched holds them."""
        listed = [_said(c) for c in exchange.contacts(response) if self._foreign(c)]
        if not listed and self.settings.mode == BIND:
            held = (
                NameAddr(uri)
                for uri in self.around.held(exchange.seen(Phase.QUERY).aor)
            )
            listed = [_said(c) for c in held if self._foreign(c)]
        return listed

    def _foreign(self, contact: NameAddr) -> bool:
        """Whether a contact is a phone's: neither ours nor that of another sipwatch,
        which none is thrown out by."""
        return not (self.own.owns(contact) or is_test(contact.uri))

    def _ours(self, exchange: Exchange, response: Response) -> list[str]:
        return [c.uri for c in exchange.contacts(response) if self.own.owns(c)]

    def _in_use(self, exchange: Exchange, others: list[str]) -> Seen:
        seen = exchange.seen(Phase.QUERY)
        return replace(seen, others=tuple(others) or self.forbidden, earlier=not others)

    async def _clear(self, exchange: Exchange, response: Response) -> None:
        """Remove what a crash left behind, before anything else."""
        if ours := self._ours(exchange, response):
            self._evidence.append("a test contact of before was still registered")
            seen = await self._removed(exchange, ours)
            if seen.left:
                raise RegisterError(seen)
        if ours or self.leftover is not None:
            self.intents.drop()

    async def _bind(self, exchange: Exchange, contact: Contact) -> Seen:
        """Register our contact, and remove it again whatever comes between."""
        uri = await self._reachable(exchange, contact)
        if not await self._announced(exchange, uri):
            return exchange.seen(Phase.QUERY)
        try:
            return await self._bound_and_removed(exchange, uri)
        except RegisterError as error:
            if error.seen.phase is Phase.BIND and _is_refusal(error.seen.status):
                self.intents.drop()  # nothing was bound
            elif error.seen.phase is Phase.BIND:
                await self._farewell(exchange, uri)  # nobody knows if it arrived
            raise
        except asyncio.CancelledError:
            await self._farewell(exchange, uri)
            raise

    async def _reachable(self, exchange: Exchange, contact: Contact) -> str:
        (place,) = exchange.places
        settings = self.settings
        try:
            uri = await contact.open(
                exchange.client,
                self.own.user,
                place,
                server_name=settings.next_hop.host,
                timeout=settings.timeout,
            )
        except SipError as error:
            seen = exchange.seen(Phase.BIND)
            detail = plain(error.detail)
            raise RegisterError(
                replace(seen, cause=error.cause, detail=detail)
            ) from None
        if settings.uri.scheme == "sips":  # RFC 3261 10.2.1: then the contact is too
            uri = replace(uri, scheme="sips")
        return str(uri)

    async def _announced(self, exchange: Exchange, uri: str) -> bool:
        """The intent is on the disk; without it nothing is registered."""
        sent = exchange.messages[-1].local if exchange.messages else ("", 0)
        intent = Intent(
            contact=uri,
            registrar=self.settings.registrar,
            aor=self.settings.identity.aor,
            ip=sent[0],
            port=sent[1],
            ends_at=self.around.clock() + self.settings.expires,
        )
        try:
            await self.intents.keep(intent)
        except OSError as error:
            self._step(Step(None, "register", f"not tried: {error}"))
            return False
        return True

    async def _bound_and_removed(self, exchange: Exchange, uri: str) -> Seen:
        response, asked = await exchange.bind(uri)
        if asked != round(self.settings.expires):
            self._evidence.append(f"registered for {asked} s, its Min-Expires")
        listed = exchange.contacts(response)
        during = [_said(c) for c in listed if self._foreign(c)]
        known = any(map(self.own.owns, listed))
        seen = await self._removed(exchange, self._ours(exchange, response) or [uri])
        if not seen.left:
            self.intents.drop()
        if not seen.left and not seen.others and during and known:
            # Ours was listed under its name, so this was somebody else's.
            return replace(seen, others=tuple(during), during=True, vanished=True)
        return seen

    async def _removed(self, exchange: Exchange, ours: list[str]) -> Seen:
        """Remove contacts of ours; `left` are those that stay all the same."""
        response = None
        for _ in range(REMOVALS):
            response = await exchange.remove(ours)
            ours = self._ours(exchange, response)
            if not ours:
                break
        seen = exchange.seen(Phase.BIND)
        if response is None:
            return seen
        others = [_said(c) for c in exchange.contacts(response) if self._foreign(c)]
        left = tuple(plain(uri, SAID_LIMIT) for uri in ours)
        during = bool(others) and self.settings.mode == BIND
        return replace(
            seen, left=left, others=tuple(others) if during else (), during=during
        )

    async def _farewell(self, exchange: Exchange, uri: str) -> None:
        """Remove it without much waiting; the intent stays, until it is seen gone."""
        with contextlib.suppress(RegisterError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await exchange.remove([uri])

    # --- what else is known ---------------------------------------------------------

    async def _looked_around(self, exchange: Exchange, seen: Seen) -> Seen:
        """Why it was refused, as its PBX tells; where silent, what else answers."""
        if seen.status in (401, 403, 407):
            return replace(seen, hint=await self.around.hint(exchange))
        silent = seen.cause in UNREACHED and seen.phase is Phase.QUERY
        if not (silent and self.thorough and exchange.places):
            return seen
        found = await ports.answering(
            exchange.client,
            self.settings.next_hop,
            exchange.places[0],
            self.around.agent,
        )
        for name in found:
            self._step(Step(True, name, "answers"))
        return replace(seen, answering=found)

    async def _client(self, contact: Contact) -> tuple[Client, _OwnFault | None]:
        """A client of this test alone, and what is wrong on our side, if anything."""
        file, tls, fault = self.settings.ca, None, None
        if file:
            try:
                tls = await asyncio.to_thread(ssl.create_default_context, cafile=file)
            except ssl.SSLError:
                said = f"{file} holds no certificate that can be read"
                fault = _OwnFault(Cause.TLS_VERIFY, said)
            except OSError as error:  # gone since the configuration was read
                said = f"{file} cannot be read: {error.strerror or error}"
                fault = _OwnFault(Cause.TLS_VERIFY, said)
        if ip := self.settings.source:
            with _udp_socket(ip) as probe:
                try:
                    probe.bind((ip, 0))
                except OSError as error:
                    said = f"nothing can be sent from {ip}: {error.strerror or error}"
                    fault = _OwnFault(Cause.ICMP_UNREACHABLE, said)
        client = Client(
            clock=self.around.clock,
            resolver=self.around.resolver,
            source=self._source(),
            ssl_context=tls,
            asked=contact.asked,
        )
        return client, fault

    def _source(self) -> tuple[str, int] | None:
        """Where to send from: for a leftover from where it was sent, if that is free.

        An Asterisk with rewrite_contact knows a contact by nothing else.
        """
        if self.leftover is not None:
            before = (self.leftover.ip, self.leftover.port)
            with _udp_socket(before[0]) as probe:
                with contextlib.suppress(OSError, OverflowError):
                    probe.bind(before)
                    return before
        return (self.settings.source, 0) if self.settings.source else None

    def _step(self, step: Step) -> None:
        self.around.tell(step)
        if step.ok is not None and step.what != "DNS":
            self._evidence.append(f"{step.what}: {step.text}")

    def _outcome(
        self, exchange: Exchange, seen: Seen, response: Response | None
    ) -> Outcome:
        found, now = diagnose(seen), self.around.clock()
        place = exchange.places[0] if exchange.places else None
        rows = bindings(response, seen.aor, now) if response is not None else []
        return Outcome(
            *found,
            now,
            evidence=tuple(self._evidence[-4:]),
            bindings=tuple(rows),
            others=seen.others,
            rtt=exchange.answer.rtt if exchange.answer is not None else None,
            not_after=exchange.not_after,
            retry_after=seen.retry_after,
            address=seen.place,
            transport=place.transport if place else "",
            places=exchange.places,
            exchange=tuple(exchange.messages),
        )


def _said(contact: NameAddr) -> str:
    return plain(contact.uri, SAID_LIMIT)


class _OwnFault(NamedTuple):
    """Why nothing can be asked: neither the registrar nor the way to it are known."""

    cause: Cause
    text: str


def _udp_socket(ip: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def _is_refusal(status: int) -> bool:
    """Whether an answer to a REGISTER proves that nothing was bound by it: what a proxy
    says when the registrar's own answer does not come in time proves nothing."""
    return status // 100 in (3, 4, 6) and status != 408
