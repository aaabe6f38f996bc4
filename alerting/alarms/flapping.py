"""Who comes and goes: changes of state within a window, of those that changed.

From as many changes as the rule says until there are fewer than its lower threshold a
subject is flapping; so is one that changes just seldom enough for that, and gives OFTEN
alarms within an hour. Then its own alarms wait for a state that lasts: it is told that
it flaps, once, and that it does no more; in between only what has lasted for STEADY. So
nobody is told more than NOTICES times an hour of one subject, whatever it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from alerting.alarms.ancestors import OPENS, Verdict
from alerting.alarms.group import MASS
from alerting.alarms.watched import Trouble, Watched
from alerting.rules.grades import Clock, Rule
from alerting.rules.inforce import Rules

FLAPPING = "flapping"  # the family
STEADY = 600.0  # s that a state lasts until it is believed of one that flaps
NOTICES = 12  # an hour, at its beginning; half as many in any later one
OFTEN = 4  # alarms within an hour: three times again, be it the same incident
HOUR = 3600.0  # s
CHANGES = 64  # of one subject that are remembered; no threshold is beyond 32


Times = float | tuple[float, ...]


class Flaps:
    """The changes of the subjects that had any of late."""

    def __init__(self, rules: Rules) -> None:
        # Who changed last is last. A time alone needs no tuple: of a mass event most
        # have changed once.
        self._times: dict[Watched, Times] = {}
        self._alarms: dict[Watched, tuple[float, ...]] = {}  # whose opened last is last
        self.rules = rules

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules = rules
        self._rule = next((r for r in rules if r.family == FLAPPING and r.window), None)
        if self._rule is None:
            self._times.clear()
            self._alarms.clear()

    def changed(self, w: Watched, now: float) -> None:
        """A subject has changed its state."""
        if self._rule is None or self._rule not in w.compiled.rules:
            return
        times = (*_several(self._times.pop(w, ())), now)
        self._keep(w, self._recent(times, now)[-CHANGES:])
        for calm in list(_over(self._times, now - self._rule.window)):
            del self._times[calm]

    def opened(self, w: Watched, lead: Rule, now: float) -> bool:
        """An alarm of a subject has opened; whether that makes it one that flaps."""
        rule = self._rule
        about_state = lead.clock is Clock.SINCE or lead.family == MASS
        if rule is None or rule not in w.compiled.rules or not about_state:
            return False
        before = self._alarms.pop(w, ())
        times = (*(at for at in before if at + HOUR > now), now)
        self._alarms[w] = times[-OFTEN:]
        for calm in list(_over(self._alarms, now - HOUR)):
            del self._alarms[calm]
        if len(times) < OFTEN or self.flaps(w):
            return False
        # It came and went at every one of them, be it not within the window.
        self._times[w] = (now,) * max(rule.changes, 2 * OFTEN - 1)
        return True

    def forgive(self, w: Watched) -> None:
        """What it did last it did with many others, and no fault of its own."""
        times = _several(self._times.pop(w, ()))[:-1]
        if times:
            self._keep(w, times)
        elif not self._times:
            self._times = {}  # one that was large stays so, be it empty

    def forget(self, w: Watched) -> None:
        """A subject is watched no more."""
        self._times.pop(w, None)
        self._alarms.pop(w, None)

    def resume(self, w: Watched, now: float) -> None:
        """It was flapping before a restart: it may end a window from now."""
        if self._rule is not None:
            self._times[w] = (now,) * self._rule.until

    def count(self, w: Watched, t: Trouble, now: float) -> None:
        """Put the number of changes into what was last observed."""
        times = _several(self._times.get(w, ()))
        changes = len(self._recent(times, now)) if times else 0
        figures = t.last.figures
        if self._rule is None or changes == (figures.changes or 0):
            return
        if changes >= self._rule.until or figures.changes is not None:
            t.last.figures = replace(figures, changes=changes)

    def calm_at(self, w: Watched) -> float | None:
        """When it flaps no more unless it changes again, if it does now."""
        times = _several(self._times.get(w, ()))
        rule = self._rule
        if rule is None or len(times) < rule.until or not self.flaps(w):
            return None
        return times[-rule.until] + rule.window

    def flaps(self, w: Watched) -> bool:
        """Whether an incident says that it flaps."""
        t, rule = w.trouble, self._rule
        track = t.tracks.get(rule) if t is not None and rule is not None else None
        return track is not None and track.grade is not None

    def judge(self, w: Watched, rule: Rule, start: float, now: float) -> Verdict:
        """Whether a rule may open though the subject flaps."""
        until = self.steady_at(w, rule, start)
        if now >= until:
            return OPENS
        return Verdict(opens=False, reason="it is flapping", again_at=until)

    def steady_at(self, w: Watched, rule: Rule, start: float) -> float:
        """From when its state is believed, for a rule about states; `start` is when it
        began that many are missing, or that they are not."""
        if not self.flaps(w):
            return 0.0
        if rule.family == MASS:
            return start + STEADY
        return w.since + STEADY if rule.clock is Clock.SINCE else 0.0

    def _keep(self, w: Watched, times: tuple[float, ...]) -> None:
        self._times[w] = times[0] if len(times) == 1 else times

    def _recent(self, times: tuple[float, ...], now: float) -> tuple[float, ...]:
        window = self._rule.window if self._rule else 0.0
        return tuple(at for at in times if at + window > now)  # as `calm_at` adds it


def _several(times: Times) -> tuple[float, ...]:
    return times if isinstance(times, tuple) else (times,)


def _over(several: Mapping[Watched, Times], before: float) -> Iterator[Watched]:
    """Of whom nothing is remembered from after then; who did last is last."""
    for w, times in several.items():
        if _several(times)[-1] > before:
            return
        yield w
