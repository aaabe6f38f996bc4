"""Any order of what a PBX may do and tell, against a PBX that is known in full."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from checks.observation import Binding, Loss, State
from tests.checks.registrations.judging import Timeline, bound

AORS = ("1", "2", "3")
MEMBERS = ("pbx-a", "pbx-b")
AWAY = (State.UNREGISTERED, State.NEVER_REGISTERED)

members = st.sampled_from(MEMBERS)
aors = st.sampled_from(AORS)
ports = st.integers(1, 3)


class Registrations(RuleBasedStateMachine):
    """Two members, each with phones of its own mind; events or polls only."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, dict[tuple[str, int], float]] = {m: {} for m in MEMBERS}
        self.well = dict.fromkeys(MEMBERS, False)
        self.boots = dict.fromkeys(MEMBERS, -100.0)
        # What the judge was shown of each member when it could last be read, and when
        # it last saw an AOR alive: listed before its end, or come by event.
        self.shown: dict[str, set[str]] = {m: set() for m in MEMBERS}
        self.alive: dict[str, float] = {}

    @initialize(skew=st.sampled_from([0.0, 1e4, -777.25]), events=st.booleans())
    def start(self, skew: float, events: bool) -> None:
        self.t = Timeline(*AORS, members=MEMBERS, skew=skew)
        self.events = events
        self.checked = 0
        self.reading = ""  # events come with the first list already

    # --- the PBX --------------------------------------------------------------------

    def tells(self, member: str) -> bool:
        return self.events and (self.well[member] or self.reading == member)

    @rule(seconds=st.floats(0.01, 90))
    def time_passes(self, seconds: float) -> None:
        self.t.at(self.t.now + seconds)

    @rule(member=members, aor=aors, port=ports, expires=st.sampled_from([20, 60, 600]))
    def register(self, member: str, aor: str, port: int, expires: int) -> None:
        fresh = (aor, port) not in self.held[member]
        self.held[member][aor, port] = self.t.now + expires
        if fresh and self.tells(member):  # a refresh has no event
            self.t.added(bound(aor, port=port), member)
            self.shown[member].add(aor)
            self.alive[aor] = self.t.now

    def remove(self, member: str, aor: str, port: int, loss: Loss) -> None:
        del self.held[member][aor, port]
        if self.tells(member):
            self.t.gone(aor, loss, port=port, member=member)
            self.show(member)

    @rule(member=members, aor=aors)
    def log_out(self, member: str, aor: str) -> None:
        for name, port in list(self.held[member]):
            if name == aor:
                self.remove(member, aor, port, Loss.DEREGISTERED)

    @rule(member=members)
    def sweep_the_expired(self, member: str) -> None:
        for (aor, port), end in list(self.held[member].items()):
            if end <= self.t.now:
                self.remove(member, aor, port, Loss.EXPIRED)

    @rule(member=members, kept=st.booleans())
    def restart(self, member: str, kept: bool) -> None:
        self.cut(member)
        self.boots[member] = self.t.now
        if not kept:
            self.held[member].clear()

    # --- what is read of it ---------------------------------------------------------

    def rows(self, member: str) -> list[Binding]:
        return [bound(a, end, port=p) for (a, p), end in self.held[member].items()]

    def asked(self) -> float:
        """The time, after all that has happened."""
        return self.t.at(self.t.now + 0.001).now

    def show(self, member: str) -> None:
        self.shown[member] = {aor for aor, _ in self.held[member]}

    @rule(member=members, took=st.floats(0, 3))
    def read(self, member: str, took: float) -> None:
        began = self.asked()
        self.t.boot = self.boots[member]
        for (aor, _), end in self.held[member].items():
            if end > began:
                self.alive[aor] = max(began, self.alive.get(aor, began))
        rows = self.rows(member)
        self.t.half(*rows[:2], member=member)
        self.t.at(began + took).half(*rows[2:], member=member)
        self.t.end(began, member=member)
        self.well[member] = True
        self.show(member)

    @rule(member=members, aor=aors, port=ports)
    def read_while_one_comes(self, member: str, aor: str, port: int) -> None:
        self.t.boot = self.boots[member]
        began, rows = self.asked(), self.rows(member)
        told = {aor} if self.events else set()
        self.t.half(*rows, member=member)
        self.t.at(began + 0.5)
        self.reading = member
        self.register(member, aor, port, 60)
        self.reading = ""
        self.t.at(began + 1).end(began, member=member)
        self.well[member] = True
        self.shown[member] = told | {row.aor for row in rows}

    @rule(member=members, aor=aors)
    def read_while_one_goes(self, member: str, aor: str) -> None:
        if not self.tells(member):
            return
        self.t.boot = self.boots[member]
        began, rows = self.asked(), self.rows(member)
        self.t.at(began + 0.5)
        self.log_out(member, aor)  # told before the older rows come
        self.t.at(began + 1).half(*rows, member=member)
        self.t.end(began, member=member)
        self.show(member)

    @rule(member=members)
    def read_half(self, member: str) -> None:
        before = self.states()
        self.t.half(*self.rows(member)[:1], member=member)
        self.cut(member)
        assert self.states() == before

    @rule(member=members)
    def cut(self, member: str) -> None:
        before = self.states()
        self.t.lost(member=member)
        self.well[member] = False
        assert self.states() == before

    @rule()
    def timers(self) -> None:
        before = self.states()
        self.t.advance()
        self.t.judge.wants_read(self.t.now)
        self.t.judge.take()
        assert self.states() == before

    # --- what must hold -------------------------------------------------------------

    def states(self) -> list[State | None]:
        return [e.state for e in self.t.judge.extensions.values()]

    @invariant()
    def nobody_is_away_who_was_shown(self) -> None:
        for aor, extension in self.t.judge.extensions.items():
            shown = any(aor in self.shown[m] for m in MEMBERS if self.well[m])
            if shown:
                assert extension.state is State.REGISTERED, aor

    @precondition(lambda self: all(self.well.values()))
    @invariant()
    def nobody_is_here_who_was_not_shown(self) -> None:
        for aor, extension in self.t.judge.extensions.items():
            if not any(aor in shown for shown in self.shown.values()):
                assert extension.state in AWAY, aor

    @invariant()
    def since_is_neither_to_come_nor_before_the_last_sight(self) -> None:
        for o in self.t.told[self.checked :]:
            assert o.since <= o.at
            if o.state is State.UNREGISTERED:
                assert o.since >= self.alive.get(o.subject.name, 0.0) - 1e-6
        self.checked = len(self.t.told)

    @invariant()
    def the_counts_agree(self) -> None:
        for name, m in self.t.judge.members.items():
            contacts = [
                contact
                for extension in self.t.judge.extensions.values()
                for contact in extension.contacts
                if contact.member.name == name
            ]
            assert m.held == len(contacts)
            assert m.marked == sum(c.listing == m.listing for c in contacts)


Registrations.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestRegistrations = Registrations.TestCase
