"""Bad news that may be our own: it is believed once our network was seen well since.

While this machine is cut off all else seems to fail. What is said of a subject then is
held, its state stays what it was, and nothing of it is history. After our return it has
a fair look first: the next thing that is seen of it counts, or what is held after all.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerting.alarms.ancestors import Ancestors, above
from alerting.alarms.watched import BAD, QUIET, Watched
from checks.observation import Observation, State, Subject

SETTLED = 10.0  # s after our return from which what is seen is no echo of the cut
DOUBTED = "our own network was not seen well since"
FAIR_LOOK = 90.0  # s in which everything is asked once more, at the usual intervals


class Doubts:
    """What is not believed yet."""

    def __init__(
        self,
        watched: Mapping[Subject, Watched],
        ancestors: Ancestors,
        vantage: Subject | None,
    ) -> None:
        self.vantage = vantage
        self._watched = watched
        self._ancestors = ancestors
        self._held: dict[Watched, Observation] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def holds(self, w: Watched, o: Observation, now: float) -> bool:
        """Whether what is observed is not to be believed yet."""
        if self.vantage is None or w.subject is self.vantage:
            return False
        found = self._watched.get(self.vantage)
        if found is None:
            return False  # it is not watched
        if not _bad_news(w, o) or self._is_sure(found, o, now):
            self._held.pop(w, None)
            return False
        if self.vantage not in above(w.subject):
            return False
        self._held[w] = o
        if found.state not in BAD and found.well_at <= o.since:
            self._ancestors.judge_one(w, found.subject, o.since, now)  # asks it
        else:
            self._ancestors.wait(w, found.subject)
        return True

    def of(self, w: Watched) -> Observation | None:
        """What is said of a subject and not believed yet."""
        return self._held.get(w)

    def take(self, w: Watched, now: float) -> Observation | None:
        """What was held of a subject, if it is to be believed by now."""
        o = self._held.get(w)
        found = self._watched.get(self.vantage) if self.vantage else None
        if o is None or (found is not None and not self._is_sure(found, o, now)):
            return None
        return self._held.pop(w)

    def until(self, w: Watched) -> float | None:
        """When to look again at one that is held."""
        found = self._watched.get(self.vantage) if self.vantage else None
        if w not in self._held or found is None:
            return None
        if found.state in BAD:  # we are cut off again: it waits for our next return
            self._ancestors.wait(w, found.subject)
            return None
        return found.well_since + FAIR_LOOK if found.well_since else None

    def forget(self, w: Watched) -> None:
        """A subject is watched no more."""
        self._held.pop(w, None)

    @staticmethod
    def _is_sure(found: Watched, o: Observation, now: float) -> bool:
        if found.state is None or found.state in BAD:
            return False
        if found.well_since > o.since:  # it may be of the time when we were cut off
            fair = now >= found.well_since + FAIR_LOOK
            return fair or o.at >= found.well_since + SETTLED
        return found.well_at > o.since


def _bad_news(w: Watched, o: Observation) -> bool:
    if o.event is not None or o.state is w.state:
        return False
    return o.state not in QUIET and o.state is not State.NEVER_REGISTERED
