"""A SIP client: one request to one address, and its answer, or why there is none.

An answer is what carries our branch (64 random bits), Call-ID and CSeq, whatever
address it comes from. TCP, TLS and WebSocket connections are kept between requests.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from checks.observation import Cause
from checks.sip.connection import Connection
from checks.sip.digest import Credentials, Session
from checks.sip.errors import SipError
from checks.sip.fields import CSeq
from checks.sip.flows import Back, Endpoint, Flow, Flows
from checks.sip.message import Request, Response, parse
from checks.sip.params import Params
from checks.sip.requests import completed, new_branch
from checks.sip.resolver import Address, Resolution, Resolver
from checks.sip.trace import EXCHANGE_LIMIT, Exchanged
from checks.sip.transaction import ClientTransaction
from checks.sip.transport import failure_of
from checks.sip.uri import SipUri
from checks.sip.via import Via

ROUND_LIMIT = 4  # a proxy and a server challenge, and each calls its nonce stale once
INBOX_LIMIT = 16  # answers waiting for one request: provisional ones and repetitions
SESSION_LIMIT = 1024  # users at servers whose nonces are remembered


@dataclass(frozen=True, slots=True)
class Answer:
    """The final response to a request."""

    response: Response

    rtt: float
    "s from the first send of the last round to this response."

    source: Endpoint
    "Who sent it."

    sends: int
    "How often the request of the last round was sent: 1 means nothing was lost."

    via_other_address: bool
    "It came from an address that was not asked."

    not_after: float | None
    "UTC s when the peer's certificate ends; None without TLS."

    exchange: tuple[Exchanged, ...]
    "Every message of it, in order."


@dataclass(slots=True, eq=False)
class _Log:
    """The messages of one request, the first ones kept."""

    clock: Callable[[], float]
    transport: str
    messages: list[Exchanged] = field(default_factory=list)

    def add(
        self, sent: bool, local: Endpoint, remote: Endpoint, data: bytes, note: str = ""
    ) -> None:
        if len(self.messages) < EXCHANGE_LIMIT:
            at = self.clock()
            message = Exchanged(at, sent, self.transport, local, remote, data, note)
            self.messages.append(message)


@dataclass(slots=True, eq=False)
class _Pending:
    """A transaction that waits for its answer."""

    transaction: ClientTransaction
    address: Address
    flow: Flow
    call_id: str
    cseq: CSeq
    log: _Log
    inbox: asyncio.Queue[tuple[Response, Endpoint, float] | SipError]
    malformed: str = ""  # what came from the address and could not be read
    strays: int = 0  # answers from the address that were not to this request

    def put(self, event: tuple[Response, Endpoint, float] | SipError) -> None:
        if not self.inbox.full():
            self.inbox.put_nowait(event)

    def is_answered_by(self, response: Response) -> bool:
        if not self.transaction.matches(response):
            return False
        return response.call_id == self.call_id and response.cseq == self.cseq

    def silence(self) -> SipError:
        """Why it ended without a final response."""
        if self.malformed:
            return SipError(Cause.MALFORMED, self.malformed)
        text = f"no final response from {self.address}"
        if self.address.transport == "udp":
            text += f" to {self.transaction.sends} sends"
        if self.strays:
            text += f"; {self.strays} that were not to this request"
        return SipError(Cause.TIMEOUT, text)


class Client:
    """Sends requests and waits for their answers; `clock` gives UTC seconds.

    `asked` is called with each request that a peer sends us, and the way back; without
    it they are passed over in silence.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        resolver: Resolver | None = None,
        source: Endpoint | None = None,
        ssl_context: ssl.SSLContext | None = None,
        asked: Callable[[Request, Back], None] | None = None,
    ) -> None:
        self._clock = clock
        self._asked = asked
        self._resolver = Resolver() if resolver is None else resolver
        self._flows = Flows(
            received=self._deliver,
            failed=self._failed,
            closed=self._closed,
            busy=self._busy,
            source=source,
            ssl_context=ssl_context,
        )
        self._pending: dict[str, _Pending] = {}  # by branch
        self._sessions: dict[tuple[Address, Credentials], Session] = {}

    async def resolve(self, uri: SipUri) -> Resolution:
        """Where to send a request for a URI; see `Resolver.resolve`."""
        return await self._resolver.resolve(uri)

    async def request(
        self,
        request: Request,
        address: Address,
        *,
        server_name: str | None = None,
        timeout: float,
        credentials: Credentials | None = None,
    ) -> Answer:
        """Send a request to an address and return its final response.

        What RFC 3261 wants and the request lacks is added to a copy. Challenges are
        answered with the credentials, each once, and once more when the nonce was
        stale; a 401 or 407 after that is the answer. `timeout` is for all of it.
        SipError says why there is none, and holds the exchange until then.
        """
        log = _Log(self._clock, address.transport)
        deadline = self._clock() + timeout
        try:
            return await self._converse(
                completed(request), address, server_name, deadline, credentials, log
            )
        except SipError as error:
            error.exchange = tuple(log.messages)
            raise

    async def contact(
        self,
        user: str,
        address: Address,
        *,
        server_name: str | None = None,
        timeout: float,
    ) -> SipUri:
        """Where the peer at an address reaches us: a Contact over the way to it.

        SipError where there is no way.
        """
        flow = await self._flows.to(address, server_name, timeout)
        host, port = flow.sent_by
        # RFC 7118 5.2: the parameter is `ws` for secure ones as well.
        over = "ws" if address.web else address.transport
        params = Params([] if over == "udp" else [("transport", over)])
        return SipUri(host.strip("[]"), user, port, params)

    def close(self) -> None:
        """Close every socket; requests under way end as reset."""
        for pending in self._pending.values():
            pending.put(SipError(Cause.CONNECTION_RESET, "the client was closed"))
        self._flows.close()

    # rounds of authentication

    async def _converse(
        self,
        request: Request,
        address: Address,
        server_name: str | None,
        deadline: float,
        credentials: Credentials | None,
        log: _Log,
    ) -> Answer:
        session = self._session(address, credentials)
        answered: set[tuple[str, str, bool]] = set()
        for _ in range(ROUND_LIMIT):
            if session is not None:
                session.authorize(request)
            answer = await self._transact(request, address, server_name, deadline, log)
            if session is None:
                break
            if answer.response.status not in (401, 407):
                session.accepted(answer.response)
                break
            asked = session.learn(answer.response)
            # One with a stale nonce is another question; the same again is a refusal.
            if not asked - answered:
                session.forget()
                break
            answered |= asked | {(name, realm, False) for name, realm, _ in asked}
            cseq = request.cseq
            request.headers.set("CSeq", str(CSeq(cseq.number + 1, cseq.method)))
        return answer

    def _session(
        self, address: Address, credentials: Credentials | None
    ) -> Session | None:
        if credentials is None:
            return None
        found = self._sessions.pop((address, credentials), None)
        while len(self._sessions) >= SESSION_LIMIT:
            del self._sessions[next(iter(self._sessions))]  # the longest unused
        session = Session(credentials) if found is None else found
        self._sessions[address, credentials] = session
        return session

    # one transaction

    async def _transact(
        self,
        request: Request,
        address: Address,
        server_name: str | None,
        deadline: float,
        log: _Log,
    ) -> Answer:
        while True:
            left = max(0.0, deadline - self._clock())
            flow = await self._flows.to(address, server_name, left)
            try:
                return await self._send_and_wait(request, address, flow, deadline, log)
            except SipError as error:
                # A peer may close what was idle, as it pleases: that is no failure
                # before a new connection fails as well.
                if not (flow.kept and error.cause is Cause.CONNECTION_RESET):
                    error.not_after = flow.not_after
                    raise

    async def _send_and_wait(
        self,
        request: Request,
        address: Address,
        flow: Flow,
        deadline: float,
        log: _Log,
    ) -> Answer:
        branch = new_branch()
        data = _on_the_wire(request, address, flow, branch)
        now = self._clock()
        transaction = ClientTransaction(
            branch,
            request.method,
            now,
            reliable=address.transport != "udp",
            timeout=deadline - now,
        )
        pending = _Pending(
            transaction,
            address,
            flow,
            request.call_id,
            request.cseq,
            log,
            asyncio.Queue(INBOX_LIMIT),
        )
        self._pending[branch] = pending
        try:
            return await self._run(pending, data, now)
        finally:
            del self._pending[branch]

    async def _run(self, pending: _Pending, data: bytes, began: float) -> Answer:
        transaction = pending.transaction
        self._send(pending, data)
        while True:
            due = transaction.deadline
            if due is None:
                raise pending.silence()
            try:
                async with asyncio.timeout(max(0.0, due - self._clock())):
                    event = await pending.inbox.get()
            except TimeoutError:
                if transaction.advance(self._clock()):
                    self._send(pending, data, "retransmission")
                continue
            if isinstance(event, SipError):
                transaction.fail()
                raise event
            response, source, at = event
            if transaction.receive(response.status, at) and response.final:
                return _answer(pending, response, source, at - began)

    def _send(self, pending: _Pending, data: bytes, note: str = "") -> None:
        address, flow = pending.address, pending.flow
        pending.log.add(True, flow.local, (address.ip, address.port), data, note)
        try:
            flow.send(data)
        except OSError as error:
            cause, text = failure_of(error)
            raise SipError(cause, f"UDP to {address}: {text}") from None

    # what arrives

    def _deliver(
        self, data: bytes, source: Endpoint, connection: Connection | None
    ) -> None:
        at = self._clock()
        if not data.strip(b"\r\n\0"):
            return  # a keep-alive
        try:
            message = parse(data)
            branch = message.via.branch
        except ValueError as error:
            for pending in self._waiting_for(source, connection):
                pending.malformed = f"what {pending.address} sent is not SIP: {error}"
                pending.log.add(False, pending.flow.local, source, data, "not SIP")
            return
        if isinstance(message, Request):
            if self._asked is not None:
                self._asked(message, self._flows.back(source, connection))
            return
        found = self._pending.get(branch or "")
        if found is not None and found.is_answered_by(message):
            other = source != (found.address.ip, found.address.port)
            note = "from another address" if other else ""
            found.log.add(False, found.flow.local, source, data, note)
            found.put((message, source, at))
            return
        for pending in self._waiting_for(source, connection):
            pending.strays += 1

    def _failed(self, destination: Endpoint, cause: Cause, text: str) -> None:
        for pending in self._waiting_for(destination, None):
            pending.put(SipError(cause, f"{pending.address}: {text}"))

    def _closed(self, connection: Connection, cause: Cause, text: str) -> None:
        for pending in list(self._pending.values()):
            if pending.flow.connection is connection:
                pending.put(SipError(cause, f"{pending.address}: {text}"))

    def _busy(self, connection: Connection) -> bool:
        return any(p.flow.connection is connection for p in self._pending.values())

    def _waiting_for(
        self, peer: Endpoint, connection: Connection | None
    ) -> list[_Pending]:
        return [
            pending
            for pending in self._pending.values()
            if pending.flow.connection is connection
            and (pending.address.ip, pending.address.port) == peer
        ]


def _on_the_wire(request: Request, address: Address, flow: Flow, branch: str) -> bytes:
    host, port = flow.sent_by
    via = Via(
        address.transport.upper(),
        host,
        port,
        Params([("branch", branch), ("rport", None)]),  # RFC 3581: answer where we are
    )
    request = request.copy()
    request.headers.add("Via", str(via), first=True)
    return bytes(request)


def _answer(
    pending: _Pending, response: Response, source: Endpoint, rtt: float
) -> Answer:
    return Answer(
        response=response,
        rtt=rtt,
        source=source,
        sends=pending.transaction.sends,
        via_other_address=source != (pending.address.ip, pending.address.port),
        not_after=pending.flow.not_after,
        exchange=tuple(pending.log.messages),
    )
