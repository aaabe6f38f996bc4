"""Has Asterisk itself ask its contacts: AMI's PJSIPQualify, by endpoint.

Asterisk is nearer to its phones than we are, and reaches those behind NAT and over
connections of its own. But it takes what they answer only where the AOR has a
`qualify_frequency`; without one it sends the OPTIONS and throws the answer away. So
those are asked for that have one which is longer than our interval; a contact of an AOR
without is ours to ask, if anybody can.

What changes comes as an event (ContactStatus), and what does not change is not told. So
a contact that was called unreachable, was asked for once more, and was not called
otherwise until the time for an answer had passed, has failed twice.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from checks.observation import Binding
from checks.registrars.ami import Message
from checks.registrars.pjsip import joined, number, pair
from checks.registrars.session import Session
from checks.registrations.readings import ProbeKeys, Reach

AT_ONCE = 50  # endpoints asked for in one go: some 10 ms of the PBX
PAUSE = 0.1  # s between two goes
QUALIFY_TIMEOUT = 3.0  # s; what Asterisk waits where it does not say how long
LATE = 1.0  # s that the event may come after the time for an answer
UNREACHABLE = "Unreachable"
DENIED = "Permission denied"

log = logging.getLogger(__name__)


class Phone(NamedTuple):
    """How Asterisk asks the contacts of an endpoint."""

    frequency: float  # s
    timeout: float  # s


class Qualifying:
    """Whom one Asterisk has to ask when, and what has come of it."""

    def __init__(self, keys: ProbeKeys, *, on: bool, where: str) -> None:
        self._keys, self._on, self._where = keys, on, where
        self._phones: dict[str, Phone] = {}  # by endpoint; those it asks at all
        self._listing: dict[str, Phone] = {}
        self._turns: list[tuple[float, str]] = []  # a heap: when to ask for whom
        self._awaiting: set[str] = set()  # endpoints that have a turn
        self._suspects: dict[str, str] = {}  # contacts: their endpoints
        self._doubts: list[tuple[float, str]] = []  # a heap: endpoints to ask once more
        self._verdicts: list[tuple[float, float, str]] = []  # a heap: when, asked, whom
        self._not_before = 0.0

    def listed(self, row: Message, binding: Binding) -> Binding:
        """A row of a list of contacts: note how its endpoint is asked."""
        if self._on and binding.asked:
            frequency = number(row.get("QualifyFrequency")) or 0.0
            timeout = number(row.get("QualifyTimeout")) or QUALIFY_TIMEOUT
            self._listing[_endpoint(row) or binding.aor] = Phone(frequency, timeout)
        return binding

    def list_ended(self, now: float) -> None:
        """A list is complete: who is new has its first turn within an interval."""
        self._phones, self._listing = self._listing, {}
        interval = self._keys.interval
        seldom = [e for e, p in self._phones.items() if p.frequency > interval]
        new = [e for e in seldom if e not in self._awaiting]
        for n, endpoint in enumerate(new):
            self._turn(now + interval * n / len(new), endpoint)

    def event(self, event: Message, now: float) -> None:
        """ContactStatus: what is called unreachable now is asked for once more."""
        if not self._on:
            return
        contact = joined(event.get("AOR", ""), event.get("URI", ""))
        endpoint = _endpoint(event) or event.get("AOR", "")
        known = contact in self._suspects
        if event.get("ContactStatus") != UNREACHABLE:
            self._suspects.pop(contact, None)
        elif not known and endpoint in self._phones:
            self._suspects[contact] = endpoint
            heapq.heappush(self._doubts, (now + self._keys.confirm, contact))

    def due(self) -> float:
        """When `run` has something to do."""
        heads = [heap[0][0] for heap in (self._turns, self._doubts) if heap]
        asking = max(min(heads), self._not_before) if heads else float("inf")
        return min(asking, self._verdicts[0][0]) if self._verdicts else asking

    async def run(self, session: Session, now: float) -> AsyncIterator[Reach]:
        """Ask for whom it is time, and tell of whom the time has passed."""
        for reading in self._judged(now):
            yield reading
        endpoints = list(dict.fromkeys(self._chosen(now)))
        if not endpoints:
            return
        self._not_before = now + PAUSE
        questions = [{"Endpoint": endpoint} for endpoint in endpoints]
        for answer in await session.ask_each("PJSIPQualify", questions):
            if DENIED in answer.get("Message", ""):
                self._give_up()
                return

    def _chosen(self, now: float) -> Iterator[str]:
        for _ in range(AT_ONCE):
            if self._doubts and self._doubts[0][0] <= now:
                _, contact = heapq.heappop(self._doubts)
                if endpoint := self._suspects.get(contact):
                    yield endpoint
                    timeout = self._timeout(endpoint)
                    heapq.heappush(self._verdicts, (now + timeout + LATE, now, contact))
            elif self._turns and self._turns[0][0] <= now:
                at, endpoint = heapq.heappop(self._turns)
                self._awaiting.discard(endpoint)
                phone = self._phones.get(endpoint)
                if phone and phone.frequency > self._keys.interval:
                    yield endpoint
                    # Not from now: who comes late once would be late for ever.
                    self._turn(max(at, now - PAUSE) + self._keys.interval, endpoint)

    def _judged(self, now: float) -> Iterator[Reach]:
        while self._verdicts and self._verdicts[0][0] <= now:
            _, asked, contact = heapq.heappop(self._verdicts)
            if self._suspects.pop(contact, None):
                yield Reach(*pair(contact), False, None, asked)

    def _timeout(self, endpoint: str) -> float:
        phone = self._phones.get(endpoint)
        return phone.timeout if phone else QUALIFY_TIMEOUT

    def _turn(self, at: float, endpoint: str) -> None:
        self._awaiting.add(endpoint)
        heapq.heappush(self._turns, (at, endpoint))

    def _give_up(self) -> None:
        self._on = False
        self._turns.clear()
        self._doubts.clear()
        log.warning(
            "%s: the AMI user may not have contacts asked: give it "
            "`write = system,reporting`; until then only what Asterisk asks by itself "
            "is known",
            self._where,
        )


def _endpoint(row: Message) -> str:
    return row.get("EndpointName") or row.get("Endpoint") or ""
