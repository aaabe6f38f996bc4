"""What is told as it happens: the events of /api/v1/events.

It listens to what is committed, and costs a dictionary's entry for each change while
nobody follows. What comes within a moment is told together.

| event | data |
| --- | --- |
| states | {"rows": [{key, kind, name, registrar, site, state, since, cause}]} |
| incident | {id, key, rule, severity, state, text, since, acknowledged_by} |
| overview | what is on top of the page, when it is another |
| delivery | {notifier, change, outcome, incidents, at, error} |
| silence | a silence that was made or ended |
| reload | {ok, summary} |
| resync | {scope}: read again what is below this key, or all of it |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from pyee.base import EventEmitter

from alerting.alarms.watched import BAD
from alerting.announcement import Delivered, Opened, Resolved, Transition, Updated
from alerting.incident import Incident
from checks.observation import Cause, Kind, State, Subject, plain
from sipwatch.backlog import RESYNC, STILL, Backlog, Event, Follower, written
from sipwatch.sources import Sight, Sources
from sipwatch.subjects import key_of
from sipwatch.views.incidents import row
from sipwatch.views.lens import NAME, UNKNOWN, Lens
from sipwatch.views.overview import Overview, overview

MOMENT = 0.2  # s: what comes within is one event
ROWS = 500  # subjects of one event; of more, everything is read again
SINGLE = 100  # incidents, and deliveries, of one moment
SCOPES = 8  # that are read again one by one; of more, everything is
ALL = ""  # the scope of everything
FRESH = 1.0  # s between two overviews
SHARE = 50  # an overview takes at most one part of the loop's time in so many
NUMBERS = 20  # incidents that a delivery names
ABOVE = (Kind.REGISTRAR, Kind.SITE, Kind.VANTAGE)  # others are seen through them

# Who stands how, why and since when, and whether one can see that; of a mass event
# thousands are kept, which so have no more room than that.
Row = tuple[Subject, State, Cause | None, float, bool]


class Feed:
    """The events, and those who follow them."""

    def __init__(
        self, sources: Sources, bus: EventEmitter, carries: Callable[[Subject], bool]
    ) -> None:
        """Whether a target or account `carries` others: they are seen through it."""
        self.backlog = Backlog()
        self._sources = sources
        self._carries = carries
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # of all that is told
        self._later: asyncio.TimerHandle | None = None  # of the overview
        self._states: dict[Subject, Transition] = {}
        self._incidents: dict[int, Incident] = {}
        self._deliveries: list[Delivered] = []
        self._again: dict[str, None] = {}  # scopes
        self._overview: Overview | None = None
        self._told: Overview | None = None
        self._stale = True
        self._fresh_until = 0.0
        bus.on("transition", self._transition)
        for name in ("opened", "updated", "resolved"):
            bus.on(name, self._incident)
        bus.on("delivered", self._delivered)

    # --- who follows ----------------------------------------------------------------

    @property
    def id(self) -> str:
        """Where who has read everything just now goes on."""
        return self.backlog.id

    def follow(self, after: str) -> Follower:
        """Follow from behind this id, or from now; FullError.

        It begins with the overview as it is, whatever was told before.
        """
        follower = self.backlog.follow(after, written("overview", self._looked()))
        self._soon()
        return follower

    def close(self) -> None:
        """Nothing more is told; whoever follows is let go."""
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()
        self.backlog.close()

    # --- what happens ---------------------------------------------------------------

    def silence(self, one: dict[str, Any]) -> None:
        """A silence was made or ended."""
        self._tell("silence", one)

    def reloaded(self, summary: str, *, ok: bool) -> None:
        """Another configuration is in force, or could not be."""
        self._tell("reload", {"ok": ok, "summary": plain(summary)})
        if ok:
            self._read_again(ALL)

    def _tell(self, kind: str, data: Any) -> None:
        self.backlog.add(Event(kind, lambda: data))
        self._soon()

    def _transition(self, t: Transition) -> None:
        subject = t.subject
        if (t.old in BAD) is not (t.new in BAD) and self._is_above(subject):
            self._read_again(subject.key)
        if len(self._states) < ROWS or subject in self._states:
            self._states[subject] = t
        else:
            self._read_again(_scope(subject))
        self._soon()

    def _is_above(self, subject: Subject) -> bool:
        return subject.kind in ABOVE or self._carries(subject)

    def _incident(self, one: Opened | Updated | Resolved) -> None:
        if len(self._incidents) < SINGLE or one.incident.id in self._incidents:
            self._incidents[one.incident.id] = one.incident
        else:
            self._read_again(ALL)
        self._soon()

    def _delivered(self, one: Delivered) -> None:
        if len(self._deliveries) < SINGLE:
            self._deliveries.append(one)
        else:
            self._read_again(ALL)
        self._soon()

    def _read_again(self, scope: str) -> None:
        if len(self._again) < SCOPES:
            self._again[scope] = None
        else:
            self._again = {ALL: None}

    # --- what is told ---------------------------------------------------------------

    def _soon(self) -> None:
        self._stale = True
        if self._timer is None and not self.backlog.closed:
            self._timer = self._loop.call_later(MOMENT, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._states:
            sight = Sight(self._sources.alarms)
            rows = [
                (t.subject, t.new, t.cause, t.since, sight.of(t.subject))
                for t in self._states.values()
            ]
            self._add("states", partial(self._rows, rows), len(rows))
        for incident in self._incidents.values():
            state = _state(incident)
            self._add("incident", partial(self._one, incident, state))
        for one in self._deliveries:
            self._add("delivery", partial(self._delivery, one))
        for scope in (ALL,) if ALL in self._again else self._again:
            self._add(RESYNC, partial(dict, scope=scope))
        self._states, self._incidents = {}, {}
        self._deliveries, self._again = [], {}
        self._look()

    def _add(self, kind: str, make: Callable[[], Any], weight: int = 1) -> None:
        self.backlog.add(Event(kind, make, weight))

    def _rows(self, rows: list[Row]) -> dict[str, Any]:
        at = Lens(self._sources).at
        return {"rows": [_row(*one, at) for one in rows]}

    def _one(self, incident: Incident, state: str) -> dict[str, Any]:
        found = row(Lens(self._sources), incident)
        return {
            "id": found["id"],
            "key": found["key"],
            "rule": found["rule"],
            "severity": found["severity"],
            "state": state,
            "text": found["text"],
            "since": found["since"],
            "acknowledged_by": found["acknowledged_by"],
        }

    def _delivery(self, one: Delivered) -> dict[str, Any]:
        batch = one.batch
        return {
            "notifier": batch.notifier,
            "change": str(batch.change),
            "outcome": str(one.outcome),
            "incidents": [row.incident.id for row in batch.deliveries[:NUMBERS]],
            "at": Lens(self._sources).at(one.at),
            "error": plain(one.error),
        }

    # --- the overview ---------------------------------------------------------------

    def _look(self) -> None:
        """Tell the overview if it is another, but not too often; look now and then for
        what nobody announces."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if not self.backlog.followers:
            return
        wait = self._fresh_until - self._loop.time()
        if self._stale and wait <= 0 and (found := self._looked()) != self._told:
            self._told = found
            self._add("overview", lambda: found)
        delay = max(wait, 0.0) if self._stale else STILL
        self._later = self._loop.call_later(delay, self._look_again)

    def _look_again(self) -> None:
        self._stale = True
        self._look()

    def _looked(self) -> Overview:
        """The overview, as fresh as may be."""
        began = self._loop.time()
        if self._overview is None or (self._stale and began >= self._fresh_until):
            self._overview = overview(self._sources)
            self._stale = False
            took = self._loop.time() - began
            self._fresh_until = began + max(FRESH, SHARE * took)
        return self._overview


def _row(
    subject: Subject,
    state: State,
    cause: Cause | None,
    since: float,
    seen: bool,
    at: Callable[[float], str],
) -> dict[str, Any]:
    labels = subject.scope.labels
    return {
        "key": key_of(subject),
        "kind": str(subject.kind),
        "name": plain(subject.name, NAME),
        "registrar": labels.get("registrar", ""),
        "site": labels.get("site", ""),
        "state": str(state) if seen else UNKNOWN,
        "since": at(since),
        "cause": cause if cause is None else str(cause),
    }


def _scope(subject: Subject) -> str:
    """The key of the registrar that it belongs to, or everything."""
    registrar = subject.scope.labels.get("registrar", "")
    return f"{Kind.REGISTRAR}:{registrar}" if registrar else ALL


def _state(incident: Incident) -> str:
    if not incident.firing:
        return "resolved"
    return "acknowledged" if incident.acknowledged_by else "firing"
