"""Whether each route still reaches its people: a test to all that it names.

On request, and at a time of the week where one is configured; one that falls into a
time when we are not running is made up for. A notifier that does not
take its test is one that fails, before anything has to be told by it; it is tested on
until it takes one, so that the incident about it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from alerting.incident import Outcome
from alerting.routes import RouteSettings
from alerting.store.database import StoreError
from alerting.store.rows import DropMemo, Memo, Write
from checks.observation import plain
from checks.settings import written_duration
from sipwatch.couriers import Couriers
from sipwatch.sources import Sources

AGAIN = 60.0  # s between two looks at who is to be tested again
SOON = (60.0, 300.0)  # s after a scheduled test that failed: greylisting passes
MEMO = "self-test/scheduled"  # when the last one was, on the wall's clock
HOURLY = 3600.0  # s, for as long as it fails and owes nothing by which it would show

log = logging.getLogger(__name__)


class SelfTests:
    """Tests of routes; one job looks for whom to test again."""

    def __init__(
        self,
        sources: Sources,
        couriers: Couriers,
        *,
        commit: Callable[[], Awaitable[object]],
        note: Callable[[Sequence[Write]], None] = lambda writes: None,
    ) -> None:
        """`note` stores when the test of the week was."""
        self._sources = sources
        self._couriers = couriers
        self._commit = commit
        self._note = note
        self._missed = False  # the test of the week, while we were away
        self._again: dict[str, tuple[float, int]] = {}  # when, and how often it was

    async def notifiers(self, names: Iterable[str]) -> dict[str, str]:
        """A test by each of these, or by all; its error, or nothing."""
        wanted: dict[str, tuple[str, ...]]
        wanted = dict.fromkeys(list(names) or list(self._couriers), ())
        return await self._on_request(wanted)

    async def routes(self, numbers: Sequence[int]) -> dict[str, Any]:
        """A test by all notifiers of these routes, or of all; LookupError. One that is
        on several of them is tested once."""
        routes = self._numbered()
        for number in numbers:
            if number not in routes:
                raise LookupError(f"there is no route {number} (1 to {len(routes)})")
        asked = {n: routes[n] for n in numbers or routes}
        errors = await self._on_request(_ways(asked))
        shown = [
            {
                "route": number,
                "match": {k: [o.pattern for o in v] for k, v in route.match.items()},
                "notifiers": [
                    {"notifier": name, "after": after, "error": errors[name]}
                    for after, name in _steps(route)
                ],
            }
            for number, route in asked.items()
        ]
        return {"routes": shown}

    async def scheduled(self) -> None:
        """The test of the week: who takes it is not worth a line."""
        self._again.clear()
        self._missed = False
        self._note([self._tested_now()])
        await self._unasked(_ways(self._numbered()))

    def plan(self, last: str | None, due_since: Callable[[datetime], bool]) -> None:
        """Make up for the test of the week where it was due since the `last` one, as
        it is stored: we were away then. `again` does it, when all has begun."""
        try:
            at = datetime.fromisoformat(json.loads(last)) if last else None
        except (ValueError, TypeError):
            at = None
        if at is None or at.tzinfo is None:
            self._note([self._tested_now()])  # it counts from now
        elif due_since(at):
            log.info("self-test: the scheduled one was missed, and is made up for")
            self._missed = True

    def unplan(self) -> None:
        """There is no test of the week any more."""
        self._missed = False
        self._note([DropMemo(MEMO)])

    def _tested_now(self) -> Memo:
        clock = self._sources.clock
        at = datetime.fromtimestamp(clock.to_wall(clock.now()), UTC)
        return Memo(MEMO, json.dumps(at.isoformat()))

    async def again(self) -> None:
        """Test again who failed, unless it has taken something since."""
        if self._missed:
            await self.scheduled()
            return
        now = self._sources.clock.now()
        self._find_lasting(now)
        due = [name for name, (at, _) in self._again.items() if at <= now]
        await self._unasked(dict.fromkeys(due, ()))

    def _find_lasting(self, now: float) -> None:
        """Those that fail and have nothing to tell by which it would show that they
        work again; of the others their own deliveries tell."""
        alarms = self._sources.alarms
        failing = {name for name in self._couriers if alarms.failing(name)}
        busy = {row.notifier for row in alarms.owed()} if failing else set()
        for name in list(self._again):
            if name not in self._couriers or self._works(name):
                del self._again[name]
        for name in failing - busy - self._again.keys():
            self._again[name] = (now + HOURLY, len(SOON))

    def _works(self, name: str) -> bool:
        failing = self._sources.alarms.failing(name)
        return not (failing or self._couriers[name].failures)

    async def _on_request(self, wanted: dict[str, tuple[str, ...]]) -> dict[str, str]:
        errors = dict.fromkeys(wanted, "there is no such notifier")
        known = [name for name in wanted if name in self._couriers]
        found = await asyncio.gather(*(self._test(n, wanted[n]) for n in known))
        for name, (_, error) in zip(known, found, strict=True):
            errors[name] = error
            # Somebody sees it fail, and others shall: no three of it are waited for.
            self._book(name, Outcome.PERMANENT, error)
        await self._written()
        return errors

    async def _unasked(self, wanted: dict[str, tuple[str, ...]]) -> None:
        known = [name for name in wanted if name in self._couriers]
        if not known:
            return
        found = await asyncio.gather(*(self._test(n, wanted[n]) for n in known))
        now = self._sources.clock.now()
        for name, (outcome, error) in zip(known, found, strict=True):
            self._book(name, outcome, error)
            _, times = self._again.pop(name, (now, 0))
            if error:
                log.warning("self-test: %s: %s", name, error)
                wait = SOON[times] if times < len(SOON) else HOURLY
                self._again[name] = (now + wait, times + 1)
        await self._written()

    async def _written(self) -> None:
        """What came of it is known, written or not: the store tells of itself."""
        try:
            await self._commit()
        except (sqlite3.Error, OSError, StoreError) as error:
            log.warning("self-test: not stored: %s", plain(str(error)))

    async def _test(self, name: str, ways: Sequence[str]) -> tuple[Outcome, str]:
        return await self._couriers.test(name, "; ".join(ways))

    def _book(self, name: str, failed: Outcome, error: str) -> None:
        courier = self._couriers.get(name)
        if courier is not None:  # it may have been dismissed meanwhile
            now = self._sources.clock.now()
            outcome = failed if error else Outcome.ACCEPTED
            courier.tested(outcome, now)
            self._sources.alarms.fared(name, outcome, now, plain(error))

    def _numbered(self) -> dict[int, RouteSettings]:
        """As the configuration counts them; without any the one that holds then."""
        config = self._sources.config
        routes = config.routes or (RouteSettings(tuple(config.notifiers)),)
        return dict(enumerate(routes, 1))


def _steps(route: RouteSettings) -> list[tuple[str, str]]:
    """After how long whom: "" at once."""
    later = [
        (written_duration(step.after), name)
        for step in route.escalate
        for name in step.notify
    ]
    return [*(("", name) for name in route.notify), *later]


def _ways(routes: dict[int, RouteSettings]) -> dict[str, tuple[str, ...]]:
    """By notifier, the routes on which it is."""
    ways: dict[str, tuple[str, ...]] = {}
    for number, route in routes.items():
        for after, name in _steps(route):
            way = f"route {number}" + (f", after {after}" if after else "")
            ways[name] = (*ways.get(name, ()), way)
    return ways
