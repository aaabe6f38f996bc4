"""A mass event in words that are stored: how many, who first, what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest

from alerting.alarms.common import Factors, factors_of, in_common
from alerting.alarms.group import Group
from alerting.alarms.watched import Watched
from alerting.incident import Crowd
from checks.observation import Fact, Subject, plain

LISTED = 20  # of the missing; more is a list that nobody reads
NAME = 80  # characters of one
GROWN = 1.25  # times as many: what was said of them may be otherwise

# The factors of those of a registrar or a site that are still there.
Census = Callable[[Subject], Iterable[Factors]]


def nobody(subject: Subject) -> Iterable[Factors]:
    """The census where nobody counts."""
    return ()


def changed_much(group: Group, crowd: Crowd | None) -> bool:
    """Whether what was said of a crowd is to be said anew."""
    if crowd is None:
        return True
    now, then = len(group.members), crowd.missing
    return now >= GROWN * then or then >= GROWN * max(1, now)


def describe(group: Group, before: Crowd | None, census: Census) -> Crowd:
    """The crowd as it is now, or as it was left when its event ended; `before`: what
    was said of it last."""
    missing = list(group.members) or list(group.left)
    if group.members or before is None:
        lost = [_factors(w) for w in missing]
        common, factor = in_common(lost, census(group.subject))
        several = [group] if group.is_registrar else list(group.others)
        through = tuple(sorted(g.subject.name for g in several if g.is_registrar))
    else:  # it is over: what they shared was said, and need not be counted again
        through, common, factor = before.through, before.common, before.factor
    return Crowd(
        lost=max(group.most, before.lost if before else 0),
        of=max(group.expected, len(missing)),
        missing=len(missing),
        through=through,
        common=common,
        factor=factor,
        told_before=len(group.linked),
        listed=tuple(map(_listed, nsmallest(LISTED, missing, key=_since))),
    )


def _since(w: Watched) -> tuple[float, str]:
    return w.since, w.subject.name


def _factors(w: Watched) -> Factors:
    site = w.subject.scope.labels.get("site", "")
    return factors_of(w.trouble.last.last_seen if w.trouble else "", site)


def _listed(w: Watched) -> Fact:
    name = f"{plain(w.subject.name, NAME)} {plain(w.subject.title, NAME)}".strip()
    where = w.trouble.last.last_seen if w.trouble else ""
    return Fact(w.since, plain(f"{name}, {where}" if where else name))
