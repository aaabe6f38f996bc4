"""The power is cut at every point of an afternoon on which much goes wrong.

A phone flaps, a branch is lost, the pager cannot be reached and somebody stands in for
it, a phone is silenced, the branch is taken by a link that counts once. Before and
after every commit, be it of single subjects, and around every delivery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from alerting.incident import Outcome, Told
from checks.observation import Kind

from .test_everything import check_disk, check_keys, check_mails
from .world import REGISTERED, UNREGISTERED, Power, World, all_well

LINK = "signed"
BRANCH = tuple(f"30{n}" for n in range(1, 7))
END = 9000.0


class Afternoon:
    """Lives through it, however often the machine dies."""

    def __init__(self, crashes: tuple[int, ...] = (), slices: int | None = None):
        truth = all_well(0.0)
        truth.routes = "both"
        self.power = Power(truth, slices=slices)
        self.begin = self.power.world.now
        self.crashes = list(crashes)
        self.passed = 0  # points
        self.used = 0  # times that the link did something
        self.arm()

    def arm(self) -> None:
        """Die at the next of the points, or count them."""
        world = self.power.world
        world.pace = 3.0
        world.crash_in = self.crashes.pop(0) if self.crashes else 10**6
        self.armed = world.crash_in

    def do(self, act: Callable[[World], None]) -> None:
        before = self.power.crashes
        self.power.do(act)
        if self.power.crashes != before:
            self.arm()

    def until(self, at: float) -> None:
        while self.power.world.now < self.begin + at:
            self.do(lambda world: world.until(self.begin + at))

    def phones(self, names: tuple[str, ...], state) -> None:
        for name in names:
            self.power.truth.phones[name] = state, self.power.world.now
            self.do(lambda world, name=name: world.event(name))

    def silence(self) -> None:
        """Who is not answered asks again."""

        def ask(world: World) -> None:
            if not world.muting.silences:
                world.alarms.silences.add(
                    ["extension=102"], author="Anna", reason="work", starts=None,
                    ends=self.begin + 4000, now=world.now,
                )  # fmt: skip
            world.until(world.now)

        self.again(ask)

    def take(self) -> None:
        def press(world: World) -> None:
            links, incidents = world.alarms.links, world.alarms.incidents
            mass = [i for i in incidents if i.family == "mass"]
            if not links.used(LINK):
                links.use(LINK, self.begin + 86400, mass, "Ben", "", world.now)
                self.used += 1
            world.until(world.now)

        self.again(press)

    def again(self, act: Callable[[World], None]) -> None:
        before = None
        while before != self.power.crashes:
            before = self.power.crashes
            self.do(act)

    def live(self) -> Afternoon:
        truth = self.power.truth
        self.until(100)
        for n in range(7):
            self.until(100 + 60 * n)
            self.phones(("101",), REGISTERED if n % 2 else UNREGISTERED)
        self.until(600)
        self.silence()
        self.phones(("102",), UNREGISTERED)
        self.until(700)
        truth.outcomes["pager"] = Outcome.TRANSIENT
        self.phones(BRANCH, UNREGISTERED)
        self.until(1500)
        truth.outcomes.clear()
        self.until(1700)
        self.take()
        self.until(2500)
        self.phones(("101",), REGISTERED)
        self.phones(BRANCH, REGISTERED)
        self.until(5000)
        self.phones(("102",), REGISTERED)
        self.until(END)
        self.passed = self.armed - (self.power.world.crash_in or 0)
        return self

    def check(self) -> None:
        world, mails = self.power.world, self.power.mails
        world.flush()
        open_ = [i for i in world.alarms.incidents if i.subject.kind is not Kind.SELF]
        assert open_ == []
        assert world.alarms.owed() == []
        check_disk(world)
        check_keys(world)
        for several in mails.values():
            check_mails(several, ends=True)
        sent = Counter(m.batch.id for several in mails.values() for m in several)
        assert sum(n - 1 for n in sent.values()) <= self.power.crashes
        assert world.alarms.links.used(LINK)
        assert self.used <= 1 + self.power.crashes
        self.check_the_story()

    def check_the_story(self) -> None:
        """What was told of what, doubles aside."""
        told: dict[str, set[tuple[str, str]]] = {}
        for who, mails in self.power.mails.items():
            firing = [m for m in mails if m.batch.change in (Told.FIRING, Told.WORSE)]
            told[who] = {
                (d.incident.subject.name, d.incident.rule)
                for m in firing
                for d in m.batch.deliveries
            }
        assert ("lyon", "MassUnregistration") in told["pager"]
        assert not {name for name, _ in told["team"]} & set(BRANCH)
        self.check_times()

    def check_times(self) -> None:
        """Nobody hears early, of what is silenced least of all."""
        for mails in self.power.mails.values():
            for mail in mails:
                for row in mail.batch.deliveries:
                    name = row.incident.subject.name
                    if name == "102" and mail.batch.change is Told.FIRING:
                        assert mail.at >= self.begin + 4000
                    if row.incident.family == "mass":
                        assert mail.at >= self.begin + 700 + 30


def test_an_afternoon_without_a_crash() -> None:
    afternoon = Afternoon().live()
    afternoon.check()
    team = {text for m in afternoon.power.mails["team"] for text in (m.text,)}
    assert "firing 101 Flapping" in team
    assert "resolved 101 Flapping" in team
    (taken,) = {
        d.incident.acknowledged_by
        for m in afternoon.power.mails["pager"]
        for d in m.batch.deliveries
        if d.incident.family == "mass"
    }
    assert (taken, afternoon.used) == ("Ben", 1)


@pytest.mark.parametrize("slices", [None, 1])
def test_an_afternoon_with_a_crash_at_every_third_point(slices: int | None) -> None:
    total = Afternoon(slices=slices).live().passed
    assert total > 60
    for at in range(0, total, 3):
        Afternoon((at,), slices).live().check()


@pytest.mark.soak
@pytest.mark.parametrize("slices", [None, 1, 3])
def test_an_afternoon_with_one_and_two_crashes_at_every_point(
    slices: int | None,
) -> None:
    total = Afternoon(slices=slices).live().passed
    for at in range(total):
        Afternoon((at,), slices).live().check()
        Afternoon((at, at % 11, at % 7), slices).live().check()
