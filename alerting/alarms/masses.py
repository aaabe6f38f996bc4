"""Extensions that are lost together: counted by registrar and by site, one by one.

A group (the extensions of a registrar, or of a site) has a *mass event* from when as
many as its rule says were lost within its window and are missing, until enough are
back. From then each loss joins it. Counting costs the same for every change, however
many extensions there are; the rule looks at the count alone.

Meanwhile an extension's own alarm is covered: it does not open, with that reason, and
whoever would be told of it is told of the mass event instead. What was told before
stays told. Where a registrar and one of its sites have lost the same ones it is the
site's event; where several sites have, the registrar's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice

from alerting.alarms.ancestors import OPENS, Ancestors, Verdict, above
from alerting.alarms.group import MASS, MOSTLY, Group
from alerting.alarms.watched import Watched
from alerting.incident import Incident
from alerting.rules.grades import Clock, Rule
from checks.observation import Kind, Loss, Observation, Scope, State, Subject

HERE = (State.REGISTERED, State.UNREACHABLE)
GROUPS = (Kind.REGISTRAR, Kind.SITE)
COVERED = "covered by MassUnregistration of"
TOO_FEW = "enough of them were back before it was due"
# s; with the `for` of the rule as long as a single one has to come back, and as what a
# restart of the PBX has until it is critical that many are not.
SETTLES = 90.0
LOOKED_AT = 1000  # of a group: some ms, however many of it may be told now

Told = Callable[[Subject, Rule, int], frozenset[str]]


class Masses:
    """Counts, and says what of an extension's alarms is covered."""

    def __init__(
        self, watched: Mapping[Subject, Watched], ancestors: Ancestors, told: Told
    ) -> None:
        """`told` are the notifiers that hear of a rule's grade firing for a subject."""
        self._watched = watched
        self._ancestors = ancestors
        self._told = told
        self._groups: dict[Subject, Group] = {}
        self._of: dict[Scope, tuple[Group, ...]] = {}
        self._changed: dict[Group, None] = {}
        self._waiting: dict[Group, dict[Watched, None]] = {}
        self._heard: dict[Group, frozenset[str]] = {}

    def __bool__(self) -> bool:
        """Whether something has changed that rules have not seen."""
        return bool(self._changed)

    def relink(self) -> None:
        """Rules, routes, and what depends on what may be others now."""
        self._of.clear()
        self._heard.clear()
        for group in self._groups.values():
            group.heard.clear()
            if group.begun is not None:
                self._changed[group] = None

    def find(self, subject: Subject) -> Group | None:
        """The group that a registrar or a site is, if it has lost anybody."""
        return self._groups.get(subject)

    def groups_of(self, subject: Subject) -> tuple[Group, ...]:
        """The groups that an extension is in: its registrar's, its own site's."""
        found = self._of.get(subject.scope)
        if found is None:
            found = tuple(map(self._group, _crowds(subject)))
            self._of[subject.scope] = found
        return found

    def _group(self, subject: Subject) -> Group:
        found = self._groups.get(subject)
        if found is None:
            found = self._groups[subject] = Group(subject)
        return found

    # Who comes and goes

    def admit(self, w: Watched) -> None:
        """An extension is known from before, as it was left."""
        w.groups = self.groups_of(w.subject)
        if not _counts(w.state):
            return
        last = w.trouble.last if w.trouble else None
        gone = w.state is State.UNREGISTERED
        logged_out = last is not None and last.loss is Loss.DEREGISTERED
        for group in w.groups:
            group.expected += 1
            if gone and not logged_out:
                not_before = last.not_before if last else 0.0
                self._lose(group, w, 0.0, not_before)

    def moved(self, w: Watched, old: State | None, o: Observation) -> bool:
        """An extension changed its state; whether it comes back from a mass event."""
        change = _counts(o.state) - _counts(old)
        gone = o.state is State.UNREGISTERED
        lost = gone and old in HERE and o.loss is not Loss.DEREGISTERED
        returns = False
        for group in w.groups:
            group.expected += change
            if lost:
                self._lose(group, w, o.figures.expires or 0, o.not_before)
            elif not gone:
                returns |= self._drop(group, w)
        return returns

    def leave(self, w: Watched, *, moves: bool = False) -> None:
        """An extension is watched no more, or `moves` into other groups."""
        for group in w.groups:
            group.expected -= _counts(w.state)
            if (group.stray if moves else group.drop)(w):
                self._change(group)
            self._waiting.get(group, {}).pop(w, None)

    def _lose(
        self, group: Group, w: Watched, expires: float, not_before: float
    ) -> None:
        others = tuple(other for other in w.groups if other is not group)
        group.lose(w, expires, not_before, others)
        self._change(group)

    def _drop(self, group: Group, w: Watched) -> bool:
        if not group.drop(w):
            return False
        self._change(group)
        return True

    def _change(self, group: Group) -> None:
        if self._groups.get(group.subject) is group:  # else it is watched no more
            self._changed[group] = None

    def resume(self, subject: Subject, since: float) -> Group:
        """A mass event that was open before a restart: who is missing since is it."""
        group = self._group(subject)
        if group.begun is None:
            group.begin(since)
        return group

    def forget(self, subject: Subject) -> Group | None:
        """A registrar or a site is watched no more."""
        for waiting in self._waiting.values():
            for w in [w for w in waiting if w.subject is subject]:
                del waiting[w]
        group = self._groups.pop(subject, None)
        if group is not None:
            self._changed.pop(group, None)
            self._heard.pop(group, None)
            self._of = {s: g for s, g in self._of.items() if group not in g}
        return group

    # What it comes to

    def take(self, now: float) -> Iterator[tuple[Group, bool]]:
        """Groups whose mass event begins, grows, shrinks or ends; whether one ends
        that has lasted: a wave of re-registrations is none."""
        changed, self._changed = self._changed, {}
        for group in changed:
            rule = self._rule(group)
            was, lapsed = group.begun, group.lapsed
            if rule is None:
                group.end()
            else:
                group.weigh(rule.share, rule.window)
            if was is not None or group.begun is not None:
                # None of another, which was told instead, and no mere wave.
                own = group.whole is None and not lapsed
                yield group, own and _has_lasted(was, group.begun, rule, now)

    def _rule(self, group: Group) -> Rule | None:
        found = self._watched.get(group.subject)
        rules = found.compiled.rules if found else ()
        return next((rule for rule in rules if rule.family == MASS), None)

    def count(self, o: Observation) -> None:
        """Put the count into an observation of a registrar or a site."""
        group = self._groups.get(o.subject)
        if group is None:
            return
        o.figures = replace(o.figures, lost=len(group.members))
        o.not_before = max(o.not_before, group.not_before)

    # What is covered by what

    def judge(
        self, w: Watched, rule: Rule, grade: int, start: float, now: float
    ) -> Verdict:
        """Whether a rule may open, for all that is lost together with it."""
        if rule.family == MASS:
            return self._judge_mass(w, rule, grade, start, now)
        if not is_loss(w, rule):
            return OPENS
        told = self._told(w.subject, rule, grade)
        found = None
        for group in w.groups:
            if group.holds(w) and self._fires(group, w):
                found = found or group
                if told <= self._hears(group):
                    found = group
                    break
        return self._cover(found, w, told) if found else OPENS

    def holds(self, w: Watched, rule: Rule) -> Verdict:
        """Whether as many are missing as a mass event begins with, now that nothing
        else is against telling it: else it is over, and was a mere wave."""
        group = self._groups.get(w.subject)
        if group is None or group.incident or group.holds_by(rule.share):
            return OPENS
        group.lapsed = True
        self._change(group)
        return Verdict(opens=False, reason=TOO_FEW)

    def _cover(self, group: Group, w: Watched, told: frozenset[str]) -> Verdict:
        """A subject is covered; who would be told of it is told of the group."""
        self._waiting.setdefault(group, {})[w] = None
        group.tell(told)
        if group.whole is not None and group.whole.begun is not None:
            group.whole.tell(told)
        return Verdict(opens=False, reason=covered_by(group))

    def parts(self, group: Group, notifier: str) -> Iterator[Incident]:
        """What a notifier would have been told of, were it not covered by a group."""
        several = chain(self._waiting.get(group, ()), group.members)
        for w in islice(several, LOOKED_AT):
            for rule, track in w.trouble.tracks.items() if w.trouble else ():
                if not (track.matching and track.suppressed.startswith(COVERED)):
                    continue
                for grade in range(len(rule.grades)):
                    if notifier in self._told(w.subject, rule, grade):
                        yield would_be(w, rule, grade)

    def still_missing(self, group: Group) -> tuple[Watched, ...]:
        """Of those who were missing when its event ended, who is so now."""
        return tuple(
            w
            for w in group.left
            if w.state is State.UNREGISTERED and self._watched.get(w.subject) is w
        )

    def over_since(self, w: Watched) -> float:
        """When the mass event ended that an extension was part of: from then it has
        the same time as any other to come back."""
        ends = (g.ended_at for g in w.groups if w.since <= g.ended_at)
        return max(ends, default=0.0)

    def settled_at(self, w: Watched, seen: float) -> float:
        """When the registrars of a group have been well for long enough that those who
        had to wait for them are back, where they were `seen` to be missing only after
        that: while nobody could register, that many were lost is no event of its own,
        and phones come back when they try again."""
        group = self._groups.get(w.subject)
        if group is None:
            return 0.0
        several = [group] if group.is_registrar else list(group.others)
        found = [self._watched.get(g.subject) for g in several if g.is_registrar]
        well_since = max((r.well_since for r in found if r is not None), default=0.0)
        return well_since + SETTLES if 0 < well_since <= seen else 0.0

    def release(self, group: Group) -> dict[Watched, None]:
        """It covers nobody any more: who has waited for that."""
        return self._waiting.pop(group, {})

    def _fires(self, group: Group, w: Watched) -> bool:
        """Whether its mass event is told, or will be unless enough are back; where
        another is told instead, whether that is about `w` too."""
        found = self._watched.get(group.subject)
        if found is None or found.trouble is None:
            return False
        tracks = found.trouble.tracks.items()
        masses = [track for rule, track in tracks if rule.family == MASS]
        if any(track.grade is not None for track in masses):
            return True
        if not any(track.matching for track in masses):
            return False
        if (whole := self._whole(group)) is not None:
            return w in whole.members
        group.trusted = True
        return True

    def _hears(self, group: Group) -> frozenset[str]:
        found = self._heard.get(group)
        if found is None:
            rule = self._rule(group)
            found = self._told(group.subject, rule, 0) if rule else frozenset()
            self._heard[group] = found
        return found

    def _judge_mass(
        self, w: Watched, rule: Rule, grade: int, start: float, now: float
    ) -> Verdict:
        group = self._groups.get(w.subject)
        if group is None:
            return OPENS
        if (whole := self._whole(group)) is not None:
            group.whole, group.covered = whole, len(group.members)
            group.handed, group.trusted = group.handed or group.trusted, False
            whole.tell(group.asked)
            return self._cover(whole, w, self._hears(group))
        if group.whole is not None:  # it is over: those left have time to come back
            fair_at = group.whole.ended_at + rule.grades[grade].for_
            if now < fair_at:
                return Verdict(opens=False, again_at=fair_at)
        several = [group] if group.is_registrar else list(group.others)
        for registrar in several:
            verdict = self._ancestors.judge_one(w, registrar.subject, start, now)
            if not verdict.opens:
                return verdict
        return OPENS

    def _whole(self, group: Group) -> Group | None:
        """The event that is told instead of this one."""
        return self._owner(group) or self._bigger(group) or group.covering()

    def _owner(self, group: Group) -> Group | None:
        """The one site of a registrar that its missing are nearly all of."""
        if not group.is_registrar:
            return None
        for site, number in group.others.items():
            smaller = site.expected < group.expected
            if number >= MOSTLY * len(group.members) and smaller:
                return site if site.begun is not None and self._rule(site) else None
        return None

    def _bigger(self, group: Group) -> Group | None:
        """The registrar whose event a site's is part of."""
        if group.is_registrar:
            return None
        for registrar, number in group.others.items():
            if number >= MOSTLY * len(group.members) and registrar.begun is not None:
                alone = self._owner(registrar) is None
                return registrar if alone and self._rule(registrar) else None
        return None


def _has_lasted(
    was: float | None, begun: float | None, rule: Rule | None, now: float
) -> bool:
    """Whether a mass event that began at `was` has ended, and was no mere wave."""
    if was is None or begun is not None or rule is None:
        return False
    return now - was >= rule.grades[-1].for_


def covered_by(group: Group) -> str:
    """Why an alarm does not open."""
    return _covered_by(group.subject.name)


@lru_cache
def _covered_by(name: str) -> str:
    return f"{COVERED} {name}"  # one string for the thousands of one mass event


def would_be(w: Watched, rule: Rule, grade: int) -> Incident:
    """The incident that would open, were it not covered."""
    o = w.trouble.last if w.trouble else None
    return Incident(
        id=0,
        subject=w.subject,
        family=rule.family,
        rule=rule.name,
        severity=rule.grades[grade].severity,
        state=w.state or State.OK,  # a site has none of its own
        since=w.since,
        opened_at=w.since,
        cause=o.cause if o else None,
    )


def is_loss(w: Watched, rule: Rule) -> bool:
    """Whether a rule is about the loss of an extension."""
    gone = w.state is State.UNREGISTERED and w.subject.kind is Kind.EXTENSION
    return gone and rule.clock is Clock.SINCE


def _counts(state: State | None) -> bool:
    """Whether one in this state is expected to be there."""
    return state not in (None, State.NEVER_REGISTERED)


def _crowds(subject: Subject) -> Iterator[Subject]:
    """The registrar and the own site of an extension."""
    site = subject.scope.labels.get("site", "")
    registrar = False
    for one in above(subject):
        if one.kind is Kind.REGISTRAR and not registrar:
            registrar = True
            yield one
        elif one.kind is Kind.SITE and one.name == site:
            yield one
