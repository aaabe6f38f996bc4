"""What comes in: whose answer it is, counted at once where it is no news.

An answer is *plain* when its first lines look as they do from any server: a few
searches in the bytes decide, and it is counted here. All else goes to the full parser.
Of plain answers the judges hear only where the row is not calm (see `verdict`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from checks.observation import Cause, plain
from checks.options.answers import Answer, StrayError, quoted_branch, read_answer
from checks.options.rows import IDLE, MASK32, PROCEEDING, ROLES, SPOTLESS, UP, Rows

SMOOTHING = 0.125  # of the mean of the RTT, as RFC 6298 takes it
DETAIL_LIMIT = 160  # characters of what the parser says

# Upper ends of the buckets of answer times, in s; the last bucket is all above.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

Message = tuple[bytes, Any, float]  # octets, where from, when (UTC s)


class Judges(Protocol):
    """Who is told how a question ended; `verdict.Targets` in the daemon.

    True when the row should be asked again soon, not only in its turn.
    """

    def answered(self, row: int, answer: Answer, source: Any, at: float) -> bool:
        """A final answer came."""

    def well(self, row: int, at: float) -> None:
        """A row that is not calm yet answered plainly, and has been counted."""

    def failed(
        self, row: int, cause: Cause, detail: str, since: float, at: float
    ) -> bool:
        """None will come; `since` is when the row was first asked in vain."""

    def unsent(self, row: int, detail: str, at: float) -> bool:
        """It did not get there for a reason that need not be theirs."""


class Inbox:
    """Matches messages with questions in flight."""

    def __init__(
        self,
        rows: Rows,
        judges: Judges,
        ended: Callable[[int, bool, float, float], None],
    ) -> None:
        self.slow = float("inf")  # s; an answer that took longer is told, calm or not
        self.strays = 0  # messages that answered nothing
        self.histograms = [[0] * (len(BUCKETS) + 1) for _ in ROLES]
        self.sums = [0.0] * len(ROLES)  # s, of all answer times
        self._rows = rows
        self._judges = judges
        self._ended = ended  # (row, ask again soon, since, now)

    def take(self, messages: Iterable[Message]) -> None:
        """Messages that came in; where from is compared with the row's address."""
        rows, slow, histograms, sums = self._rows, self.slow, self.histograms, self.sums
        nonces, lanes, calms, tries = rows.nonce, rows.lane, rows.calm, rows.tries
        sent, rtts, means, addresses = rows.sent, rows.rtt, rows.mean, rows.address
        doing, answered = rows.doing, rows.answered
        for data, source, at in messages:
            begin = data.find(b"z9hG4bK", 16, 512)
            token = data[begin + 15 : begin + 31]
            try:
                row = int(data[begin + 7 : begin + 15], 16)
                nonce, lane = nonces[row], lanes[row]
                if int(token, 16) != nonce or not nonce or lane is None:
                    raise ValueError
            except (ValueError, IndexError):
                self._read(data, source, at)
                continue
            top = data.find(b"\n", 12, begin) + 1
            rtt = at - sent[row]
            calm = calms[row]
            if (
                data[:12] not in lane.codes
                or not data.startswith(lane.plain, top)
                or data.find(b"\n", top, begin) >= 0
                or data.find(b"\r\nCall-ID: " + token + b"@", begin) < 0
                or data.find(b"\r\nCSeq: 1 OPTIONS\r\n", begin) < 0
                or source != addresses[row]
                or not 0.0 <= rtt <= slow
                or tries[row] != 1
                or not (calm or self._sound(row))
            ):
                self._read(data, source, at)
                continue
            nonces[row] = 0
            doing[row] = IDLE
            lane.heard_at = at
            answered[row] += 1
            rtts[row] = rtt
            mean = means[row]
            means[row] = rtt if mean < 0 else mean + (rtt - mean) * SMOOTHING
            histograms[lane.role][bisect_left(BUCKETS, rtt)] += 1
            sums[lane.role] += rtt
            if calm != SPOTLESS:
                self._settle(row, lane.codes[data[:12]], at)

    def asking(self, data: bytes) -> int | None:
        """The row whose question in flight this is, or begins as."""
        found = quoted_branch(data)
        if found is None:
            return None
        row, nonce = found
        asked = row < len(self._rows) and nonce and self._rows.nonce[row] == nonce
        return row if asked else None

    def _sound(self, row: int) -> bool:
        """Whether a success of this row changes no state."""
        return not self._rows.failures[row] and self._rows.state[row] <= UP

    def _settle(self, row: int, code: int, at: float) -> None:
        rows = self._rows
        rows.code[row] = code
        outcomes = rows.outcomes[row] = rows.outcomes[row] << 1 & MASK32
        resent = rows.resent[row] = rows.resent[row] << 1 & MASK32
        if not rows.calm[row]:
            self._judges.well(row, at)
        elif not (outcomes or resent):
            rows.calm[row] = SPOTLESS

    def _read(self, data: bytes, source: Any, at: float) -> None:
        try:
            answer = read_answer(data)
        except StrayError:
            self.strays += 1
            return
        except ValueError as error:
            if (asking := self.asking(data)) is None:
                self.strays += 1
            else:
                text = plain(f"its answer cannot be read: {error}", DETAIL_LIMIT)
                soon = self._judges.failed(asking, Cause.MALFORMED, text, at, at)
                self._ended(asking, soon, at, at)
            return
        row, rows = answer.row, self._rows
        if row >= len(rows) or not answer.nonce or rows.nonce[row] != answer.nonce:
            self.strays += 1  # too late, twice, or guessed
            return
        lane = rows.lane[row]
        if lane is None or (lane.strict and source != rows.address[row]):
            self.strays += 1
        elif answer.code < 200:
            rows.doing[row] = PROCEEDING
        else:
            lane.heard_at = at
            self._time(row, lane.role, max(0.0, at - rows.sent[row]))
            soon = self._judges.answered(row, answer, source, at)
            self._ended(row, soon, at, at)

    def _time(self, row: int, role: int, rtt: float) -> None:
        rows = self._rows
        rows.rtt[row] = rtt
        mean = rows.mean[row]
        if mean < 0:
            rows.mean[row] = rtt
        elif rows.tries[row] == 1:  # Karn: which send it answers is not known else
            rows.mean[row] = mean + (rtt - mean) * SMOOTHING
        self.histograms[role][bisect_left(BUCKETS, rtt)] += 1
        self.sums[role] += rtt
