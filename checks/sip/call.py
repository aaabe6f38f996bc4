"""One call that ends as soon as it is known whether it would ring.

INVITE; at the first ringing CANCEL, at an answer ACK and BYE, at a refusal ACK. What
was begun is ended whatever happens meanwhile, within `ENDING`: a phone that goes on
ringing for nobody is worse than no test.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from checks.observation import Cause
from checks.sip.connection import Connection
from checks.sip.digest import Credentials, Session
from checks.sip.errors import SipError
from checks.sip.fields import CSeq
from checks.sip.flows import Endpoint, Flow, Flows
from checks.sip.invitation import InviteTransaction
from checks.sip.message import Request, Response, parse
from checks.sip.params import Params
from checks.sip.requests import (
    ack_request,
    cancel_request,
    completed,
    dialog_request,
    invite_request,
    new_branch,
)
from checks.sip.resolver import TRANSPORTS, Address
from checks.sip.responses import response_to
from checks.sip.trace import EXCHANGE_LIMIT, Exchanged
from checks.sip.transaction import T1, T2
from checks.sip.transport import failure_of
from checks.sip.uri import NameAddr, SipUri
from checks.sip.via import Via

ENDING = 4.0  # s that CANCEL or BYE may take: two retransmissions, and the answer
ROUNDS = 3  # a proxy and a server challenge
DIALOGS = 8  # phones that may pick up one call before it is cancelled
INBOX_LIMIT = 64  # responses that wait: several phones may ring
RINGING = 180
FORWARDED = 181


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a call came."""

    response: Response | None
    "The final response, or the ringing that ended it; None: only a 100, or nothing."

    seconds: float
    "From the first INVITE to that."

    source: Endpoint
    forwarded: bool
    "It was forwarded on its way (181)."

    ended: str
    "How it was ended: cancelled, hung up, refused; or what was not confirmed."

    exchange: tuple[Exchanged, ...]

    @property
    def rings(self) -> bool:
        """Whether a phone rang, or was picked up."""
        return self.response is not None and self.response.status < 300


Event = tuple[Response, Endpoint] | SipError


@dataclass(slots=True, eq=False)
class _Way:
    """The flow of the call, and the INVITE as it last went out."""

    flow: Flow
    address: Address
    invite: Request
    transaction: InviteTransaction
    began: float
    forwarded: bool = False
    provisional: bool = False
    picked_up: dict[str, Response] = field(default_factory=dict)  # by To tag


class Caller:
    """Makes one call; `clock` gives UTC seconds."""

    def __init__(
        self,
        *,
        user_agent: str,
        clock: Callable[[], float] = time.time,
        source: Endpoint | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._agent, self._clock = user_agent, clock
        self._inbox: asyncio.Queue[Event] = asyncio.Queue(INBOX_LIMIT)
        self._log: list[Exchanged] = []
        self._call_id = secrets.token_hex(16)
        self._over, self._local = "udp", ("", 0)
        self._flows = Flows(
            received=self._received,
            failed=lambda peer, cause, text: self._put(SipError(cause, text)),
            closed=lambda flow, cause, text: self._put(SipError(cause, text)),
            busy=lambda connection: True,
            source=source,
            ssl_context=ssl_context,
        )

    @property
    def exchange(self) -> tuple[Exchanged, ...]:
        """What went over the wire so far."""
        return tuple(self._log)

    async def call(
        self,
        uri: SipUri,
        address: Address,
        *,
        from_uri: SipUri | str,
        server_name: str | None = None,
        credentials: Credentials | None = None,
        timeout: float = 10.0,
    ) -> Outcome:
        """Call a URI over an address, and end that; SipError where nothing answers.

        `timeout` is for all until the first ringing or final response.
        """
        deadline = self._clock() + timeout
        try:
            flow = await self._flows.to(address, server_name, timeout)
            self._over, self._local = address.transport, flow.local
            invite = self._invite(uri, from_uri, flow)
            return await self._rounds(invite, flow, address, credentials, deadline)
        except SipError as error:
            error.exchange = self.exchange
            raise
        finally:
            self._flows.close()

    def _invite(self, uri: SipUri, from_uri: SipUri | str, flow: Flow) -> Request:
        host, port = flow.sent_by
        contact = SipUri(host.strip("[]"), "sipwatch", port)
        invite = invite_request(
            uri,
            from_uri=from_uri,
            user_agent=self._agent,
            contact=contact,
            media=flow.local[0],
        )
        invite.headers.add("Call-ID", self._call_id)
        return completed(invite)

    async def _rounds(
        self,
        invite: Request,
        flow: Flow,
        address: Address,
        credentials: Credentials | None,
        deadline: float,
    ) -> Outcome:
        """Once, and again for each challenge that can be answered."""
        session = Session(credentials) if credentials else None
        began, answered = self._clock(), frozenset[tuple[str, str, bool]]()
        for left in reversed(range(ROUNDS)):
            if session is not None:
                session.authorize(invite)
            way = self._begun(invite, flow, address, deadline)
            outcome = await self._round(way, began, deadline)
            response = outcome.response
            if session is None or response is None or not left:
                break
            if response.status not in (401, 407):
                break
            asked = session.learn(response)
            if not asked - answered:
                break
            answered |= asked
            invite.headers.set("CSeq", str(CSeq(invite.cseq.number + 1, "INVITE")))
        return outcome

    def _begun(
        self, invite: Request, flow: Flow, address: Address, deadline: float
    ) -> _Way:
        now = self._clock()
        branch = new_branch()
        sent = _with_via(invite, address, flow, branch)
        transaction = InviteTransaction(
            branch,
            now,
            reliable=address.transport != "udp",
            timeout=max(0.0, deadline - now),
        )
        way = _Way(flow, address, sent, transaction, now)
        self._send(way, sent)
        return way

    async def _round(self, way: _Way, began: float, deadline: float) -> Outcome:
        """One INVITE to its end: how it went, and how it was ended."""
        response, source = None, (way.address.ip, way.address.port)
        took, ended = 0.0, ""
        try:
            response, source = await self._heard(way, deadline)
            took = self._clock() - began
        finally:
            # Also where the caller was cancelled: what rings must not go on ringing.
            ended = await self._end(way, response)
        took = took or self._clock() - began
        return Outcome(response, took, source, way.forwarded, ended, self.exchange)

    # to the first ringing, or a final response

    async def _heard(
        self, way: _Way, deadline: float
    ) -> tuple[Response | None, Endpoint]:
        while True:
            due = min(way.transaction.deadline or deadline, deadline)
            event = await self._next(due)
            if event is None:
                if way.transaction.advance(self._clock()):
                    self._send(way, way.invite, "retransmission")
                elif self._clock() >= deadline:
                    return self._silence(way)
                continue
            if isinstance(event, SipError):
                raise event
            response, source = event
            if not self._take(way, response):
                continue
            if response.status >= 200 or response.status == RINGING:
                return response, source

    def _silence(self, way: _Way) -> tuple[None, Endpoint]:
        if way.provisional:
            return None, (way.address.ip, way.address.port)
        text = f"no answer to INVITE from {way.address}"
        if way.address.transport == "udp":
            text += f" to {way.transaction.sends} sends"
        raise SipError(Cause.TIMEOUT, text)

    def _take(self, way: _Way, response: Response) -> bool:
        """Take a response to our INVITE, ACK it where that is due; whether it is."""
        if not way.transaction.matches(response):
            return False
        way.provisional |= response.status < 200
        way.forwarded |= response.status == FORWARDED
        way.transaction.receive(response.status, self._clock())
        if response.status >= 300:
            self._send(way, ack_request(way.invite, response))
        elif response.status >= 200:
            self._pick_up(way, response)
        return True

    def _pick_up(self, way: _Way, response: Response) -> None:
        """ACK a 2xx, each time that it comes; BYE follows in the end."""
        tag = _tag(response)
        if tag in way.picked_up or len(way.picked_up) < DIALOGS:
            way.picked_up[tag] = response
            self._send_in_dialog(way, dialog_request("ACK", way.invite, response))

    # the end

    async def _end(self, way: _Way, response: Response | None) -> str:
        while not self._inbox.empty():  # come, and not looked at yet
            event = self._inbox.get_nowait()
            if not isinstance(event, SipError):
                self._take(way, event[0])
        if response is not None and response.status >= 300:
            return "refused"
        if way.picked_up:
            return await self._hang_up(way)
        if not way.provisional:
            return "nothing rang"  # RFC 3261 9.1: no CANCEL before a response
        cancel = cancel_request(way.invite)
        confirmed = await self._confirmed(
            lambda: self._send(way, cancel), way, lambda r: _is_final(r, "INVITE")
        )
        if way.picked_up:  # it crossed our CANCEL
            return await self._hang_up(way)
        return "cancelled" if confirmed else "cancelled, but nothing confirmed that"

    async def _hang_up(self, way: _Way) -> str:
        confirmed, over = True, set[str]()
        # One that picks up while another is hung up is hung up as well.
        while left := [tag for tag in way.picked_up if tag not in over]:
            over.add(left[0])
            bye = dialog_request("BYE", way.invite, way.picked_up[left[0]])
            confirmed &= await self._confirmed(
                lambda bye=bye: self._send_in_dialog(way, bye),  # type: ignore[misc]
                way,
                lambda r: _is_final(r, "BYE"),
            )
        return "hung up" if confirmed else "hung up, but nothing confirmed that"

    async def _confirmed(
        self, send: Callable[[], None], way: _Way, ends: Callable[[Response], bool]
    ) -> bool:
        """Send until a response ends it; whether one came in time."""
        until, wait = self._clock() + ENDING, T1
        send()
        again = self._clock() + wait
        while (now := self._clock()) < until:
            if now >= again and not way.transaction.reliable:
                send()
                wait = min(2 * wait, T2)
                again = now + wait
            reliable = way.transaction.reliable
            event = await self._next(until if reliable else min(again, until))
            if isinstance(event, SipError):
                return False
            if event is not None:
                self._take(way, event[0])
                if ends(event[0]):
                    return True
        return False

    # what goes out and comes in

    async def _next(self, due: float) -> Event | None:
        try:
            async with asyncio.timeout(max(0.0, due - self._clock())):
                return await self._inbox.get()
        except TimeoutError:
            return None

    def _send(self, way: _Way, request: Request, note: str = "") -> None:
        self._go(way.flow, way.address, bytes(request), note)

    def _send_in_dialog(self, way: _Way, request: Request) -> None:
        """To the next hop of the dialog; a connection is used for all of it."""
        address = way.address
        if address.transport == "udp":
            address = _next_hop(request) or address
        whole = _with_via(request, address, way.flow, new_branch())
        if address == way.address:
            self._send(way, whole)
            return
        back = self._flows.back((address.ip, address.port), None)
        flow = Flow(way.flow.local, back.send)
        self._go(flow, address, bytes(whole), "")

    def _go(self, flow: Flow, address: Address, data: bytes, note: str) -> None:
        remote = (address.ip, address.port)
        self._keep(True, flow.local, remote, data, note)
        try:
            flow.send(data)
        except OSError as error:
            cause, text = failure_of(error)
            raise SipError(cause, f"UDP to {address}: {text}") from None

    def _received(
        self, data: bytes, source: Endpoint, connection: Connection | None
    ) -> None:
        try:
            message = parse(data)
        except ValueError:
            return
        if message.call_id != self._call_id:
            return
        self._keep(False, self._local, source, data, "")
        if isinstance(message, Response):
            self._put((message, source))
            return
        self._answer(message, source, connection)

    def _answer(
        self, request: Request, source: Endpoint, connection: Connection | None
    ) -> None:
        """The peer hangs up, or wants something of a call that is over."""
        if request.method == "ACK":
            return
        status = (200, "OK") if request.method == "BYE" else (481, "Call Is Over")
        try:
            response = response_to(request, *status, tag=secrets.token_hex(8))
            self._flows.back(source, connection).send(bytes(response))
        except (ValueError, OSError):
            return  # it will ask again, or give up

    def _put(self, event: Event) -> None:
        if not self._inbox.full():
            self._inbox.put_nowait(event)

    def _keep(
        self, sent: bool, local: Endpoint, remote: Endpoint, data: bytes, note: str
    ) -> None:
        if len(self._log) < EXCHANGE_LIMIT:
            at, over = self._clock(), self._over
            self._log.append(Exchanged(at, sent, over, local, remote, data, note))


def _is_final(response: Response, method: str) -> bool:
    try:
        return response.final and response.cseq.method == method
    except ValueError:
        return False


def _tag(response: Response) -> str:
    try:
        return response.to.tag or ""
    except ValueError:
        return ""


def _with_via(request: Request, address: Address, flow: Flow, branch: str) -> Request:
    host, port = flow.sent_by
    params = Params([("branch", branch), ("rport", None)])
    request = request.copy()
    over = address.transport.upper()
    request.headers.add("Via", str(Via(over, host, port, params)), first=True)
    return request


def _next_hop(request: Request) -> Address | None:
    """Where a request of a dialog goes, where that needs no look-up."""
    routes = request.all("route")
    try:
        uri = NameAddr.parse(routes[0]).sip if routes else SipUri.parse(request.uri)
        ip = str(ipaddress.ip_address(uri.params.get("maddr") or uri.host))
    except ValueError:
        return None
    if (uri.transport or "udp") != "udp":
        return None
    return Address(ip, uri.port or TRANSPORTS["udp"][2], "udp")
