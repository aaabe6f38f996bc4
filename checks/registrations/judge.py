"""The one judge of who is registered, and the words that registrars speak to it in.

Pure: readings and `now` go in, observations come out. What it holds to:

- Only a removal event or a full list that lacks a contact ends a binding. A passed end
  is a reason to read; a lost connection or half a list is no reason for anything.
- An extension is lost when no member holds it and none that cannot be read may hold it
  (see `cluster`). So phones of the members that live are watched on, and those of a
  dead one are left as they were. A phone that comes to another member while its own
  cannot be read lives there from then: it is known by its contact, or by its address
  and user agent.
- What a list says is judged at its end. Then the registrar is told of, changed or not:
  that it was seen well just now is what its extensions' rules wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from checks.observation import Cause, Observation, State, Subject
from checks.registrations.audit import Summary
from checks.registrations.away import Away
from checks.registrations.cluster import Cluster
from checks.registrations.expiry import Policy
from checks.registrations.extension import HERE, Extension
from checks.registrations.few import Few
from checks.registrations.ledger import Ledger, Removed
from checks.registrations.member import Member
from checks.registrations.memory import Memory, Remembered
from checks.registrations.outbound import Outgoing
from checks.registrations.pauses import Pauses
from checks.registrations.reaching import CONTACT, Reaching
from checks.registrations.readings import (
    SLICE,
    Added,
    Ask,
    Bindings,
    Expected,
    ExtensionsSettings,
    Gone,
    ListEnd,
    Outbound,
    Outbounds,
    Paused,
    Pausing,
    Reach,
    Reading,
    Refused,
    Registrar,
    RegistrarSettings,
    Restarting,
    Unreadable,
)
from checks.registrations.refreshes import Refreshes
from checks.registrations.returns import Returns, started_at
from checks.registrations.roster import Listed, Roster, read_list
from checks.registrations.sites import Sites
from checks.registrations.standing import Standings
from checks.registrations.states import States
from checks.registrations.telling import observed

__all__ = [
    "SLICE",
    "Added",
    "Bindings",
    "Expected",
    "Extension",
    "ExtensionsSettings",
    "Gone",
    "Judge",
    "ListEnd",
    "Listed",
    "Outbound",
    "Outbounds",
    "Reach",
    "Reading",
    "Refused",
    "Registrar",
    "RegistrarSettings",
    "Remembered",
    "Removed",
    "Restarting",
    "Unreadable",
    "read_list",
]

AT_ONCE = 50  # extensions judged in one go, some ms; the others in `advance`
FEW = 1000  # of a list of some: judged before the member's next reading, some 100 ms


class Judge:
    """Who is registered at one configured registrar, by what its members tell."""

    def __init__(
        self,
        name: str,
        settings: RegistrarSettings,
        subject: Subject,
        now: float,
        remembered: Iterable[Remembered] = (),
        members: Sequence[str] = (),
        *,
        listed: Iterable[Listed] | None = None,
        sites: Sites | None = None,
    ) -> None:
        """Start blind; `listed` None reads `extensions.file` (OSError, ValueError);
        `sites` tell branches apart."""
        self.name, self.settings, self.subject = name, settings, subject
        if listed is None:
            file = settings.extensions.file
            listed = read_list(file) if file else ()
        memory = Memory(remembered)
        names = list(members) or settings.members or [settings.address]
        self._cluster = Cluster(name, settings, subject, now, names, memory)
        self._roster = Roster(name, settings, subject, listed, sites)
        self._moved: list[Subject] = []
        self.refreshes = Refreshes(Policy(settings.expiry), settings.interval)
        self.summary = Summary(memory.audit)
        self.reaching = Reaching(settings)
        self._few = Few(settings.contacts)
        self._ledger = Ledger(
            self._roster,
            self._cluster,
            memory,
            settings.interval,
            self.refreshes,
            self.reaching,
        )
        self._returns = Returns(self._cluster, self._ledger)
        self.members = self._cluster.members
        self.extensions = self._ledger.extensions
        self.outgoing = Outgoing(settings, self._cluster, memory.servers)
        self.standings = Standings()
        self.pauses = Pauses(self.extensions)
        self._away = Away()
        self._states = States(self._cluster, self._roster, self._ledger, self._away)
        self._unjudged: dict[str, float] = {}  # AORs of a list, and its time
        for aor in dict.fromkeys((*memory.aors, *self._roster.names())):
            if self._roster.watches(aor):
                self._ledger.admit(aor, now)

    @property
    def state(self) -> State | None:
        """Readable, unreadable, or None before either is known."""
        return self._cluster.state

    @property
    def since(self) -> float:
        """Since when it is in that state."""
        return self._cluster.since

    @property
    def cause(self) -> Cause | None:
        """Why it is unreadable."""
        return self._cluster.cause

    def counts(self) -> dict[State, int]:
        """How many extensions are in each state."""
        counts: dict[State, int] = {}
        for extension in self.extensions.values():
            if extension.state is not None:
                counts[extension.state] = counts.get(extension.state, 0) + 1
        return counts

    @property
    def crowded(self) -> bool:
        """Whether more extensions have come than are watched."""
        return self._ledger.crowded

    def aors(self) -> list[str]:
        """The AORs that are watched, for a registrar that must be asked by name."""
        return list(self.extensions)

    # --- memory ---------------------------------------------------------------------

    def restore(
        self, aor: str, state: State, since: float, not_before: float = 0.0
    ) -> Subject | None:
        """Put an extension into its stored state; None where it is watched no more."""
        if not self._roster.watches(aor):
            return None
        extension = self.extensions.get(aor) or self._ledger.admit(aor, since)
        extension.state, extension.since = state, since
        extension.not_before = not_before
        if state is State.NEVER_REGISTERED:
            extension.first_seen = since
        elif state is State.UNREGISTERED:
            # A required one counts from the first sight, without ever being there.
            extension.bound |= not extension.subject.required
            if not extension.bound:
                extension.first_seen = since
            self._states.wait_for(extension)
        else:
            extension.bound = True
            extension.answered |= state is State.UNREACHABLE
            if not extension.held_by:  # not remembered where: anywhere
                extension.held_by = sum(m.bit for m in self._cluster)
        return extension.subject

    def take(self, most: int | None = None) -> list[Remembered]:
        """What has to be stored since the last call; once a pass will do.

        With `most` of no more extensions than that: call until nothing comes.
        """
        of_all = self._cluster.take() + self.summary.take() + self.outgoing.take()
        return of_all + self._ledger.take(most)

    def keep_habits(self, before: Judge) -> None:
        """Take over when phones refresh from the judge that was here before."""
        for aor, extension in self.extensions.items():
            if (known := before.extensions.get(aor)) is not None:
                extension.habit = known.habit

    def take_removed(self) -> list[Removed]:
        """Subjects whose incidents are to be closed, with the reason."""
        removed, self._ledger.removed = self._ledger.removed, []
        elsewhere, self.outgoing.removed = self.outgoing.removed, []
        return removed + elsewhere

    def take_moved(self) -> list[Subject]:
        """Extensions that belong to another site than before."""
        moved, self._moved = self._moved, []
        return moved

    def relocate(self, sites: Sites) -> None:
        """The sites are configured otherwise: find out anew who belongs where."""
        self._roster.relocate(sites)
        for extension in self.extensions.values():
            if self._ledger.locate(extension):
                self._moved.append(extension.subject)

    # --- what comes -----------------------------------------------------------------

    def apply(self, member: str, reading: Reading, now: float) -> list[Observation]:
        """Take one reading of a member; what changed by it."""
        m, ledger, changed = self.members[member], self._ledger, False
        match reading:
            case Bindings():
                ledger.rows(m, reading.rows, now)
                return []
            case Added():
                aor, changed = reading.binding.aor, ledger.added(m, reading, now)
            case Gone():
                aor, changed = reading.aor, ledger.gone(m, reading, now)
            case Reach():
                aor, changed = reading.aor, ledger.reach(m, reading, now)
            case ListEnd():
                return [o for told in self._list_end(m, reading, now) for o in told]
            case Expected():
                m.expected = dict(reading.aors)
                return []
            case Refused():
                return []  # it concerns whoever was refused
            case Paused() | Pausing():
                self.pauses.take(member, reading)
                return []
            case Restarting():
                m.stopping = reading.at
                return []
            case Outbound():
                return self.outgoing.take_event(m, reading, now)
            case Outbounds():
                return self.outgoing.take_list(m, reading, now)
        return self._settle([aor], min(reading.at, now), now) if changed else []

    def steps(
        self, member: str, reading: Reading, now: float
    ) -> Iterator[list[Observation]]:
        """The same in steps that hold up nobody: the end of a list is compared with
        every extension. All must be taken, and before the member's next reading."""
        if isinstance(reading, ListEnd):
            yield from self._list_end(self.members[member], reading, now)
        else:
            yield self.apply(member, reading, now)

    def lost(
        self, member: str, cause: Cause, detail: str, now: float
    ) -> list[Observation]:
        """A member cannot be read any more, or still not: no extension changes."""
        m = self.members[member]
        changed = self._cluster.lost(m, cause, detail, now)
        return self._cluster.observe(now, m if changed else None)

    def options_answer(self, ok: bool, now: float) -> list[Observation]:
        """How OPTIONS to the registrar itself went."""
        self._cluster.options_failed = not ok
        return self._cluster.observe(now)

    def asks(self, most: int | None = None) -> dict[str, Ask | None]:
        """What OPTIONS of ours should ask, by name: the changes since the last call.

        None: not any more. With `most` of no more contacts than that.
        """
        return {**self.outgoing.asks(), **self.reaching.changes(most)}

    @property
    def wants_asked(self) -> bool:
        """Whether `asks` has changes to tell."""
        return self.outgoing.wants_asked or self.reaching.wants_asked

    def heard(
        self,
        name: str,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
        now: float,
    ) -> list[Observation]:
        """How such a question ended; `at` is when it was answered, or asked in vain."""
        if not name.startswith(CONTACT):
            return self.outgoing.heard(name, ok, cause, at, now)
        aor = self._ledger.heard(name, ok, cause, rtt, min(at, now))
        told = [] if aor is None else self._settle([aor], min(at, now), now)
        if self.reaching.silent != self._cluster.silent:
            self._cluster.silent = self.reaching.silent
            told += self._cluster.observe(now)
        return told

    def _list_end(
        self, m: Member, reading: ListEnd, now: float
    ) -> Iterator[list[Observation]]:
        ledger, last_read, recovered = self._ledger, m.read_at, not m.readable
        survey = recovered or not m.clock.measured
        if reading.pbx_now is not None:
            survey |= m.clock.sample(reading.pbx_now, reading.began, now)
        started = started_at(m, reading, now)
        ledger.revive(m, reading.began, now)
        for _ in ledger.enlist(m, reading.aors, now):
            yield []
        there = self._returns.there(m) if started is not None else set()
        touched, m.touched = m.touched, set()
        if recovered or reading.aors is not None or m.marked < m.held:
            for _ in ledger.miss(m, reading, now, last_read, touched):
                yield []
        if recovered and reading.aors is None:
            touched.update(self.extensions)
        elif reading.aors is not None:
            touched |= reading.aors
        touched |= self.refreshes.suspects()
        m.finish_list(reading, now, self.settings.interval, self.extensions)
        if survey:
            for _ in ledger.survey(m, now):
                yield []
        self._cluster.read_well(m, now)
        event = self._returns.begin(m, started, there, touched, now)
        self._unjudged.update(dict.fromkeys(touched, now))
        self.pauses.mark()
        changed = self._judge_some(now)
        elsewhere = self.outgoing.list_ended(m, now)
        yield [*self._cluster.observe(now, m), *event, *changed, *elsewhere]
        few = reading.aors is not None and len(self._unjudged) <= FEW
        while few and self._unjudged:
            yield self._judge_some(now)  # the next of these lists comes soon
        yield from self._states.learn(now)

    # --- states ---------------------------------------------------------------------

    def _judge_some(self, now: float) -> list[Observation]:
        told: list[Observation] = []
        some = list(islice(self._unjudged, AT_ONCE))
        for at, aors in groupby(some, self._unjudged.pop):
            told += self._settle(aors, at, now)
        if not self._unjudged:
            self._unjudged.clear()  # a dictionary stays as large as it was
        return told

    def _settle(self, aors: Iterable[str], at: float, now: float) -> list[Observation]:
        told, by_address = [], self._roster.sites.by_address
        for aor in aors:
            extension = self.extensions.get(aor)
            if extension is None:
                continue
            state = self._states.changed(extension, at, now)
            if by_address and self._ledger.locate(extension):
                self._moved.append(extension.subject)
            self.standings.judged(extension, state)
            if self.refreshes.judge(extension, now) and extension.state in HERE:
                state = extension.state  # the same, but it says more
                self._ledger.save(extension)
            if self._few.judge(extension):
                state = extension.state
            if state is not None:
                told.append(o := observed(extension, state, now))
                self.refreshes.tell(o, extension)
                self._few.tell(o, extension)
        return told

    # --- time -----------------------------------------------------------------------

    def advance(self, now: float) -> list[Observation]:
        """Do what is due: the rest of a list, the end of a grace, who is dormant."""
        self._states.give_up(now)
        self.refreshes.advance(now)
        return self._judge_some(now) + self._cluster.advance(now)

    @property
    def settled(self) -> bool:
        """Whether all of the last list is judged."""
        return not self._unjudged

    def next_deadline(self) -> float | None:
        """When `advance` or `wants_read` has something to do."""
        if self._unjudged:
            return 0.0  # now
        several = (self._cluster, self.refreshes, self._away)
        times = [one.next_deadline() for one in several]
        return min((time for time in times if time is not None), default=None)

    def wants_read(self, now: float) -> set[str]:
        """Members to be read now, as bindings have ended there; asked for once."""
        return self._cluster.wants_read(now)
