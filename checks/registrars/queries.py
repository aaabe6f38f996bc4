"""Binding queries over UDP in few steps, for registrars of thousands of AORs.

A query is a filled template. A 200 as most are written is read by a few patterns, and
whatever is not so plain by the parser that reads everything; both come to the same
bindings. What the client does and this does not: challenges, connections, the next
address. So the first question, and every AOR with a name that would have to be escaped,
is the client's.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from checks.observation import Binding, Cause
from checks.register import (
    EXPIRES_LIMIT,
    Query,
    RefusedError,
    bindings,
)
from checks.sip.client import Answer
from checks.sip.errors import SipError
from checks.sip.fields import CSeq
from checks.sip.message import HEADER_LIMIT, Response, parse
from checks.sip.requests import MAX_FORWARDS, register_request
from checks.sip.resolver import Address
from checks.sip.transaction import ClientTransaction
from checks.sip.transport import UdpSocket, failure_of, local_ip
from checks.sip.uri import SipUri
from checks.sip.via import MAGIC_COOKIE

AT_ONCE = 8  # queries under way; a registrar has bigger things to do
WINDOW = 64  # where it answers them at once
SLOW = 0.05  # s for an answer of a registrar that is asked less at a time
TICK = 0.01  # s between two looks at what has come
NONCE = 16  # octets of a Call-ID; half of them are the branch's, half the tag's
LOCAL_FOR = 1.0  # s for which our address towards the registrar is taken to be the same
METHOD = "REGISTER"
CSEQ = CSeq(1, METHOD)

Told = list[Binding] | SipError

# What needs no escape in a URI (RFC 3261 25.1, user; host).
_PLAIN_AOR = re.compile(r"([A-Za-z0-9\-_.!~*'()&=+$,;?/]+)(?:@([A-Za-z0-9\-.]+))?")
# As a registrar lists most: `<sip:1001@10.0.0.1:5060;ob>;expires=3600;q=0.5`.
_CONTACT = re.compile(
    r"[ \t]*<(sips?:(?:[A-Za-z0-9\-_.!~*'()&=+$]+@)?"
    r"([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?)"
    r"(?:;[A-Za-z0-9\-_.]+(?:=[A-Za-z0-9\-_.]+)?)*)>"
    r"(?:;q=[0-9.]+)?(?:;expires=([0-9]{1,10}))?(?:;q=[0-9.]+)?[ \t]*"
)
_BRANCH = re.compile(r";branch=([^;,\s]+)")
# What counts, as most write it; what is known not to is "". Others are looked up in
# small letters.
_FIELDS = {
    **dict.fromkeys(("Via", "via", "v"), "via"),
    **dict.fromkeys(("Call-ID", "call-id", "i"), "call-id"),
    **dict.fromkeys(("Contact", "contact", "m"), "contact"),
    **dict.fromkeys(("CSeq", "cseq"), "cseq"),
    **dict.fromkeys(("Expires", "expires"), "expires"),
    **dict.fromkeys(("From", "To", "Server", "Date", "Content-Length"), ""),
}


@dataclass(slots=True)
class Round:
    """What some queries at a time brought."""

    began: float
    rows: list[Binding] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)  # AORs, by their canonical names
    failures: list[SipError] = field(default_factory=list)


class Reply(NamedTuple):
    """A plain 200, as far as a query needs it."""

    branch: str
    call_id: str
    contacts: tuple[tuple[str, str, int | None], ...]  # URI, host:port, s left

    def bindings(self, aor: str, now: float) -> list[Binding]:
        """What it lists."""
        return [
            Binding(
                aor=aor,
                contact=uri,
                expires_at=None if left is None else now + min(left, EXPIRES_LIMIT),
                received=place,
            )
            for uri, place, left in self.contacts
            if left != 0
        ]


def plain_reply(data: bytes) -> Reply | None:
    """Read a 200 that is written as most are; None for any other message."""
    if not data.startswith(b"SIP/2.0 200 ") or len(data) > HEADER_LIMIT:
        return None
    if data.find(b"\r\n\r\n") != len(data) - 4 or not data.isascii():
        return None
    text = data.decode("ascii")
    lines = text.split("\r\n")[1:-2]
    if text.count("\n") != len(lines) + 2:  # bare ones
        return None
    found: dict[str, str] = {}
    contacts: list[tuple[str, str, int | None]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        field = _FIELDS.get(name)
        if field is None:
            if not colon or line[0] in " \t":
                return None
            field = _FIELDS.get(name.rstrip().lower(), "")
        if not field:
            continue
        if field != "contact":
            found.setdefault(field, value)
            continue
        one = _CONTACT.fullmatch(value)
        if one is None:
            return None
        uri, place, left = one.groups()
        contacts.append((uri, place, None if left is None else int(left)))
    branch = _BRANCH.search(found.get("via", "").partition(",")[0])
    if branch is None or found.get("cseq", "").split() != ["1", METHOD]:
        return None
    if "expires" in found and any(left is None for _, _, left in contacts):
        return None  # it is theirs
    call_id = found.get("call-id", "").strip()
    return Reply(branch[1], call_id, tuple(contacts))


def template(query: Query) -> str:
    """A query to be filled: Via's host and port, branch, user and domain twice and a
    tag between, Call-ID."""
    uri = register_request(
        query.registrar, aor=SipUri("example.invalid"), user_agent=""
    ).uri.replace("%", "%%")
    agent = query.user_agent.replace("%", "%%")
    return (
        f"{METHOD} {uri} SIP/2.0\r\n"
        "Via: SIP/2.0/UDP %s;branch=%s;rport\r\n"
        f"Max-Forwards: {MAX_FORWARDS}\r\n"
        "From: <sip:%s@%s>;tag=%s\r\n"
        "To: <sip:%s@%s>\r\n"
        f"User-Agent: {agent}\r\n"
        "Call-ID: %s\r\n"
        f"CSeq: {CSEQ}\r\n"
        "Content-Length: 0\r\n\r\n"
    )


class _Sent(NamedTuple):
    """A query that waits for its answer."""

    aor: str
    name: str
    data: bytes
    call_id: str
    began: float
    timer: ClientTransaction  # of all that were sent with it


class _Batch(NamedTuple):
    """What was sent in one turn, and when it is to be looked at."""

    at: float
    number: int
    timer: ClientTransaction
    branches: list[str]


class PlainQueries:
    """Asks one address for several AORs at a time; one socket, no task for each.

    What has come is taken each TICK: a registrar answers one after the other, and to
    wake for each costs more than to read it. As many are under way as it answers in
    a few ticks: fewer where it slows down or loses some, WINDOW at most.
    """

    def __init__(
        self, query: Query, address: Address, clock: Callable[[], float]
    ) -> None:
        """SipError where there is no way to the address."""
        self.address = address
        self._query, self._clock = query, clock
        self._template = template(query)
        self._waiting: dict[str, _Sent] = {}  # by branch
        self._batches: list[_Batch] = []  # a heap
        self._serial = 0
        self._window = AT_ONCE
        self._told: dict[str, Told] = {}  # by AOR
        self._well = True  # as far as is known in this round
        self._now = clock()  # of the turn
        self._malformed = ""
        self._by, self._by_until = "", 0.0
        any_ip = "::" if ":" in address.ip else "0.0.0.0"  # noqa: S104 - a client's
        try:
            self._udp = UdpSocket(
                asyncio.get_running_loop(),
                (any_ip, 0),
                self._received,
                self._failed,
                wakes=False,
            )
        except OSError as error:
            raise self._error(*failure_of(error)) from None

    @staticmethod
    def may_ask(query: Query, address: Address) -> bool:
        """Whether a registrar there can be asked like this."""
        bare = ":" not in query.registrar.host and query.user_agent.isprintable()
        return address.transport == "udp" and query.credentials is None and bare

    def close(self) -> None:
        """Stop; what is on its way is lost."""
        self._udp.close()

    async def ask(
        self, aors: Iterable[str], name: Callable[[str], str]
    ) -> dict[str, Told]:
        """What the registrar has of each AOR, or why that is not known.

        `aors` is asked for more as long as all is well. Those that are left out are
        the client's; `name` gives their canonical names.
        """
        self._malformed, self._told, self._well = "", {}, True
        more = iter(aors)
        self._udp.drain()  # what came too late to be waited for
        try:
            self._begin_some(more, name)
            while self._waiting:
                await asyncio.sleep(TICK)
                self._now = self._clock()
                self._udp.drain()
                self._look()
                if self._well:
                    self._begin_some(more, name)
        finally:
            self._waiting.clear()
            self._batches.clear()
        return self._told

    # --- out ------------------------------------------------------------------------

    def _begin_some(self, more: Iterator[str], name: Callable[[str], str]) -> None:
        """Send as many as may be under way."""
        free = self._window - len(self._waiting)
        if free <= 0:
            return
        now = self._now = self._clock()
        by, host = self._sent_by(), self._query.registrar.host
        timer = ClientTransaction(
            "", METHOD, now, reliable=False, timeout=self._query.timeout
        )
        branches = []
        nonces = secrets.token_hex(NONCE * free)
        # The numbers first: none is taken from `more` that is not asked.
        for at, aor in zip(range(0, 2 * NONCE * free, 2 * NONCE), more, strict=False):
            if (found := _PLAIN_AOR.fullmatch(aor)) is None:
                continue
            nonce = nonces[at : at + 2 * NONCE]
            branch, tag = MAGIC_COOKIE + nonce[:NONCE], nonce[NONCE:]
            user, domain = found[1], found[2] or host
            filled = (by, branch, user, domain, tag, user, domain, nonce)
            data = (self._template % filled).encode("utf-8")
            self._waiting[branch] = _Sent(aor, name(aor), data, nonce, now, timer)
            branches.append(branch)
            self._send(branch)
        self._wait_for(timer, branches)

    def _wait_for(self, timer: ClientTransaction, branches: list[str]) -> None:
        if branches and (due := timer.deadline) is not None:
            self._serial += 1
            heapq.heappush(self._batches, _Batch(due, self._serial, timer, branches))

    def _look(self) -> None:
        """Send again what was lost, give up what is over, and find the right pace."""
        oldest = next(iter(self._waiting.values()), None)
        if oldest is not None and self._now - oldest.began > SLOW:
            self._window = max(AT_ONCE, self._window // 2)
        else:
            self._window = min(WINDOW, 2 * self._window)
        while self._batches and self._batches[0].at <= self._now:
            _, _, timer, branches = heapq.heappop(self._batches)
            if left := [branch for branch in branches if branch in self._waiting]:
                self._go_on(timer, left)

    def _go_on(self, timer: ClientTransaction, left: list[str]) -> None:
        """These have not been answered until now."""
        self._window = AT_ONCE
        if timer.advance(self._now):
            for branch in left:
                self._send(branch)
        elif timer.deadline is None:
            self._give_up(left, timer.sends)
        self._wait_for(timer, left)

    def _sent_by(self) -> str:
        """Our host and port, as they stand in Via."""
        if self._now >= self._by_until:
            try:
                ip = local_ip(self.address.ip)
            except OSError:
                return self._by or "0.0.0.0:0"  # to send will fail, and say why
            host = f"[{ip}]" if ":" in ip else ip
            self._by = f"{host}:{self._udp.port}"
            self._by_until = self._now + LOCAL_FOR
        return self._by

    def _send(self, branch: str) -> None:
        sent = self._waiting.get(branch)
        if sent is None:
            return  # an error that waited in the kernel has ended it
        try:
            self._udp.send(sent.data, (self.address.ip, self.address.port))
        except OSError as error:
            self._end(branch, self._error(*failure_of(error)))

    # --- in -------------------------------------------------------------------------

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        reply = plain_reply(data)
        if reply is None:
            self._read(data, source)
            return
        sent = self._waiting.get(reply.branch)
        if sent is not None and sent.call_id == reply.call_id:
            self._end(reply.branch, reply.bindings(sent.name, self._now))

    def _read(self, data: bytes, source: tuple[str, int]) -> None:
        """Read what is not so plain."""
        if not data.strip(b"\r\n\0"):
            return  # a keep-alive
        asked = source == (self.address.ip, self.address.port)
        try:
            message = parse(data)
            branch = message.via.branch or ""
            sent = self._waiting.get(branch)
            ours = sent is not None and message.cseq == CSEQ
        except ValueError as error:
            if asked:
                self._malformed = f"what {self.address} sent is not SIP: {error}"
            return
        if sent is None or not ours or message.call_id != sent.call_id:
            return
        if not isinstance(message, Response) or not message.final:
            return
        if message.status < 300:
            self._end(branch, bindings(message, sent.name, self._now))
            return
        answer = Answer(
            response=message,
            rtt=self._now - sent.began,
            source=source,
            sends=sent.timer.sends,
            via_other_address=not asked,
            not_after=None,
            exchange=(),
        )
        self._end(branch, RefusedError(answer))

    def _failed(self, destination: tuple[str, int], cause: Cause, text: str) -> None:
        if destination == (self.address.ip, self.address.port):
            for branch in list(self._waiting):
                self._end(branch, SipError(cause, f"{self.address}: {text}"))

    def _end(self, branch: str, told: Told) -> None:
        sent = self._waiting.pop(branch, None)
        if sent is not None:
            self._told[sent.aor] = told
            if isinstance(told, SipError) and told.cause is not Cause.NOT_FOUND:
                self._well = False

    def _give_up(self, branches: Iterable[str], sends: int) -> None:
        """Nobody answers these in time."""
        text = f"no final response from {self.address} to {sends} sends"
        silent = SipError(Cause.TIMEOUT, text)
        if self._malformed:
            silent = SipError(Cause.MALFORMED, self._malformed)
        for branch in branches:
            self._end(branch, silent)

    def _error(self, cause: Cause, text: str) -> SipError:
        return SipError(cause, f"UDP to {self.address}: {text}")
