"""Keeps the addresses of named targets fresh, and says whose fault it is when not."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from checks.observation import Cause
from checks.sip.errors import SipError
from checks.sip.resolver import Address, Resolution
from checks.sip.uri import SipUri

AT_ONCE = 32  # names asked at a time
KEEP = 24 * 3600.0  # s that last good addresses serve while the resolver fails
FRESH = (15.0, 3600.0)  # s; a TTL outside is taken for the nearer end
RETRY = 30.0  # s until a resolver that failed is asked again, addresses being kept


class Resolves(Protocol):
    """What is asked for addresses."""

    async def resolve(self, uri: SipUri) -> Resolution:
        """The addresses of a URI; SipError where there are none."""


class Placed(Protocol):
    """Who is told of addresses; `options.OptionsCheck`."""

    def placed(self, index: int, addresses: tuple[Address, ...]) -> None:
        """These are a target's addresses from now on."""

    def nameless(self, index: int, cause: Cause, detail: str) -> float:
        """It has none; returns the seconds until it should be tried again."""


@dataclass(slots=True, eq=False)
class _Name:
    index: int
    uri: SipUri
    good_at: float | None = None  # when it was resolved last


class Names:
    """Asks for each name again when its TTL has passed."""

    def __init__(
        self,
        resolver: Resolves,
        clock: Callable[[], float],
        told: Placed,
        state: Callable[[bool, str], None],
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._told = told
        self._state = state
        self._names: dict[int, _Name] = {}
        self._due: list[tuple[float, int]] = []
        self._wake = asyncio.Event()
        self._well: bool | None = None  # until the first answer
        self._doubted = False

    def watch(self, index: int, uri: SipUri) -> None:
        """Resolve a target's URI from now on."""
        self._names[index] = _Name(index, uri)
        self.refresh(index)

    def forget(self, index: int) -> None:
        """Stop; what is under way is dropped."""
        self._names.pop(index, None)

    def refresh(self, index: int) -> None:
        """Resolve it again now."""
        if index in self._names:
            heapq.heappush(self._due, (self._clock(), index))
            self._wake.set()

    async def run(self) -> None:
        """Resolve what is due, until cancelled."""
        while True:
            self._wake.clear()
            chosen = self._take()
            if chosen:
                faults = await asyncio.gather(*(self._ask(name) for name in chosen))
                self._report(chosen, [fault for fault in faults if fault is not None])
            else:
                await self._rest()

    async def _rest(self) -> None:
        pause = self._due[0][0] - self._clock() if self._due else None
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return

    def _take(self) -> list[_Name]:
        now, chosen = self._clock(), dict[int, _Name]()
        while self._due and self._due[0][0] <= now and len(chosen) < AT_ONCE:
            name = self._names.get(heapq.heappop(self._due)[1])
            if name is not None:
                chosen[name.index] = name
        return list(chosen.values())

    async def _ask(self, name: _Name) -> tuple[bool, str] | None:
        """Resolve one; tells how our resolver did, None where it was not asked."""
        try:
            found = await self._resolver.resolve(name.uri)
        except SipError as error:
            ours = error.cause is Cause.DNS_FAILURE
            if self._names.get(name.index) is name:
                self._again(name, self._failed(name, error.cause, error.detail))
            return not ours, error.detail
        if self._names.get(name.index) is name:
            name.good_at = self._clock()
            self._told.placed(name.index, found.addresses)
            least, most = FRESH
            if found.ttl < float("inf"):
                self._again(name, min(most, max(least, found.ttl)))
        return (True, "") if found.ttl < float("inf") else None

    def _failed(self, name: _Name, cause: Cause, detail: str) -> float:
        kept = name.good_at is not None and self._clock() - name.good_at < KEEP
        if cause is Cause.DNS_FAILURE and kept:
            return RETRY
        name.good_at = None
        return self._told.nameless(name.index, cause, detail)

    def _again(self, name: _Name, seconds: float) -> None:
        heapq.heappush(self._due, (self._clock() + seconds, name.index))

    def _report(self, asked: list[_Name], results: list[tuple[bool, str]]) -> None:
        """One name that works clears the resolver; what fails beside it is a domain.

        Where nothing worked, a name that did is asked before the resolver is blamed.
        """
        if not results:
            return
        well = any(ok for ok, _ in results)
        if not well and self._well is not False and not self._doubted:
            witness = self._witness(asked)
            if witness is not None:
                self._doubted = True
                self.refresh(witness.index)
                return
        self._doubted = False
        if well != self._well:
            self._well = well
            self._state(well, "" if well else results[0][1])

    def _witness(self, asked: list[_Name]) -> _Name | None:
        """The name that was resolved last, of those that were not just asked."""
        others = [
            name
            for name in self._names.values()
            if name.good_at is not None and name not in asked
        ]
        return max(others, key=lambda name: name.good_at or 0.0, default=None)
