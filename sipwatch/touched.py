"""What the last reload touched, what the first test of each brought, or why it was
refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from checks.observation import Cause, Observation, State, Subject, plain
from checks.options.check import OptionsCheck
from checks.options.rows import STATES

NAMED = 50  # subjects that are told one by one; a file of thousands is counted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class First:
    """The first word on a subject after a reload."""

    subject: str
    state: State
    cause: Cause | None
    text: str
    at: float


@dataclass(slots=True)
class Touched:
    """Waits for the first test of what a reload has touched; tells log and status."""

    at: float | None = None  # of the last reload; None: there was none
    summary: str = ""
    refused: tuple[float, str] | None = None  # since then: when one was, and why
    firsts: list[First] = field(default_factory=list)
    _waiting: set[Subject] = field(default_factory=set)
    _files: set[str] = field(default_factory=set)  # scopes of target files

    def begin(self, at: float, summary: str, subjects: Iterable[Subject]) -> None:
        """A reload has touched these."""
        self.at, self.summary, self.refused = at, summary, None
        self.firsts.clear()
        self._waiting.clear()
        self._files.clear()
        for subject in subjects:
            if subject.name != subject.scope.name:
                self._files.add(subject.scope.name)
            elif len(self._waiting) < NAMED:
                self._waiting.add(subject)

    def refuse(self, at: float, why: str) -> None:
        """A reload was refused: what was in force before still is."""
        self.refused = at, plain(why)

    def hear(self, o: Observation) -> None:
        """Something was seen of a subject: the first time counts."""
        if o.subject not in self._waiting:
            return
        self._waiting.discard(o.subject)
        first = First(o.subject.key, o.state, o.cause, _told(o), o.at)
        self.firsts.append(first)
        self._log(first)

    def look(self, options: OptionsCheck) -> None:
        """Once all targets were asked: how those of the files are, in numbers."""
        if not self._files or not options.passed:
            return
        counts: dict[str, Counter[State | None]] = {
            one: Counter() for one in self._files
        }
        judge = options.judge
        for subject, state in zip(judge.subjects, judge.state, strict=True):
            if subject is not None and subject.scope.name in counts:
                counts[subject.scope.name][STATES[state]] += 1
        self._files.clear()
        for name, counted in sorted(counts.items()):
            told = ", ".join(f"{n} {state}" for state, n in counted.items() if state)
            log.info("reload: %s: %s", name, told or "no targets")

    def shown(self, iso: Callable[[float], str]) -> dict[str, Any] | None:
        """For the status; None where there was no reload, not even a refused one."""
        if self.at is None and self.refused is None:
            return None
        return {
            "at": None if self.at is None else iso(self.at),
            "summary": self.summary,
            "refused": self._refused(iso),
            "tested": [
                {
                    "subject": first.subject,
                    "state": first.state,
                    "cause": first.cause,
                    "text": first.text,
                    "at": iso(first.at),
                }
                for first in self.firsts
            ],
            "waiting": sorted(subject.key for subject in self._waiting),
        }

    def _refused(self, iso: Callable[[float], str]) -> dict[str, str] | None:
        if self.refused is None:
            return None
        at, why = self.refused
        return {"at": iso(at), "text": why}

    @staticmethod
    def _log(first: First) -> None:
        well = first.state in (State.UP, State.OK)
        level = logging.INFO if well else logging.WARNING
        text = f": {first.text}" if first.text else ""
        log.log(level, "reload: %s is %s%s", first.subject, first.state, text)


def _told(o: Observation) -> str:
    """Why, or where and how fast."""
    if o.detail:
        return plain(o.detail)
    rtt = o.figures.rtt
    took = "" if rtt is None else f"{rtt * 1000:.1f} ms"
    return ", ".join(part for part in (plain(o.last_seen), took) if part)
