"""Any registrar, asked by SIP itself: a binding query for each watched AOR.

Every AOR has a time at which it is asked next: an interval after the last answer, or
its end and a second. So the questions are spread, and one that cannot be answered
hides no other. Where the registrar tells of changes itself (the `reg` event package)
they are told as they come; the queries stay, and are what counts.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Literal

from checks.observation import Cause, plain
from checks.register import Query, RefusedError, binding_query, bindings
from checks.registrars.aor import canonical
from checks.registrars.clocks import pause
from checks.registrars.complaints import Complaint
from checks.registrars.failures import HOLD_BACK, REJECTED, HoldBack, trusting
from checks.registrars.queries import AT_ONCE, PlainQueries, Round, Told
from checks.registrars.subscriber import Subscriber
from checks.registrars.turns import NEVER, Turns
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

FLOORS = {"twilio.com": 600.0}  # s between two queries for one AOR, by domain
FLOOR = 2.0  # s for any other registrar
SLICE = 2_000  # AORs named in one turn of the loop
GATHERED = 400  # AORs asked for in a row that are judged together, some ms
GATHERING = 0.1  # s, after which nobody else is asked until those are judged
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
    ca: str | None = None  # file with the CA's certificate; default: the system's
    timeout: Duration = 5.0  # for each query
    subscribe: bool = True  # to the reg event package (RFC 3680), where it is offered


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
        self._turns = Turns()
        self._unknown: set[str] = set()  # AORs it does not have; said once in the log
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
        now, due = self._clock(), self._turns.next_due()
        if due is not None and due <= now:
            return  # somebody is asked at this moment, and they are among the next
        for n in self._turns.oldest(AT_ONCE):
            self._turns.wish(n, now)
        self._stirred.set()

    async def watch(self) -> AsyncGenerator[Reading, None]:
        """Ask without end; raises Unreadable when the registrar gives no answers."""
        self._hold_back.check(self._clock())
        self._turns.resume(self._clock())
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
                        events.watch(aors)
                if events is not None and self._proven:
                    for reading in self._heard(events):
                        yield reading
                    events.keep(client, self._places[0])
                if not self._is_due():
                    await self._rest(events)
                    self._look_at = NEVER
                    continue
                await self._locate(client)
                found = await self._ask(client, query)
                self._proven = self._proven or bool(found.answered)
                self._judge(found)
                if found.answered:
                    for at in range(0, len(found.rows), SLICE):
                        yield Bindings(found.rows[at : at + SLICE])
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
        unique = dict.fromkeys(named)
        return named if len(unique) == len(named) else list(unique)

    def _adopt(self, aors: list[str]) -> None:
        """Ask for these from now on; those that are new are due at once."""
        if self._turns.names != aors:
            self._turns.adopt(aors, self._clock())
            self._unknown &= set(aors)

    def _is_due(self) -> bool:
        due = self._turns.next_due()
        return due is not None and due <= self._clock()

    async def _rest(self, events: Subscriber | None) -> None:
        due = self._turns.next_due()
        due = self._clock() if due is None else due
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

    def _plan(self, n: int, told: Told, now: float, floor: float) -> None:
        """Ask again after an interval, or when the first binding should have ended."""
        rows = [] if isinstance(told, SipError) else told
        ends = [row.expires_at for row in rows if row.expires_at is not None]
        end = min(ends) + AFTER_END if ends else math.inf
        interval = self._settings.interval
        self._turns.plan(n, now, interval=interval, floor=floor, end=end)

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
        for aor in doubted:
            if (n := self._turns.number(aor)) is not None:
                self._turns.wish(n, now)
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

    async def _ask(self, client: Client, query: Query) -> Round:
        """Ask those who are due, as many as are judged together."""
        found, asked = Round(self._clock()), dict[str, int]()
        told, more = dict[str, Told](), self._next(found.began, asked)
        if (quick := self._quick(query)) is not None:
            told = await quick.ask(more, self._name)
            if len(self._places) > 1:  # another may answer where this one does not
                told = {aor: said for aor, said in told.items() if _ends_it(said)}
            more = iter([aor for aor in asked if aor not in told])
        while several := list(islice(more, AT_ONCE if self._proven else 1)):
            said = await asyncio.gather(
                *(self._ask_for(client, query, aor) for aor in several)
            )
            told.update(zip(several, said, strict=True))
            if quick is None and not (self._proven and all(map(_ends_it, said))):
                break
        now, least = self._clock(), self._floor()
        for aor, n in asked.items():
            hold = self._take(aor, told[aor], found)
            self._plan(n, told[aor], now, max(least, hold))
        return found

    def _next(self, began: float, asked: dict[str, int]) -> Iterator[str]:
        """Those who are due, one by one; `asked` has the numbers of those taken.

        Each judging looks at more than at those who were asked, so that many are
        judged together where they are answered quickly.
        """
        turns, stirred = self._turns, self._stirred
        while len(asked) < GATHERED:
            now = self._clock()
            if asked and (now >= began + GATHERING or stirred.is_set()):
                return
            if not (taken := turns.take(now, 1)):
                return
            aor = turns.names[taken[0]]
            asked[aor] = taken[0]
            yield aor

    def _quick(self, query: Query) -> PlainQueries | None:
        """Who asks in few steps, where that can be."""
        place = self._places[0] if self._places else None
        if not self._proven or place is None or not PlainQueries.may_ask(query, place):
            return None
        if self._plain is not None and self._plain.address != place:
            self._plain.close()
            self._plain = None
        if self._plain is None:
            self._plain = PlainQueries(query, place, self._clock)
        return self._plain

    async def _ask_for(self, client: Client, query: Query, aor: str) -> Told:
        """What is told of one AOR."""
        try:
            response = await self._over_places(client, query, aor)
        except SipError as error:
            return error
        return bindings(response, self._name(aor), self._clock())

    def _take(self, aor: str, told: Told, found: Round) -> float:
        """Put an answer into the round; s until that AOR may be asked again."""
        name = self._name(aor)
        if not isinstance(told, SipError):
            found.rows += told
            found.answered.add(name)
            self._unknown.discard(aor)
        elif told.cause is Cause.NOT_FOUND:
            found.answered.add(name)
            if aor not in self._unknown:
                text = "%s has no AOR %s (%s)"
                log.info(text, self.address, plain(name), told.detail)
            self._unknown.add(aor)
        else:
            found.failures.append(told)
            return HOLD_BACK if told.cause in REJECTED else 0.0
        return 0.0

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

    # --- what the answers mean for the registrar ------------------------------------

    def _judge(self, found: Round) -> None:
        """Raise where the registrar as a whole gives no answers."""
        if found.answered:
            self._failed_in_row = 0
            self._hold_back.accepted()
            return
        self._failed_in_row += len(found.failures)
        if self._proven and self._failed_in_row < min(AT_ONCE, len(self._turns)):
            return
        error = found.failures[0]
        failed = f"{self.address}: {error.detail}"
        failure = Unreadable(error.cause, failed)
        if error.cause in REJECTED:
            failure = Complaint.SIP_RIGHTS.of(error.cause, failed=failed)
            self._hold_back.refused(failure, self._clock())
        raise failure
