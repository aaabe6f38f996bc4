"""What a datagram that answers an OPTIONS says: whose it is, and how it is judged."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checks.observation import Cause, plain
from checks.options.rows import DEGRADED, DOWN, UP

if TYPE_CHECKING:
    from checks.sip.message import Response

COOKIE = b"z9hG4bK"
BRANCH_LENGTH = 7 + 8 + 16  # cookie, row, 64 random bits
BRANCH_WITHIN = 1024  # octets; our branch stands in the first lines or it is not ours
CSEQ = 1  # every probe is a transaction of its own with a Call-ID of its own
AGENT_LIMIT = 80  # characters of a Server or User-Agent worth a place in a sentence

# Final answers that say that nobody is there (408) or that the server is out (503).
DOWN_CODES = frozenset((408, 503))
_BRANCH = re.compile(r"z9hG4bK([0-9a-f]{8})([0-9a-f]{16})")


class StrayError(ValueError):
    """A message that answers no question of ours."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to a probe of ours."""

    row: int
    nonce: int
    code: int
    reason: str = ""
    agent: str = ""
    # Where it was read in full, for who looks closer; two answers are alike without it.
    response: Response | None = field(default=None, compare=False, repr=False)


def branch_of(row: int, nonce: int) -> str:
    """The Via branch of a probe; the templates write the same."""
    return f"z9hG4bK{row:08x}{nonce:016x}"


def read_branch(branch: str) -> tuple[int, int]:
    """Row and nonce of a branch of ours; StrayError for another's."""
    found = _BRANCH.fullmatch(branch)
    if found is None:
        raise StrayError(f"{branch[:40]!r} is no branch of ours")
    return int(found[1], 16), int(found[2], 16)


def quoted_branch(data: bytes) -> tuple[int, int] | None:
    """Row and nonce of a request of ours, or of a piece of one that ICMP quotes."""
    begin = data.find(COOKIE, 0, BRANCH_WITHIN)
    if begin < 0:
        return None
    end = begin + BRANCH_LENGTH
    try:
        return read_branch(data[begin:end].decode("ascii"))
    except ValueError:
        return None


def read_answer(data: bytes) -> Answer:
    """The answer in a datagram, by the full parser.

    It is ours by branch, Call-ID and CSeq together (RFC 3261 17.1.3): StrayError where
    one of them differs, another ValueError for what cannot be read.
    """
    # Not at the top: a probe that gets plain answers only starts in 20 ms less.
    from checks.sip.message import Response, parse

    message = parse(data)
    if not isinstance(message, Response):
        raise StrayError("a request, not an answer")
    row, nonce = read_branch(message.via.branch or "")
    if not message.call_id.startswith(f"{nonce:016x}@"):
        raise StrayError("our branch with another Call-ID")
    cseq = message.cseq
    if cseq.number != CSEQ or cseq.method != "OPTIONS":
        raise StrayError("our branch with another CSeq")
    reason, agent = (
        plain(message.reason, AGENT_LIMIT),
        plain(message.agent, AGENT_LIMIT),
    )
    return Answer(row, nonce, message.status, reason, agent, message)


def judged(code: int, healthy: Container[int]) -> tuple[int, Cause | None]:
    """Row state and cause of a final answer."""
    if code in healthy:
        return UP, None
    if code in DOWN_CODES:
        return DOWN, Cause.of_response(code)
    return DEGRADED, Cause.of_response(code)


def phrase(code: int) -> str:
    """`200 OK`: a code with its usual reason, where the received one is not kept."""
    return f"{code} {REASONS.get(code, '')}".rstrip()


# RFC 3261 21, those that answer an OPTIONS.
REASONS = {
    200: "OK",
    202: "Accepted",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    486: "Busy Here",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    600: "Busy Everywhere",
    603: "Decline",
}
