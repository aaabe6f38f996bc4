"""Binding queries over UDP in few steps, for registrars of thousands of AORs.

A query is a filled template. A 200 as most are written is read by a few patterns, and
whatever is not so plain by the parser that reads everything; both come to the same
bindings. What the client does and this does not: challenges, connections, the next
address. So the first question, and every AOR with a name that would have to be escaped,
is the client's.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from checks.observation import Binding, Cause
from checks.register import (
    EXPIRES_LIMIT,
    Query,
    RefusedError,
    bindings,
)
from checks.registrars.clocks import pause
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
_NAMES = {"v": "via", "i": "call-id", "m": "contact"}


@dataclass(slots=True)
class Round:
    """What some queries at a time brought."""

    began: float
    rows: list[Binding] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)  # AORs, by their canonical names
    failures: list[SipError] = field(default_factory=list)

    def add(self, later: Round) -> None:
        """Take what came after it as well."""
        self.rows += later.rows
        self.answered |= later.answered
        self.failures += later.failures


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
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or body or not head.isascii():
        return None
    found: dict[str, str] = {}
    contacts: list[tuple[str, str, int | None]] = []
    for line in head.decode("ascii").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        name = name.rstrip().lower()
        name = _NAMES.get(name, name)
        if not colon or line[0] in " \t" or "\n" in line:
            return None
        if name == "contact":
            one = _CONTACT.fullmatch(value)
            if one is None:
                return None
            uri, place, left = one.groups()
            contacts.append((uri, place, None if left is None else int(left)))
        else:
            found.setdefault(name, value)
    branch = _BRANCH.search(found.get("via", "").partition(",")[0])
    if branch is None or found.get("cseq", "").split() != ["1", METHOD]:
        return None
    if "expires" in found and any(left is None for _, _, left in contacts):
        return None  # it is theirs
    call_id = found.get("call-id", "").strip()
    return Reply(branch[1], call_id, tuple(contacts))


def template(query: Query) -> str:
    """A query to be filled with Via's host and port, 32 digits, user and domain."""
    uri = register_request(
        query.registrar, aor=SipUri("example.invalid"), user_agent=""
    ).uri.replace("%", "%%")
    agent = query.user_agent.replace("%", "%%")
    return (
        f"{METHOD} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP %(by)s;branch={MAGIC_COOKIE}%(nonce).16s;rport\r\n"
        f"Max-Forwards: {MAX_FORWARDS}\r\n"
        "From: <sip:%(user)s@%(domain)s>;tag=%(tag)s\r\n"
        "To: <sip:%(user)s@%(domain)s>\r\n"
        f"User-Agent: {agent}\r\n"
        "Call-ID: %(nonce)s\r\n"
        f"CSeq: {CSEQ}\r\n"
        "Content-Length: 0\r\n\r\n"
    )


@dataclass(slots=True, eq=False)
class _Sent:
    """A query that waits for its answer."""

    aor: str
    name: str
    data: bytes
    call_id: str


class PlainQueries:
    """Asks one address for several AORs at a time; one socket, no task for each."""

    def __init__(
        self, query: Query, address: Address, clock: Callable[[], float]
    ) -> None:
        """SipError where there is no way to the address."""
        self.address = address
        self._query, self._clock = query, clock
        self._template = template(query)
        self._waiting: dict[str, _Sent] = {}  # by branch
        self._told: dict[str, Told] = {}  # by AOR
        self._began = 0.0
        self._sends = 1
        self._malformed = ""
        self._done = asyncio.Event()
        self._by, self._by_until = "", 0.0
        any_ip = "::" if ":" in address.ip else "0.0.0.0"  # noqa: S104 - a client's
        try:
            loop = asyncio.get_running_loop()
            self._udp = UdpSocket(loop, (any_ip, 0), self._received, self._failed)
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

        Those that are left out are the client's; `name` gives their canonical names.
        """
        self._began, self._malformed, self._told = self._clock(), "", {}
        timer = ClientTransaction(
            "", METHOD, self._began, reliable=False, timeout=self._query.timeout
        )
        try:
            for aor in aors:
                if (found := _PLAIN_AOR.fullmatch(aor)) is not None:
                    self._begin(
                        aor, name(aor), found[1], found[2] or self._query.registrar.host
                    )
            while self._waiting and (due := timer.deadline) is not None:
                self._done.clear()
                await pause(self._done, max(0.0, due - self._clock()))
                if self._waiting and timer.advance(self._clock()):
                    self._sends = timer.sends
                    for branch in list(self._waiting):
                        self._send(branch)
            self._give_up()
        finally:
            self._waiting.clear()
            self._sends = 1
        return self._told

    # --- out ------------------------------------------------------------------------

    def _begin(self, aor: str, name: str, user: str, domain: str) -> None:
        nonce = secrets.token_hex(16)
        data = self._template % {
            "by": self._sent_by(),
            "nonce": nonce,
            "tag": nonce[16:],
            "user": user,
            "domain": domain,
        }
        branch = MAGIC_COOKIE + nonce[:16]
        self._waiting[branch] = _Sent(aor, name, data.encode("utf-8"), nonce)
        self._send(branch)

    def _sent_by(self) -> str:
        """Our host and port, as they stand in Via."""
        now = self._clock()
        if now >= self._by_until:
            try:
                ip = local_ip(self.address.ip)
            except OSError:
                return self._by or "0.0.0.0:0"  # to send will fail, and say why
            host = f"[{ip}]" if ":" in ip else ip
            self._by, self._by_until = f"{host}:{self._udp.port}", now + LOCAL_FOR
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
            self._end(reply.branch, reply.bindings(sent.name, self._clock()))

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
        now = self._clock()
        if message.status < 300:
            self._end(branch, bindings(message, sent.name, now))
            return
        answer = Answer(
            response=message,
            rtt=now - self._began,
            source=source,
            sends=self._sends,
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
        if not self._waiting:
            self._done.set()

    def _give_up(self) -> None:
        """Nobody answers the rest in time."""
        text = f"no final response from {self.address} to {self._sends} sends"
        silent = SipError(Cause.TIMEOUT, text)
        if self._malformed:
            silent = SipError(Cause.MALFORMED, self._malformed)
        for branch in list(self._waiting):
            self._end(branch, silent)

    def _error(self, cause: Cause, text: str) -> SipError:
        return SipError(cause, f"UDP to {self.address}: {text}")
