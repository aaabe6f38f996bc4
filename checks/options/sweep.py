"""The OPTIONS sweep: whom to ask when. No I/O; the caller moves the bytes.

Theory of operation
-------------------
A *row* is one (target, address) pair, a number that indexes the arrays of `Rows`.

**When.** Rows of one interval and timeout form a `Ring`: in the order of a hash of
their names, so that neighbours in a file are no neighbours in time, they are asked one
after the other, each once an interval. A late tick catches up by at most a fifth above
the mean rate. What is asked out of turn (confirmations, a first look) waits in one
heap, and shares that allowance. A row that is still being asked is passed over.
`Gates` hold back who asks an address before its `min_interval`.

**Transactions** (RFC 3261 17.1.2) are not objects: `Timers` keeps batches of rows, and
the nonce in a row tells whether its question is still the one in flight. The nonce is
in the branch and in the Call-ID; `Inbox` finds the row of an answer by it.

**Our own pause is nobody's fault.** A tick over LATE after the time that the last one
asked for means that we did not run. What was in flight gets the lost time on top; what
would have timed out meanwhile is asked again. The caller drains its sockets before each
`tick`, so that answers which waited in the kernel count first.
"""

from __future__ import annotations

import heapq
import os
from array import array
from collections.abc import Callable, Iterable

from checks.observation import Cause
from checks.options.inbox import Inbox, Judges
from checks.options.rings import Gates, Kind, Ring, rank
from checks.options.rows import ABSENT, ASKED, IDLE, LATER, Rows
from checks.options.timers import Timers

# s between two turns of a busy sweep. At 10 ms two of them would fall into one window
# of 10 ms now and then, and double the rate; at 8 ms two are 1.6 times the mean.
TICK = 0.008
TIMING = 0.032  # s between two ticks of a busy sweep: four turns, and timers once
LATE = 0.2  # s; a tick later than that is a gap of ours
CATCH_UP = 1.2  # times the mean rate
RESENDS = 4  # times the allowance of all turns in one tick: after a gap many are due
FIRST_LOOK = 1000  # rows; so few new ones are asked at once rather than in their turn
NONCES = 1024  # drawn from the kernel at a time


class Sweep:
    """Asks all rows in turn."""

    def __init__(
        self,
        rows: Rows,
        judges: Judges,
        clock: Callable[[], float],
        *,
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.rows = rows
        self.inbox = Inbox(rows, judges, self._end)
        self.sends = 0  # requests, ever
        self.gaps = 0  # how often we did not run
        self.rate = 0.0  # questions a second, of all rings
        self._judges = judges
        self._clock = clock
        self._draw = draw
        self._pool: list[int] = []
        self._rings: dict[Kind, Ring] = {}
        self._ring_of: list[Ring | None] = []
        self._later: list[tuple[float, int]] = []
        self._timers = Timers(rows, self._send_again)
        self._gates = Gates(rows)
        self._expected: float | None = None

    # Rows come and go.

    def enter(self, row: int, kind: Kind, now: float, soon: bool = False) -> None:
        """Put a row into its turn; `soon`: ask it at once besides."""
        self.rows.rank[row] = rank(self.rows.uri[row]) << 24 | row
        ring = self._rings.setdefault(kind, Ring(kind))
        ring.rows.append(row)
        ring.stale = True
        if len(self._ring_of) <= row:
            self._ring_of.extend([None] * (len(self.rows) - len(self._ring_of)))
        self._ring_of[row] = ring
        self.rate += 1 / kind.interval
        if kind.guarded:
            self._gates.guard(row)
        if soon:
            self.ask(row, now)

    def leave(self, gone: Iterable[int]) -> None:
        """Take rows out, before they are dropped."""
        leaving, touched = set(gone), set[Kind]()
        for row in leaving:
            self.rows.nonce[row] = 0
            ring = self._ring_of[row] if row < len(self._ring_of) else None
            if ring is not None:
                self._ring_of[row] = None
                self.rate -= 1 / ring.kind.interval
                touched.add(ring.kind)
        for kind in touched:
            ring = self._rings[kind]
            ring.rows = array("I", [row for row in ring.rows if row not in leaving])
            ring.stale = True
            if not ring.rows:
                del self._rings[kind]
        self._later = [entry for entry in self._later if entry[1] not in leaving]
        heapq.heapify(self._later)
        self._gates.leave(leaving)

    def ask(self, row: int, due: float) -> None:
        """Ask a row out of its turn, unless it is being asked."""
        if self.rows.doing[row] in (IDLE, LATER):  # of two entries the earlier counts
            self.rows.doing[row] = LATER
            heapq.heappush(self._later, (due, row))

    def claim(self, hosts: Iterable[str], now: float) -> float:
        """Somebody else asks these IP addresses: s until he may (`min_interval`)."""
        return self._gates.claim(hosts, now)

    def withdraw(self, row: int) -> None:
        """It could not be asked yet, and nothing was sent: as if it had not been."""
        if self.rows.nonce[row]:
            self.rows.nonce[row] = 0
            self.rows.doing[row] = IDLE
            self.sends -= 1

    def fail(
        self, row: int, cause: Cause, detail: str, at: float, since: float | None = None
    ) -> None:
        """No answer will come: ICMP said so, a connection broke, its time is up."""
        since = at if since is None else since
        soon = self._judges.failed(row, cause, detail, since, at)
        self._end(row, soon, since, at)

    def unsent(self, row: int, detail: str, at: float) -> None:
        """It did not get there: we could not send it, or there is no way."""
        self._end(row, self._judges.unsent(row, detail, at), at, at)

    # Time passes.

    def tick(self, now: float) -> float | None:
        """Everything that is due; returns when to come again, None for never."""
        if self._expected is not None and now - self._expected > LATE:
            self._resume(now, now - self._expected)
        self._timers.resend(now, RESENDS * max(1, int(self.rate * TIMING)))
        for row, since in self._timers.expired(now):
            self.fail(row, Cause.TIMEOUT, "", now, since)
        for row in self._gates.opened(now):
            self._ask_now([row], now)
        self.turn(now)
        self._expected = self.next_tick(now)
        return self._expected

    def turn(self, now: float) -> None:
        """Only ask whose turn it is: between two ticks, to keep the sends even."""
        allowance = max(1, int(self.rate * TICK * CATCH_UP))
        spent = 0
        for ring in self._rings.values():
            spent += self._go_round(ring, now, allowance)
        if self._later and self._later[0][0] <= now:
            self._ask_later(now, max(1, allowance - spent))

    def next_tick(self, now: float) -> float | None:
        """When something will be due; None when nothing waits."""
        due = [ring.next_due() for ring in self._rings.values()]
        if self._later:
            due.append(self._later[0][0])
        others = (self._timers.next_due(), self._gates.next_due())
        due += [other for other in others if other is not None]
        return max(now, min(due)) if due else None

    def _go_round(self, ring: Ring, now: float, allowance: int) -> int:
        if ring.stale:
            ring.arrange(self.rows.rank, now)
        if not (count := min(ring.due(now), allowance, len(ring.rows))):
            return 0
        doing = self.rows.doing
        chosen = [row for row in ring.take(count) if doing[row] == IDLE]
        if ring.kind.guarded:
            chosen = [row for row in chosen if self._gates.passes(row, now)]
        self._launch(ring.kind, chosen, now)
        return len(chosen)

    def _ask_later(self, now: float, allowance: int) -> None:
        doing, later = self.rows.doing, self._later
        chosen: list[int] = []
        while later and later[0][0] <= now and len(chosen) < allowance:
            row = heapq.heappop(later)[1]
            ring = self._ring_of[row]
            if doing[row] != LATER or ring is None:
                continue  # an earlier entry brought it
            doing[row] = IDLE
            if not ring.kind.guarded or self._gates.passes(row, now):
                chosen.append(row)
        self._ask_now(chosen, now)

    def _ask_now(self, chosen: list[int], now: float) -> None:
        kinds: dict[Kind, list[int]] = {}
        for row in chosen:
            if ring := self._ring_of[row]:
                kinds.setdefault(ring.kind, []).append(row)
        for kind, rows in kinds.items():
            self._launch(kind, rows, now)

    def _launch(self, kind: Kind, chosen: list[int], now: float) -> None:
        rows, pool, clock, drawn = self.rows, self._pool, self._clock, list[int]()
        nonces, sent, doing, tries = rows.nonce, rows.sent, rows.doing, rows.tries
        lanes, uris, tos, addresses = rows.lane, rows.uri, rows.to, rows.address
        if len(pool) < len(chosen):
            drawing = max(NONCES, len(chosen))
            pool.extend(memoryview(self._draw(8 * drawing)).cast("Q"))
        for row in chosen:
            nonce = pool.pop() or 1  # 0 means that nothing is in flight
            drawn.append(nonce)
            nonces[row] = nonce
            doing[row] = ASKED
            tries[row] = 1
            lane, uri = lanes[row], uris[row]
            assert lane is not None  # noqa: S101 - rows in a ring have one
            request = (lane.template % (uri, row, nonce, tos[row], nonce)).encode()
            sent[row] = clock()
            try:
                lane.send(request, addresses[row])
            except OSError as error:
                self._send_after(error, row, request, now)
        if drawn:
            self.sends += len(drawn)
            self._timers.start(chosen, drawn, kind.timeout, kind.stream, now)

    def _send_again(self, row: int, now: float) -> None:
        rows, lane = self.rows, self.rows.lane[row]
        nonce = rows.nonce[row]
        if lane is None or not nonce:
            return
        rows.tries[row] = min(255, rows.tries[row] + 1)
        rows.retransmits[row] += 1
        self.sends += 1
        text = lane.template % (rows.uri[row], row, nonce, rows.to[row], nonce)
        request = text.encode()
        rows.sent[row] = self._clock()
        try:
            lane.send(request, rows.address[row])
        except OSError as error:
            self._send_after(error, row, request, now)

    def _send_after(self, error: OSError, row: int, request: bytes, now: float) -> None:
        """An error may be of another row, that ICMP told of: take it, try again."""
        lane = self.rows.lane[row]
        if isinstance(error, BlockingIOError) or lane is None:
            return  # our buffer is full: timer E sends it again
        lane.clear()
        try:
            lane.send(request, self.rows.address[row])
        except BlockingIOError:
            return
        except OSError as own:
            self.unsent(row, f"this machine cannot send to it: {own.strerror}", now)

    def _end(self, row: int, soon: bool, since: float, now: float) -> None:
        """A question has ended; `since` is when it began to be answered so."""
        if self.rows.doing[row] == ABSENT:
            return
        self.rows.nonce[row] = 0
        self.rows.doing[row] = IDLE
        lane = self.rows.lane[row]
        if soon and lane is not None:
            self.ask(row, max(now, since + lane.confirm))

    def _resume(self, now: float, gap: float) -> None:
        """We did not run for `gap` seconds."""
        self.gaps += 1
        for ring in self._rings.values():
            ring.epoch += gap
        for row in self._timers.pause(now, gap):
            self.rows.nonce[row] = 0
            self.rows.doing[row] = IDLE
            self.ask(row, now)
