"""An exchange as a diagram: who sent what to whom, each with a line of its own.

What is kept of an exchange is its text (`checks.sip.trace.ladder`); that is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from checks.observation import plain
from checks.sip.trace import BODY, INDENT

ENDS = 4  # lanes side by side on a phone's screen; more ends are shown as text alone
MESSAGES = 64  # of one diagram: the text of evidence has no more
TEXT_BYTES = 600_000  # read: as many messages of their longest

_HEAD = re.compile(r" *(-?[\d.]+) ms  (\S+) (->|<-) (\S+) (\w+)(?:  \((.*)\))?")
_ANSWER = re.compile(r"SIP/2\.0 (\d{3}) ?(.*)")
_ASKED = re.compile(r"([A-Z]{2,20}) (\S+) SIP/2\.0")
_METHOD = re.compile(r"(?im)^cseq *: *\d+ +([A-Z]{2,20})")


@dataclass(frozen=True, slots=True)
class Message:
    """One arrow."""

    when: str  # "12.5 ms" since the first, or a time of the day
    sender: str  # 10.0.0.2:5060
    receiver: str
    transport: str
    note: str  # retransmission
    title: str  # "OPTIONS", "200 OK"
    detail: str  # of a request where to, of a response what it answers
    look: str = ""  # class of its colour
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Lanes, and arrows between them."""

    ends: tuple[str, ...]
    messages: tuple[Message, ...]

    def lane(self, end: str) -> int:
        """The number of its lane, from 1."""
        return self.ends.index(end) + 1

    @property
    def fits(self) -> bool:
        """Whether it can be drawn side by side."""
        return 2 <= len(self.ends) <= ENDS


def read(text: str, *, whole: bool = True) -> Ladder | None:
    """The diagram of an exchange; None where the text holds no message.

    Packets hold more than is shown to all: unless `whole` there are arrows alone.
    """
    messages = tuple(_messages(text[:TEXT_BYTES]))
    if not messages:
        return None
    if not whole:
        messages = tuple(replace(m, detail="", text="") for m in messages)
    ends = dict.fromkeys(end for m in messages for end in (m.sender, m.receiver))
    return Ladder(tuple(ends), messages)


def _messages(text: str) -> Iterator[Message]:
    lines = text.split("\n")
    heads = [n for n, line in enumerate(lines) if _begins(lines, n, line)]
    for n, end in list(pairwise([*heads, len(lines)]))[:MESSAGES]:
        found = _HEAD.fullmatch(lines[n])
        if found is not None:
            body = [_line(line) for line in lines[n + 1 : end]]
            yield _message(found, body)


def _begins(lines: list[str], n: int, line: str) -> bool:
    """Whether a message begins here: what it carries may look the same, but has no
    empty line before it."""
    if _HEAD.fullmatch(line) is None or (n and lines[n - 1]):
        return False
    after = _line(lines[n + 1]) if n + 1 < len(lines) else ""
    return bool(_ANSWER.match(after) or _ASKED.match(after))


def _line(written: str) -> str:
    """A line of a message without its mark."""
    if written.startswith(BODY.rstrip()):
        return written.removeprefix(BODY.rstrip()).removeprefix(" ")
    return written.removeprefix(INDENT)


def _message(head: re.Match[str], body: list[str]) -> Message:
    at, left, arrow, right, transport, note = head.groups()
    sender, receiver = (left, right) if arrow == "->" else (right, left)
    text = "\n".join(body).strip("\n")
    title, detail, look = _said(body[0] if body else "", text)
    return Message(
        _since(at), plain(sender), plain(receiver), transport, note or "",
        title, detail, look, text,
    )  # fmt: skip


def _since(milliseconds: str) -> str:
    try:
        return f"{float(milliseconds):,.1f} ms"
    except ValueError:
        return ""


def _said(start: str, text: str) -> tuple[str, str, str]:
    if found := _ANSWER.match(start):
        code, reason = int(found[1]), plain(found[2], 60)
        about = _METHOD.search(text)
        look = "good" if code < 300 else "" if code in (401, 407) else "warn"
        look = "bad" if code >= 400 and code not in (401, 407) else look
        return f"{code} {reason}", about[1] if about else "", "" if code < 200 else look
    if found := _ASKED.match(start):
        return found[1], plain(found[2], 120), ""
    return plain(start, 60), "", ""
