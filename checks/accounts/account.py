"""One configured account: when it is tested, what its state is, since when."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from checks.accounts.settings import FLOOR, AccountSettings
from checks.accounts.trial import Outcome
from checks.observation import (
    EVIDENCE_LINES,
    Cause,
    Fact,
    Figures,
    Observation,
    State,
    Subject,
)

CONFIRM = 60.0  # s to the next test after a failure, until it is settled
CONFIRMED = 3  # failures in a row after which the interval counts again
REJECTIONS = 2  # in a row, after which we hold back: bans are made of more
HOLD_BACK = 300.0  # s between tests then
RETRY_LIMIT = 3600.0  # s: a Retry-After beyond it is not waited for
SPREAD = 0.05  # of the interval, by which each test comes sooner or later
DAY = 86400.0
MASK32 = 0xFFFFFFFF


class Result(NamedTuple):
    """What a test brought, and the one that came before it."""

    observation: Observation
    moved: bool  # the state is another one


@dataclass(slots=True, eq=False)
class Account:
    """An account that is tested again and again; all times are the caller's."""

    name: str
    settings: AccountSettings
    subject: Subject
    due: float
    before: tuple[State, float] | None = None  # state and since, from before a restart
    state: State | None = None
    since: float = 0.0
    outcome: Outcome | None = None  # the last one
    forbidden: tuple[str, ...] = ()  # who was seen to use it: it is only asked since
    rejections: int = 0  # of our credentials, in a row
    rests: bool = False  # since a restart: its last test was too short a time ago
    _figures: Figures = field(default_factory=Figures)
    _tests: int = 0

    @property
    def failing(self) -> int:
        """How many tests in a row have failed."""
        return self._figures.failures

    def judge(self, outcome: Outcome, chance: float) -> Result:
        """Take an outcome in; `chance` from 0 to 1 is where in its spread the next
        test falls."""
        old, self.outcome = self.state, outcome
        if old is not outcome.state:
            self.state, self.since = outcome.state, outcome.at
            if self.before is not None and self.before[0] is outcome.state:
                self.since = self.before[1]
            self.before = None
        if outcome.cause is Cause.IN_USE and not self.forbidden:
            self.forbidden = outcome.others or ("as the PBX says",)
        self._count(outcome)
        self.due = outcome.at + self._wait(outcome, chance)
        self._tests += 1
        return Result(self._observation(outcome), old is not outcome.state)

    def resume(self, at: float, rejections: int, *, now: float) -> None:
        """What held the next test back before a restart does so after it."""
        self.rejections = rejections
        held_back = HOLD_BACK if rejections >= REJECTIONS else 0.0
        # A clock that was set back while we were away must not hold us up.
        due = min(at, now) + max(self.settings.floor, held_back)
        self.rests, self.due = due > now, max(self.due, due)

    @property
    def pause(self) -> float:
        """s that are to lie between two attempts, whoever makes them; 0: none."""
        floor = self.settings.floor if self.settings.floor > FLOOR else 0.0
        held_back = HOLD_BACK if self.rejections >= REJECTIONS else 0.0
        return max(floor, held_back)

    def asked(self, outcome: Outcome) -> bool:
        """Somebody asked, beside the tests; whether that was refused, and counts."""
        if not _is_rejection(outcome):
            return False
        self.rejections += 1
        self.due = max(self.due, outcome.at + self.pause)
        return True

    def pardon(self, now: float) -> None:
        """A reload: what had us hold back may have been put right, so look at once."""
        held = bool(self.forbidden) or self.rejections >= REJECTIONS
        self.forbidden, self.rejections = (), 0
        if held and self.outcome is not None:
            self.due = min(self.due, max(now, self.outcome.at + self.settings.floor))

    def _count(self, outcome: Outcome) -> None:
        failed, f = outcome.state is not State.OK, self._figures
        days = None if outcome.not_after is None else (outcome.not_after - outcome.at)
        if _is_rejection(outcome):
            self.rejections += 1
        elif not failed:  # a ban is silent, and made longer by more of the same
            self.rejections = 0
        self._figures = replace(
            f,
            failures=f.failures + 1 if failed else 0,
            successes=0 if failed else f.successes + 1,
            outcomes=(f.outcomes << 1 | failed) & MASK32,
            probes=min(32, f.probes + 1),
            rtt=outcome.rtt,
            days=None if days is None else days / DAY,
        )

    def _wait(self, outcome: Outcome, chance: float) -> float:
        interval, failures = self.settings.interval, self._figures.failures
        wait = interval * (1 + SPREAD * (2 * chance - 1))
        if self._tests == 0 and not failures:
            # All were tested in a row at the start: from then on they are spread.
            wait = interval * max(SPREAD, phase(self.name))
        elif 0 < failures < CONFIRMED:
            wait = min(wait, CONFIRM)
        if self.rejections >= REJECTIONS:
            wait = max(wait, HOLD_BACK)
        if outcome.retry_after is not None:
            wait = max(wait, min(outcome.retry_after, RETRY_LIMIT))
        return max(wait, self.settings.floor)

    def _observation(self, outcome: Outcome) -> Observation:
        facts = tuple(Fact(outcome.at, text) for text in outcome.evidence)
        where = f"{outcome.address} over {outcome.transport.upper()}"
        well = outcome.state is State.OK
        return Observation(
            self.subject,
            outcome.state,
            self.since,
            outcome.at,
            cause=outcome.cause,
            figures=self._figures,
            detail="" if well else outcome.sentence,
            last_seen=where if outcome.address else "",
            evidence=() if well else facts[-EVIDENCE_LINES:],
            next_step="" if well else outcome.step,
        )


def _is_rejection(outcome: Outcome) -> bool:
    return outcome.state is State.REJECTED


def phase(name: str) -> float:
    """Where in the interval an account has its place: 0 to 1, always the same."""
    return zlib.crc32(name.encode()) / 2**32


def due(accounts: Iterable[Account], now: float) -> list[Account]:
    """Those whose time has come, the longest waiting first."""
    found = [account for account in accounts if account.due <= now]
    return sorted(found, key=lambda account: account.due)
