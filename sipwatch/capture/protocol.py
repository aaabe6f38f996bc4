"""What the daemon and the ring say to each other over the Unix socket.

A question is one line of JSON, the answer another one; frames follow it as a pcapng of
the size that it tells. Both sides bound what they read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SOCKET = "/run/sipwatch-capture/capture.sock"
QUESTION_LIMIT = 8192  # octets of a line
ANSWER_LIMIT = 65_536  # octets of the line before the frames: counts by method, code
EXCHANGE_LIMIT = 4 * 1024 * 1024  # octets of frames in one answer: 8,000 messages
WORDS, WORD_LIMIT = 32, 256  # words of a question, and characters of one
LONGEST = 3600.0  # s that a question may reach over

FIGURES, EXCHANGE = "figures", "exchange"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose exchange is wanted. Without any word: all of the time."""

    since: float
    until: float
    users: tuple[str, ...] = ()  # user parts of SIP URIs: 1001
    call_ids: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()  # IP addresses
    most: int = EXCHANGE_LIMIT  # octets

    def line(self) -> bytes:
        """As it goes over the socket."""
        return json.dumps({"want": EXCHANGE, **asdict(self)}).encode() + b"\n"


def question_of(said: Mapping[str, Any]) -> Question:
    """The question in a line; ValueError where it is none."""
    since, until = _number(said, "since"), _number(said, "until")
    if not 0 <= until - since <= LONGEST:
        raise ValueError("since, until: not a time of up to an hour")
    most = said.get("most", EXCHANGE_LIMIT)
    if not isinstance(most, int) or not 0 < most <= EXCHANGE_LIMIT:
        raise ValueError(f"most: not between 1 and {EXCHANGE_LIMIT}")
    return Question(
        since=since,
        until=until,
        users=_words(said, "users"),
        call_ids=_words(said, "call_ids"),
        addresses=_words(said, "addresses"),
        most=most,
    )


def decoded(line: bytes) -> dict[str, Any]:
    """A line as an object; ValueError."""
    try:
        said = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(said, dict):
        raise ValueError("not an object")
    return said


def _number(said: Mapping[str, Any], key: str) -> float:
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key}: not a number")
    return float(value)


def _words(said: Mapping[str, Any], key: str) -> tuple[str, ...]:
    words = said.get(key, [])
    if not isinstance(words, list) or len(words) > WORDS:
        raise ValueError(f"{key}: not a list of up to {WORDS}")
    for word in words:
        if not isinstance(word, str) or not 0 < len(word) <= WORD_LIMIT:
            raise ValueError(f"{key}: not words of up to {WORD_LIMIT} characters")
    return tuple(words)
