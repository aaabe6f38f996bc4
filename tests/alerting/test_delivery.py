"""The core, the courier and a real mail server together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from alerting.alarms.core import Alarms
from alerting.incident import Batch, Notification
from alerting.notification.render import render
from alerting.notifiers.email import Email, EmailSettings, SmtpSettings
from alerting.outbox import Courier
from alerting.routes import GroupSettings
from alerting.rules.rule import build
from checks.observation import Loss, Observation, State
from tests.servers import eventually

from .mails import HQ, INSTANCE, PARIS, RECEPTION, WHERE, at
from .smtp import Mailbox, serving


@dataclass
class Site:
    """A phone of a readable registrar, whose time moves by hand."""

    alarms: Alarms
    courier: Courier
    now: float
    commits: int = 0

    def says(self, state: State, since: float) -> None:
        loss = Loss.EXPIRED if state is State.UNREGISTERED else None
        self.alarms.observe(
            Observation(RECEPTION, state, since, self.now, loss=loss, last_seen=WHERE)
        )

    def passes(self, seconds: float) -> None:
        """Time passes, with the registrar read well all along."""
        self.now += seconds
        self.alarms.observe(Observation(HQ, State.READABLE, at("09:00:00"), self.now))
        self.alarms.advance(self.now)
        self.courier.wake()


@asynccontextmanager
async def watched(port: int) -> AsyncIterator[Site]:
    smtp = SmtpSettings("127.0.0.1", tls="none", port=port, hello="h.example.com")
    email = Email(EmailSettings(("a@example.com",), "b@example.com", smtp))
    group = GroupSettings(wait=0.0, interval=0.0)
    start = at("10:00:00")
    alarms = Alarms(build({}), [], group, notifiers=["oncall"], now=start)

    def worded(batch: Batch, now: float) -> Notification:
        return render(batch, instance=INSTANCE, zone=PARIS, now=now)

    async def flush() -> None:
        site.commits += 1
        alarms.take()

    courier = Courier(
        "oncall",
        email,
        alarms,
        render=worded,
        flush=flush,
        clock=lambda: site.now,
        instance=INSTANCE,
    )
    site = Site(alarms, courier, start)
    task = asyncio.create_task(courier.run())
    try:
        yield site
    finally:
        await courier.stop()
        await asyncio.wait({task})


async def taken(box: Mailbox, count: int) -> list[str]:
    """The subjects, once so many have arrived."""
    async with asyncio.timeout(10):
        while len(box.taken) < count:
            box.arrived.clear()
            await box.arrived.wait()
    return [str(message["Subject"]) for _, message in box.taken]


async def test_a_phone_that_leaves_and_returns_is_told_twice_in_one_thread() -> None:
    box = Mailbox()
    async with serving(box) as port, watched(port) as site:
        site.passes(0)
        site.says(State.REGISTERED, at("09:00:00"))
        site.passes(10)
        site.says(State.UNREGISTERED, site.now)
        site.passes(119)
        assert box.taken == []
        site.passes(1.5)
        await taken(box, 1)
        site.passes(600)
        site.says(State.REGISTERED, site.now)
        site.passes(61)
        subjects = await taken(box, 2)
    assert subjects == [
        "[warning] 1001 Reception (Lyon) unregistered since 10:00 - hq",
        "[resolved] 1001 Reception (Lyon) registered again after 12 min - hq",
    ]
    first, second = (message for _, message in box.taken)
    assert second["In-Reply-To"] == first["Message-ID"] != second["Message-ID"]
    assert site.commits == 4


async def test_a_refusal_is_retried_after_the_back_off_under_the_same_id() -> None:
    box = Mailbox(data=["451 later"])
    async with serving(box) as port, watched(port) as site:
        site.passes(0)
        site.says(State.UNREGISTERED, site.now)
        site.passes(121)
        await eventually(lambda: site.courier.failures)
        site.passes(40)
        await taken(box, 1)
    assert len(box.seen) == 2
    assert len(set(box.seen)) == 1
