"""What the rows of one answer share: the clock, what can be seen, open incidents."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Literal

from typing_extensions import TypedDict

from alerting.incident import Incident
from checks.observation import Fact, Subject, plain
from checks.registrations.judge import Judge
from sipwatch.answers.reasons import utc
from sipwatch.sources import Sight, Sources, readable
from sipwatch.subjects import KEY

UNKNOWN: Literal["unknown"] = "unknown"  # not seen yet, or not to be seen now
NAME = 128  # characters of a name or title
TEXT = 300  # characters of a line


class Told(TypedDict):
    """A fact, and when it was."""

    at: str | None
    text: str


class Above(TypedDict):
    """What something is seen through."""

    key: str
    state: str  # unknown: nobody observes it


class Lens:
    """Made once for an answer: it looks each scope and incident up once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.now = sources.clock.now()
        self._sight = Sight(sources.alarms)
        self._readable: dict[str, bool] = {}
        self._worst: dict[Subject, Incident] | None = None

    def at(self, moment: float) -> str:
        """One of our times: 2026-03-01T10:02:14.250Z."""
        return utc(self.sources.clock.to_wall(moment))

    def maybe(self, moment: float | None) -> str | None:
        """The same, of what may not have been."""
        return self.at(moment) if moment else None

    @staticmethod
    def wall(moment: float | None) -> str | None:
        """A time that is the wall clock's already: the end of a certificate."""
        return None if moment is None else utc(moment)

    def sees(self, subject: Subject) -> bool:
        """Whether its state is what it was last: no ancestor hides it."""
        return self._sight.of(subject)

    def reads(self, judge: Judge) -> bool:
        """Whether what this registrar has can be seen now."""
        known = self._readable.get(judge.name)
        if known is None:
            known = self._readable[judge.name] = readable(judge, self.sources.alarms)
        return known

    def incident(self, subject: Subject) -> int | None:
        """Its open incident, the worst of them."""
        found = self.worst.get(subject)
        return found.id if found else None

    @property
    def worst(self) -> dict[Subject, Incident]:
        """The worst open incident of each subject that has one."""
        if self._worst is None:
            self._worst = {}
            for one in self.sources.alarms.incidents:
                known = self._worst.get(one.subject)
                if known is None or known.severity < one.severity:
                    self._worst[one.subject] = one
        return self._worst

    def incidents(self, subject: Subject) -> list[int]:
        """All its open incidents."""
        return [i.id for i in self.sources.alarms.incidents if i.subject is subject]

    def above(self, subject: Subject) -> list[Above]:
        """What it is seen through, the nearest first."""
        standing = self.sources.alarms.standing(subject, self.now)
        return [
            {"key": plain(one.subject, KEY), "state": one.state or UNKNOWN}
            for one in (standing.above if standing else ())
        ]

    def told(self, facts: Iterable[Fact]) -> list[Told]:
        """Facts as they are shown."""
        return [{"at": self.maybe(one.at), "text": plain(one.text)} for one in facts]


def site_of(subject: Subject) -> str:
    """Its site, or nothing."""
    return subject.scope.labels.get("site", "")


def matches(search: str, *texts: str) -> bool:
    """Whether any of the texts holds what is searched, in lower case already."""
    return any(search in text.lower() for text in texts)


def sorted_slowly(names: list[str], size: int = 2000) -> Iterator[str]:
    """Names in order, without a sort of all of them at once."""
    parts = [sorted(names[at : at + size]) for at in range(0, len(names), size)]
    return heapq.merge(*parts)
