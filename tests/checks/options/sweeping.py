"""A simulated network around the sweep: no socket, no clock but `now`."""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from checks.observation import Kind as SubjectKind
from checks.observation import Observation, Scope, State, Subject
from checks.options.asks import Asks
from checks.options.heard import Heard, Panel
from checks.options.lanes import Lanes
from checks.options.rings import Kind
from checks.options.rows import Rows
from checks.options.sweep import TICK, Sweep
from checks.options.targets import Target, TargetSettings
from checks.options.verdict import Targets

START = 1_000_000.0  # UTC s

Address = tuple[Any, ...]


@dataclass(frozen=True)
class Sent:
    """A request that left."""

    at: float
    data: bytes
    address: Address


def header(data: bytes, name: str) -> str:
    """One header field of a message."""
    found = re.search(rf"(?im)^{name}:\s*([^\r]*)\r\n".encode(), data)
    assert found is not None, f"no {name} in {data!r}"
    return found[1].decode()


def response(
    request: bytes, status: str = "200 OK", *more: str, **changed: str
) -> bytes:
    """What a server answers to a request of ours; header fields may be `changed`."""
    fields = {name: header(request, name) for name in ("Via", "From", "To", "Call-ID")}
    fields["CSeq"] = header(request, "CSeq")
    fields["To"] += ";tag=a1"
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    lines = [f"SIP/2.0 {status}", *lines, *more, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


Answers = Callable[[bytes], bytes | None]  # of one address: request -> response


def saying(status: str, *more: str) -> Answers:
    """An address that answers so."""
    return lambda request: response(request, status, *more)


well = saying("200 OK")


def silent(request: bytes) -> None:
    """An address that never answers."""


@dataclass
class Network:
    """Rows, a sweep and peers; `run_until` moves the time in ticks."""

    loss: float = 0.0  # of each packet, both ways
    delay: float = 0.02  # s, one way
    seed: int = 1
    now: float = START
    sent: list[Sent] = field(default_factory=list)
    told: list[Observation] = field(default_factory=list)
    answers: dict[Address, Answers] = field(default_factory=dict)
    refusals: dict[Address, OSError] = field(default_factory=dict)
    answered: Callable[[Subject], bool] | None = None  # before we began
    lives: Callable[[Subject], bool] | None = None  # though silent

    def __post_init__(self) -> None:
        self.rows = Rows()
        self.targets = Targets(
            self.rows, self.told.append, answered=self.answered, lives=self.lives
        )
        self.heard = Heard(self.rows)
        panel = Panel(self.rows, self.targets, self.heard)
        self.sweep = Sweep(self.rows, panel, lambda: self.now, draw=self._draw)
        self.random = random.Random(self.seed)
        self._flying: list[tuple[float, int, bytes, Address]] = []
        self._number = 0
        self._lanes = Lanes(
            lambda family, source: (self._send, lambda: None, 5099), self._send, "test"
        )

    def add(
        self,
        name: str,
        addresses: Iterable[str] = ("127.0.0.1",),
        answers: Answers = well,
        *,
        soon: bool = False,
        floor: float = 0.0,
        stream: bool = False,
        **settings: Any,
    ) -> int:
        """A target with a row for each address."""
        configured = TargetSettings(uri=f"sip:{name}", **settings)
        scope = Scope(name, configured.role)
        subject = Subject(SubjectKind.TARGET, name, scope)
        index = self.targets.add(Target(subject, configured.uri, configured))
        self.place(index, addresses, answers, soon=soon, floor=floor, stream=stream)
        return index

    def asks(self, names: Any = None) -> Asks:
        """What is asked beside the targets; `names` is told whom to resolve."""
        streams: Any = None
        return Asks(
            self.heard,
            self.sweep,
            self._lanes,
            streams,
            names,
            lambda: self.now,
            lambda: None,
        )

    def place(
        self,
        index: int,
        addresses: Iterable[str],
        answers: Answers = well,
        *,
        soon: bool = True,
        floor: float = 0.0,
        stream: bool = False,
    ) -> None:
        """Give a target its addresses."""
        configured, name = self.targets.settings[index], self.targets.uris[index][4:]
        assert configured is not None
        kind = Kind(configured.interval, configured.timeout, stream, floor > 0)
        rows = []
        for ip in addresses:
            address = (ip, 5060)
            transport = "tcp" if stream else "udp"
            lane = self._lanes.lane(configured, transport, "sip", ip, floor)
            row = self.rows.add(index, f"{name}:5060", name, address, lane)
            self.sweep.enter(row, kind, self.now, soon)
            self.answers.setdefault(address, answers)
            rows.append(row)
        self.targets.assign(index, rows)

    def run_until(self, at: float, step: float = TICK) -> None:
        """Tick until then, `at` s after the start; packets arrive on their way."""
        end = START + at
        while self.now < end:
            self.now = min(end, self.now + step)
            self.drain()
            self.sweep.tick(self.now)

    def drain(self) -> None:
        """Hand over what has arrived by now."""
        while self._flying and self._flying[0][0] <= self.now:
            arrived, _, data, source = heapq.heappop(self._flying)
            self.sweep.inbox.take([(data, source, arrived)])

    def deliver(self, data: bytes, source: Address, after: float = 0.0) -> None:
        """A packet on its way to us."""
        self._number += 1
        heapq.heappush(self._flying, (self.now + after, self._number, data, source))

    def observations(self, name: str) -> list[Observation]:
        """What was told of a target."""
        return [o for o in self.told if o.subject.name == name]

    def states(self, name: str) -> list[State]:
        """The states it was told in, without repetitions."""
        found: list[State] = []
        for o in self.observations(name):
            if not found or found[-1] is not o.state:
                found.append(o.state)
        return found

    def _send(self, data: bytes, address: Address) -> None:
        self.sent.append(Sent(self.now, data, address))
        if address in self.refusals:
            raise self.refusals[address]
        if self.random.random() < self.loss:
            return
        reply = self.answers.get(address, silent)(data)
        if reply is not None and self.random.random() >= self.loss:
            self.deliver(reply, address, 2 * self.delay)

    def _draw(self, count: int) -> bytes:
        return self.random.randbytes(count)
