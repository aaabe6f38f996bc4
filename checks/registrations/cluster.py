"""A registrar and its members: which can be read, which is active.

With one member the registrar is that member. With several, each is a subject of its own
below the registrar, so that the death of one is told once and names it.

- `mode: any`: the registrar is readable while one member is, so its extensions are
  judged on. What a member held when it could last be read it may hold still.
- `mode: active_standby`: the registrar is what the active member is, and only that one
  may hold what cannot be read. Another takes over when bindings come or are refreshed
  there after the active one was found unreadable, or was read empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.observation import (
    MEMBER,
    NONE,
    Cause,
    Event,
    Fact,
    Figures,
    Kind,
    Observation,
    Scope,
    State,
    Subject,
    plain,
)
from checks.registrations.member import FOLLOWED, Member, Return
from checks.registrations.memory import Memory, Remembered, of_member
from checks.registrations.readings import RegistrarSettings

PAUSE = 60.0  # s that a restart of ours may take without having been blind


class Cluster:
    """The members of one registrar, and what is told of it."""

    def __init__(
        self,
        name: str,
        settings: RegistrarSettings,
        subject: Subject,
        now: float,
        names: Sequence[str],
        memory: Memory,
    ) -> None:
        self.name, self.subject = name, subject
        self._interval = settings.interval
        self._standby = settings.mode == "active_standby"
        self.several = len(names) > 1
        self.members = {
            address: Member(address, 1 << n, now, self._own_subject(address))
            for n, address in enumerate(names)
        }
        self.active: Member | None = None
        self.state: State | None = None
        self.since = now
        self.cause: Cause | None = None
        self.options_failed = False
        self.silent = 0  # contacts that fell silent together, see `reaching`
        self._told: tuple[object, ...] = ()
        self._unsaved: set[str] = set()
        for member in self.members.values():
            if memory.restore_member(member, now, max(PAUSE, 2 * self._interval)):
                self.active = member

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def _own_subject(self, address: str) -> Subject:
        if not self.several:
            return self.subject
        labels = {**self.subject.scope.labels, "registrar": self.name}
        scope = Scope(self.name, MEMBER, labels, parent=self.subject)
        return Subject(Kind.REGISTRAR, address, scope)

    def may_hold(self, aor: str, held_by: int, bound: bool) -> bool:
        """Whether a member that cannot be read now may hold a binding.

        An AOR that never had one anywhere may have it at any of them.
        """
        for m in self:
            if m.knows(aor) or (self._standby and self.active not in (None, m)):
                continue
            if held_by & m.bit or not bound:
                return True
        return False

    # --- what is told ---------------------------------------------------------------

    def lost(self, m: Member, cause: Cause, detail: str, now: float) -> bool:
        """A member cannot be read, what it holds is unknown; whether that is news."""
        before = (m.readable, m.cause, m.detail)
        if m.stopping is not None:
            detail += " (it said that it shuts down)"
        if m.readable is not False:
            began = m.started if m.blind_since is None else m.blind_since
            m.since = m.read_at if m.readable and m.read_at is not None else began
            m.readable, m.lost_at = False, now
            self._unsaved.add(m.name)
        m.cause, m.detail = cause, plain(detail)
        m.abandon_list()
        return before != (m.readable, m.cause, m.detail)

    def read_well(self, m: Member, now: float) -> None:
        """A member was read to the end of a full list."""
        if not m.readable:
            first = m.readable is None
            m.since = m.well_since if first and m.well_since is not None else now
            m.readable, m.cause, m.detail = True, None, ""
        self._unsaved.add(m.name)

    def observe(self, now: float, m: Member | None = None) -> list[Observation]:
        """The registrar and, of several members, one; the registrar on change only."""
        told = []
        if m is not None and self.several and m.readable is not None:
            state = State.READABLE if m.readable else State.UNREADABLE
            told.append(self._observation(m.subject, state, m.since, now, m.restart))
            told[0].cause = m.cause
            told[0].detail = m.detail or told[0].detail
        self.cause, detail = self._judge(now)
        if self.state is None:
            return told
        trouble = (self.options_failed, self.silent)
        as_told = (self.state, self.since, self.cause, detail, trouble)
        if as_told != self._told or (m is not None and m.readable):
            self._told = as_told
            restart = self._restart()
            o = self._observation(self.subject, self.state, self.since, now, restart)
            o.cause, o.detail = self.cause, detail or o.detail
            told.append(o)
            for member in self:
                if member.restart and not member.restart.missing:
                    member.restart.over = True
        return told

    def happened(self, m: Member, now: float) -> Observation | None:
        """The restart or failover of a member as the one event that it is."""
        if (restart := m.restart) is None:
            return None
        failover = restart.event is Event.FAILED_OVER
        subject = self.subject if failover else m.subject
        o = self._observation(subject, State.READABLE, restart.at, now, restart)
        o.event = restart.event
        what = f"{m.name} took over" if failover else "the PBX started"
        o.evidence = (Fact(restart.at, what),)
        if restart.missing:
            o.evidence += (Fact(restart.due_by, "the last extension is due"),)
        return o

    def _restart(self) -> Return | None:
        """What is told of the registrar itself; of several, one restarts by itself."""
        for m in self:
            if m.restart and (not self.several or m.restart.event is Event.FAILED_OVER):
                return m.restart
        return None

    def _observation(
        self, subject: Subject, state: State, since: float, at: float, r: Return | None
    ) -> Observation:
        o = Observation(subject, state, since, at, figures=NONE)
        if r and r.expected and not r.over and state is State.READABLE:
            o.detail = r.words(at)
            o.figures = Figures(expected=r.expected, present=r.back, due_by=r.due_by)
        if subject is self.subject:
            figures = Figures() if o.figures is NONE else o.figures
            figures.options_failed = self.options_failed
            figures.silent = self.silent
            o.figures = figures
        return o

    def _judge(self, now: float) -> tuple[Cause | None, str]:
        """Bring the registrar's own state up to date; its cause and detail."""
        members = [self.active] if self._standby and self.active else list(self)
        blind = [m for m in members if m.readable is False]
        well = [m.since for m in members if m.readable]
        detail = "; ".join(f"{m.name}: {m.detail}" for m in blind)
        if well:
            if self.state is not State.READABLE:
                self.since = min(well) if self.state is None else now
                self.state = State.READABLE
            return None, plain(f"cannot be read: {detail}") if blind else ""
        if len(blind) < len(members):
            return None, ""  # one is still being tried for the first time
        last = max(blind, key=lambda m: m.since)
        if self.state is not State.UNREADABLE:
            self.state, self.since = State.UNREADABLE, last.since
        return last.cause, plain(detail if self.several else last.detail)

    # --- active and standby ---------------------------------------------------------

    def take_over(self, m: Member) -> Member | None:
        """The member that was active until now, where this one has taken over."""
        active = self.active
        if not self._standby or m is active or not m.held:
            return None
        if active is None:
            self.active = m
            return None
        if active.readable:
            gave_up = not active.held and m.fresh_at > (active.read_at or 0.0)
        else:
            gave_up = active.readable is False and m.fresh_at > active.lost_at
        if not gave_up:
            return None
        self.active = m
        self._unsaved |= {m.name, active.name}
        return active

    # --- time -----------------------------------------------------------------------

    def advance(self, now: float) -> list[Observation]:
        """The last word on a restart when its grace ends; then it is forgotten."""
        told: list[Observation] = []
        for m in self:
            restart = m.restart
            if restart and now >= restart.at + FOLLOWED:
                m.restart = None
            elif restart and not restart.closed and now >= restart.due_by:
                restart.closed = True
                if restart.missing and m.readable:
                    told += self.observe(now, m)
        return told

    def next_deadline(self) -> float | None:
        """When `advance` or `wants_read` has something to do."""
        times = [m.wanted_at(self._interval) for m in self]
        for m in self:
            if m.restart:
                end = m.restart.at + FOLLOWED
                times.append(end if m.restart.closed else m.restart.due_by)
        return min((time for time in times if time is not None), default=None)

    def wants_read(self, now: float) -> set[str]:
        """Members that should be read now, because bindings have ended there."""
        due = set()
        for m in self:
            at = m.wanted_at(self._interval)
            if at is not None and at <= now:
                m.asked = now
                due.add(m.name)
        return due

    def take(self) -> list[Remembered]:
        """What of the members must be stored."""
        changed, self._unsaved = self._unsaved, set()
        return [
            of_member(self.members[n], self.members[n] is self.active) for n in changed
        ]
