"""A SIP URI looked at from here: its name, DNS, ways, OPTIONS, REGISTER, a call.

All rungs are begun at once, and each waits for those that it needs, so that the whole
takes as long as its slowest one. What was found stays here for the verdict.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from checks.accounts import twilio
from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Outcome as Registered
from checks.cause import Answer, Evidence
from checks.cause.answer import Known, answer_of
from checks.observation import State, plain
from checks.options.targets import ProbeSettings
from checks.sip.call import Caller
from checks.sip.call import Outcome as Called
from checks.sip.certificate import tls_context
from checks.sip.client import Answer as Heard
from checks.sip.client import Client
from checks.sip.digest import Credentials
from checks.sip.errors import SipError
from checks.sip.params import Params
from checks.sip.resolver import Address, Resolver
from checks.sip.uri import SipUri
from checks.twilio.settings import TwilioSettings
from sipwatch.diagnosis.lookups import records
from sipwatch.diagnosis.provider import Provider
from sipwatch.diagnosis.roads import Means, Road, road_rung
from sipwatch.diagnosis.rung import Rung
from sipwatch.floors import TooSoonError

TRANSPORTS = ("udp", "tcp", "tls")
PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
PATIENCE = 1.0  # s for the way that is asked for, before another one is taken
TIMEOUT = 5.0  # s for each question
SHORT = 1.0  # s that nobody is told to wait
AGO = 15.0  # s after which an answer is an old one, which is said of it
# A phone or a proxy says so of a user; of a host all but 2xx and a few is a fault.
_ABOUT_A_USER = frozenset({480, 486, 600, 603})
_NO_USER = frozenset({404, 410, 604})  # the host is well, and does not know whom we ask

T = TypeVar("T")
Register = Callable[[AccountSettings], Awaitable[Registered]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quest:
    """What is to be found out, and how it may be asked."""

    uri: SipUri
    agent: str
    account: AccountSettings | None = None
    register: Register | None = None
    call: bool = False
    from_uri: SipUri | None = None
    timeout: float = TIMEOUT
    source: str | None = None
    ca: str | None = None
    resolver: Resolver | None = None
    known: Known = field(default_factory=Known)
    who: str = ""  # it is about, where the URI does not name it
    twilio: TwilioSettings | None = None  # whose account there is looked at
    healthy_codes: frozenset[int] | None = None  # of a target; None: the usual ones
    floor: float = 0.0  # s that are to lie between two questions to an address
    claim: Callable[[list[str]], float] | None = None  # s until these may be asked

    @property
    def wanted(self) -> str | None:
        """The transport that the URI asks for; None leaves it to the DNS."""
        return self.uri.transport

    @property
    def named(self) -> str:
        """Whom it is about, for a sentence."""
        return self.who or self.uri.user or self.uri.host


class Network:
    """Looks at one URI; `rungs` are awaited side by side, by who owns them."""

    def __init__(self, quest: Quest) -> None:
        """OSError or ssl.SSLError for a bad `ca`."""
        self.quest = quest
        self.wrong_name = wrong_name(quest)
        self.lost: SipError | None = None  # why the name leads nowhere
        self.wanted = quest.wanted or "udp"
        self.roads: dict[str, Road] = {}
        self.taken = ""  # the transport that OPTIONS, REGISTER and a call go over
        self.answer: Answer | None = None  # of OPTIONS, the worst
        self.passed_on = False  # a server took it, and nobody behind it answered
        self.mute = False  # it takes connections, and answers no SIP
        self.healthy = False
        self.registered: Registered | None = None
        self.provider = Provider(quest.twilio, *_at_provider(quest))
        self.called: Answer | None = None
        self.call_failed: SipError | None = None
        self._rings = False
        # Made now: it takes 20 ms, which nobody's time should be charged with.
        context = tls_context(quest.ca)
        source = (quest.source, 0) if quest.source else None
        self._resolver = quest.resolver or Resolver()
        self._client = Client(
            resolver=self._resolver, source=source, ssl_context=context
        )
        self._context = context
        self._own = quest.from_uri or SipUri(quest.uri.host, "sipwatch")
        self._means = Means(
            client=self._client,
            uri=quest.uri,
            from_uri=self._own,
            agent=quest.agent,
            timeout=quest.timeout,
            source=quest.source,
            context=context,
        )
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._steps: tuple[str, ...] = ()
        self._looked = self._claimed_at = 0.0

    def close(self) -> None:
        """Close every socket."""
        for task in self._tasks.values():
            task.cancel()
        self._client.close()

    def rungs(self) -> list[Coroutine[Any, Any, Rung | None]]:
        """All that are to be looked at, in the order in which they are told."""
        ways = [self._way_rung(transport) for transport in TRANSPORTS]
        last = [self._register(), self.provider.rung(), self.call_rung()]
        first = [self._name(), self._dns(), self._pause()]
        return [*first, *ways, self._options(), *last]

    # --- name and DNS ---------------------------------------------------------------

    async def _name(self) -> Rung | None:
        host = self.quest.uri.host
        if self.wrong_name is not None:
            return Rung("name", False, f"{host}: {self.wrong_name.problem}")
        if twilio.is_twilio(host):
            what = "an Elastic SIP Trunk" if _is_trunk(host) else "a Twilio SIP Domain"
            return Rung("name", True, f"{host} is {what}")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return Rung("name", True, f"{host} is a name that SIP can have")
        return None

    async def _dns(self) -> Rung | None:
        places = await self._places()
        if self.lost is not None:
            return Rung("DNS", False, plain(self.lost.detail), self._looked)
        if not self._steps:
            return None  # an address
        ips = list(dict.fromkeys(one.ip for some in places.values() for one in some))
        return Rung("DNS", True, records(self._steps, ips), self._looked)

    async def _places(self) -> dict[str, tuple[Address, ...]]:
        """The addresses by transport."""
        return await self._once("places", self._resolve)

    async def _resolve(self) -> dict[str, tuple[Address, ...]]:
        began = time.monotonic()
        try:
            own = await self._resolver.resolve(self.quest.uri)
        except SipError as error:
            self.lost, self._looked = error, time.monotonic() - began
            return {}
        self._steps = own.steps
        self.wanted = own.addresses[0].transport
        ips = tuple(dict.fromkeys(address.ip for address in own.addresses))
        found = {}
        for transport in TRANSPORTS:
            given = tuple(a for a in own.addresses if a.transport == transport)
            port = self._port(transport)
            found[transport] = given or tuple(
                Address(ip, port, transport) for ip in ips
            )
        if self.wanted not in TRANSPORTS:  # over a WebSocket there is one way alone
            found = {self.wanted: own.addresses}
        self._looked = time.monotonic() - began
        return found

    def _port(self, transport: str) -> int:
        """UDP and TCP share a port; TLS has the next one."""
        port = self.quest.uri.port
        if port is None or transport == self.wanted:
            return port or PORTS[transport]
        if "tls" in (transport, self.wanted):
            return (
                PORTS[transport] if port in PORTS.values() else _beside(port, transport)
            )
        return port

    # --- to leave alone -------------------------------------------------------------

    async def _pause(self) -> Rung | None:
        """How long its addresses are to be left alone yet, where others ask them."""
        wait = await self._claim()
        if wait < SHORT:
            return None
        text = f"asked a moment ago: it is left alone for {wait:.0f} s more"
        return Rung("pause", None, text)

    async def _claim(self) -> float:
        """s until it may be asked; it is our turn then, and nobody else's."""
        return await self._once("claim", self._claimed)

    async def _claimed(self) -> float:
        places = await self._places()
        self._claimed_at = time.monotonic()
        ips = dict.fromkeys(one.ip for some in places.values() for one in some)
        return self.quest.claim(list(ips)) if self.quest.claim and ips else 0.0

    async def _let_alone(self) -> None:
        """Wait until it may be asked."""
        wait = await self._claim()
        await asyncio.sleep(max(0.0, self._claimed_at + wait - time.monotonic()))

    # --- ways -----------------------------------------------------------------------

    async def _way_rung(self, transport: str) -> Rung | None:
        road = await self._road(transport)
        return road_rung(road, transport == self.wanted)

    async def _road(self, transport: str) -> Road | None:
        return await self._once(transport, lambda: self._look(transport))

    async def _look(self, transport: str) -> Road | None:
        places = (await self._places()).get(transport, ())
        if transport == "udp":
            if self._guarded and await self._is_open(self.wanted):
                return None  # it is asked there, and must not be asked twice
            await self._let_alone()
        port = places[0].port if places else 0
        road = await self._means.look(transport, port, places)
        if road is not None:
            self.roads[transport] = road
        return road

    async def _is_open(self, transport: str) -> bool:
        """Whether a way other than UDP, which alone is looked at by a question, is."""
        road = await self._road(transport) if transport != "udp" else None
        return road is not None and bool(road.open)

    @property
    def _guarded(self) -> bool:
        """Whether an address may be asked only now and then."""
        return self.quest.floor > 0 or twilio.is_twilio(self.quest.uri.host)

    async def _best(self) -> Road | None:
        """The way that is asked for, or else one that is open, once it is known."""
        return await self._once("best", self._choose)

    async def _choose(self) -> Road | None:
        await self._places()
        first = asyncio.ensure_future(self._road(self.wanted))
        await asyncio.wait([first], timeout=PATIENCE)
        if first.done() and (road := first.result()) is not None and road.open:
            return self._took(road)
        for transport in ("tls", "tcp", "udp"):
            if transport != self.wanted:
                road = await self._road(transport)
                if road is not None and road.open:
                    return self._took(road)
        road = await first
        return self._took(road) if road is not None and road.open else None

    def _took(self, road: Road) -> Road:
        self.taken = road.transport
        return road

    # --- OPTIONS --------------------------------------------------------------------

    async def _options(self) -> Rung | None:
        road = await self._best()
        if road is None:
            return None if self.lost else Rung("OPTIONS", False, "nothing answers")
        heard, host = await asyncio.gather(self._asked(road), self._host_answers(road))
        if not heard:
            self.passed_on, self.mute = host, not host
            return Rung("OPTIONS", False, f"no answer over {road.transport.upper()}")
        took = max(one.rtt for _, one in heard)
        told = [self._told(place, one) for place, one in heard]
        worst = max(told, key=lambda answer: (not self._is_well(answer), answer.status))
        self.answer, self.healthy = worst, self._is_well(worst)
        several = "" if road.count == 1 else f" from {len(heard)} of {road.count}"
        text = f"{worst.said}{several} over {road.transport.upper()}{_agent(worst)}"
        return Rung("OPTIONS", self.healthy, text, took)

    async def _asked(self, road: Road) -> list[tuple[Address, Heard]]:
        # Twilio bans who asks one address twice within its floor.
        if road.answers and (self.quest.uri.user is None or self._guarded):
            return list(road.answers)
        await self._let_alone()
        several = road.open
        found = await asyncio.gather(
            *(self._means.ask(place) for place in several), return_exceptions=True
        )
        heard = []
        for place, one in zip(several, found, strict=True):
            if isinstance(one, Heard):
                heard.append((place, one))
            elif not isinstance(one, SipError):
                raise one
        return heard

    async def _host_answers(self, road: Road) -> bool:
        """Whether SIP answers for the host, whatever a user of it does: that somebody
        takes a connection does not show it."""
        if road.answers or self.quest.uri.user is None or self._guarded:
            return bool(road.answers)
        found = await asyncio.gather(*(self._means.ask_host(p) for p in road.open))
        return any(isinstance(one, Heard) for one in found)

    def _told(self, place: Address, heard: Heard) -> Answer:
        provider = twilio.is_twilio(self.quest.uri.host)
        source = "{}:{}".format(*heard.source[:2])
        known = replace(
            self.quest.known,
            provider=provider,
            servers=(*self.quest.known.servers, str(place)),
        )
        return answer_of(heard.response, source=source, at=time.time(), known=known)

    def _is_well(self, answer: Answer) -> bool:
        codes, user = self.quest.healthy_codes, self.quest.uri.user
        if user and answer.status in _ABOUT_A_USER:
            return False
        if codes is not None:
            return answer.status in codes
        if user and answer.status in _NO_USER:
            return False
        return answer.status in ProbeSettings().healthy_codes

    # --- REGISTER -------------------------------------------------------------------

    async def _register(self) -> Rung | None:
        account, register = self.quest.account, self.quest.register
        if account is None or register is None:
            return None
        road = await self._best()
        if road is not None and road.transport != self.wanted:
            account = replace(account, registrar=str(_over(account.uri, road)))
        began = time.monotonic()
        try:
            outcome = self.registered = await register(account)
        except TooSoonError as soon:
            return Rung("REGISTER", None, f"not asked: {soon}")
        took = outcome.rtt if outcome.rtt is not None else time.monotonic() - began
        text, ago = plain(outcome.sentence), time.time() - outcome.at
        if ago > AGO:
            text += f" ({ago:.0f} s ago: it must not be asked more often)"
        return Rung("REGISTER", outcome.state is State.OK, text, took)

    # --- a call ---------------------------------------------------------------------

    async def call_rung(self) -> Rung | None:
        """Call it, where that was asked for."""
        if not self.quest.call:
            return None
        road = await self._best()
        if road is None:
            return Rung("call", False, "there is no way to call it")
        place, began = road.open[0], time.monotonic()
        try:
            outcome = await self._called(place)
        except SipError as error:
            self.call_failed = error
            return Rung("call", False, plain(error.detail), time.monotonic() - began)
        return self._call_rung(outcome)

    async def _called(self, place: Address) -> Called:
        quest, account = self.quest, self.quest.account
        credentials = None
        if account is not None:
            user = account.auth_username or account.username
            credentials = Credentials(user, account.password)
        caller = Caller(
            user_agent=quest.agent,
            source=(quest.source, 0) if quest.source else None,
            ssl_context=self._context,
        )
        return await caller.call(
            quest.uri,
            place,
            from_uri=quest.from_uri or (account.identity if account else self._own),
            server_name=quest.uri.host,
            credentials=credentials,
            timeout=2 * quest.timeout,
        )

    def _call_rung(self, outcome: Called) -> Rung:
        response = outcome.response
        if response is None:
            self.passed_on = True
            text = "100 Trying and nothing more"
            return Rung("call", False, f"{text}: {outcome.ended}", outcome.seconds)
        self.called = answer_of(
            response,
            source="{}:{}".format(*outcome.source[:2]),
            at=time.time(),
            known=replace(
                self.quest.known, provider=twilio.is_twilio(self.quest.uri.host)
            ),
            forwarded="another number" if outcome.forwarded else "",
        )
        self._rings = outcome.rings
        text = f"{self.called.said}{_agent(self.called)}: {outcome.ended}"
        return Rung("call", outcome.rings, text, outcome.seconds)

    # --- what it comes to -----------------------------------------------------------

    @property
    def rings(self) -> bool:
        """Whether a call rang."""
        return self._rings

    def evidence(self) -> Evidence:
        """What the answers tell of why."""
        host = self.quest.uri.host
        answer = self.answer
        if self.called is not None and not self._rings:
            answer = self.called
        return Evidence(
            who=self.quest.named,
            place=plain(host),
            answer=answer,
            passed_on=self.passed_on and answer is None,
        )

    # --- once -----------------------------------------------------------------------

    async def _once(self, name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What several rungs need, done once; who waits for it may be cancelled."""
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.ensure_future(make())
        found: T = await asyncio.shield(task)
        return found


def _is_trunk(host: str) -> bool:
    return ".pstn." in host.lower()


def _at_provider(quest: Quest) -> tuple[str, str]:
    """Domain and user as the provider knows them, whatever proxy leads there."""
    account = quest.account
    if account is None:
        return quest.uri.host, quest.uri.user or ""
    return account.uri.host, account.auth_username or account.username


def wrong_name(quest: Quest) -> twilio.Finding | None:
    """What is wrong with a name; a trunk is one that takes calls, if no REGISTER."""
    if quest.account is None and _is_trunk(quest.uri.host):
        return None
    return twilio.check(quest.uri.host)


def _beside(port: int, transport: str) -> int:
    return min(port + 1, 65535) if transport == "tls" else max(port - 1, 1)


def _over(uri: SipUri, road: Road) -> SipUri:
    """The same registrar over a way that is open."""
    written = [p for p in uri.params.written if p[0].lower() != "transport"]
    params = Params([*written, ("transport", road.transport)])
    return replace(uri, port=road.port, params=params, scheme="sip")


def _agent(answer: Answer) -> str:
    return f", {answer.agent}" if answer.agent else ""
