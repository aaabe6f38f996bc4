"""Whose turn it is: rows of one interval in a ring, and gates before shy addresses."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

from checks.options.rows import LATER, Rows


class Kind(NamedTuple):
    """What the rows of one ring have in common."""

    interval: float
    timeout: float
    stream: bool = False
    guarded: bool = False  # by min_interval
    named: bool = False  # apart, as its addresses change: sorting it is cheap


@dataclass(slots=True, eq=False)
class Ring:
    """Rows that are asked one after the other, each once an interval.

    It knows only how many it has asked since its epoch; there is no time per row.
    """

    kind: Kind
    rows: array[int] = field(default_factory=lambda: array("I"))
    epoch: float = 0.0
    asked: int = 0  # since the epoch
    last: int = -1  # the row asked last
    due_at: float = 0.0  # of the next one, as the last `take` left it
    stale: bool = True  # rows are to be sorted again

    @property
    def rate(self) -> float:
        """Questions a second."""
        return len(self.rows) / self.kind.interval

    def due(self, now: float) -> int:
        """How many should have been asked by now, and are not."""
        return max(0, int((now - self.epoch) * self.rate) + 1 - self.asked)

    def next_due(self) -> float:
        """When the next one should be asked."""
        return self.epoch + self.asked / self.rate

    def take(self, count: int) -> list[int]:
        """The next rows, in their order."""
        begin = self.asked % len(self.rows)
        taken = self.rows[begin : begin + count].tolist()
        if len(taken) < count:
            taken += self.rows[: count - len(taken)].tolist()
        self.asked += count
        self.last = taken[-1]
        self.due_at = self.next_due()
        return taken

    def arrange(self, ranks: Sequence[int], now: float) -> None:
        """Sort by rank and go on after the row asked last, when it is time."""
        ranked = sorted(self.rows, key=ranks.__getitem__)
        begin = 0
        if self.last >= 0:
            begin = bisect(ranked, ranks[self.last], key=ranks.__getitem__)
            now = max(now, min(self.due_at, now + 1 / self.rate))
        self.rows = array("I", ranked[begin:] + ranked[:begin])
        self.epoch, self.asked, self.stale = now, 0, False


@dataclass(slots=True, eq=False)
class _Gate:
    """One IP address that wants time between questions."""

    floor: float = 0.0  # s
    open_at: float = 0.0
    queue: deque[int] = field(default_factory=deque)  # each row at most once


class Gates:
    """`min_interval`: one question to an IP address at a time, whoever shares it."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._gates: dict[str, _Gate] = {}
        self._waiting: list[tuple[float, str]] = []

    def guard(self, row: int) -> None:
        """A row's address is guarded from now on, by the longest floor of its rows."""
        gate = self._gates.setdefault(host_of(self._rows.address[row]), _Gate())
        lane = self._rows.lane[row]
        if lane is not None:
            gate.floor = max(gate.floor, lane.floor)

    def passes(self, row: int, now: float) -> bool:
        """Whether it may be asked now; else it waits, and `opened` brings it."""
        host = host_of(self._rows.address[row])
        gate = self._gates[host]
        if not gate.queue and gate.open_at <= now:
            gate.open_at = now + gate.floor
            return True
        if not gate.queue:
            heapq.heappush(self._waiting, (gate.open_at, host))
        gate.queue.append(row)
        self._rows.doing[row] = LATER
        return False

    def claim(self, hosts: Iterable[str], now: float) -> float:
        """Somebody beside the sweep asks these addresses: s until he may; their rows
        wait for another floor from then on."""
        gates = [gate for host in hosts if (gate := self._gates.get(host))]
        at = max([now, *(gate.open_at for gate in gates)])
        for gate in gates:
            gate.open_at = at + gate.floor
        return at - now

    def opened(self, now: float) -> list[int]:
        """The rows that may be asked now."""
        rows = []
        while self._waiting and self._waiting[0][0] <= now:
            _, host = heapq.heappop(self._waiting)
            gate = self._gates[host]
            if not gate.queue:
                continue
            if gate.open_at > now:  # somebody else was before them
                heapq.heappush(self._waiting, (gate.open_at, host))
                continue
            rows.append(gate.queue.popleft())
            gate.open_at = now + gate.floor
            if gate.queue:
                heapq.heappush(self._waiting, (gate.open_at, host))
        return rows

    def next_due(self) -> float | None:
        """When the next gate with somebody before it opens."""
        return self._waiting[0][0] if self._waiting else None

    def leave(self, gone: set[int]) -> None:
        """Rows that wait no more; gates stay, as the address remembers us."""
        for gate in self._gates.values():
            gate.queue = deque(row for row in gate.queue if row not in gone)


def rank(uri: str) -> int:
    """The place in a ring: the same after a restart, and unlike a file's order."""
    return crc32(uri.encode())


def host_of(address: Any) -> str:
    """The IP address in what `send` takes: a socket address, or a stream's link."""
    return str(address[0] if isinstance(address, tuple) else address.ip)
