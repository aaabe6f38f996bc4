"""A real Postfix that is down for an hour of simulated time, with a pager beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from alerting.alarms.core import Alarms
from alerting.incident import Batch, Notification, Notifier
from alerting.notification.render import render
from alerting.notifiers.email import Email, EmailSettings, SmtpSettings
from alerting.outbox import Courier
from alerting.routes import GroupSettings, RouteSettings
from alerting.rules.rule import RuleSettings, build
from checks.observation import Loss, Observation, State, Subject
from tests.conftest import StartPostfix
from tests.servers import eventually

from .mails import HQ, INSTANCE, PARIS, RECEPTION, at

START = at("10:00:00")
STEP = 30.0  # s of simulated time between two looks


@dataclass
class Pager:
    """Keeps what it takes."""

    took: list[Notification] = field(default_factory=list)

    async def send(self, notification: Notification) -> None:
        self.took.append(notification)


@dataclass
class Site:
    alarms: Alarms
    couriers: dict[str, Courier]
    now: float = START
    sent: int = 0

    async def passes(self, seconds: float) -> None:
        """Time passes in steps; in each, what is due is tried to its end."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + STEP)
            o = Observation(HQ, State.READABLE, at("09:00:00"), self.now)
            self.alarms.observe(o)
            self.alarms.advance(self.now)
            for courier in self.couriers.values():
                courier.wake()
            await eventually(self.is_idle)

    def is_idle(self) -> bool:
        due = [self.alarms.next_due(name) for name in self.couriers]
        return all(one is None or one > self.now for one in due)

    def says(self, phone: Subject, state: State) -> None:
        loss = Loss.EXPIRED if state is State.UNREGISTERED else None
        self.alarms.observe(Observation(phone, state, self.now, self.now, loss=loss))


@asynccontextmanager
async def watched(mail: Notifier, pager: Notifier) -> AsyncIterator[Site]:
    rules = {"MassUnregistration": RuleSettings(enabled=False)}
    alarms = Alarms(
        build(rules),
        [RouteSettings(("mail",))],
        GroupSettings(),
        notifiers=["mail", "pager"],
        now=START,
    )
    site = Site(alarms, {})

    async def flush() -> None:
        alarms.take()

    def worded(batch: Batch, now: float) -> Notification:
        return render(batch, instance=INSTANCE, zone=PARIS, now=now)

    for name, notifier in (("mail", mail), ("pager", pager)):
        site.couriers[name] = Courier(
            name,
            notifier,
            alarms,
            render=worded,
            flush=flush,
            clock=lambda: site.now,
            instance=INSTANCE,
        )
    tasks = [asyncio.create_task(c.run()) for c in site.couriers.values()]
    try:
        yield site
    finally:
        for courier in site.couriers.values():
            await courier.stop()
        await asyncio.gather(*tasks)


@pytest.mark.real("postfix")
async def test_an_hour_without_a_mail_server_hides_nothing_and_storms_nobody(
    postfix: StartPostfix,
) -> None:
    server = await asyncio.to_thread(partial(postfix))
    smtp = SmtpSettings(server.address, tls="none", port=server.port, hello="h.example")
    addresses = ("a@example.com",)
    mail, pager = Email(EmailSettings(addresses, "b@example.com", smtp)), Pager()
    phones = [
        Subject(RECEPTION.kind, f"20{n:02}", RECEPTION.scope, required=True)
        for n in range(8)
    ]
    async with watched(mail, pager) as site:
        await site.passes(STEP)
        for phone in phones:
            site.says(phone, State.REGISTERED)
        await asyncio.to_thread(server.stop)
        for phone in phones:  # one every six minutes: eight mails, had it been up
            site.says(phone, State.UNREGISTERED)
            await site.passes(360)
        await site.passes(3600 - 8 * 360)
        assert any("not accept" in one.subject for one in pager.took)
        paged = {d.subject.name for one in pager.took for d in one.incidents}
        assert {phone.name for phone in phones} <= paged

        await asyncio.to_thread(server.start)
        await site.passes(1200)
        await eventually(lambda: len(server.messages()) >= 2, 20)
        for phone in phones:
            site.says(phone, State.REGISTERED)
        await site.passes(900)
        await eventually(
            lambda: any("[resolved]" in m["Subject"] for m in server.messages()), 20
        )
        subjects = [str(m["Subject"]) for m in server.messages()]
    assert len([s for s in subjects if "[critical]" in s]) == 2, subjects
    ids = [str(m["Message-ID"]) for m in server.messages()]
    assert len(ids) == len(set(ids))
    over = [one.subject for one in pager.took if "accepts" in one.subject]
    assert len(over) == 1
