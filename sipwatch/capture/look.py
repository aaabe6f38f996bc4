"""A look at a frame that passes: is it a response, to what, and which reason has it.

No parsing: `bytes.find` for the status line, CSeq and Reason, some 2 us a frame. Of
several messages in one TCP segment the first is counted. Where a proxy runs on this
machine, a response that it passes on is seen twice.
"""

from __future__ import annotations

from collections import Counter

STARTS_WITHIN = 144  # octets: link, two VLAN tags, IPv6 with options, TCP with options
LINE = 64  # octets of a CSeq or Reason line that are looked at

METHODS = (
    *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "SUBSCRIBE", "NOTIFY"),
    *("PUBLISH", "MESSAGE", "INFO", "REFER", "UPDATE", "PRACK"),
)
_METHODS = {method.encode(): method for method in METHODS}
OTHER = "other"  # what nobody knows is counted together: labels are bounded
CODES = frozenset(  # RFC 3261 21, and those that were registered since
    (
        *(100, 180, 181, 182, 183, 199, 200, 202, 204),
        *(300, 301, 302, 305, 380),
        *range(400, 418),
        *(420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437, 438, 439, 440),
        *(469, 470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494),
        *(500, 501, 502, 503, 504, 505, 513, 555, 580),
        *(600, 603, 604, 606, 607, 608),
    )
)
Q850, SIP = "Q.850", "SIP"


class Passing:
    """Counts of what passed, in plain ints."""

    def __init__(self) -> None:
        self.responses: Counter[tuple[str, str]] = Counter()  # method, code
        self.reasons: Counter[tuple[str, str]] = Counter()  # protocol, cause

    def look(self, data: bytes) -> None:
        """Count a frame, if a response is at the beginning of what it carries."""
        begin = data.find(b"SIP/2.0 ", 20, STARTS_WITHIN)
        if begin < 0:
            return
        code = data[begin + 8 : begin + 11]
        if not code.isdigit() or len(code) < 3:
            return  # the end of a request line
        self.responses[_method(data, begin), _code(int(code))] += 1
        found = data.find(b"\nReason:", begin)
        if found >= 0:
            self.reasons[_reason(data[found + 8 : found + 8 + LINE])] += 1


def _code(code: int) -> str:
    return str(code) if code in CODES else f"{code // 100}xx"


def _method(data: bytes, begin: int) -> str:
    found = data.find(b"\nCSeq:", begin)
    if found < 0:
        found = data.lower().find(b"\ncseq", begin)  # RFC 3261 7.3.1: any case
        if found < 0:
            return OTHER
    line = data[found + 5 : found + 5 + LINE].partition(b"\n")[0]
    words = line.lstrip(b" \t:").split()
    return _METHODS.get(words[1], OTHER) if len(words) > 1 else OTHER


def _reason(line: bytes) -> tuple[str, str]:
    """Protocol and cause of `Q.850;cause=16;text="..."` (RFC 3326)."""
    value = line.partition(b"\n")[0]
    protocol, _, rest = value.strip().partition(b";")
    cause = rest.partition(b"cause=")[2][:3].partition(b";")[0].strip()
    number = int(cause) if cause.isdigit() else 0
    if protocol.strip().upper() == b"Q.850":
        return Q850, str(number) if 0 < number < 128 else OTHER
    if protocol.strip().upper() == b"SIP":
        return SIP, _code(number) if 100 <= number < 700 else OTHER
    return OTHER, OTHER
