"""sipwatch watches itself: clock, resolver, receive buffer, disk, its own loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from checks.observation import (
    Event,
    Fact,
    Kind,
    Observation,
    Scope,
    State,
    Subject,
    plain,
)
from sipwatch.clock import Clock

BEAT = 1.0  # s between two looks
LATE = 5.0  # s that a commit, or our loop, may be late before it is a fault
DROPS_OVER = 300.0  # s without a dropped answer until that is over

log = logging.getLogger(__name__)


def own(name: str) -> Subject:
    """A subject that is a part of sipwatch."""
    return Subject(Kind.SELF, name, Scope(name))


class SelfWatch:
    """Looks once a second; tells what changed as observations of our own parts."""

    def __init__(
        self,
        clock: Clock,
        observe: Callable[[Observation], None],
        *,
        drops: Callable[[], int],
        waiting_since: Callable[[], float | None],
        clock_set: Callable[[], None] = lambda: None,
    ) -> None:
        """`drops` counts answers that the kernel had no room for; `waiting_since`
        tells since when the oldest transaction waits for the disk; `clock_set` is
        called when the wall clock was."""
        self.lag = 0.0  # s that the last look was late
        self.looked_at = clock.now()
        self.store, self.resolver = own("store"), own("resolver")
        self.wall, self.buffer = own("clock"), own("receive-buffer")
        self.configuration = own("configuration")
        self._clock = clock
        self._observe = observe
        self._drops = drops
        self._waiting_since = waiting_since
        self._clock_set = clock_set
        self._said: dict[Subject, State] = {}
        self._seen_drops = 0
        self._dropped_at: float | None = 0.0  # at first it is told that none is lost
        self._refused_since = 0.0  # of the configuration that is not in force
        self._refused = ""  # the last commit's error

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The parts that are watched here."""
        several = (self.store, self.resolver, self.wall, self.buffer)
        return *several, self.configuration

    @property
    def store_fails(self) -> bool:
        """Whether the disk takes nothing, or takes too long for it."""
        return self._said.get(self.store) is State.FAILING

    async def run(self, beat: Callable[[], None]) -> None:
        """Look once a second until cancelled, and call `beat` after each look."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += BEAT
            await asyncio.sleep(due - loop.time())
            self.lag = max(0.0, loop.time() - due)
            if self.lag > BEAT:
                due = loop.time()
            self.look(self._clock.now())
            beat()

    def look(self, now: float) -> None:
        """One look at everything."""
        self.looked_at = now
        if step := self._clock.measure():
            self._jumped(step, now)
        if self.configuration not in self._said:
            self.reloaded()  # the one that we began with is in force
        self._look_at_drops(now)
        self._look_at_store(now)

    def resolver_state(self, ok: bool, detail: str) -> None:
        """Our resolver fails as a whole, or works again."""
        self._tell(self.resolver, ok, self._clock.now(), detail)

    def reloaded(self, refused: str = "") -> None:
        """A configuration is in force, or was refused, and why."""
        part, now, why = self.configuration, self._clock.now(), plain(refused)
        if refused and self._said.get(part) is State.FAILING:  # by another mistake
            since, fact = self._refused_since, Fact(now, why)
            again = Observation(
                part, State.FAILING, since, now, detail=why, evidence=(fact,)
            )
            self._observe(again)
            return
        self._refused_since = now
        self._tell(part, not refused, now, why)

    def committed(self, error: Exception | None) -> None:
        """How a transaction ended."""
        self._refused = plain(str(error)) if error is not None else ""
        if error is not None or self._said.get(self.store) is State.FAILING:
            self._look_at_store(self._clock.now())

    def _jumped(self, step: float, now: float) -> None:
        ahead = "forward" if step > 0 else "back"
        detail = f"set {ahead} by {abs(step):.0f} s"
        log.warning("the wall clock was %s", detail)
        self._observe(
            Observation(
                self.wall, State.OK, now, now, event=Event.CLOCK_JUMPED, detail=detail
            )
        )
        self._clock_set()

    def _look_at_drops(self, now: float) -> None:
        drops = self._drops()
        if drops > self._seen_drops:
            lost = drops - self._seen_drops
            self._seen_drops, self._dropped_at = drops, now
            detail = f"{lost} answers, {drops} since the start"
            self._tell(self.buffer, False, now, detail)
        elif self._dropped_at is not None and now - self._dropped_at > DROPS_OVER:
            self._dropped_at = None
            self._tell(self.buffer, True, now)

    def _look_at_store(self, now: float) -> None:
        waiting = self._waiting_since()
        late = waiting is not None and now - waiting > LATE
        detail = self._refused or "a commit takes longer than 5 s"
        self._tell(self.store, not (late or self._refused), now, detail)

    def _tell(self, part: Subject, ok: bool, now: float, detail: str = "") -> None:
        # That a part is well is told at first too: it may have failed before a restart.
        state = State.OK if ok else State.FAILING
        if self._said.get(part) is state:
            return
        self._said[part] = state
        facts = (Fact(now, detail),) if detail and not ok else ()
        self._observe(
            Observation(
                part, state, now, now, detail="" if ok else detail, evidence=facts
            )
        )
