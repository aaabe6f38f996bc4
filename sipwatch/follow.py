"""One configured registrar: its members are read for ever, its judge decides."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing

from alerting.store.rows import DropMemo, Memo
from checks.accounts.contact import is_test
from checks.observation import Observation, Subject
from checks.registrars import REGISTRARS
from checks.registrations.audit import Row
from checks.registrations.extension import Extension
from checks.registrations.judge import (
    Added,
    Bindings,
    Gone,
    Judge,
    ListEnd,
    Reach,
    Reading,
    Refused,
    Registrar,
    RegistrarSettings,
    Unreadable,
)
from checks.registrations.ledger import EXTENSIONS
from checks.registrations.memory import FORGOTTEN, Remembered, shifted
from checks.registrations.readings import TellsCalls
from checks.registrations.sites import Sites
from checks.sip.resolver import Resolver
from sipwatch.asking import Asking, Inquire
from sipwatch.flow import Flow

BACK_OFF = (1.0, 30.0)  # s until a member is tried again, doubling, with jitter
SLICE = 100  # readings and what they tell in one turn of the loop: some 4 ms
CALLS = 1000  # phones of which it is known whether they are in a call
CALL_LASTS = 300.0  # s that this is held to be so: a mail is read by then
KEPT = 500  # extensions remembered in one turn of the loop: some 4 ms
REST = 0.01  # s between two looks at the judge's deadlines
MEMO = "registrar"  # what the store's memos of registrars begin with

log = logging.getLogger(__name__)


class Following:
    """Reads all members of a registrar, and tells what its judge makes of it."""

    def __init__(
        self,
        judge: Judge,
        flow: Flow,
        clock: Callable[[], float],
        *,
        resolver: Resolver,
        arrived: Callable[[Following], None],
        ahead: Callable[[], float] = lambda: 0.0,
        refused: Callable[[Refused], None] = lambda refused: None,
        news: Callable[[], None] = lambda: None,
        inquire: Inquire | None = None,
    ) -> None:
        """`arrived` is called once, when every member was read or tried and all that
        was read is judged; the wall clock is `ahead` of ours; `refused` hears whom the
        PBX refused; `news` is called where somebody stands otherwise than before;
        `inquire` has OPTIONS of our own sent."""
        self.judge = judge
        self.settings: RegistrarSettings = judge.settings
        self._flow = flow
        self._clock = clock
        self._arrived = arrived
        self._ahead = ahead
        self._refused = refused
        self._news = news
        self._asking = Asking(judge, inquire, clock, self._judged) if inquire else None
        self._untried = set(judge.members)
        self._has_arrived = False
        self.tried_at = clock()  # a member was read, or could not be
        self._done = 0  # since the loop had its turn
        self._closed = False
        self._calls: dict[str, tuple[float, bool]] = {}  # by AOR: when, and what
        self._crowded = False  # it was told that not all are watched
        self._timer: asyncio.TimerHandle | None = None
        kind = REGISTRARS[self.settings.type][1]
        self._registrars: dict[str, Registrar] = {
            address: kind(
                self.settings, address, clock=clock, aors=judge.aors, resolver=resolver
            )
            for address in judge.members
        }

    async def look_for_call(self, aor: str) -> bool | None:
        """Ask whether a phone is in a call now; None where no member can tell."""
        for member in self._registrars.values():
            if not isinstance(member, TellsCalls):
                continue
            if (found := await member.in_call(aor)) is not None:
                self._calls.pop(aor, None)
                self._calls[aor] = self._clock(), found
                if len(self._calls) > CALLS:
                    del self._calls[next(iter(self._calls))]
                return found
        return None

    def in_call(self, aor: str) -> bool | None:
        """What was found then; None where nobody has asked of late."""
        at, found = self._calls.get(aor, (0.0, False))
        return found if self._clock() - at < CALL_LASTS else None

    @property
    def passed(self) -> bool:
        """Whether every member has been read, or tried, once."""
        return not self._untried

    async def run(self) -> None:
        """Follow all members until cancelled; what is not expected is raised."""
        self._arm()
        try:
            async with asyncio.TaskGroup() as group:
                for address, registrar in self._registrars.items():
                    group.create_task(self._follow(address, registrar))
        finally:
            self.close()

    def close(self) -> None:
        """Say nothing from now on: tasks that are cancelled run on for a turn, and
        what they judged would be watched again by nobody."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.close()

    async def _follow(self, member: str, registrar: Registrar) -> None:
        least, most = BACK_OFF
        pause = least
        while not self._closed:
            try:
                # Closed here and now, so that its sockets are, whoever is next.
                async with aclosing(registrar.watch()) as readings:
                    async for reading in readings:
                        if self._closed:
                            return
                        if await self._heard(member, reading):
                            pause = least
            except Unreadable as error:
                if self._closed:
                    return
                log.debug("%s: %s cannot be read: %s", self.judge.name, member, error)
                now = self._clock()
                self._judged(self.judge.lost(member, error.cause, error.detail, now))
                await self._tried(member)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(most, 2 * pause)

    async def _heard(self, member: str, reading: Reading) -> bool:
        """Take one reading; whether a whole list has ended with it."""
        if isinstance(reading, Refused):
            self._refused(reading)
            return False
        if (known := without_tests(reading)) is not None:
            await self._take(member, known)
        if not isinstance(reading, ListEnd):
            return False
        await self._tried(member)
        return True

    async def _take(self, member: str, reading: Reading) -> None:
        ended = isinstance(reading, ListEnd)
        for told in self.judge.steps(member, reading, self._clock()):
            if self._closed:
                return
            self._judged(told)
            await self._rest(SLICE if ended else 1 + len(told))

    def relist(self) -> None:
        """Read all members now."""
        for registrar in self._registrars.values():
            registrar.relist()

    def ask(self, extension: Extension) -> int:
        """Ask its contacts now, those that OPTIONS of ours ask; how many these are."""
        return 0 if self._asking is None else self._asking.again(extension)

    def options_answer(self, ok: bool) -> None:
        """How OPTIONS to this PBX went."""
        if self._closed:
            return
        self._judged(self.judge.options_answer(ok, self._clock()))

    def audited(self, rows: Sequence[Row]) -> None:
        """Its audit of a day is made: tell what is new in it."""
        if not self._closed:
            judge = self.judge
            told = judge.summary.tell(rows, judge.subject, judge.since, self._clock())
            self._judged(told)

    def subjects(self) -> Iterable[Subject]:
        """Everything that is watched here."""
        yield self.judge.subject
        for member in self.judge.members.values():
            if member.subject is not self.judge.subject:
                yield member.subject
        for extension in self.judge.extensions.values():
            yield extension.subject
        for registration in self.judge.outgoing.registrations.values():
            yield registration.subject

    async def _tried(self, member: str) -> None:
        self.tried_at = self._clock()
        await self._remember()
        self._untried.discard(member)
        self._arrive()

    def _arrive(self) -> None:
        """Once, when who is there is known: a long list is judged in slices."""
        known = self.passed and self.judge.settled
        if known and not (self._closed or self._has_arrived):
            self._has_arrived = True
            self._arrived(self)

    async def _rest(self, done: int) -> None:
        """A mass event must not hold up the loop: others have a turn now and then."""
        self._done += done
        if self._done >= SLICE:
            self._done = 0
            await asyncio.sleep(0)

    def relocate(self, sites: Sites) -> None:
        """The sites are configured otherwise."""
        self.judge.relocate(sites)
        self._judged(())

    def _judged(self, observations: Iterable[Observation]) -> None:
        for subject in self.judge.take_moved():
            self._flow.alarms.moved(subject)
        self._flow.observe_all(observations)
        now = self._clock()
        for subject, reason in self.judge.take_removed():
            self._flow.alarms.unwatch(subject, now, reason)
        if self._asking is not None:
            self._asking.stir()
        if self.judge.standings:
            self._news()
        if self.judge.crowded and not self._crowded:
            self._crowded = True
            log.warning(
                "%s: more than %d extensions have registered there, the others are not "
                "watched: name those that matter in `extensions.include`",
                self.judge.name,
                EXTENSIONS,
            )
        self._arm()

    async def _remember(self) -> None:
        """Store what the judge wants to find again; in slices, a first list is long."""
        name = self.judge.name
        while not self._closed and (rows := self.judge.take(KEPT)):
            if ahead := self._ahead():
                rows = [shifted(row, ahead) for row in rows]
            self._flow.write([_memo(name, row) for row in rows])
            await asyncio.sleep(0)

    def _arm(self) -> None:
        """One timer for the judge's deadlines: ends of bindings, graces, habits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.judge.next_deadline()
        if due is not None:
            delay = max(REST, due - self._clock())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self._advance)

    def _advance(self) -> None:
        self._timer = None
        now = self._clock()
        observations = self.judge.advance(now)
        for member in self.judge.wants_read(now):
            self._registrars[member].relist()
        self._judged(observations)
        self._arrive()


def without_tests(reading: Reading) -> Reading | None:
    """A reading without test contacts, of this sipwatch or of another: no phone is
    registered by them, and none is lost with them. None where nothing is left."""
    match reading:
        case Bindings(rows) if any(is_test(row.contact) for row in rows):
            return Bindings([row for row in rows if not is_test(row.contact)])
        case Added(binding) if is_test(binding.contact):
            return None
        case Gone(_, contact) | Reach(_, contact) if is_test(contact):
            return None
    return reading


def _memo(registrar: str, row: Remembered) -> Memo | DropMemo:
    """A row of what a judge remembers as what the store shall do."""
    name = f"{MEMO}/{registrar}/{row.name}"
    return DropMemo(name) if row.json == FORGOTTEN else Memo(name, row.json)
