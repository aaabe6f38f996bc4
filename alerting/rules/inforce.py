"""The rules in force, and which of them watch a subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from alerting.rules.grades import Clock, Rule
from checks.observation import Kind, Scope, Subject


class Watermarks(NamedTuple):
    """What a sweep must tell; below all of it a success may stay quiet."""

    rtt: float | None  # s of mean round trip; None: no rule looks
    resent: float | None  # share of the last RESENT_BITS probes
    failures: int  # tell failures in a row up to this many
    recover: int  # and successes in a row after them


class Compiled(NamedTuple):
    """The rules of one subject."""

    rules: tuple[Rule, ...]
    figures: tuple[Rule, ...]  # those that look at figures, in any state


class Rules:
    """All rules in force."""

    def __init__(self, rules: Iterable[Rule], watermarks: Watermarks) -> None:
        self._by_name = {rule.name: rule for rule in rules}
        self._by_scope: dict[tuple[Scope, Kind], Compiled] = {}
        self._compiled: dict[tuple[Rule, ...], Compiled] = {}
        # Where a rule looks at the subject's own name, a scope cannot decide for all.
        self._by_own_name = {r.kind for r in self if r.kind in r.where}
        self.watermarks = watermarks
        self.longest = max((g.for_ for r in self for g in r.grades), default=0.0)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Rule | None:
        """The rule of this name, if it is in force."""
        return self._by_name.get(name)

    def runbook(self, name: str) -> str:
        """The link of a rule's runbook, or nothing."""
        rule = self._by_name.get(name)
        return rule.runbook if rule else ""

    def of(self, subject: Subject) -> Compiled:
        """The rules that watch a subject; subjects alike share one object."""
        if subject.kind in self._by_own_name:
            return self._compile(subject)
        alike = (subject.scope, subject.kind)
        found = self._by_scope.get(alike)
        if found is None:
            found = self._by_scope[alike] = self._compile(subject)
        return found

    def _compile(self, subject: Subject) -> Compiled:
        chosen = tuple(rule for rule in self if rule.applies(subject))
        # Those with a window are counted by the core: no observation brings it news.
        figures = tuple(r for r in chosen if r.clock is Clock.SEEN and not r.window)
        return self._compiled.setdefault(chosen, Compiled(chosen, figures))
