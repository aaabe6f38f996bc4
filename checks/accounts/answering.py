"""What the test contact says: OPTIONS 200, INVITE 480, to all else no.

The INVITE server transaction of RFC 3261 17.2.1, cut down to one that refuses at once:

     INVITE -> 480 --+
                     V                G: 480 again, G doubles up to T2 (UDP)
              +-----------+  INVITE again: 480 again
              | COMPLETED |-----------------------+
              +-----------+                       | H: nobody acknowledged
                     | ACK                        |
                     V                            |
              +-----------+                       |
              | CONFIRMED | I: ACKs are absorbed  |
              +-----------+                       |
                     V                            V
              +--------------------------------------+
              |              TERMINATED              |
              +--------------------------------------+

No I/O, no clock: `receive` and `advance` return what is to be sent. Responses to other
methods hold no state: the same request again gets the same answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from dataclasses import dataclass
from typing import NamedTuple

from checks.sip.errors import SipError
from checks.sip.flows import Back
from checks.sip.headers import Headers
from checks.sip.message import Request, Response
from checks.sip.transaction import T1, T2, T4
from checks.sip.via import Via

ALLOW = "INVITE, ACK, CANCEL, OPTIONS"
REASON = 'SIP;text="sipwatch test contact"'
TRANSACTION_LIMIT = 16  # INVITEs under way; more are refused without remembering them
REQUEST_LIMIT = 1000  # answered in the life of one contact, which is some seconds
_IN_DIALOG = frozenset({"BYE", "PRACK", "UPDATE", "INFO"})  # never without one

Key = tuple[str, str]  # branch and sent-by of the topmost Via (17.2.3)


class Reply(NamedTuple):
    """One response, and the way that it goes."""

    data: bytes
    back: Back

    def send(self) -> None:
        """Let it go; a lost one is asked for again."""
        with contextlib.suppress(SipError, OSError):
            self.back.send(self.data)


@dataclass(slots=True)
class _Refused:
    """An INVITE that was answered 480."""

    response: bytes
    back: Back
    resend_at: float | None  # timer G; None on a reliable transport, and once ACKed
    ends_at: float  # timer H, then I
    g: float = T1
    confirmed: bool = False


class Answering:
    """Answers the requests that reach a contact of ours."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._secret = secrets.token_hex(8)
        self._refused: dict[Key, _Refused] = {}
        self.requests = 0
        self.invites = 0

    @property
    def busy(self) -> bool:
        """Whether an INVITE still waits for its ACK."""
        return any(not one.confirmed for one in self._refused.values())

    @property
    def deadline(self) -> float | None:
        """When `advance` has something to do."""
        times = [
            min(one.ends_at, one.ends_at if one.resend_at is None else one.resend_at)
            for one in self._refused.values()
        ]
        return min(times, default=None)

    def receive(self, request: Request, back: Back, now: float) -> list[Reply]:
        """The answers to a request; none to what cannot be answered."""
        try:
            request = noted(request, back.source)
            via, method = request.via, request.cseq.method
            _ = request.to, request.from_
        except ValueError:
            return []  # nothing says where an answer belongs
        if method != request.method or self.requests >= REQUEST_LIMIT:
            return []
        key = (via.branch or "", str(via.sent_by))
        if method == "ACK":
            self._acknowledge(key, now)
            return []
        self.requests += 1
        if method == "INVITE":
            return self._invited(request, key, back, now)
        return [Reply(self._stateless(request, key), back)]

    def advance(self, now: float) -> list[Reply]:
        """Let time pass: 480s that are to be sent again."""
        due = []
        for key, one in list(self._refused.items()):
            if now >= one.ends_at:
                del self._refused[key]
            elif one.resend_at is not None and now >= one.resend_at:
                one.g = min(2 * one.g, T2)
                one.resend_at = now + one.g
                due.append(Reply(one.response, one.back))
        return due

    def _invited(
        self, request: Request, key: Key, back: Back, now: float
    ) -> list[Reply]:
        known = self._refused.get(key)
        if known is not None:  # the same again
            return [] if known.confirmed else [Reply(known.response, back)]
        if request.to.tag is not None:
            return [Reply(self._response(request, *_NO_DIALOG), back)]
        self.invites += 1
        response = self._response(
            request, 480, "Temporarily Unavailable", ("Reason", REASON)
        )
        if len(self._refused) < TRANSACTION_LIMIT:
            resend_at = None if back.reliable else now + T1
            self._refused[key] = _Refused(response, back, resend_at, now + 64 * T1)
        return [Reply(response, back)]

    def _acknowledge(self, key: Key, now: float) -> None:
        known = self._refused.get(key)
        if known is None or known.confirmed:
            return
        known.confirmed, known.resend_at = True, None
        known.ends_at = now if known.back.reliable else now + T4

    def _stateless(self, request: Request, key: Key) -> bytes:
        method = request.method
        if method == "CANCEL":
            # RFC 3261 9.2: of what has its final response nothing is left to cancel.
            found = key in self._refused
            return self._response(request, *((200, "OK") if found else _NO_DIALOG))
        if request.to.tag is not None or method in _IN_DIALOG:
            return self._response(request, *_NO_DIALOG)
        if method == "OPTIONS":
            accept = ("Accept", "application/sdp")
            return self._response(request, 200, "OK", ("Allow", ALLOW), accept)
        return self._response(request, 405, "Method Not Allowed", ("Allow", ALLOW))

    def _response(
        self, request: Request, status: int, reason: str, *more: tuple[str, str]
    ) -> bytes:
        """RFC 3261 8.2.6.2: what is copied, and a tag of ours."""
        headers = Headers()
        for name in ("Via", "From", "Call-ID", "CSeq"):
            for value in request.headers.lines(name):
                headers.add(name, value)
        to = request.headers.lines("To")[0]
        headers.add("To", to if request.to.tag else f"{to};tag={self._tag(request)}")
        for name, value in (*more, ("User-Agent", self._agent)):
            headers.add(name, value)
        return bytes(Response(status, reason, headers))

    def _tag(self, request: Request) -> str:
        # The same for the same request: a stateless server has to (RFC 3261 8.2.7).
        said = f"{self._secret}{request.call_id}{request.from_.tag}"
        return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:16]


_NO_DIALOG = (481, "Call/Transaction Does Not Exist")


def noted(request: Request, source: tuple[str, int]) -> Request:
    """A copy whose topmost Via tells where it came from: so its answer finds the way.

    RFC 3261 18.2.1, RFC 3581 4; ValueError where it has no readable Via.
    """
    request, via = request.copy(), request.via
    params = via.params
    if "rport" in params:
        params = params.with_("rport", str(source[1]))
    if "rport" in params or via.host.strip("[]") != source[0]:
        params = params.with_("received", source[0])
    ways = [
        str(Via(via.transport, via.host, via.port, params)),
        *request.all("Via")[1:],
    ]
    request.headers.remove("Via")
    for value in reversed(ways):
        request.headers.add("Via", value, first=True)
    return request
