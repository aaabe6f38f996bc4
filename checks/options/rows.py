"""The sweep's memory: a row of arrays for each (target, address) pair.

100,000 rows as objects are 50 MB, and as many cache lines; as arrays they are a fifth
of it. Whoever reads (metrics, status) indexes the arrays by row number, at leisure.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from checks.observation import Cause, State

# Row states are small numbers; None is a row that has not been judged yet.
STATES = (None, State.UP, State.DEGRADED, State.DOWN)
UNKNOWN, UP, DEGRADED, DOWN = range(4)

# Calm is a row that has been well for some time; spotless if its last 32 probes were.
CALM, SPOTLESS = 1, 2

# What a row is doing; only an idle one is asked when its turn comes.
IDLE, ASKED, PROCEEDING, LATER, ABSENT = range(5)

MASK32 = 0xFFFFFFFF
GROWTH = 256  # rows


@dataclass(slots=True, eq=False)
class Lane:
    """What rows that are asked in the same way share: socket, template, rules."""

    transport: str  # "udp", "tcp", "tls", "ws", "wss"
    template: str  # of a request, for uri, row, nonce, to and nonce
    send: Callable[[bytes, Any], Any]  # (request, address); may raise OSError
    clear: Callable[[], None]  # takes errors of other rows that `send` would raise
    plain: bytes  # how the topmost Via of an answer must begin
    healthy: frozenset[int]
    codes: dict[bytes, int]  # the healthy ones by the status line's beginning
    role: int  # index into ROLES
    confirm: float
    floor: float
    local: tuple[str, int]  # our end of it; port 0 where each connection has its own
    strict: bool  # refuse answers from elsewhere
    heard_at: float = 0.0  # when any of its rows last had a final answer


# Of targets, and of what a judge wants asked: registered contacts, and servers at which
# a PBX registers.
ROLES = ("trunk", "pbx", "phone", "contact", "server")
ASKED_FOR = ROLES[3:]

_ARRAYS = {
    "nonce": "Q",  # of the question in flight, 0 without one
    "sent": "d",  # UTC s, last send
    "tries": "B",  # sends of the last question
    "doing": "B",
    "calm": "B",  # not 0: well for so long that a success is no news
    "state": "B",
    "since": "d",  # UTC s, of the state
    "code": "H",  # last final answer
    "failures": "I",  # in a row
    "answered": "I",  # probes with a final answer that is not down, ever
    "base": "I",  # `answered` at the last failure, so successes = answered - base
    "degraded": "I",  # of the answered, those that were degraded
    "failed": "I",  # probes, ever
    "retransmits": "I",  # ever
    "outcomes": "I",  # last 32 probes, newest lowest, 1 = failed
    "resent": "I",  # last 32 probes, 1 = asked more than once
    "rtt": "f",  # s, of the last answer
    "mean": "f",  # s, exponentially weighted; below 0 without any
    "target": "I",
    "rank": "Q",  # its place among the rows of a ring
}


class Rows:
    """All rows, in use or free; a number is given out again after `drop`."""

    nonce: array[int]
    sent: array[float]
    tries: array[int]
    doing: array[int]
    calm: array[int]
    state: array[int]
    since: array[float]
    code: array[int]
    failures: array[int]
    answered: array[int]
    base: array[int]
    degraded: array[int]
    failed: array[int]
    retransmits: array[int]
    outcomes: array[int]
    resent: array[int]
    rtt: array[float]
    mean: array[float]
    target: array[int]
    rank: array[int]

    def __init__(self) -> None:
        for name, code in _ARRAYS.items():
            setattr(self, name, array(code))
        self.uri: list[str] = []  # what follows `sip:` in the Request-URI
        self.to: list[str] = []  # and in To, where parameters are not allowed
        self.address: list[Any] = []  # what `send` takes; None: no address known
        self.lane: list[Lane | None] = []
        self.cause: list[Cause | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many numbers there are, given out or not."""
        return len(self.nonce)

    def __iter__(self) -> Iterator[int]:
        """The rows that are in use."""
        return (row for row, text in enumerate(self.uri) if text)

    def add(
        self, target: int, uri: str, to: str, address: Any, lane: Lane | None
    ) -> int:
        """A new row in state unknown."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        self.doing[row] = IDLE
        self.mean[row] = -1.0
        self.target[row] = target
        self.uri[row], self.to[row] = uri, to
        self.address[row], self.lane[row] = address, lane
        return row

    def drop(self, row: int) -> None:
        """Forget a row; its number may be given out again."""
        for name in _ARRAYS:
            getattr(self, name)[row] = 0
        self.doing[row] = ABSENT
        self.uri[row] = self.to[row] = ""
        self.address[row] = self.lane[row] = self.cause[row] = None
        self._free.append(row)

    def successes(self, row: int) -> int:
        """Probes in a row with a final answer that is not down."""
        return self.answered[row] - self.base[row]

    def probes(self, row: int) -> int:
        """Probes ever that ended."""
        return self.answered[row] + self.failed[row]

    def _grow(self) -> None:
        """Make room for GROWTH rows: array by array, as filling one by one is slow."""
        size = len(self)
        for name in _ARRAYS:
            column = getattr(self, name)
            column.frombytes(bytes(column.itemsize * GROWTH))
        self.doing[size:] = array("B", [ABSENT]) * GROWTH
        for text in (self.uri, self.to):
            text.extend([""] * GROWTH)
        for slot in (self.address, self.lane, self.cause):
            slot.extend([None] * GROWTH)
        self._free.extend(range(size + GROWTH - 1, size - 1, -1))
