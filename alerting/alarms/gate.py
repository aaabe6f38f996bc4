"""Whether a row may go out now: the mutes, the hours of its rule and of its routes.

A mute postpones. What was told as firing is told as over whatever is muted; what was
not, and is over before it could be told, is told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from alerting.incident import Delivery, Incident, Told
from alerting.muting.muting import Mute, Muting
from alerting.routes import Limit, Routes
from alerting.rules.inforce import Rules

LEAST = 1.0  # s until a held row is looked at again
MOST = 3600.0  # s; the end of what is part of a whole is looked for when that ends


class Gate:
    """Asked of every row at the moment at which it would go out."""

    def __init__(self, muting: Muting, routes: Routes, rules: Rules) -> None:
        self.muting = muting
        self.routes = routes
        self.rules = rules
        self.part_of: Callable[[Delivery], str] = lambda row: ""
        self.parts: Callable[[Delivery], Iterable[Incident]] = lambda row: ()

    def mute(self, row: Delivery, now: float) -> Mute | None:
        """Why a row has to wait, and until when; None: it may go."""
        if row.wanted is Told.RESOLVED and row.told is not Told.NOTHING:
            return None
        if part_of := self.part_of(row):
            return Mute(part_of, now + MOST)
        found = self._mute(row.incident, row, now) or self._by_parts(row, now)
        if found is None:
            return None
        return Mute(found.reason, max(found.until, now + LEAST))

    def limit(self, row: Delivery) -> Limit | None:
        """How often its notifier is told at most by the route of a row."""
        if not self.routes.limited:
            return None
        incident = self.told_for(row)
        rule = self.rules.get(incident.rule)
        if rule and rule.notify:
            return None  # by its own word, not by a route
        return self.routes.limit(incident, row.notifier)

    def told_for(self, row: Delivery) -> Incident:
        """The incident by whose routes a row goes: its own, or one that it covers."""
        if not self._is_instead(row):
            return row.incident
        return next(iter(self.parts(row)), row.incident)

    def _is_instead(self, row: Delivery) -> bool:
        """Whether its notifier is told only instead of what the incident covers."""
        incident = row.incident
        if row.notifier not in incident.instead:
            return False
        rule = self.rules.get(incident.rule)
        return row.notifier not in self.routes.of(incident, rule.notify if rule else ())

    def _mute(self, incident: Incident, row: Delivery, now: float) -> Mute | None:
        return (
            self.muting.muted_by(incident, now)
            or self._by_rule(incident, row, now)
            or self._by_routes(incident, row, now)
        )

    def _by_parts(self, row: Delivery, now: float) -> Mute | None:
        """Who is told instead of the parts is, once that may be told of one of them."""
        mutes = []
        for part in self.parts(row) if self._is_instead(row) else ():
            if (mute := self._mute(part, row, now)) is None:
                return None
            mutes.append(mute)
        return min(mutes, key=lambda mute: mute.until, default=None)

    def _by_rule(self, incident: Incident, row: Delivery, now: float) -> Mute | None:
        """What opened in its hours is told; out of them nobody is reminded of it."""
        if not row.step:
            return None
        rule = self.rules.get(incident.rule)
        return self.muting.outside(rule.during, now) if rule and rule.during else None

    def _by_routes(self, incident: Incident, row: Delivery, now: float) -> Mute | None:
        """One way that is open is enough; else it waits for the first that opens."""
        if not self.routes.timed:
            return None
        rule = self.rules.get(incident.rule)
        if rule and rule.notify:
            return None  # by its own word, not by a route
        ways = self.routes.ways(incident, row.notifier)
        mutes = []
        for way in ways:
            closed = way.during and self.muting.outside(way.during, now)
            closed = closed or (way.outside and self.muting.within(way.outside, now))
            if not closed:
                return None
            mutes.append(closed)
        return min(mutes, key=lambda mute: mute.until, default=None)
