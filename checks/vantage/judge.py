"""Are we on the network? Pure: the answers of a round and `now` in, an observation out.

What fails because this machine itself has no way (no route, interface down) proves at
once what silence proves only in several rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from checks.observation import (
    EVIDENCE_LINES,
    Fact,
    Figures,
    Kind,
    Observation,
    Scope,
    State,
    Subject,
    plain,
)
from checks.vantage.settings import VantageSettings

NAME = "network"  # of the one subject of this kind


class Reply(NamedTuple):
    """What came of one question."""

    ok: bool
    detail: str = ""  # "no answer in 2 s"
    own: bool = False  # it failed on this machine, before anything was sent
    rtt: float | None = None  # s to the answer


@dataclass(slots=True)
class Count:
    """How often one was asked, ever."""

    answered: int = 0
    failed: int = 0
    rtt: float | None = None  # s, of the last answer


def own_network() -> Subject:
    """The subject that everything else is seen through."""
    return Subject(Kind.VANTAGE, NAME, Scope(NAME))


class Vantage:
    """Judges round by round."""

    def __init__(self, settings: VantageSettings, subject: Subject, now: float) -> None:
        self.settings, self.subject = settings, subject
        self.replies: Mapping[str, Reply] = {}
        self.counts: dict[str, Count] = {}
        self.state: State | None = None
        self.since = now
        self._failures = 0  # rounds in a row
        self._failing_since = now

    @property
    def settled(self) -> bool:
        """Whether the last round leaves no doubt; else the next one comes soon."""
        return self._failures == 0 or self.state is State.DOWN

    def round(
        self, replies: Mapping[str, Reply], began: float, now: float
    ) -> Observation | None:
        """Take the answers of one round, asked for at `began`; what it says of us.

        None: nothing yet, as it is the first and has failed.
        """
        self.replies = replies
        self._tally()
        answered = sum(reply.ok for reply in replies.values())
        if answered >= self.settings.quorum:
            self._failures = 0
            self._become(State.UP, now)
        else:
            self._failures += 1
            if self._failures == 1:
                self._failing_since = began
            if self._failures >= self.settings.failures or self._no_way():
                self._become(State.DOWN, self._failing_since)
        if self.state is None:
            return None
        return self._observation(answered, now)

    def _tally(self) -> None:
        for name, reply in self.replies.items():
            count = self.counts.setdefault(name, Count())
            count.answered += reply.ok
            count.failed += not reply.ok
            count.rtt = reply.rtt if reply.ok else count.rtt

    def _become(self, state: State, since: float) -> None:
        if self.state is not state:
            self.state, self.since = state, since

    def _no_way(self) -> bool:
        return all(reply.own for reply in self.replies.values() if not reply.ok)

    def _observation(self, answered: int, now: float) -> Observation:
        figures = Figures(failures=self._failures)
        o = Observation(self.subject, State.UP, self.since, now, figures=figures)
        if self.state is State.DOWN:
            o.state = State.DOWN
            o.detail = f"{answered} of {len(self.replies)} answer"
            if self._no_way():
                o.detail += ", and this host has no way to the others"
            silent = [(n, r) for n, r in self.replies.items() if not r.ok]
            o.evidence = tuple(
                Fact(now, plain(f"{name}: {reply.detail}"))
                for name, reply in silent[:EVIDENCE_LINES]
            )
        return o
