"""The power is cut at any point of a scheduled test of all routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from alerting.alarms.core import Alarms
from alerting.incident import DeliveryError, Notification, Outcome
from alerting.routes import GroupSettings
from alerting.rules.rule import build
from tests.alerting.calm import Memory
from tests.sipwatch.itself.test_self_test import ROUTES, WRONG, Pigeon, Site
from tests.sipwatch.watching import START, Watching

NAMES = ("mail", "pager", "boss")
HOUR = 3600.0
WEEK = 168 * HOUR


class PowerCut(BaseException):  # nothing that anybody catches
    """The power is cut."""


class Bird(Pigeon):
    """One that may be struck while it flies, and refuses while it is ill."""

    ill: bool = False
    point: Callable[[], None]

    async def send(self, notification: Notification) -> None:
        self.point()
        if self.ill:
            raise WRONG
        self.took.append(notification)
        self.point()


class Power:
    """A daemon that is started again whenever its power was cut."""

    def __init__(self, cut_in: int) -> None:
        self.cut_in = cut_in
        self.cuts = 0
        self.now = START
        self.disk = Memory()
        self.ids = count(1)
        self.birds = {name: Bird() for name in NAMES}
        for bird in self.birds.values():
            bird.point = self.point
        self.told: dict[str, str] = {}  # by batch, which may come twice
        self.start()

    def start(self) -> None:
        watching: Any = Watching(now=self.now)
        watching.alarms = Alarms(
            build({}), ROUTES, GroupSettings(), notifiers=NAMES, now=self.now,
            restored=self.disk.load(), new_id=lambda: f"batch-{next(self.ids)}",
        )  # fmt: skip
        self.site = Site(*NAMES, watching=watching)
        self.alarms = watching.alarms
        self.site.tests._commit = self.commit
        for name, bird in self.birds.items():
            self.site.watching.couriers[name].notifier = bird

    def point(self) -> None:
        self.cut_in -= 1
        if self.cut_in == -1:
            raise PowerCut

    async def commit(self) -> None:
        writes, _ = self.alarms.take()
        self.point()
        self.disk.write(writes)
        self.point()

    async def live(self, *, test: bool) -> None:
        """An hour, that of the test or another one."""
        tests = self.site.tests
        await self.survive(tests.scheduled if test else tests.again)
        await self.survive(self.deliver)
        self.now += HOUR
        self.site.watching.now = self.now
        self.alarms.advance(self.now)
        await self.survive(self.deliver)

    async def survive(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do this; should the power be cut meanwhile, systemd starts it again."""
        try:
            await act()
        except PowerCut:
            self.cuts += 1
            self.now += 1
            self.start()
            await self.deliver()

    async def deliver(self) -> None:
        for name in NAMES:
            while batch := self.alarms.due(name, self.now):
                await self.commit()
                outcome = Outcome.PERMANENT
                if not self.birds[name].ill:
                    outcome = Outcome.ACCEPTED
                    first = batch.deliveries[0]
                    text = f"{name}: {batch.change} {first.incident.rule}"
                    if not first.step:  # no reminder
                        self.told[f"{name} {batch.id}"] = text
                    self.point()
                self.alarms.settle(batch, outcome, self.now)
                await self.commit()
        await self.commit()


FAILS, WORKS = "pager: firing NotifierFailing", "pager: resolved NotifierFailing"


@pytest.mark.parametrize("cut_in", range(40))
async def test_who_fails_is_told_once_and_works_again_once(cut_in: int) -> None:
    power = Power(cut_in)
    power.birds["mail"].ill = True
    for _ in range(2):  # what the cut has eaten is tested in the next week
        await power.live(test=True)
        for _ in range(3):
            await power.live(test=False)
        power.now += WEEK
    (about,) = power.alarms.incidents
    assert (about.subject.name, about.firing) == ("notifier/mail", True)
    power.birds["mail"].ill = False
    for _ in range(4):
        await power.live(test=False)
    assert power.alarms.incidents == []
    pager = [text for text in power.told.values() if text.startswith("pager")]
    assert pager == [FAILS, WORKS]
    assert power.alarms.owed() == []
    assert power.cuts == 1


@pytest.mark.parametrize("cut_in", range(0, 12, 2))
async def test_all_well_a_cut_leaves_nothing_behind(cut_in: int) -> None:
    power = Power(cut_in)
    await power.live(test=True)
    for _ in range(3):
        await power.live(test=False)
    assert power.told == {}
    assert power.alarms.incidents == []
    assert all(len(bird.took) <= 1 for bird in power.birds.values())


def test_the_refusal_of_these_tests_is_for_good() -> None:
    assert isinstance(WRONG, DeliveryError)
    assert WRONG.permanent
