"""The configured accounts: tested when they are due, their test contacts remembered."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from alerting.alarms.core import Alarms
from alerting.store.database import Store
from alerting.store.rows import DropMemo, Memo
from checks.accounts.account import REJECTIONS, Account, due
from checks.accounts.contact import OwnContact
from checks.accounts.exchange import Exchange, Step
from checks.accounts.settings import QUERY, AccountSettings
from checks.accounts.trial import Around, Intent, Outcome, Trial
from checks.observation import Cause, Kind, Observation, Scope, Subject
from checks.registrars.clocks import pause
from checks.registrations.readings import Refused
from checks.sip.resolver import Resolver
from sipwatch.attempts import MEMO as ATTEMPT
from sipwatch.attempts import Attempts
from sipwatch.clock import Clock
from sipwatch.flow import Flow
from sipwatch.tasks import Tasks

TASK = "accounts"
MEMO = "account/"
TICK = 1.0  # s between two looks at who is due
AT_ONCE = 8  # tests under way; each may wait for its answers for some 10 s
REFUSALS = 256  # heard of the PBXs and kept: attackers are refused all day
THOROUGH = 2  # tests in a row that fail and look at other transports as well
START_WAIT = 3.0  # s that PBXs have to be read in, before the first tests
HINT_WAIT = 0.5  # s that a PBX's word on a refusal may come after its answer

TOO_SOON = "it must not be asked more often"

# What the PBX says of one request, the most telling first.
_TELLING = (
    Cause.ADDRESS_DENIED,
    Cause.NOT_FOUND,
    Cause.IN_USE,
    Cause.UNKNOWN_USER,
    Cause.WRONG_PASSWORD,
)

log = logging.getLogger(__name__)


class Accounts(Mapping[str, Account]):
    """Who is tested, by name."""

    def __init__(
        self,
        clock: Clock,
        flow: Flow,
        alarms: Alarms,
        store: Store,
        tasks: Tasks,
        *,
        resolver: Resolver,
        site: Callable[[str], Subject | None],
        instance: Callable[[], str],
        agent: str,
        held: Callable[[str], Iterable[str]],
        explains: Callable[[], bool],
        tested: Callable[[Account, Observation, bool], None],
    ) -> None:
        """`held` are the contacts that a watched registrar holds for an AOR; a PBX
        that `explains` tells by `heard` why it refused; `tested` is called after each
        test, with whether it is news."""
        self._clock, self._flow, self._alarms = clock, flow, alarms
        self._store, self._tasks, self._resolver = store, tasks, resolver
        self._site, self._instance, self._agent = site, instance, agent
        self._held, self._explains, self._tested = held, explains, tested
        self._accounts: dict[str, Account] = {}
        self._leftovers: dict[str, Intent] = {}
        self._attempts = Attempts(clock, flow)
        self._refusals: OrderedDict[str, set[Cause]] = OrderedDict()
        self._refused = asyncio.Event()
        self._begun = asyncio.Event()
        self._waiting: asyncio.Queue[Account] = asyncio.Queue()
        self._queued: set[Account] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._answers: dict[str, tuple[Account, Outcome]] = {}  # to those who asked

    def __getitem__(self, name: str) -> Account:
        return self._accounts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def passed(self) -> bool:
        """Whether each was tested once, or has to wait for that."""
        several = self._accounts.values()
        return all(account.state is not None or account.rests for account in several)

    # --- who is tested --------------------------------------------------------------

    def start(self, configured: Mapping[str, AccountSettings]) -> None:
        """Test these as soon as it is time to `begin`; what a crash left registered is
        removed first."""
        for name, text in self._store.recall(MEMO).items():
            self._find_leftover(name.removeprefix(MEMO), text, configured)
        self._attempts.restore(self._store.recall(ATTEMPT), configured)
        for name, settings in configured.items():
            self.watch(name, settings)
        self._tasks.spawn(TASK, self._run())
        self.tick()

    def begin(self) -> None:
        """All that could explain a refusal has been heard, or tried."""
        self._begun.set()

    def watch(self, name: str, settings: AccountSettings) -> None:
        """Test one more, at once."""
        labels = {"site": settings.site} if settings.site else {}
        scope = Scope(name, "", labels, self._site(settings.site))
        subject = Subject(Kind.ACCOUNT, name, scope)
        row = self._alarms.adopt(subject)
        before = None if row is None else (row.state, row.since)
        self._accounts[name] = Account(
            name, settings, subject, self._clock.now(), before
        )
        self._attempts.resume(self._accounts[name])

    def unwatch(self, name: str) -> Subject:
        """Test it no more; a test that is under way ends by itself."""
        self._attempts.forget(name)
        self._answers.pop(name, None)
        return self._accounts.pop(name).subject

    def renew(self, name: str, settings: AccountSettings) -> None:
        """Test one otherwise, at once; what is known of it stays."""
        self._alarms.release(self.unwatch(name))
        self.watch(name, settings)

    def allow(self) -> None:
        """A reload: who was seen to use an account may have been told to stop it, a
        password put right."""
        now = self._clock.now()
        for account in self._accounts.values():
            account.pardon(now)

    # --- when -----------------------------------------------------------------------

    def tick(self) -> None:
        """Have those tested whose time has come."""
        for account in due(self._accounts.values(), self._clock.now()):
            if account not in self._queued:
                self._queued.add(account)
                self._waiting.put_nowait(account)

    async def test_due(self) -> None:
        """The one job of all accounts."""
        self.tick()

    async def _run(self) -> None:
        # What was refused before a PBX is listened to, nobody would explain.
        await pause(self._begun, START_WAIT)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            account = await self._waiting.get()
            if self._accounts.get(account.name) is account:
                await self._test(account, lambda step: None)
            self._queued.discard(account)

    # --- a test ---------------------------------------------------------------------

    async def test(self, name: str, tell: Callable[[Step], None]) -> Outcome:
        """Test one by hand; KeyError where there is none of this name. Where it is too
        soon for that, this is its last answer, as of `ask`."""
        return await self._test(self._accounts[name], tell, by_hand=True)

    async def ask(self, name: str, registrar: str = "") -> Outcome:
        """Only ask for the bindings of one, at this URI of its registrar or its own;
        KeyError where there is none. Who bans those that ask too often is not asked
        again before its floor, nor who refused us twice within some minutes: then
        this is its last answer, `at` its own time."""
        account = self._accounts[name]
        settings = account.settings
        settings = replace(settings, registrar=registrar or settings.registrar)
        own = OwnContact.of(self._instance(), name)
        asking = replace(settings, mode=QUERY)
        async with self._lock(name):  # it would take a test contact for a leftover
            if (known := self._answer(account)) is not None:
                return known
            around = self._around(lambda step: None)
            outcome = await Trial(asking, own, around).run()
        if self._accounts.get(name) is account:
            self._answers[name] = account, outcome
            if account.asked(outcome):
                self._attempts.ended(account, outcome.at)
        return outcome

    def free_at(self, name: str) -> float:
        """From when on one may be tested by hand, our time; 0.0: now."""
        account = self._accounts[name]
        last = self._answer(account)
        return 0.0 if last is None else last.at + account.pause

    def _answer(self, account: Account) -> Outcome | None:
        """Its last answer, where it is too soon for another one."""
        asked, answer = self._answers.get(account.name, (None, None))
        several = (account.outcome, answer if asked is account else None)
        # Silence is no answer, except that of who has refused us: that may be a ban.
        silence = account.rejections >= REJECTIONS
        told = [one for one in several if one and (silence or one.rtt is not None)]
        last = max(told, key=lambda outcome: outcome.at, default=None)
        if last is None or self._clock.now() - last.at >= account.pause:
            return None
        return last

    async def _test(
        self, account: Account, tell: Callable[[Step], None], *, by_hand: bool = False
    ) -> Outcome:
        async with self._lock(account.name):
            if by_hand and (known := self._answer(account)) is not None:
                ago = self._clock.now() - known.at
                tell(Step(None, "wait", f"answered {ago:.0f} s ago: {TOO_SOON}"))
                return known
            self._attempts.begins(account)
            trial = Trial(
                account.settings,
                OwnContact.of(self._instance(), account.name),
                self._around(tell),
                _Stored(account.name, self._flow, self._clock, self._leftovers),
                leftover=self._leftovers.get(account.name),
                forbidden=account.forbidden,
                places=account.outcome.places if account.outcome else (),
                thorough=by_hand or account.failing < THOROUGH,
            )
            outcome = await trial.run()
        if self._accounts.get(account.name) is account:
            self._judge(account, outcome)
        return outcome

    def _lock(self, name: str) -> asyncio.Lock:
        """One test of an account at a time, over reloads as well."""
        return self._locks.setdefault(name, asyncio.Lock())

    def _judge(self, account: Account, outcome: Outcome) -> None:
        first = account.outcome is None
        result = account.judge(outcome, random.random())
        self._attempts.ended(account, outcome.at)
        self._flow.observe(result.observation)
        self._tested(account, result.observation, first or result.moved)

    def _around(self, tell: Callable[[Step], None]) -> Around:
        return Around(
            clock=self._clock.now,
            agent=self._agent,
            resolver=self._resolver,
            hint=self._hint,
            held=self._held,
            tell=tell,
        )

    # --- what PBXs tell of refusals -------------------------------------------------

    def heard(self, refused: Refused) -> None:
        """A PBX refused somebody, perhaps us."""
        self._refusals.setdefault(refused.call_id, set()).add(refused.cause)
        self._refusals.move_to_end(refused.call_id)
        if len(self._refusals) > REFUSALS:
            self._refusals.popitem(last=False)
        self._refused.set()

    async def _hint(self, exchange: Exchange) -> Cause | None:
        deadline = asyncio.get_running_loop().time() + HINT_WAIT
        while self._explains():
            found = self._refusals.get(exchange.call_id, set())
            if told := next((cause for cause in _TELLING if cause in found), None):
                return told
            self._refused.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._refused.wait()
            except TimeoutError:
                break
        return None

    # --- what a crash left ----------------------------------------------------------

    def _find_leftover(
        self, name: str, text: str, configured: Mapping[str, AccountSettings]
    ) -> None:
        try:
            intent = Intent.parse(text)
        except ValueError as error:
            log.warning("account %s: %s", name, error)
            self._flow.write([DropMemo(MEMO + name)])
            return
        if name in configured:
            self._leftovers[name] = intent
            return
        log.warning(
            "account %s is no longer configured, so that its test contact at %s cannot"
            " be removed; it expires by itself, within an hour at most",
            name,
            intent.registrar,
        )
        self._flow.write([DropMemo(MEMO + name)])


class _Stored:
    """The intents of one account, in the store and in mind."""

    def __init__(
        self, name: str, flow: Flow, clock: Clock, leftovers: dict[str, Intent]
    ) -> None:
        self._name, self._flow, self._clock = name, flow, clock
        self._leftovers = leftovers

    async def keep(self, intent: Intent) -> None:
        """On the disk when this returns; OSError where the store fails."""
        self._leftovers[self._name] = intent
        stored = replace(intent, ends_at=self._clock.to_wall(intent.ends_at))
        self._flow.write([Memo(MEMO + self._name, stored.json)])
        try:
            await self._flow.commit()
        except sqlite3.Error as error:
            raise OSError(f"the database takes nothing: {error}") from None

    def drop(self) -> None:
        """Nothing of ours is bound."""
        if self._leftovers.pop(self._name, None) is not None:
            self._flow.write([DropMemo(MEMO + self._name)])
