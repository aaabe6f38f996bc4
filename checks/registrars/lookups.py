"""Each AOR asked for by itself, where an OpenSIPS does not give the whole list.

An answer must fit into httpd's buffer: a list that does not is never answered at all,
and nothing is lost by that. A brief list, of a tenth of the size, may fit: then it says
who has no binding, and only of the others each is asked, when its binding should have
ended. Without it all are asked in turn. Who was asked the longest ago comes first, and
between two handfuls others have the process that answers us all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from checks.observation import Binding, plain
from checks.registrars.aor import canonical
from checks.registrars.mi import Mi, live
from checks.registrars.rpc import FaultError
from checks.registrations.readings import Bindings, ListEnd, Unreadable

HANDFUL = 50  # AORs asked in a row, some 50 ms
SHARE = 2 / 3  # of an interval in which AORs are asked; the next pass goes on with them
AFTER_END = 1.0  # s from a binding's end to the question whether it is gone
NEVER = float("-inf")
BRIEF_AGAIN = 900.0  # s after which a brief list that was not answered is tried again

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """When an AOR was last asked for, and when it shall be again."""

    last: float = NEVER
    due: float = NEVER
    refused: bool = False  # said once in the log


@dataclass(slots=True)
class Handful:
    """What some questions in a row brought."""

    began: float
    rows: list[Binding] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)


class Lookups:
    """The questions for single AORs at one OpenSIPS."""

    def __init__(
        self,
        mi: Mi,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]],
        domain: str,
        interval: float,
    ) -> None:
        self._mi, self._address = mi, address
        self._clock = clock
        self._aors = aors
        self._domain = domain
        self._interval = interval
        self._asked: dict[str, Asked] = {}
        self._brief_at = NEVER
        self.cost = 0.0  # s that the last brief list took of the process that answers

    def forget(self) -> None:
        """Whole lists are given again, or it is another process that answers."""
        self._asked.clear()
        self._brief_at = NEVER

    def stirred(self, aor: str, ends: float | None) -> None:
        """An event told of an AOR: of its new end on our clock, or (None) of none."""
        asked = self._asked.get(aor)
        if asked is None or asked.last == NEVER:
            return
        asked.due = NEVER if ends is None else max(asked.due, ends + AFTER_END)

    async def run(
        self, tables: Iterable[str], offset: float, boot: float | None
    ) -> AsyncIterator[Bindings | ListEnd]:
        """One pass; the server's clock is `offset` ahead of ours."""
        began, tables = self._clock(), list(tables)
        brief = (names := await self._names()) is not None
        absent = await self._settle(names)
        yield ListEnd(began, self._clock() + offset, boot, absent)
        until = self._clock() + SHARE * self._interval
        for chosen in batched(self._due(), HANDFUL):
            found = Handful(self._clock())
            for aor in chosen:
                await self._ask(aor, tables, found, offset, brief=brief)
            yield Bindings(found.rows)
            there = self._clock() + offset
            yield ListEnd(found.began, there, boot, frozenset(found.answered))
            await asyncio.sleep(self._clock() - found.began)
            if self._clock() >= until:
                break

    # --- whom to ask ----------------------------------------------------------------

    async def _names(self) -> list[str] | None:
        """All AORs that may have a binding; None: it does not say."""
        if self._clock() < self._brief_at:
            return None
        began, self.cost = self._clock(), 0.0
        try:
            names = await self._mi.names()
            self.cost = self._clock() - began
            return names
        except FaultError as fault:
            said = str(fault)
        except Unreadable as failure:
            said = failure.detail
        self._brief_at = self._clock() + BRIEF_AGAIN
        log.debug("%s: no brief list: %s", self._address, plain(said))
        return None

    async def _settle(self, names: list[str] | None) -> frozenset[str]:
        """Whom to ask from now on; of those watched, who has certainly no binding."""
        watched, before = self._aors(), self._asked
        if names is None:
            self._asked = {aor: before.get(aor) or Asked() for aor in watched}
            return frozenset()
        here = {canonical(name, self._domain) for name in names}
        await asyncio.sleep(0)  # each step is some 5 ms for 20,000
        self._asked = {aor: before.get(aor) or Asked() for aor in here}
        await asyncio.sleep(0)
        for aor in here.difference(watched):
            # One that is here and not watched is asked for once: it may become so.
            if self._asked[aor].last != NEVER:
                self._asked[aor].due = float("inf")
        await asyncio.sleep(0)
        return frozenset(watched) - here

    def _due(self) -> list[str]:
        """Who is due, the one that was asked the longest ago first."""
        now, asked = self._clock(), self._asked
        due = [aor for aor, a in asked.items() if a.due <= now]
        return sorted(due, key=lambda aor: asked[aor].last)

    # --- to ask ---------------------------------------------------------------------

    async def _ask(
        self, aor: str, tables: list[str], found: Handful, offset: float, *, brief: bool
    ) -> None:
        """Ask for one AOR; the outcome goes into the handful."""
        asked, rows = self._asked[aor], list[Binding]()
        asked.last = self._clock()
        asked.due = asked.last + self._interval
        full = aor if "@" in aor or not self._domain else f"{aor}@{self._domain}"
        try:
            for table in tables:
                record = await self._mi.record(table, full)
                if record is not None:
                    rows += live(record, asked.last + offset)
        except FaultError as fault:
            self._tell(asked, aor, fault)
            return
        for row in rows:
            row.aor = aor
        found.rows += rows
        found.answered.add(aor)
        ends = [row.expires_at - offset for row in rows if row.expires_at is not None]
        if ends:
            end = min(ends) + AFTER_END
            asked.due = end if brief else min(asked.due, end)
        asked.due = max(asked.due, asked.last + AFTER_END)

    def _tell(self, asked: Asked, aor: str, fault: FaultError) -> None:
        if not asked.refused:
            asked.refused = True
            log.warning("%s does not tell of %s: %s", self._address, plain(aor), fault)


def batched(items: list[T], size: int) -> Iterator[list[T]]:
    """The items in handfuls."""
    for n in range(0, len(items), size):
        yield items[n : n + size]
