"""How the notifiers fare, as observations of our own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alerting.incident import Outcome
from checks.observation import Kind, Observation, Scope, State, Subject, plain

FAILURES = 3  # transient refusals in a row until a notifier counts as failing


@dataclass(slots=True)
class _Health:
    subject: Subject
    failures: int = 0
    since: float = 0.0  # of the first failure
    said: State | None = None
    complaint: str = ""  # what was wrong although it accepted


class Reports:
    """One self subject for each notifier: notifier/<name>."""

    def __init__(self, vantage: Subject | None = None) -> None:
        """Without `vantage`, the network of this machine, no notifier is reached."""
        self._vantage = vantage
        self._health: dict[str, _Health] = {}

    def subject(self, notifier: str) -> Subject:
        """The subject of a notifier, made once."""
        found = self._health.get(notifier)
        if found is None:
            name = f"notifier/{notifier}"
            subject = Subject(Kind.SELF, name, Scope(name, parent=self._vantage))
            found = self._health[notifier] = _Health(subject)
        return found.subject

    def gone(self, notifiers: tuple[str, ...]) -> Iterator[Subject]:
        """Forget the notifiers that are not among these."""
        for name in [n for n in self._health if n not in notifiers]:
            yield self._health.pop(name).subject

    def settled(
        self, notifier: str, outcome: Outcome, now: float, error: str
    ) -> Observation | None:
        """What an attempt says of its notifier, where it says something new.

        One that accepts with an `error` fails too: somebody was not told.
        """
        subject = self.subject(notifier)
        health = self._health[notifier]
        if outcome is Outcome.ACCEPTED and error:
            return self._complains(health, now, error)
        health.complaint = ""
        if outcome is Outcome.ACCEPTED:
            health.failures = 0
            if health.said is State.OK:
                return None
            health.said = State.OK
            return Observation(subject, State.OK, now, now)
        health.failures += 1
        if health.failures == 1:
            health.since = now
        if health.said is State.FAILING:
            return None
        if outcome is Outcome.TRANSIENT and health.failures < FAILURES:
            return None
        health.said = State.FAILING
        return Observation(
            subject, State.FAILING, health.since, now, detail=plain(error)
        )

    @staticmethod
    def _complains(health: _Health, now: float, complaint: str) -> Observation | None:
        health.failures = 0
        if complaint == health.complaint:
            return None
        if health.said is not State.FAILING:
            health.since = now
        health.said, health.complaint = State.FAILING, complaint
        return Observation(
            health.subject, State.FAILING, health.since, now, detail=plain(complaint)
        )
