"""Any registrar, asked by SIP itself: a binding query for each watched AOR.

Every AOR has a time at which it is asked next: an interval after the last answer, or
its end and a second. So the questions are spread, and one that cannot be answered
hides no other. Where the registrar tells of changes itself (the `reg` event package)
they are told as they come; the queries stay, and are what counts.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from checks.observation import Binding, Cause, plain
from checks.register import Query, RefusedError, binding_query, bindings
from checks.registrars.aor import canonical
from checks.registrars.clocks import pause
from checks.registrars.complaints import Complaint
from checks.registrars.failures import HOLD_BACK, REJECTED, HoldBack, trusting
from checks.registrars.queries import PlainQueries, Round, Told
from checks.registrars.subscriber import Subscriber
from checks.registrations.judge import (
    Added,
    Bindings,
    Expected,
    Gone,
    ListEnd,
    Reading,
    RegistrarSettings,
    Unreadable,
)
from checks.registrations.roster import matches
from checks.settings import Duration, Secret
from checks.sip.client import Client
from checks.sip.digest import Credentials
from checks.sip.errors import SipError
from checks.sip.message import Response
from checks.sip.resolver import Address, Resolver
from checks.sip.uri import SipUri

AT_ONCE = 8  # queries under way; a registrar has bigger things to do
NEVER = float("-inf")
FLOORS = {"twilio.com": 600.0}  # s between two queries for one AOR, by domain
FLOOR = 2.0  # s for any other registrar
SLICE = 2_000  # AORs named in one turn of the loop
GATHERED = 40  # answers that are judged together, where so many come
GATHERING = 0.1  # s, after which those that came are judged
LOOK = 1.0  # s between two looks at who is watched, while queries are under way
AFTER_END = 1.0  # s from a binding's end to the query that looks for it
OVERLOADED = Cause.OVERLOADED

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SipSettings(RegistrarSettings):
    """A registrar by its SIP URI."""

    type: Literal["sip"] = "sip"
    username: str = ""  # who may ask for bindings
    password: Secret = field(default_factory=lambda: Secret(""))  # of that user
    user_agent: str = "sipwatch"  # the User-Agent of our requests
    ca: str | None = None  # file with the CA's certificate; None: the system's
    timeout: Duration = 5.0  # for each query
    subscribe: bool = True  # to the reg event package (RFC 3680), where it is offered


@dataclass(slots=True)
class Asked:
    """When an AOR was asked, and when it shall be again."""

    aor: str
    phase: float  # 0 to 1: its place in the interval
    last: float = NEVER
    due: float = NEVER
    not_before: float = NEVER  # nobody's wish is worth a ban
    unknown: bool = False  # the registrar has no such AOR; said once in the log


def _last(asked: Asked) -> float:
    return asked.last


@lru_cache(maxsize=64)
def _parsed(address: str) -> SipUri:
    """A registrar's own URI: where it is."""
    try:
        return SipUri.parse(address if ":" in address[:5] else f"sip:{address}")
    except ValueError as error:
        raise Complaint.SIP_ADDRESS.of(address=address, error=error) from None


def _ends_it(told: Told) -> bool:
    """Whether no other address need be asked (RFC 3263 4.3)."""
    refused = isinstance(told, RefusedError) and told.cause is not OVERLOADED
    return refused or not isinstance(told, SipError)


class Sip:
    """One registrar at one URI: readings AOR by AOR."""

    def __init__(
        self,
        settings: SipSettings,
        address: str,
        *,
        clock: Callable[[], float],
        aors: Callable[[], list[str]] = list,
        resolver: Resolver | None = None,
    ) -> None:
        self.address = address
        self._settings = settings
        self._clock = clock
        self._aors = aors
        self._resolver = resolver
        only = settings.extensions
        named = (self._name(one.name) for one in only.include if one.name)
        self._included = [aor for aor in named if not matches(only.exclude, aor)]
        self._asked: dict[str, Asked] = {}
        self._queue: list[tuple[float, float, str]] = []  # a heap: due, last, AOR
        self._known: list[str] = []  # the AORs as they were last looked at
        self._look_at = NEVER
        self._stirred = asyncio.Event()
        self._places: list[Address] = []  # the one that answered last comes first
        self._resolve_at = NEVER
        self._plain: PlainQueries | None = None
        self._proven = False  # it has answered
        self._failed_in_row = 0
        self._hold_back = HoldBack()

    def relist(self) -> None:
        """Ask now for those that were asked the longest ago, as many as at once."""
        now, head = self._clock(), self._head()
        if head is not None and head[0] <= now:
            return  # somebody is asked at this moment, and they are among the next
        for asked in heapq.nsmallest(AT_ONCE, self._asked.values(), key=_last):
            self._wish(asked, now)
        self._stirred.set()

    def _wish(self, asked: Asked, now: float) -> None:
        """Ask for one as soon as it may be asked again."""
        self._wait(asked, min(asked.due, max(now, asked.not_before)))

    def _wait(self, asked: Asked, due: float) -> None:
        """Ask for one then; what was in the queue of it before is passed over."""
        asked.due = due
        heapq.heappush(self._queue, (due, asked.last, asked.aor))
        if len(self._queue) > 2 * len(self._asked) + AT_ONCE:
            self._order()

    async def watch(self) -> AsyncGenerator[Reading, None]:
        """Ask without end; raises Unreadable when the registrar gives no answers."""
        self._hold_back.check(self._clock())
        self.relist()
        query = self._query()
        events = self._subscriber(query)
        client = await self._client(events)
        self._known = []
        self._proven = False  # one query at a time is harm enough until then
        try:
            while True:
                self._stirred.clear()  # what stirs from here on is seen in time
                if self._clock() >= self._look_at and (aors := self._news()):
                    await asyncio.sleep(0)  # they may be many
                    self._adopt(aors)
                    yield Expected(await self._roster(aors))
                    if events is not None:
                        await events.watch(aors)
                if events is not None and self._proven:
                    for reading in self._heard(events):
                        yield reading
                    events.keep(client, self._places[0])
                chosen = self._due(AT_ONCE if self._proven else 1)
                if not chosen:
                    await self._rest(events)
                    self._look_at = NEVER
                    continue
                await self._locate(client)
                found = await self._ask(client, query, chosen)
                if self._proven:
                    await self._gather(client, query, found)
                self._proven = self._proven or bool(found.answered)
                self._judge(found)
                if found.answered:
                    yield Bindings(found.rows)
                    answered = frozenset(found.answered)
                    yield ListEnd(found.began, self._clock(), aors=answered)
        finally:
            if self._plain is not None:
                self._plain.close()
                self._plain = None
            if events is not None:
                await events.close()
            client.close()

    async def _roster(self, aors: list[str]) -> list[tuple[str, str]]:
        roster: list[tuple[str, str]] = []
        for at in range(0, len(aors), SLICE):
            await asyncio.sleep(0)
            roster += [(self._name(aor), "") for aor in aors[at : at + SLICE]]
        await asyncio.sleep(0)
        return roster

    def _order(self) -> None:
        self._queue = [(a.due, a.last, a.aor) for a in self._asked.values()]
        heapq.heapify(self._queue)

    def _name(self, aor: str) -> str:
        return canonical(aor, self._settings.domain)

    # --- whom to ask, and when ------------------------------------------------------

    def _news(self) -> list[str]:
        """The AORs to ask, where they are others than before."""
        self._look_at = self._clock() + LOOK
        named = [*self._aors(), *self._included]
        if not named:
            raise Complaint.SIP_NOBODY.of()
        if named == self._known:
            return []
        self._known = named
        return list(dict.fromkeys(named))

    def _adopt(self, aors: list[str]) -> None:
        """Ask for these from now on; those that are new are due at once."""
        if self._asked.keys() != set(aors):
            before, many = self._asked, len(aors)
            self._asked = {
                aor: before.get(aor) or Asked(aor, (rank + 1) / many)
                for rank, aor in enumerate(aors)
            }
            self._order()

    def _due(self, most: int) -> list[str]:
        now, chosen = self._clock(), dict[str, None]()
        while len(chosen) < most and (head := self._head()) and head[0] <= now:
            chosen[heapq.heappop(self._queue)[2]] = None
        return list(chosen)

    def _head(self) -> tuple[float, float, str] | None:
        """Who is due next, and when; what is out of date is left out."""
        while self._queue:
            due, last, aor = head = self._queue[0]
            asked = self._asked.get(aor)
            if asked is not None and (asked.due, asked.last) == (due, last):
                return head
            heapq.heappop(self._queue)
        return None

    async def _rest(self, events: Subscriber | None) -> None:
        head = self._head()
        due = head[0] if head else self._clock()
        left = min(due, events.next_due() if events else due) - self._clock()
        # The list of AORs may change meanwhile: it is looked at each interval.
        left = min(max(0.0, left), self._settings.interval)
        await pause(self._stirred, left)

    def _floor(self) -> float:
        host = f".{self._uri().host.lower()}"
        for domain, floor in FLOORS.items():
            if host.endswith(f".{domain}"):
                return floor
        return min(FLOOR, self._settings.interval)

    def _plan(self, asked: Asked, rows: list[Binding], hold: float) -> None:
        """Ask again after an interval, or when the first binding should have ended."""
        now, floor = self._clock(), max(self._floor(), hold)
        wait = max(self._settings.interval, floor)
        if asked.last == NEVER:  # the first ones are asked in a row: spread them
            wait = max(floor, wait * asked.phase)
        ends = [row.expires_at for row in rows if row.expires_at is not None]
        end = min(ends, default=now + wait) + AFTER_END
        asked.last, asked.not_before = now, now + floor
        self._wait(asked, min(now + wait, max(end, asked.not_before)))

    # --- to ask ---------------------------------------------------------------------

    def _uri(self) -> SipUri:
        return _parsed(self.address)

    def _query(self) -> Query:
        settings, uri = self._settings, self._uri()
        return Query(
            registrar=SipUri(settings.domain) if settings.domain else uri,
            server_name=uri.host,
            user_agent=settings.user_agent,
            timeout=settings.timeout,
            credentials=(
                Credentials(settings.username, settings.password)
                if settings.username
                else None
            ),
        )

    def _subscriber(self, query: Query) -> Subscriber | None:
        """Who hears of changes; None where that is not to be tried."""
        if not self._settings.subscribe or self._floor() > FLOOR:
            return None
        return Subscriber(query, self._clock, stirred=self._stirred, name=self._name)

    def _heard(self, events: Subscriber) -> list[Added | Gone]:
        """What the registrar told; whom it left in doubt is asked about."""
        readings, doubted = events.take()
        now = self._clock()
        for aor in doubted & self._asked.keys():
            self._wish(self._asked[aor], now)
        return readings

    async def _client(self, events: Subscriber | None) -> Client:
        tls = None
        if self._settings.ca:
            tls = await asyncio.to_thread(trusting, self._settings.ca)
        return Client(
            clock=self._clock,
            ssl_context=tls,
            resolver=self._resolver,
            asked=events.asked if events else None,
        )

    async def _locate(self, client: Client) -> None:
        """Keep the addresses fresh; the old ones serve while our resolver fails."""
        now = self._clock()
        if now < self._resolve_at:
            return
        try:
            resolution = await client.resolve(self._uri())
        except SipError as error:
            if error.cause is not Cause.DNS_FAILURE or not self._places:
                raise Unreadable(error.cause, error.detail) from None
            self._resolve_at = now + self._settings.interval
            return
        fresh = list(resolution.addresses)
        kept = [place for place in self._places if place in fresh]
        self._places = kept + [place for place in fresh if place not in kept]
        self._resolve_at = now + max(self._settings.interval, resolution.ttl)

    async def _ask(self, client: Client, query: Query, chosen: list[str]) -> Round:
        found = Round(self._clock())
        told = await self._plainly(query, chosen)
        for aor, said in told.items():
            self._take(aor, said, found)
        left = [aor for aor in chosen if aor not in told]
        await asyncio.gather(*(self._ask_for(client, query, a, found) for a in left))
        return found

    async def _gather(self, client: Client, query: Query, found: Round) -> None:
        """Ask on, as long as that goes well and quickly, so that many are judged
        together: each judging looks at more than at those who were asked."""
        until = found.began + GATHERING
        while len(found.answered) < GATHERED and not found.failures:
            if self._clock() >= until or self._stirred.is_set():
                return
            if not (chosen := self._due(AT_ONCE)):
                return
            found.add(await self._ask(client, query, chosen))

    async def _plainly(self, query: Query, chosen: list[str]) -> dict[str, Told]:
        """What those are told who can be asked in few steps."""
        place = self._places[0] if self._places else None
        if not self._proven or place is None or not PlainQueries.may_ask(query, place):
            return {}
        if self._plain is None or self._plain.address != place:
            if self._plain is not None:
                self._plain.close()
            self._plain = PlainQueries(query, place, self._clock)
        told = await self._plain.ask(chosen, self._name)
        if len(self._places) > 1:  # another address may answer where this one does not
            told = {a: said for a, said in told.items() if _ends_it(said)}
        return told

    async def _ask_for(
        self, client: Client, query: Query, aor: str, found: Round
    ) -> None:
        """Ask for one AOR; the outcome goes into the round."""
        told: Told
        try:
            response = await self._over_places(client, query, aor)
            told = bindings(response, self._name(aor), self._clock())
        except SipError as error:
            told = error
        self._take(aor, told, found)

    def _take(self, aor: str, told: Told, found: Round) -> None:
        name, asked = self._name(aor), self._asked[aor]
        rows: list[Binding] = []
        hold = 0.0
        if not isinstance(told, SipError):
            rows = told
            found.answered.add(name)
            asked.unknown = False
        elif told.cause is Cause.NOT_FOUND:
            found.answered.add(name)
            self._tell_unknown(asked, name, told)
        else:
            found.failures.append(told)
            hold = HOLD_BACK if told.cause in REJECTED else 0.0
        found.rows += rows
        self._plan(asked, rows, hold)

    async def _over_places(self, client: Client, query: Query, aor: str) -> Response:
        """The answer of the first address that gives one (RFC 3263 4.3)."""
        failure = SipError(Cause.DNS_NXDOMAIN, f"{self.address} has no address")
        for place in list(self._places):
            try:
                response = await binding_query(client, query, aor, place)
            except SipError as error:
                failure = error
                if _ends_it(error):
                    raise
                continue
            if place is not self._places[0]:
                self._places.remove(place)
                self._places.insert(0, place)
            return response
        raise failure

    def _tell_unknown(self, asked: Asked, name: str, error: SipError) -> None:
        if not asked.unknown:
            log.info("%s has no AOR %s (%s)", self.address, plain(name), error.detail)
        asked.unknown = True

    # --- what the answers mean for the registrar ------------------------------------

    def _judge(self, found: Round) -> None:
        """Raise where the registrar as a whole gives no answers."""
        if found.answered:
            self._failed_in_row = 0
            self._hold_back.accepted()
            return
        self._failed_in_row += len(found.failures)
        if self._proven and self._failed_in_row < min(AT_ONCE, len(self._asked)):
            return
        error = found.failures[0]
        failed = f"{self.address}: {error.detail}"
        failure = Unreadable(error.cause, failed)
        if error.cause in REJECTED:
            failure = Complaint.SIP_RIGHTS.of(error.cause, failed=failed)
            self._hold_back.refused(failure, self._clock())
        raise failure
