"""The OPTIONS check: the sweep on sockets, names resolved, streams kept open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checks.observation import Cause, Observation, Subject
from checks.options.asks import Asks, Inquiry
from checks.options.heard import Hear, Heard, Panel
from checks.options.lanes import Lanes
from checks.options.names import Names, Resolves
from checks.options.placing import Placing
from checks.options.rings import rank
from checks.options.rows import ASKED, PROCEEDING, Rows
from checks.options.streams import Link
from checks.options.sweep import FIRST_LOOK, TICK, TIMING, Sweep
from checks.options.targets import ProbeSettings, Target, floor_of, full_uri, ipv4
from checks.options.verdict import Marks, Targets
from checks.options.views import TargetView, Views
from checks.options.wires import Wires
from checks.options.wiretap import Wiretap

STALL = 5.0  # s that a tick may be late before it is no more to come
SLICES = 256  # of a drain before a tick goes on regardless: over twice a full buffer


Count = tuple[int, int, int, float]


def ignore(ok: bool, detail: str) -> None:
    """Nobody asks how our resolver does."""


def nobody_moves(subject: Subject, settings: ProbeSettings, hosts: list[str]) -> None:
    """Nobody asks where a name leads."""


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
    seconds and never jumps. `led(subject, settings, hosts)` hears where the name of a
    target leads. `resolver_state(ok, detail)` is called when our resolver
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
        led: Callable[[Subject, ProbeSettings, list[str]], None] = nobody_moves,
    ) -> None:
        self._clock = clock
        self.rows = Rows()
        self.judge = Targets(self.rows, observe, wanted, answered, lives)
        heard = Heard(self.rows)
        self.sweep = Sweep(self.rows, Panel(self.rows, self.judge, heard), clock)
        self.set_marks(marks or Marks())
        self.targets: Mapping[str, TargetView] = Views(self.judge, self._find, clock)
        self.tap = Wiretap(self.rows, self.sweep.inbox.take, clock) if tapped else None
        self._wires = Wires(self.sweep, clock, self._arm, self.tap)
        lanes = Lanes(self._wires.socket_of, self._wires.send_stream, agent)
        streams = self._wires.streams
        self._placing = Placing(self.judge, self.sweep, lanes, streams, clock)
        self._names = Names(resolver or _resolver(), clock, self, resolver_state)
        self._asks = Asks(
            heard, self.sweep, lanes, streams, self._names, clock, self._settle
        )
        self._index: dict[str, dict[str, int]] = {}  # scope name, subject name
        self._led = led
        self._leads: dict[int, list[str]] = {}  # where the names of targets lead
        self._given = targets
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
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
        self._wires.start()
        given, self._given = self._given, ()
        self.replace(given)

    def close(self) -> None:
        """Stop asking; no observation follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wires.close()
        self._loop = None

    @property
    def drops(self) -> int:
        """Answers that the kernel had no room for."""
        return self._wires.drops

    @property
    def receive_buffer(self) -> int:
        """Octets of the smallest receive buffer; 0 before there is one."""
        return self._wires.receive_buffer

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

    def certificates(self, most: int) -> list[tuple[Subject, Link]]:
        """Whose certificates end first, and at which of their addresses."""
        found = (
            (self.judge.subjects[self.rows.target[row]], link)
            for link in self._wires.streams.ending(most)
            for row in sorted(link.rows)
        )
        return [(subject, link) for subject, link in found if subject][:most]

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

    def free_at(self, key: str) -> float:
        """From when on the addresses of a target may be asked again, UTC s; 0.0 for
        one that nobody has asked, or that may always be."""
        index = self._find(key)
        if index is None:
            return 0.0
        floor = floor_of(
            self.judge.uris[index], self._placing.settings(index).min_interval
        )
        sent = [self.rows.sent[row] for row in self.judge.members(index)]
        return max(sent, default=0.0) + floor if floor else 0.0

    def ended_since(self, key: str, at: float) -> bool:
        """Whether every address of a target was asked then or later, to an end."""
        index = self._find(key)
        rows = self.judge.members(index) if index is not None else ()
        under_way = (ASKED, PROCEEDING)
        return bool(rows) and all(
            self.rows.sent[row] >= at and self.rows.doing[row] not in under_way
            for row in rows
        )

    def claim(self, hosts: Iterable[str]) -> float:
        """A question beside the targets' own goes to these IP addresses: s until it
        may, as `min_interval` has it; it is counted then."""
        return self.sweep.claim(hosts, self._clock())

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
        # Not into the scope that it has: others of its file may be elsewhere.
        self._subject(index).scope = target.subject.scope
        judge = self.judge
        same = judge.uris[index] == target.uri
        if same and judge.settings[index] == target.settings:
            return False
        judge.uris[index], judge.settings[index] = target.uri, target.settings
        self._names.forget(index)
        self._leads.pop(index, None)
        self._placing.drop(judge.members(index))
        judge.assign(index, ())
        return True

    def _remove(self, indexes: list[int], change: Change) -> None:
        self._placing.drop([row for i in indexes for row in self.judge.members(i)])
        for index in indexes:
            self._names.forget(index)
            self._leads.pop(index, None)
            subject = self._subject(index)
            self.judge.assign(index, ())
            self.judge.remove(index)
            change.removed.append(subject)
            names = self._index[subject.scope.name]
            del names[subject.name]

    def _place(self, index: int, soon: bool) -> None:
        """Give a new target its rows; names get theirs when they are resolved."""
        uri = self.judge.uris[index]
        if found := ipv4(uri):
            self._placing.at_ipv4(index, *found, soon)
            return
        from checks.sip.uri import SipUri

        self._names.watch(index, SipUri.parse(full_uri(uri)))

    def inquiry(self, name: str, settings: ProbeSettings, hear: Hear) -> Inquiry:
        """Ask, beside the targets, for a judge, who alone is told what comes of it."""
        return self._asks.inquiry(name, settings, hear)

    @property
    def asked(self) -> int:
        """How many are asked beside the targets."""
        return len(self._asks)

    # Names

    def placed(self, index: int, addresses: tuple[Any, ...]) -> None:
        """A target's addresses are known: rows of addresses that stay go on."""
        if index < 0:
            self._asks.placed(index, addresses)
        elif self._placing.at_addresses(index, addresses):
            self._settle()
            self._leads[index] = [str(address.ip) for address in addresses]
            self._tell_where(index)

    def tell_where(self) -> None:
        """Say again where all names lead: who belongs where may be otherwise."""
        for index in list(self._leads):
            self._tell_where(index)

    def _tell_where(self, index: int) -> None:
        settings = self._placing.settings(index)
        self._led(self._subject(index), settings, self._leads[index])

    def nameless(self, index: int, cause: Cause, detail: str) -> float:
        """A target has no address: that is a failure of the one row it has then."""
        if index < 0:
            return self._asks.nameless(index, cause, detail)
        if self._placing.nowhere(index):
            self._settle()
        (row,) = self.judge.members(index)
        now, settings = self._clock(), self._placing.settings(index)
        soon = self.judge.failed(row, cause, detail, now, now)
        return settings.confirm if soon else settings.interval

    # Time

    def _settle(self) -> None:
        """Rows have changed: go on with them."""
        self._wires.settle()
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
        if self._wires.polled and now < self._ticked + TIMING:
            self.sweep.turn(now)
            self._timer = self._loop.call_later(TICK, self._tick)
            return
        if not self._wires.drain() and self._slices < SLICES:
            self._slices += 1
            self._loop.call_soon(self._tick)
            return
        self._slices = 0
        self._ticked = now = self._clock()
        due = self.sweep.tick(now)
        self._timer = None
        if due is not None:
            self._timer_at = now + TICK if self._wires.polled else max(due, now + TICK)
            self._timer = self._loop.call_later(self._timer_at - now, self._tick)

    # Small change

    def counted(self, key: str) -> tuple[Subject, list[Count]] | None:
        """Of each address of a target that can be asked: its row, questions that were
        answered and that failed, ever, and the s to its last answer."""
        index = self._find(key)
        if index is None:
            return None
        rows = self.rows
        return self._subject(index), [
            (row, rows.answered[row], rows.failed[row], rows.rtt[row])
            for row in self.judge.members(index)
            if rows.address[row] is not None
        ]

    def _subject(self, index: int) -> Subject:
        subject = self.judge.subjects[index]
        if subject is None:
            raise LookupError(f"no target {index}")
        return subject

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


def _resolver() -> Resolves:
    from checks.sip.resolver import Resolver

    return Resolver()
