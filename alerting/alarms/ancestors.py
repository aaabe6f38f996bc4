"""What lies above a subject, and what that means for its alarms.

Blind is not down: while an ancestor is unreadable or down, the state of what is seen
through it is unknown. A rule that is due opens only if every ancestor was seen well
after the trouble began; an ancestor that was not is asked, and the rule waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerting.alarms.watched import BAD, Watched
from alerting.announcement import Ask
from alerting.incident import Above
from checks.observation import Subject

ANSWER_WITHIN = 10.0  # s that an asked ancestor has to be seen
ASK_AGAIN = 60.0  # s between questions to an ancestor that does not answer


def above(subject: Subject) -> Iterator[Subject]:
    """The ancestors, each once, nearest first: parents before what they depend on."""
    found = [subject]
    for one in found:  # it grows meanwhile; a circle ends where it began
        scope = one.scope
        if scope.parent is not None and scope.parent not in found:
            found.append(scope.parent)
            yield scope.parent
        for other in scope.depends_on:
            if other not in found:
                found.append(other)
                yield other


class Verdict:
    """Whether a rule may open now; if not: why, and when to look again."""

    __slots__ = ("again_at", "opens", "reason")

    def __init__(
        self, opens: bool, reason: str = "", again_at: float | None = None
    ) -> None:
        self.opens = opens
        self.reason = reason  # empty while an answer is awaited
        self.again_at = again_at


OPENS = Verdict(opens=True)


class Ancestors:
    """Who was asked, and who waits for whom."""

    def __init__(self, watched: Mapping[Subject, Watched]) -> None:
        self._watched = watched
        self._asked: dict[Subject, float] = {}
        self._asked_last: dict[Subject, float] = {}  # be it answered or not
        self._waiting: dict[Subject, dict[Watched, None]] = {}
        self.asks: list[Ask] = []

    def explain(self, subject: Subject) -> Subject | None:
        """The ancestor that makes the state of a subject unknown, if any."""
        for ancestor in above(subject):
            found = self._watched.get(ancestor)
            if found is not None and found.state in BAD:
                return ancestor
        return None

    def well_since(self, subject: Subject) -> float:
        """Since when all ancestors are well: no `for` counts from before."""
        since = 0.0
        for ancestor in above(subject):
            found = self._watched.get(ancestor)
            if found is not None and found.well_since > since:
                since = found.well_since
        return since

    def seen(self, subject: Subject, since: float) -> tuple[Above, ...]:
        """How each ancestor is, and whether it was asked because of a trouble that
        began then."""
        return tuple(self._seen(ancestor, since) for ancestor in above(subject))

    def _seen(self, ancestor: Subject, since: float) -> Above:
        found = self._watched.get(ancestor)
        if found is None or found.state is None:
            return Above(ancestor.key, "")
        asked = self._asked_last.get(ancestor)
        asked = asked if asked is not None and asked >= since else None
        return Above(ancestor.key, found.state, found.well_at, asked)

    def judge(self, child: Watched, since: float, now: float) -> Verdict:
        """Whether a rule of `child`, in trouble since then, may open."""
        for ancestor in above(child.subject):
            verdict = self.judge_one(child, ancestor, since, now)
            if not verdict.opens:
                return verdict
        return OPENS

    def judge_one(
        self, child: Watched, ancestor: Subject, since: float, now: float
    ) -> Verdict:
        """The same for one of those that it is seen through."""
        found = self._watched.get(ancestor)
        if found is None or found.state is None:
            return OPENS  # never observed (a site): it explains nothing
        if found.state in BAD:
            self.wait(child, ancestor)
            return Verdict(opens=False, reason=f"{ancestor.name} is {found.state}")
        if found.well_at <= since:
            self.wait(child, ancestor)
            return self._ask(ancestor, now)
        return OPENS

    def hides(self, child: Watched, seen: float) -> bool:
        """Whether `child`, last seen then, is hidden by an ancestor since: what is over
        by time alone waits for it, so that nothing ends unseen."""
        ancestor = self.explain(child.subject)
        if ancestor is None or self._watched[ancestor].since < seen:
            return False
        self.wait(child, ancestor)
        return True

    def wait(self, child: Watched, ancestor: Subject) -> None:
        """Look again at `child` when `ancestor` was seen well."""
        self._waiting.setdefault(ancestor, {})[child] = None

    def _ask(self, ancestor: Subject, now: float) -> Verdict:
        asked = self._asked.get(ancestor)
        if asked is None or now >= asked + ASK_AGAIN:
            asked = self._asked[ancestor] = self._asked_last[ancestor] = now
            self.asks.append(Ask(ancestor, now))
        if now < asked + ANSWER_WITHIN:
            return Verdict(opens=False, again_at=asked + ANSWER_WITHIN)
        reason = f"{ancestor.name} was asked and not seen well since"
        return Verdict(opens=False, reason=reason, again_at=asked + ASK_AGAIN)

    def seen_well(self, ancestor: Subject) -> dict[Watched, None]:
        """An ancestor was seen well: who has waited for it."""
        self._asked.pop(ancestor, None)
        return self._waiting.pop(ancestor, {})

    def awaited(self, ancestor: Subject) -> bool:
        """Whether anybody waits for it."""
        return ancestor in self._waiting

    def forget(self, watched: Watched) -> None:
        """A subject is watched no more."""
        self._asked.pop(watched.subject, None)
        self._asked_last.pop(watched.subject, None)
        self._waiting.pop(watched.subject, None)
        for waiting in self._waiting.values():
            waiting.pop(watched, None)
