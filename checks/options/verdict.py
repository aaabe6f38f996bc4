"""From answers to states of targets, and which of them are worth telling.

Theory of operation
-------------------
**States.** A row (one address) is up, degraded or down by its last question. One
timeout is not yet a state: where one packet in ten is lost both ways, each thousandth
question dies of loss. A row that answered before keeps its state after a first timeout
and is asked again after `confirm`; when that fails too it is down, *since the first
question that went unanswered*. A refusal (ICMP, 503, TLS) is an answer of its kind and
counts at once, and so does silence of a row that never answered. `verdict: any` is up
when all rows are, down when all are, else degraded; `all` is down when one is down,
degraded when one is degraded. Rows that have not been judged yet do not count.

**Figures** of a target with several rows: with `any`, failures in a row are the least
of its rows, successes the most, and a probe failed where all rows failed; with `all` it
is the other way round. Resent is any row's, RTT the slowest row's, days the least. A
success is a question with a final answer that is not down: degraded does not fail.

**What is told** (`observe`), whenever a question of a row ends:

1. always, unless all is *well*: the row and its target up, no failure, the mean RTT not
   above `marks.rtt`, less than `marks.resent` of the last 20 questions resent, and the
   certificate good for `marks.days` or more;
2. of those that end well, the first SETTLED in a row. Then the row is calm, and its
   successes are no longer told until 1 holds again.

So a rule that counts up to SETTLED successes, or compares with a mark, misses nothing,
and a quiet target costs nothing. A target that begins well and has never been otherwise
is told only if it is `wanted`: by default all are; who keeps no more than trouble names
those that were in trouble when it stopped.

**Soon** (after `confirm`, not in its turn) asked again is a row that failed at most
CONFIRMATIONS times in a row, or recovers and has not succeeded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from checks.observation import (
    EVIDENCE_LINES,
    Cause,
    Fact,
    Figures,
    Observation,
    State,
    Subject,
)
from checks.options.answers import Answer, judged
from checks.options.roll import Roll
from checks.options.rows import CALM, DEGRADED, DOWN, MASK32, STATES, UNKNOWN, UP, Rows
from checks.options.targets import Target
from checks.options.words import (
    EXPLAINED,
    Heard,
    Words,
    not_after,
    place,
    told_by,
)

SETTLED = 3  # successes in a row after which a success is no news; rules ask for 2
CONFIRMATIONS = 8  # questions out of turn: two minutes of them, then a whole interval
RECENT = 20  # probes whose resent share is looked at; rules do the same
DAY = 86400.0

_RECENT_BITS = (1 << RECENT) - 1


@dataclass(slots=True)
class Marks:
    """Above which figures a target is told though it is up; rules set them."""

    rtt: float = 0.5  # s, of the mean
    resent: float = 0.3  # share of the last 20 probes
    days: float = 14.0  # left of a certificate


class Targets(Roll[Subject]):
    """The judge of rows and targets, and who tells of them."""

    def __init__(
        self,
        rows: Rows,
        observe: Callable[[Observation], None],
        wanted: Callable[[Subject], bool] | None = None,
        answered: Callable[[Subject], bool] | None = None,
        lives: Callable[[Subject], bool] | None = None,
    ) -> None:
        super().__init__(rows)
        self.marks = Marks()
        self._before: set[int] = set()  # targets that answered, at rows now gone
        self.words = Words(rows, self._before, self._lives)
        self._alive = lives
        self._observe = observe
        self._answered = answered
        self._wanted = wanted
        self._suspected: dict[int, float] = {}  # row: its first question in vain
        self._moved: dict[int, float] = {}  # target: when its rows became others
        self._facts: dict[int, tuple[Fact, ...]] = {}

    # Targets come and go.

    def add(self, target: Target) -> int:
        """A new target without rows; its number."""
        index = self.enroll(target.subject, target.uri, target.settings)
        if self._answered is not None and self._answered(target.subject):
            self._before.add(index)
        return index

    def remove(self, index: int) -> Subject | None:
        """Forget a target whose rows have been dropped."""
        self._facts.pop(index, None)
        self._moved.pop(index, None)
        self._before.discard(index)
        return super().remove(index)

    def assign(self, index: int, rows: Sequence[int], at: float = 0.0) -> None:
        """These are the rows of a target from now on, `at` being UTC s."""
        before = self.members(index)
        if before:
            self._moved[index] = at
        for row in set(before) - set(rows):
            self._suspected.pop(row, None)
            self.words.forget(row)
        super().assign(index, rows, at)

    def leaves(self, row: int) -> None:
        """A row is dropped; that its target has answered stays true."""
        if self._has_answered(row):
            self._before.add(self.rows.target[row])

    # Questions end.

    def answered(self, row: int, answer: Answer, source: Any, at: float) -> bool:
        """A final answer; True when the row should be asked again soon."""
        rows = self.rows
        lane = rows.lane[row]
        state, cause = judged(answer.code, lane.healthy if lane else ())
        asked = rows.address[row]
        elsewhere = "" if source == asked else place(source)
        before = rows.code[row]
        rows.code[row] = answer.code
        said = f"{answer.code} {answer.reason}".rstrip()
        if state != UP or elsewhere or rows.state[row] not in (UP, UNKNOWN):
            agent = f" ({answer.agent})" if answer.agent else ""
            told = None if state == UP else told_by(answer, place(source), at)
            heard = Heard(said, True, answer.agent, elsewhere, told)
            self._remember(row, at, said + agent, heard)
        elif before != answer.code or self.words.has(row):
            self.words.hear(row, Heard(said, True, answer.agent))
        resent = rows.tries[row] > 1
        return self._count(row, state, cause, at, at, resent=resent)

    def well(self, row: int, at: float) -> None:
        """A plain answer of a row that is not calm; short for the first pass."""
        rows, index = self.rows, self.rows.target[row]
        if rows.state[row] == UNKNOWN:
            rows.state[row], rows.since[row] = UP, at
        lane, subject = rows.lane[row], self.subjects[index]
        if (
            rows.failed[row]
            or self.row_of[index] != row
            or self.state[index] > UP
            or subject is None
            or lane is None
            or lane.transport != "udp"
            or rows.resent[row]
            or rows.mean[row] > self.marks.rtt
        ):
            self._tell(row, at)
            return
        if self.words.kept:
            self.words.forget(row)
        if self.state[index] == UNKNOWN:
            self.state[index], self.since[index] = UP, at
            if self._wanted is not None and not self._wanted(subject):
                rows.calm[row] = CALM
                return
        answered = rows.answered[row]
        rows.calm[row] = CALM if answered >= SETTLED else 0
        rtt, mean = rows.rtt[row], rows.mean[row]
        figures = Figures(0, answered, 0, 0, min(32, answered), rtt, mean)
        seen = f"{place(rows.address[row])} over UDP"
        self._observe(
            Observation(
                subject,
                State.UP,
                self.since[index],
                at,
                figures=figures,
                last_seen=seen,
            )
        )

    def failed(
        self, row: int, cause: Cause, detail: str, since: float, at: float
    ) -> bool:
        """No answer; True when the row should be asked again soon."""
        sends = self.words.sends(row)
        self._remember(row, at, detail or f"no answer to {sends}", Heard(detail, False))
        return self._count(row, DOWN, cause, since, at)

    def unsent(self, row: int, detail: str, at: float) -> bool:
        """It did not get there: of a target that is what we were told to watch."""
        return self.failed(row, Cause.ICMP_UNREACHABLE, detail, at, at)

    def _count(
        self,
        row: int,
        state: int,
        cause: Cause | None,
        since: float,
        at: float,
        *,
        resent: bool = False,
    ) -> bool:
        rows = self.rows
        bad = state == DOWN
        rows.outcomes[row] = (rows.outcomes[row] << 1 | bad) & MASK32
        # Silence says nothing of loss: what is down would be told as lossy as well.
        rows.resent[row] = (rows.resent[row] << 1 | resent) & MASK32
        if bad:
            rows.failed[row] += 1
            rows.failures[row] += 1
            rows.base[row] = rows.answered[row]
        else:
            rows.answered[row] += 1
            rows.degraded[row] += state == DEGRADED
            rows.failures[row] = 0
        self._move(row, state, cause, since)
        self._tell(row, at)
        return self._soon(row)

    def _move(self, row: int, state: int, cause: Cause | None, since: float) -> None:
        rows = self.rows
        first = cause is Cause.TIMEOUT and rows.failures[row] == 1
        if first and rows.state[row] in (UP, DEGRADED):
            self._suspected[row] = since  # confirmed by the next one, or not
            return
        if state == DOWN:
            since = self._suspected.get(row, since)
        self._suspected.pop(row, None)
        rows.cause[row] = cause
        if rows.state[row] != state:
            rows.state[row], rows.since[row] = state, since

    def _soon(self, row: int) -> bool:
        rows = self.rows
        if rows.failures[row]:
            return rows.failures[row] <= CONFIRMATIONS
        return rows.failed[row] > 0 and rows.successes(row) < 2

    # What is told.

    def _tell(self, row: int, at: float) -> None:
        rows, index = self.rows, self.rows.target[row]
        subject = self.subjects[index]
        if subject is None:
            return
        self._judge(index, row)
        figures = self.figures(index, at)
        well = self._well(index, row, figures)
        was_calm = rows.calm[row]
        rows.calm[row] = CALM if well and rows.successes(row) >= SETTLED else 0
        if not (well and was_calm):
            self._observe(self._observation(subject, index, row, figures, at))
        if rows.calm[row]:
            self.words.forget(row)
            if all(rows.calm[r] for r in self.members(index)):
                self._facts.pop(index, None)

    def _judge(self, index: int, row: int) -> None:
        state = self._verdict(index)
        if state != self.state[index]:
            self.state[index] = state
            # A row that stays may be down for long, its target since the others left.
            moved = self._moved.get(index, 0.0)
            self.since[index] = max(self.rows.since[row], moved)

    def _verdict(self, index: int) -> int:
        states = self.rows.state
        found = {states[row] for row in self.members(index)} - {UNKNOWN}
        if not found:
            return UNKNOWN
        settings = self.settings[index]
        if settings is not None and settings.verdict == "all":
            return max(found)
        return found.pop() if len(found) == 1 else DEGRADED

    def _well(self, index: int, row: int, figures: Figures) -> bool:
        rows, marks = self.rows, self.marks
        if self.state[index] != UP or rows.state[row] != UP or rows.failures[row]:
            return False
        if figures.rtt_mean is not None and figures.rtt_mean > marks.rtt:
            return False
        if figures.days is not None and figures.days < marks.days:
            return False
        resent = (figures.resent & _RECENT_BITS).bit_count()
        return resent == 0 or resent < marks.resent * min(figures.probes, RECENT)

    def _observation(
        self, subject: Subject, index: int, row: int, figures: Figures, at: float
    ) -> Observation:
        state = STATES[self.state[index]] or State.UP
        return Observation(
            subject,
            state,
            self.since[index],
            at,
            self.cause(index),
            figures=figures,
            detail=self.detail(index),
            last_seen=self._last_seen(index),
            evidence=self._facts.get(index, ()),
        )

    def figures(self, index: int, at: float) -> Figures:
        """What was counted of a target."""
        members = self.members(index)
        if not members:
            return Figures()
        if len(members) == 1:
            return self._figures(members[0], index, at)
        parts = [self._figures(row, index, at) for row in members]
        settings = self.settings[index]
        lenient = settings is None or settings.verdict == "any"
        outcomes = MASK32 if lenient else 0
        resent = 0
        for part in parts:
            outcomes = outcomes & part.outcomes if lenient else outcomes | part.outcomes
            resent |= part.resent
        least, most = (min, max) if lenient else (max, min)
        means = [p.rtt_mean for p in parts if p.rtt_mean is not None]
        rtts = [p.rtt for p in parts if p.rtt is not None]
        days, days_at = self._first_end(
            [
                (part.days, row)
                for part, row in zip(parts, members, strict=True)
                if part.days is not None
            ]
        )
        return Figures(
            failures=least(p.failures for p in parts),
            successes=most(p.successes for p in parts),
            outcomes=outcomes,
            resent=resent,
            probes=min(p.probes for p in parts),
            rtt=max(rtts, default=None),
            rtt_mean=max(means, default=None),
            days=days,
            answered=any(part.answered for part in parts),
            days_at=days_at,
        )

    def _first_end(self, ends: list[tuple[float, int]]) -> tuple[float | None, str]:
        """Days to the first end of a certificate; whose, where others end later."""
        if not ends:
            return None, ""
        first, row = min(ends)
        alike = all(days == first for days, _ in ends)
        return first, "" if alike else place(self.rows.address[row])

    def _figures(self, row: int, index: int, at: float) -> Figures:
        rows = self.rows
        mean: float | None = rows.mean[row]
        end = not_after(rows.address[row])
        known = mean is not None and mean >= 0
        return Figures(
            rows.failures[row],
            rows.successes(row),
            rows.outcomes[row],
            rows.resent[row],
            min(32, rows.probes(row)),
            rows.rtt[row] if known else None,
            mean if known else None,
            None if end is None else (end - at) / DAY,
            answered=self._has_answered(row) or index in self._before,
        )

    def _has_answered(self, row: int) -> bool:
        return self.rows.answered[row] > 0 or self.rows.code[row] > 0

    # In words.

    def _lives(self, index: int) -> bool:
        subject = self.subjects[index]
        return subject is not None and self._alive is not None and self._alive(subject)

    def cause(self, index: int) -> Cause | None:
        """Why a target is not up: the cause of its worst row."""
        worst = self._worst(index)
        return None if worst is None else self.rows.cause[worst]

    def detail(self, index: int) -> str:
        """Why a target is as it is, in one sentence."""
        worst = self._worst(index)
        if worst is None:
            return ""
        text = self.words.detail(worst)
        members = self.members(index)
        if len(members) > 1:
            up = sum(self.rows.state[row] == UP for row in members)
            text = f"{up} of {len(members)} addresses up; {text}"
        return text

    def _last_seen(self, index: int) -> str:
        """Where it answered from; empty if it never did."""
        for row in self.members(index):
            if self.rows.answered[row]:
                return self.words.last_seen(row)
        return ""

    def _worst(self, index: int) -> int | None:
        rows = self.rows
        members = self.members(index)
        return max(
            members, key=lambda r: (rows.state[r], rows.failures[r]), default=None
        )

    def _remember(self, row: int, at: float, text: str, heard: Heard) -> None:
        self.words.hear(row, heard)
        index = self.rows.target[row]
        if index in self._facts or len(self._facts) < EXPLAINED:
            if len(self.members(index)) > 1:
                text = f"{place(self.rows.address[row])}: {text}"
            facts = (*self._facts.get(index, ()), Fact(at, text))
            self._facts[index] = facts[-EVIDENCE_LINES:]
