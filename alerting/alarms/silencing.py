"""What people silence: kept here, stored with the rest, and heeded at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from alerting.alarms.changes import Changes
from alerting.alarms.deliveries import Deliveries
from alerting.incident import Incident, Severity
from alerting.muting.muting import Muting
from alerting.muting.silences import Silence, dumped, loaded, silence
from alerting.rules.inforce import Rules
from alerting.store.rows import DropMemo, Memo
from checks.observation import State, Subject

OWN = ("severity", "rule", "family")  # fields of an incident, not of its subject
PREFIX = "alarms/silence/"  # of the memos that keep them

log = logging.getLogger(__name__)


class Silencing:
    """The silences: add, end, list; `now` is the daemon's time, as everywhere."""

    def __init__(
        self, muting: Muting, deliveries: Deliveries, changes: Changes
    ) -> None:
        self.muting = muting
        self._deliveries = deliveries
        self._changes = changes

    def restore(self, memos: Mapping[str, str]) -> None:
        """Take over what is stored; one that cannot be read is none."""
        for name, text in memos.items():
            if not name.startswith(PREFIX):
                continue
            try:
                self.muting.silences.add(loaded(name.removeprefix(PREFIX), text))
            except ValueError as error:
                log.warning("%s", error)

    def add(
        self,
        written: Sequence[str],
        *,
        author: str,
        reason: str,
        starts: float | None,
        ends: float,
        now: float,
    ) -> Silence:
        """Silence what fits all matchers, between moments of the wall clock, or from
        now on; ValueError with a sentence."""
        wall = now + self.muting.ahead()
        made = silence(
            written,
            author=author,
            reason=reason,
            starts=wall if starts is None else starts,
            ends=ends,
            wall=wall,
        )
        self.prune(now)
        self.muting.silences.add(made)
        self._save(made)
        return made

    def concerns(self, one: Silence, subject: Subject, rules: Rules) -> bool:
        """Whether anything that can happen to a subject would be silenced."""
        could = _could_be(subject)
        if not all(m.fits(could) for m in one.matchers if m.field not in OWN):
            return False
        for rule in rules.of(subject).rules:
            could.rule, could.family = rule.name, rule.family
            for grade in rule.grades:
                could.severity = grade.severity
                if one.fits(could):
                    return True
        return False

    def end(self, id: str, now: float) -> Silence | None:
        """End one: what it held is told now, if it is still so."""
        ended = self.muting.silences.end(id, now + self.muting.ahead())
        if ended is not None:
            self._save(ended)
            self._deliveries.release(now)
        return ended

    def prune(self, now: float) -> None:
        """Forget those that ended long ago."""
        for id in self.muting.silences.prune(now + self.muting.ahead()):
            self._changes.memo(DropMemo(PREFIX + id))

    def reason(self, incident: Incident, now: float) -> str:
        """Why nobody is told of an incident now; empty where nothing mutes it."""
        found = self.muting.muted_by(incident, now)
        return found.reason if found else ""

    def _save(self, one: Silence) -> None:
        self._changes.memo(Memo(PREFIX + one.id, dumped(one)))


def _could_be(subject: Subject) -> Incident:
    """An incident of a subject, of which nothing else is known."""
    return Incident(0, subject, "", "", Severity.INFO, State.OK, 0.0, 0.0)
