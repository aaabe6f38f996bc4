"""Everything on at once, in any order, and the power cut anywhere.

Two registrars in two branches, trunks that depend on each other, our own network, mass
events, flapping, silences, hours, maintenance, acknowledgements, ladders, limits,
stand-ins, reloads: what was told as firing is told as over, once; nobody is told of
what an outage above explains; nothing is lost; no deadline spins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from alerting.announcement import Opened, Transition
from alerting.incident import Delivery, Incident, Outcome, Told
from alerting.store.rows import DeliveryRow
from checks.observation import Kind, State

from .calm import DAY, HOUR
from .test_alarms_properties import check_next
from .timeline import Mail
from .world import (
    NOTIFIERS,
    PHONES,
    REGISTERED,
    REGISTRARS,
    ROUTES,
    RULES,
    TARGETS,
    UNREACHABLE,
    UNREGISTERED,
    Power,
    World,
    all_well,
)

STATES = (REGISTERED, UNREACHABLE, UNREGISTERED)
SEEN_THROUGH = (Kind.EXTENSION, Kind.REGISTRAR, Kind.TARGET)
BAD = (State.DOWN, State.UNREADABLE, State.UNREACHABLE, State.UNREGISTERED)
REFUSED_MOST = 12 * HOUR  # s; what has ended is given up after a day


class Everything(RuleBasedStateMachine):
    """What may happen, and what must hold."""

    @initialize(
        slices=st.sampled_from((None, 1, 3)),
        registrar_first=st.booleans(),
        rules=st.sampled_from(sorted(RULES)),
        routes=st.sampled_from(sorted(ROUTES)),
    )
    def begin(
        self, slices: int | None, registrar_first: bool, rules: str, routes: str
    ) -> None:
        truth = all_well(0.0)
        truth.rules, truth.routes = rules, routes
        self.power = Power(truth, slices=slices, registrar_first=registrar_first)
        self.refused = 0.0  # s for which a notifier did not take what it got
        self.gone = 0.0  # s for which one was not configured
        self.for_good: set[str] = set()  # notifiers that refused so
        self.downed: set[str] = set()  # targets that ever were
        self.pass_(130)

    @property
    def world(self) -> World:
        return self.power.world

    @property
    def truth(self):
        return self.power.truth

    def do(self, act: Callable[[World], None]) -> None:
        self.survive(lambda: self.power.do(act))

    def survive(self, act: Callable[[], None]) -> None:
        """What has ended is given up after a day: one that refused, or was not there,
        when a process began on a clock that was set forward as much."""
        world, crashes = self.world, self.power.crashes
        act()
        if self.power.crashes > crashes and world.ahead > REFUSED_MOST:
            outcomes = self.truth.outcomes.items()
            self.for_good |= {n for n, o in outcomes if o is not Outcome.ACCEPTED}
            self.for_good |= {*NOTIFIERS} - {*self.truth.notifiers}

    def pass_(self, seconds: float) -> None:
        end = self.world.now + seconds
        if any(o is not Outcome.ACCEPTED for o in self.truth.outcomes.values()):
            self.refused += seconds
        if self.refused > REFUSED_MOST:
            self.truth.outcomes.clear()
        if self.truth.notifiers != NOTIFIERS:
            self.gone += seconds
        if self.gone > REFUSED_MOST:
            self.truth.notifiers = NOTIFIERS
            self.do(World.reload)
        self.do(lambda world: world.until(end))

    # What happens

    @rule(name=st.sampled_from(sorted(PHONES)), state=st.sampled_from(STATES))
    def a_phone_is(self, name: str, state: State) -> None:
        self.phones([name], state, 0.0)

    @rule(
        place=st.sampled_from(("paris", "lyon")),
        state=st.sampled_from((REGISTERED, UNREGISTERED)),
        every=st.sampled_from((0.0, 2.0, 45.0)),
    )
    def a_branch_is(self, place: str, state: State, every: float) -> None:
        names = [n for n in self.truth.phones if self.truth.places[n] == place]
        self.phones(names, state, every)

    def phones(self, names: Iterable[str], state: State, every: float) -> None:
        for name in names:
            if name not in self.truth.phones or self.truth.phones[name][0] is state:
                continue
            at = self.world.now + every
            self.do(lambda world, at=at: world.until(at))
            self.truth.phones[name] = state, self.world.now
            self.do(lambda world, name=name: world.event(name))

    @rule(name=st.sampled_from(sorted(PHONES)), gap=st.sampled_from((50.0, 200.0)))
    def a_phone_flaps(self, name: str, gap: float) -> None:
        for n in range(7):
            self.phones([name], STATES[2 * (n % 2)], gap)

    @rule(name=st.sampled_from(sorted(REGISTRARS)))
    def a_registrar_is_lost_or_found(self, name: str) -> None:
        self.truth.unreadable ^= {name}

    @rule(name=st.sampled_from(sorted(TARGETS)))
    def a_target_is_lost_or_found(self, name: str) -> None:
        self.truth.down ^= {name}
        self.downed |= {name}

    @rule()
    def our_network_is_lost_or_found(self) -> None:
        cut = self.truth.cut_at is None
        self.truth.cut_at = self.world.now if cut else None

    @rule(seconds=st.sampled_from((1, 15, 61, 130, 700, 2500)))
    def time_passes(self, seconds: int) -> None:
        self.pass_(seconds)

    @rule(name=st.sampled_from(NOTIFIERS), outcome=st.sampled_from(Outcome))
    def a_notifier_is(self, name: str, outcome: Outcome) -> None:
        self.truth.outcomes[name] = outcome
        if outcome is Outcome.PERMANENT:
            self.for_good.add(name)

    @rule(
        what=st.sampled_from(("site=lyon", "extension=~30*", "family=mass")),
        lasts=st.sampled_from((100.0, 2 * HOUR)),
    )
    def somebody_silences(self, what: str, lasts: float) -> None:
        def silence(world: World) -> None:
            world.alarms.silences.add(
                [what], author="Anna", reason="work", starts=None,
                ends=world.now + world.ahead + lasts, now=world.now,
            )  # fmt: skip
            world.until(world.now)

        self.do(silence)

    @rule()
    def somebody_ends_the_silences(self) -> None:
        def end(world: World) -> None:
            for id in list(world.muting.silences):
                world.alarms.silences.end(id, world.now)
            world.until(world.now)

        self.do(end)

    @rule()
    def somebody_acknowledges(self) -> None:
        def take(world: World) -> None:
            for incident in world.alarms.incidents:
                world.alarms.acknowledge(incident.id, "Sam", world.now)
            world.until(world.now)

        self.do(take)

    @rule(by=st.sampled_from((-HOUR, DAY)))
    def the_clock_is_set(self, by: float) -> None:
        def set_(world: World) -> None:
            world.ahead += by
            world.alarms.clock_set(world.now)
            world.until(world.now)

        self.do(set_)

    @rule(
        rules=st.sampled_from(sorted(RULES)),
        routes=st.sampled_from(sorted(ROUTES)),
        notifiers=st.sampled_from((NOTIFIERS, ("team", "pager"), ("boss",))),
    )
    def it_is_configured_otherwise(
        self, rules: str, routes: str, notifiers: tuple[str, ...]
    ) -> None:
        self.truth.rules, self.truth.routes = rules, routes
        self.truth.notifiers = notifiers
        self.do(World.reload)

    @rule(name=st.sampled_from(sorted(REGISTRARS)))
    def a_registrar_is_configured_otherwise(self, name: str) -> None:
        self.do(lambda world: world.renew(name))

    @rule(name=st.sampled_from(sorted(PHONES)), to=st.sampled_from(("paris", "lyon")))
    def a_phone_moves(self, name: str, to: str) -> None:
        if name in self.truth.phones and self.truth.places[name] != to:
            self.truth.places[name] = to
            self.do(lambda world: world.move(name))

    @rule(name=st.sampled_from(sorted(PHONES)))
    def a_phone_is_removed_or_added(self, name: str) -> None:
        if name not in self.truth.phones:
            self.truth.phones[name] = REGISTERED, self.world.now
            self.world.lines[name] = self.world._phone(name)
            self.do(lambda world: world.event(name))
            return
        del self.truth.phones[name]
        self.do(lambda world: world.remove(name))

    @rule(points=st.integers(0, 30))
    def the_power_will_be_cut(self, points: int) -> None:
        self.world.crash_in = points

    @rule(seconds=st.sampled_from((1.0, 300.0, 4000.0)))
    def the_power_is_cut(self, seconds: float) -> None:
        self.survive(lambda: self.power.cut(seconds))

    # What holds

    @invariant()
    def all_is_right(self) -> None:
        if not hasattr(self, "power"):
            return
        world = self.world
        if world.crash_in is not None:
            return  # something may be on its way
        for a in world.announced:
            if isinstance(a, Opened):
                self.check_opened(a)
            elif isinstance(a, Transition):
                self.check_transition(a)
        world.announced.clear()
        check_deadlines(world)
        check_disk(world)
        check_keys(world)

    def check_opened(self, a: Opened) -> None:
        incident, cut_at = a.incident, self.truth.cut_at
        if incident.subject.kind in SEEN_THROUGH and cut_at is not None:
            assert a.at <= cut_at or incident.since < cut_at, "opened while cut off"
        if incident.subject.name == "trunk" and incident.family == "liveness":
            assert "trunk" in self.downed, "told of what its gateway explains"

    def check_transition(self, a: Transition) -> None:
        """While we are cut off nothing is history of others."""
        cut_at = self.truth.cut_at
        if a.subject.kind in SEEN_THROUGH and cut_at is not None and a.new in BAD:
            assert a.since < cut_at, "invented history"

    def teardown(self) -> None:
        if not hasattr(self, "power"):
            return
        self.mend()
        self.check_nothing_is_missed()
        self.check_nothing_is_left()
        for name, mails in self.power.mails.items():
            check_mails(mails, ends=name not in self.for_good)

    def mend(self) -> None:
        """All that is in the way of an observation or a mail is over."""
        self.world.crash_in = None
        truth = self.truth
        truth.outcomes.clear()
        truth.notifiers, truth.rules = NOTIFIERS, "as built"
        truth.unreadable.clear()
        truth.down.clear()
        truth.cut_at = None
        self.world.reload()
        for id in list(self.world.muting.silences):
            self.world.alarms.silences.end(id, self.world.now)
        self.world.until(self.world.now + 100)
        for name in NOTIFIERS:  # as the weekly test of a route does
            self.world.alarms.fared(name, Outcome.ACCEPTED, self.world.now)
        self.world._settle()

    def check_nothing_is_missed(self) -> None:
        """Who has been gone for hours is known to all who are to know."""
        world = self.world
        self.rest()
        gone = {n for n, (s, _) in self.truth.phones.items() if s is not REGISTERED}
        open_ = {i.subject.name: i for i in world.alarms.incidents}
        covered = self.covered()
        assert gone - covered <= set(open_), "missed"
        self.check_who_hears_of_the_covered()
        for incident in world.alarms.incidents:
            for row in world.alarms.deliveries(incident):
                assert row.error.startswith("outside") or self.knows(row), row

    def rest(self) -> None:
        """Some hours in which nothing happens."""
        world = self.world
        world.pace = 1.0
        world.until(world.now + 400)
        world.pace = 15.0
        world.until(world.now + 4 * HOUR)

    def covered(self) -> set[str]:
        """Phones that are part of a mass event that is open."""
        masses = self.world.alarms._observing.masses
        open_ = [i for i in self.world.alarms.incidents if i.family == "mass"]
        groups = [masses.find(i.subject) for i in open_]
        return {w.subject.name for g in groups if g for w in g.members}

    def check_who_hears_of_the_covered(self) -> None:
        """Who would be told of a phone is to know of the whole that covers it."""
        alarms = self.world.alarms
        rule = next(r for r in alarms.rules if r.name == "ExtensionUnregistered")
        hearing: dict[str, set[str]] = defaultdict(set)
        wanted: dict[str, frozenset[str]] = {}
        for whole in alarms.incidents:
            group = alarms._observing.masses.find(whole.subject)
            for w in group.members if group and whole.family == "mass" else ():
                name = w.subject.name
                hearing[name] |= {row.notifier for row in alarms.deliveries(whole)}
                wanted[name] = alarms._incidents.heard_by(w.subject, rule, 0)
        for name, names in wanted.items():
            assert names <= hearing[name], f"nobody tells {names} of {name}"

    def knows(self, row: Delivery) -> bool:
        if not row.pending or row.dead:
            return True
        return row.error.startswith("part of incident")

    def check_nothing_is_left(self) -> None:
        world = self.world
        for name in self.truth.phones:
            self.truth.phones[name] = REGISTERED, world.now
            world.event(name)
        self.rest()
        left = [i for i in world.alarms.incidents if i.subject.kind is not Kind.SELF]
        assert left == []
        owed = [row.incident for row in world.alarms.owed()]
        assert [i for i in owed if i.subject.kind is not Kind.SELF] == []


def check_deadlines(world: World) -> None:
    """What is due was done, and to do it again does nothing."""
    now = world.now
    world.flush()  # why somebody is not told now
    due = world.alarms.next_deadline()
    assert due is None or due > now, "spins"
    for name in world.notifiers:
        due = world.alarms.next_due(name)
        assert due is None or due > now, f"{name} spins"
    world.alarms.advance(now)
    left = world.alarms.take()
    assert left == ([], []), f"something was left: {left}"


def check_disk(world: World) -> None:
    """What is stored is what is remembered, of all that is open."""
    if world.ahead:
        return
    open_ = {i.id for i in world.alarms.incidents}
    rows = [r for r in world.disk.rows.values() if isinstance(r, DeliveryRow)]
    stored = {brief(r.incident, r) for r in rows if r.incident in open_}
    kept = world.alarms._deliveries._owing.rows
    known = {brief(i.id, r) for i in world.alarms.incidents for r in kept.get(i, ())}
    assert stored == known


def brief(incident: int, row: DeliveryRow | Delivery) -> tuple[object, ...]:
    return (
        incident, row.notifier, row.step, row.wanted, row.told, row.telling, row.group,
        row.thread, row.batch, row.error, row.dead, row.attempts,
    )  # fmt: skip


def check_keys(world: World) -> None:
    """Each is watched once, and has one incident of a family."""
    keys = [w.key for w in world.alarms._watched]
    assert len(keys) == len(set(keys)), "watched twice"
    open_: list[Incident] = world.alarms.incidents
    families = [(i.subject.key, i.family) for i in open_]
    assert len(families) == len(set(families))


def check_mails(mails: list[Mail], *, ends: bool) -> None:
    """Each incident's news in their only possible order, and to their end."""
    told: dict[int, list[Told]] = defaultdict(list)
    known: dict[int, Incident] = {}
    sent: set[str] = set()
    for mail in mails:
        if mail.batch.id in sent:
            continue
        sent.add(mail.batch.id)
        for delivery in mail.batch.deliveries:
            known[delivery.incident.id] = delivery.incident
            story = told[delivery.incident.id]
            if delivery.step:
                assert story
                assert story[-1] is not Told.RESOLVED
            else:
                check_next(story, mail)
                story.append(mail.batch.change)
    for id_, story in told.items():
        if ends and known[id_].subject.kind is not Kind.SELF:
            assert story[-1] is Told.RESOLVED, (id_, story)


ALWAYS = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
Everything.TestCase.settings = ALWAYS
TestEverything = Everything.TestCase


@pytest.mark.soak
def test_everything_for_long() -> None:
    deep = settings(
        ALWAYS, max_examples=5000, stateful_step_count=60, derandomize=False
    )
    run_state_machine_as_test(Everything, settings=deep)


def test_who_waits_for_an_event_that_another_takes_over_is_told_by_itself() -> None:
    """Known late, the losses of one PBX in Lyon are due before those of the other."""
    truth = all_well(0.0)
    for name in ("101", "302"):
        del truth.phones[name]
    truth.places["304"] = "paris"
    power = Power(truth, registrar_first=False)
    power.world.until(power.world.now + 130)
    for name in ("301", "303", "304", "305", "306", "401", "402"):
        truth.phones[name] = UNREGISTERED, power.world.now
    power.cut(300.0)
    power.world.until(power.world.now + HOUR)
    names = {i.subject.name for i in power.world.alarms.incidents}
    assert names == {"304", "lyon"}
