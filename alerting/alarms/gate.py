"""Whether a row may go out now: the mutes, the hours of its rule and of its routes.

A mute postpones. What was told as firing is told as over whatever is muted; what was
not, and is over before it could be told, is told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable

from alerting.incident import Delivery, Told
from alerting.muting.muting import Mute, Muting
from alerting.routes import Limit, Routes
from alerting.rules.rule import Rules

LEAST = 1.0  # s until a held row is looked at again
MOST = 3600.0  # s; the end of what is part of a whole is looked for when that ends


class Gate:
    """Asked of every row at the moment at which it would go out."""

    def __init__(self, muting: Muting, routes: Routes, rules: Rules) -> None:
        self.muting = muting
        self.routes = routes
        self.rules = rules
        self.part_of: Callable[[Delivery], str] = lambda row: ""

    def mute(self, row: Delivery, now: float) -> Mute | None:
        """Why a row has to wait, and until when; None: it may go."""
        if row.wanted is Told.RESOLVED and row.told is not Told.NOTHING:
            return None
        if part_of := self.part_of(row):
            return Mute(part_of, now + MOST)
        found = (
            self.muting.muted_by(row.incident, now)
            or self._by_rule(row, now)
            or self._by_routes(row, now)
        )
        if found is None:
            return None
        return Mute(found.reason, max(found.until, now + LEAST))

    def limit(self, row: Delivery) -> Limit | None:
        """How often its notifier is told at most by the route of a row."""
        if not self.routes.limited:
            return None
        rule = self.rules.get(row.incident.rule)
        if rule and rule.notify:
            return None  # by its own word, not by a route
        return self.routes.limit(row.incident, row.notifier)

    def _by_rule(self, row: Delivery, now: float) -> Mute | None:
        """What opened in its hours is told; out of them nobody is reminded of it."""
        if not row.step:
            return None
        rule = self.rules.get(row.incident.rule)
        return self.muting.outside(rule.during, now) if rule and rule.during else None

    def _by_routes(self, row: Delivery, now: float) -> Mute | None:
        """One way that is open is enough; else it waits for the first that opens."""
        if not self.routes.timed:
            return None
        rule = self.rules.get(row.incident.rule)
        if rule and rule.notify:
            return None  # by its own word, not by a route
        ways = self.routes.ways(row.incident, row.notifier)
        mutes = []
        for way in ways:
            closed = way.during and self.muting.outside(way.during, now)
            closed = closed or (way.outside and self.muting.within(way.outside, now))
            if not closed:
                return None
            mutes.append(closed)
        return min(mutes, key=lambda mute: mute.until, default=None)
