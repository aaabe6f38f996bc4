"""The OPTIONS check: the sweep on sockets, names resolved, streams kept open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.observation import Cause, Observation, Subject
from checks.options.datagrams import DatagramSocket
from checks.options.lanes import Clear, Lanes, Send, Settings, nothing, socket_address
from checks.options.names import Names, Resolves
from checks.options.rings import Kind, host_of, rank
from checks.options.rows import ABSENT, Rows
from checks.options.streams import Link, Streams
from checks.options.sweep import FIRST_LOOK, TICK, TIMING, Sweep
from checks.options.targets import Target, address_family, floor_of, full_uri, ipv4
from checks.options.verdict import Marks, Targets, TargetView

if TYPE_CHECKING:
    from checks.options.wiretap import Wiretap

STALL = 5.0  # s that a tick may be late before it is no more to come
BUSY = 100.0  # questions a second from which answers are fetched at ticks, not by wakes
SLICES = 256  # of a drain before a tick goes on regardless: over twice a full buffer


def ignore(ok: bool, detail: str) -> None:
    """Nobody asks how our resolver does."""


@dataclass(slots=True)
class Change:
    """What a reload did, by subject; objects of kept subjects stay the old ones."""

    added: list[Subject] = field(default_factory=list)
    changed: list[Subject] = field(default_factory=list)
    removed: list[Subject] = field(default_factory=list)


class OptionsCheck:
    """Asks targets with OPTIONS for as long as `run` runs.

    `observe` is called as `checks.options.verdict` promises; `wanted` names the
    targets of which even a quiet beginning is to be told, without it all are;
    `answered` knows who answered before we began, `lives` who is alive though
    silent. `clock` gives UTC
    seconds and never jumps. `resolver_state(ok, detail)` is called when our resolver
    fails as a whole, and when it works again. Counters and arrays: `sweep`, `rows`,
    `judge`. Where `tapped`, `tap` keeps what goes over the wire, for a few targets.
    """

    def __init__(
        self,
        targets: Iterable[Target],
        observe: Callable[[Observation], None],
        *,
        clock: Callable[[], float],
        resolver: Resolves | None = None,
        resolver_state: Callable[[bool, str], None] = ignore,
        marks: Marks | None = None,
        agent: str = "sipwatch",
        wanted: Callable[[Subject], bool] | None = None,
        answered: Callable[[Subject], bool] | None = None,
        lives: Callable[[Subject], bool] | None = None,
        tapped: bool = False,
    ) -> None:
        self._clock = clock
        self.rows = Rows()
        self.judge = Targets(self.rows, observe, wanted, answered, lives)
        self.sweep = Sweep(self.rows, self.judge, clock)
        self.set_marks(marks or Marks())
        self.targets: Mapping[str, TargetView] = _Views(self)
        self.tap = self._tapped() if tapped else None
        self._take = self.tap.taking if self.tap else self.sweep.inbox.take
        self._sockets: dict[tuple[int, str], DatagramSocket] = {}
        self._streams = Streams(
            clock,
            self._take,
            self._stream_failed,
            hold=self._stream_held,
            begun=self._stream_begun,
        )
        stream = self.tap.sending(_send_stream) if self.tap else _send_stream
        self._lanes = Lanes(self._socket_of, stream, agent)
        self._names = Names(resolver or _resolver(), clock, self, resolver_state)
        self._index: dict[str, dict[str, int]] = {}  # scope name, subject name
        self._places: dict[Any, list[int]] | None = None
        self._given = targets
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._polled = False
        self._ticked = 0.0
        self._slices = 0

    # Life

    async def run(self) -> None:
        """Ask until cancelled; then all sockets are closed."""
        self.start()
        try:
            await self._names.run()
        finally:
            self.close()

    def start(self) -> None:
        """Open sockets and begin; OSError for a source address that is not ours."""
        self._loop = asyncio.get_running_loop()
        given, self._given = self._given, ()
        self.replace(given)

    def close(self) -> None:
        """Stop asking; no observation follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sock in self._sockets.values():
            self._read(sock, False)
            sock.close()
        self._sockets.clear()
        self._streams.close()
        self._loop = None

    @property
    def drops(self) -> int:
        """Answers that the kernel had no room for."""
        return sum(sock.drops for sock in self._sockets.values())

    @property
    def receive_buffer(self) -> int:
        """Octets of the smallest receive buffer; 0 before there is one."""
        return min((sock.room for sock in self._sockets.values()), default=0)

    @property
    def passed(self) -> bool:
        """Whether every target has been judged once."""
        return not self._given and self.judge.unjudged == 0

    def stalled(self, now: float) -> bool:
        """Whether the tick that should have come did not: a fault of ours."""
        if self._loop is None:
            return False
        if self._timer is None:
            return self.sweep.next_tick(now) is not None
        return now - self._timer_at > STALL

    def set_marks(self, marks: Marks) -> None:
        """Above which figures targets are told though they are up."""
        self.judge.marks = marks
        self.sweep.inbox.slow = marks.rtt

    # Targets

    def probe_now(self, key: str) -> bool:
        """Ask a target at once; False where there is none of this key."""
        index = self._find(key)
        if index is None:
            return False
        self._names.refresh(index)
        now = self._clock()
        for row in self.judge.members(index):
            self.sweep.ask(row, now)
        self._arm(now)
        return True

    def replace(self, targets: Iterable[Target]) -> Change:
        """These are the targets from now on; what did not change goes on as it is."""
        change, kept, new = Change(), set[int](), list[int]()
        for target in targets:
            names = self._index.setdefault(target.subject.scope.name, {})
            index = names.get(target.subject.name)
            if index is None:
                index = names[target.subject.name] = self.judge.add(target)
                change.added.append(target.subject)
                new.append(index)
            elif self._renew(index, target):
                change.changed.append(self._subject(index))
                new.append(index)
            kept.add(index)
        self._remove([i for i in self.judge if i not in kept], change)
        soon = len(new) <= FIRST_LOOK
        # In the order in which they will be asked: neighbours in time are neighbours in
        # memory, which halves what a question costs of the cache.
        for index in sorted(new, key=lambda index: rank(self.judge.uris[index])):
            self._place(index, soon)
        self._settle()
        return change

    def _renew(self, index: int, target: Target) -> bool:
        """Take over a target of the same key; True where it is asked otherwise now."""
        old = self._subject(index).scope
        fresh = target.subject.scope
        old.role, old.labels, old.parent = fresh.role, fresh.labels, fresh.parent
        judge = self.judge
        same = judge.uris[index] == target.uri
        if same and judge.settings[index] == target.settings:
            return False
        judge.uris[index], judge.settings[index] = target.uri, target.settings
        self._names.forget(index)
        self._drop(judge.members(index))
        judge.assign(index, ())
        return True

    def _remove(self, indexes: list[int], change: Change) -> None:
        self._drop([row for i in indexes for row in self.judge.members(i)])
        for index in indexes:
            self._names.forget(index)
            subject = self._subject(index)
            self.judge.assign(index, ())
            self.judge.remove(index)
            change.removed.append(subject)
            names = self._index[subject.scope.name]
            del names[subject.name]

    def _drop(self, rows: Iterable[int]) -> None:
        gone = list(rows)
        if gone:
            self.sweep.leave(gone)
            for row in gone:
                self.judge.leaves(row)
                address = self.rows.address[row]
                if isinstance(address, Link):
                    address.rows.discard(row)
                self.rows.drop(row)
            self._places = None

    def _place(self, index: int, soon: bool) -> None:
        """Give a new target its rows; names get theirs when they are resolved."""
        uri, settings = self.judge.uris[index], self._settings(index)
        if found := ipv4(uri):
            row = self._udp_row(index, settings, found, soon)
            self.judge.assign(index, (row,))
            return
        from checks.sip.uri import SipUri

        self._names.watch(index, SipUri.parse(full_uri(uri)))

    def _udp_row(
        self, index: int, settings: Settings, address: tuple[str, int], soon: bool
    ) -> int:
        host, port = address
        written = self.judge.uris[index]
        uri = written[4:] if written[3:4] == ":" else written
        lane = self._lanes.lane(settings, "udp", "sip", host, settings.min_interval)
        row = self.rows.add(index, uri, host, (host, port), lane)
        guarded = lane.floor > 0
        kind = Kind(settings.interval, settings.timeout, guarded=guarded)
        self.sweep.enter(row, kind, self._clock(), soon)
        return row

    # Names

    def placed(self, index: int, addresses: tuple[Any, ...]) -> None:
        """A target's addresses are known: rows of addresses that stay go on."""
        old = {self._spot(row): row for row in self.judge.members(index)}
        if set(old) == {(a.ip, a.port, a.transport) for a in addresses}:
            return
        rows = []
        for address in addresses:
            spot = (address.ip, address.port, address.transport)
            row = old.pop(spot, None)
            rows.append(self._named_row(index, address) if row is None else row)
        self._drop(old.values())
        self.judge.assign(index, rows, self._clock())
        self._settle()

    def nameless(self, index: int, cause: Cause, detail: str) -> float:
        """A target has no address: that is a failure of the one row it has then."""
        rows = self.judge.members(index)
        if len(rows) != 1 or self.rows.address[rows[0]] is not None:
            row = self.rows.add(index, "", "", None, None)
            self.rows.doing[row] = ABSENT
            self._drop(rows)
            self.judge.assign(index, (row,), self._clock())
            self._settle()
            rows = (row,)
        now, settings = self._clock(), self._settings(index)
        soon = self.judge.failed(rows[0], cause, detail, now, now)
        return settings.confirm if soon else settings.interval

    def _named_row(self, index: int, address: Any) -> int:
        from checks.sip.requests import options_request
        from checks.sip.uri import NameAddr, SipUri

        settings = self._settings(index)
        uri = SipUri.parse(full_uri(self.judge.uris[index]))
        request = options_request(uri, from_uri="", user_agent="")
        text, to = request.uri, NameAddr.parse(request.get("to") or "").uri
        scheme, _, rest = text.partition(":")
        floor = floor_of(self.judge.uris[index], settings.min_interval)
        stream = address.transport != "udp"
        where: Any = socket_address(address.ip, address.port)
        if stream:
            where = self._streams.link(address, uri.host, settings)
        lane = self._lanes.lane(settings, address.transport, scheme, address.ip, floor)
        row = self.rows.add(index, rest, to.partition(":")[2], where, lane)
        if stream:
            where.rows.add(row)
        kind = Kind(settings.interval, settings.timeout, stream, floor > 0, True)
        self.sweep.enter(row, kind, self._clock(), True)
        return row

    def _spot(self, row: int) -> tuple[str, int, str] | None:
        address, lane = self.rows.address[row], self.rows.lane[row]
        if address is None or lane is None:
            return None
        port = address[1] if isinstance(address, tuple) else address.address.port
        return host_of(address), port, lane.transport

    # Sockets

    def _socket_of(
        self, family: socket.AddressFamily, source: str
    ) -> tuple[Send, Clear, int]:
        key = (int(family), source)
        if key not in self._sockets:
            try:
                sock = DatagramSocket(
                    family,
                    source,
                    clock=self._clock,
                    receive=self._take,
                    unreachable=self._unreachable,
                )
            except OSError as error:
                if source and address_family(source) == family:
                    raise  # it is not ours, and nothing could be asked from it
                return _unsendable(error), nothing, 0
            self._sockets[key] = sock
            self._read(sock, not self._polled)
        sock = self._sockets[key]
        send: Send = self.tap.sending(sock.send) if self.tap else sock.send
        return send, sock.read_errors, sock.port

    def _tapped(self) -> Wiretap:
        from checks.options.wiretap import Wiretap

        return Wiretap(self.rows, self.sweep.inbox.take, self._clock)

    def _read(self, sock: DatagramSocket, wanted: bool) -> None:
        if self._loop is not None and sock.fileno() >= 0:
            if wanted:
                self._loop.add_reader(sock, self._readable, sock)
            else:
                self._loop.remove_reader(sock)

    def _readable(self, sock: DatagramSocket) -> None:
        sock.drain()
        self._arm(self._clock())

    def _unreachable(self, data: bytes, destination: Any, detail: str) -> None:
        """ICMP: the quoted request names the row; a short quote only its address."""
        now = self._clock()
        row = self.sweep.inbox.asking(data)
        rows = [row] if row is not None else self._asked_at(destination)
        for found in rows:
            self.sweep.fail(found, Cause.ICMP_UNREACHABLE, detail, now)

    def _asked_at(self, destination: Any) -> list[int]:
        if self._places is None:
            self._places = {}
            for row, address in enumerate(self.rows.address):
                if isinstance(address, tuple):
                    self._places.setdefault(address[:2], []).append(row)
        rows = self._places.get(destination[:2], [])
        return [row for row in rows if self.rows.nonce[row]]

    def _stream_failed(self, link: Link, cause: Cause, detail: str) -> None:
        now = self._clock()
        for row in [row for row in link.rows if self.rows.nonce[row]]:
            self.sweep.fail(row, cause, detail, now)
        self._arm(now)

    def _stream_held(self, link: Link) -> None:
        for row in [row for row in link.rows if self.rows.nonce[row]]:
            self.sweep.withdraw(row)
            link.held.add(row)

    def _stream_begun(self, link: Link) -> None:
        now = self._clock()
        held, link.held = link.held & link.rows, set()
        for row in held:
            self.sweep.ask(row, now)
        self._arm(now)

    # Time

    def _settle(self) -> None:
        """After rows have changed: close what is unused, choose how to read, go on."""
        self._places = None
        self._streams.close_unused()
        polled = self.sweep.rate >= BUSY
        if polled != self._polled:
            self._polled = polled
            for sock in self._sockets.values():
                self._read(sock, not polled)
        self._arm(self._clock())

    def _arm(self, now: float) -> None:
        """Set the timer for the next tick, unless it comes early enough."""
        if self._loop is None:
            return
        due = self.sweep.next_tick(now)
        if due is None or (self._timer is not None and self._timer_at <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_later(max(0.0, due - now), self._tick)

    def _tick(self) -> None:
        """Drain, then let the sweep go on; in slices, for others on this loop."""
        if self._loop is None:
            return
        now = self._clock()
        if self._polled and now < self._ticked + TIMING:
            self.sweep.turn(now)
            self._timer = self._loop.call_later(TICK, self._tick)
            return
        drained = [sock.drain() for sock in self._sockets.values()]
        if not all(drained) and self._slices < SLICES:
            self._slices += 1
            self._loop.call_soon(self._tick)
            return
        self._slices = 0
        self._ticked = now = self._clock()
        due = self.sweep.tick(now)
        self._timer = None
        if due is not None:
            self._timer_at = now + TICK if self._polled else max(due, now + TICK)
            self._timer = self._loop.call_later(self._timer_at - now, self._tick)

    # Small change

    def _subject(self, index: int) -> Subject:
        subject = self.judge.subjects[index]
        if subject is None:
            raise LookupError(f"no target {index}")
        return subject

    def _settings(self, index: int) -> Settings:
        settings = self.judge.settings[index]
        if settings is None:
            raise LookupError(f"no target {index}")
        return settings

    def _find(self, key: str) -> int | None:
        kind, _, rest = key.partition(":")
        if kind != "target":
            return None
        names = self._index.get(rest)
        if names is not None and rest in names:
            return names[rest]
        for scope, found in self._index.items():
            if rest.startswith(f"{scope}/") and rest[len(scope) + 1 :] in found:
                return found[rest[len(scope) + 1 :]]
        return None


class _Views(Mapping[str, TargetView]):
    """Targets by key; each view is made when it is asked for."""

    def __init__(self, check: OptionsCheck) -> None:
        self._check = check

    def __getitem__(self, key: str) -> TargetView:
        index = self._check._find(key)
        if index is None:
            raise KeyError(key)
        view = self._check.judge.view(index, self._check._clock())
        if view is None:
            raise KeyError(key)
        return view

    def __iter__(self) -> Iterator[str]:
        subjects = self._check.judge.subjects
        return (subject.key for subject in subjects if subject is not None)

    def __len__(self) -> int:
        return sum(subject is not None for subject in self._check.judge.subjects)


def _unsendable(error: OSError) -> Send:
    """This machine does not speak the family: each question fails of it."""

    def send(data: bytes, address: Any) -> None:
        raise OSError(error.errno, error.strerror)

    return send


def _send_stream(data: bytes, link: Link) -> None:
    link.send(data)


def _resolver() -> Resolves:
    from checks.sip.resolver import Resolver

    return Resolver()
