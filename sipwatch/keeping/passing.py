"""What passes on the network by the figures of the capture service, if it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from checks.observation import Figures, Observation, State
from sipwatch.capture import client
from sipwatch.capture.client import NoCaptureError
from sipwatch.capture.look import CODES, METHODS, OTHER, Q850, SIP
from sipwatch.clock import Clock
from sipwatch.itself.selfwatch import own
from sipwatch.keeping.rate import WINDOW, CallRate

PERIOD = 5.0  # s between two looks
_CLASSES = frozenset(f"{n}xx" for n in range(1, 10))

log = logging.getLogger(__name__)


class Passing:
    """Looks every few seconds; what it saw last stays here for the metrics."""

    def __init__(
        self,
        clock: Clock,
        observe: Callable[[Observation], None],
        socket: Callable[[], str],
    ) -> None:
        """`socket` is where the service is asked, by the configuration in force."""
        self.calls = own("calls")
        self.up = False
        self.packets = self.dropped = 0
        self.responses: dict[tuple[str, str], int] = {}  # by method and code
        self.reasons: dict[tuple[str, str], int] = {}  # by protocol and cause
        self._clock, self._observe, self._socket = clock, observe, socket
        self._rate = CallRate()
        self._since = clock.now()
        self._seen_at: float | None = None  # the service answered last

    async def run(self) -> None:
        """Look for as long as the daemon runs."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Once."""
        try:
            said = await client.figures(self._socket())
            self._take(said)
        except (NoCaptureError, ValueError) as error:
            if self.up:
                log.warning("%s", error)
            self.up = False
            self._forget()
            return
        if not self.up:
            log.info("the capture service answers: evidence shows packets")
        self.up = True

    def _forget(self) -> None:
        """What nobody looks at any more is no rise, after a while."""
        now = self._clock.now()
        if self._seen_at is not None and now > self._seen_at + WINDOW:
            self._seen_at = None
            self._say(0.0, "", now)

    def _take(self, said: dict[str, Any]) -> None:
        """ValueError for nonsense."""
        self.responses = _counts(said.get("responses"), _methods, _codes)
        self.reasons = _counts(said.get("reasons"), _protocols, _causes)
        self.packets = _count(said.get("received"))
        self.dropped = _count(said.get("dropped"))
        now = self._clock.now()
        counted = ((m, c, n) for (m, c), n in self.responses.items())
        share = self._rate.take(counted, now)
        self._seen_at = now
        self._say(share.risen, share.said if share.risen else "", now)

    def _say(self, risen: float, detail: str, now: float) -> None:
        figures = Figures(unavailable=risen)
        self._observe(
            Observation(
                self.calls, State.OK, self._since, now, figures=figures, detail=detail
            )
        )


def _methods(word: object) -> bool:
    return word in METHODS or word == OTHER


def _codes(word: object) -> bool:
    return word in CODES_WRITTEN or word in _CLASSES


def _protocols(word: object) -> bool:
    return word in (Q850, SIP, OTHER)


def _causes(word: object) -> bool:
    known = isinstance(word, str) and word.isdigit() and int(word) < 1000
    return known or word == OTHER or word in _CLASSES


CODES_WRITTEN = frozenset(map(str, CODES))


def _counts(
    said: object, first: Callable[[object], bool], second: Callable[[object], bool]
) -> dict[tuple[str, str], int]:
    """Counts by two words, both of which are few; whoever says more is not ours."""
    if not isinstance(said, list):
        raise ValueError("the capture service: no counts")
    found: dict[tuple[str, str], int] = {}
    for row in said:
        if not isinstance(row, list) or len(row) != 3:
            raise ValueError("the capture service: no counts")
        if not (first(row[0]) and second(row[1])):
            raise ValueError("the capture service: counts of nothing that is known")
        found[row[0], row[1]] = _count(row[2])
    return found


def _count(said: object) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or said < 0:
        raise ValueError("the capture service: not a count")
    return said
