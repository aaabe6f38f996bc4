"""The courier: what is due goes out, what fails comes back, stopping is clean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

import alerting.outbox as outbox
from alerting.incident import (
    Batch,
    Delivery,
    DeliveryError,
    Notification,
    Outcome,
    Told,
)
from alerting.notification.render import render
from alerting.outbox import Courier, Delays

from .mails import CASES, INSTANCE, PARIS, batch, ended, incident, reception

START = 1_000_000.0


@dataclass
class Core:
    """Hands out batches as the core does: the same one until it is settled."""

    now: float = START
    due_at: float | None = None
    queue: list[Batch] = field(default_factory=list)
    settled: list[tuple[str, Outcome, float, str]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)  # what happened, in order
    done: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 1
    asked_to_wait: list[float] = field(default_factory=list)
    doubts: list[bool] = field(default_factory=list)
    firing: list[Delivery] = field(default_factory=list)
    fares: list[tuple[Outcome, str]] = field(default_factory=list)

    def told(self, notifier: str) -> list[Delivery]:
        return self.firing

    def fared(
        self, notifier: str, outcome: Outcome, now: float, error: str = ""
    ) -> None:
        self.steps.append(f"fared {outcome}")
        self.fares.append((outcome, error))
        self.done.set()

    def due(self, notifier: str, now: float) -> Batch | None:
        ready = self.due_at is None or now >= self.due_at
        return self.queue[0] if self.queue and ready else None

    def settle(
        self,
        batch: Batch,
        outcome: Outcome,
        now: float,
        error: str = "",
        retry_after: float = 0.0,
        *,
        in_doubt: bool = False,
    ) -> None:
        self.asked_to_wait.append(retry_after)
        self.doubts.append(in_doubt)
        self.steps.append(f"settle {outcome}")
        self.settled.append((batch.id, outcome, now, error))
        if outcome is not Outcome.TRANSIENT:
            self.queue.pop(0)
        else:
            self.due_at = now + 30
        if len(self.settled) >= self.wanted:
            self.done.set()

    def next_due(self, notifier: str) -> float | None:
        return self.due_at if self.queue else None

    async def flush(self) -> None:
        self.steps.append("flush")

    def render(self, batch: Batch, now: float) -> Notification:
        return render(batch, instance=INSTANCE, zone=PARIS, now=now)


class Taker:
    """A notifier that does what each of its acts says, then accepts."""

    def __init__(self, core: Core, *acts: Callable[[], Awaitable[None]]) -> None:
        self.core, self.acts = core, list(acts)
        self.got: list[Notification] = []
        self.begun = asyncio.Event()

    async def send(self, notification: Notification) -> None:
        self.core.steps.append("send")
        self.got.append(notification)
        self.begun.set()
        if self.acts:
            await self.acts.pop(0)()


def fail(error: Exception) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        raise error

    return act


async def forever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def working(
    core: Core, taker: Taker, **more: object
) -> AsyncIterator[tuple[Courier, list[tuple[str, Outcome, float, str]]]]:
    parts: dict[str, object] = {"render": core.render, "flush": core.flush} | more
    courier = Courier(
        "oncall",
        taker,
        core,
        clock=lambda: core.now,
        instance=INSTANCE,
        **parts,  # type: ignore[arg-type]
    )
    task = asyncio.create_task(courier.run())
    try:
        yield courier, core.settled
    finally:
        await courier.stop()
        assert task.done()


async def test_what_is_due_is_committed_sent_settled_and_committed() -> None:
    core = Core(queue=[CASES["unregistered"]])
    taker = Taker(core)
    async with working(core, taker) as (courier, _):
        await core.done.wait()
    assert core.steps == ["flush", "send", "settle accepted", "flush"]
    assert core.settled == [("b1", Outcome.ACCEPTED, START, "")]
    assert courier.outcomes[Outcome.ACCEPTED] == 1
    assert taker.got[0].subject.startswith("[warning] 1001 Reception")


async def test_nothing_is_sent_until_woken() -> None:
    core = Core()
    taker = Taker(core)
    async with working(core, taker) as (courier, _):
        await asyncio.sleep(0)
        core.queue.append(CASES["unregistered"])
        assert taker.got == []
        courier.wake()
        await core.done.wait()
    assert len(taker.got) == 1


async def test_what_is_due_later_goes_out_by_itself() -> None:
    core = Core(queue=[CASES["unregistered"]], due_at=START + 0.05)
    steps = iter([START, START])  # then it is time
    clock = lambda: next(steps, START + 1)  # noqa: E731
    taker = Taker(core)
    courier = Courier(
        "oncall",
        taker,
        core,
        render=core.render,
        flush=core.flush,
        clock=clock,
        instance=INSTANCE,
    )
    task = asyncio.create_task(courier.run())
    await core.done.wait()
    await courier.stop()
    assert task.done()
    assert len(taker.got) == 1


@pytest.mark.parametrize(
    ("error", "outcome", "why"),
    [
        (DeliveryError("450 later"), Outcome.TRANSIENT, "450 later"),
        (DeliveryError("550 no", permanent=True), Outcome.PERMANENT, "550 no"),
        (RuntimeError("bug\x1b[31m"), Outcome.TRANSIENT, "RuntimeError: bug\ufffd[31m"),
        (TimeoutError(), Outcome.TRANSIENT, "no end within 60 s"),
    ],
)
async def test_a_failure_is_settled_as_what_it_is(
    error: Exception, outcome: Outcome, why: str
) -> None:
    core = Core(queue=[CASES["unregistered"]])
    async with working(core, Taker(core, fail(error))) as (courier, _):
        await core.done.wait()
    assert core.settled == [("b1", outcome, START, why)]
    assert courier.failures == 1


async def test_an_unexpected_exception_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = Core(queue=[CASES["unregistered"]])
    async with working(core, Taker(core, fail(KeyError("x")))):
        await core.done.wait()
    assert "Traceback" in caplog.text


async def test_a_retry_carries_the_same_id_and_success_ends_the_row_of_failures() -> (
    None
):
    core = Core(queue=[CASES["unregistered"]])
    taker = Taker(core, fail(DeliveryError("x")), fail(DeliveryError("y")))
    async with working(core, taker) as (courier, told):
        for failures in (1, 2, 0):
            await core.done.wait()
            assert courier.failures == failures
            core.done.clear()
            core.now += 31
            courier.wake()
    assert [n.id for n in taker.got] == ["b1"] * 3
    assert [outcome for _, outcome, _, _ in told] == [
        Outcome.TRANSIENT,
        Outcome.TRANSIENT,
        Outcome.ACCEPTED,
    ]


async def test_a_notifier_without_end_is_given_up_in_time() -> None:
    core = Core(queue=[CASES["unregistered"]])
    async with working(core, Taker(core, forever), patience=0.01):
        await core.done.wait()
    assert core.settled[0][3] == "no end within 0.01 s"


async def test_a_commit_that_fails_does_not_hold_up_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = Core(queue=[CASES["unregistered"]])

    async def flush() -> None:
        raise OSError("disk full")

    async with working(core, Taker(core), flush=flush):
        await core.done.wait()
    assert core.settled[0][1] is Outcome.ACCEPTED
    assert "the commit failed: disk full" in caplog.text


async def test_a_commit_that_hangs_does_not_hold_up_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "COMMIT_PATIENCE", 0.01)
    core = Core(queue=[CASES["unregistered"]])
    async with working(core, Taker(core), flush=forever):
        await core.done.wait()
    assert core.settled[0][1] is Outcome.ACCEPTED


async def test_words_that_fail_give_way_to_bare_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = Core(queue=[CASES["unregistered"]])

    def broken(batch: Batch, now: float) -> Notification:
        raise ZeroDivisionError

    taker = Taker(core)
    async with working(core, taker, render=broken):
        await core.done.wait()
    assert "ExtensionUnregistered extension:hq/1001" in taker.got[0].subject
    assert "could not be worded" in caplog.text


async def test_stopping_lets_a_delivery_in_flight_finish() -> None:
    core = Core(queue=[CASES["unregistered"]])
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    taker = Taker(core, wait)
    async with working(core, taker) as (courier, _):
        await taker.begun.wait()
        stopping = asyncio.create_task(courier.stop())
        await asyncio.sleep(0)
        gate.set()
        await stopping
    assert core.steps == ["flush", "send", "settle accepted", "flush"]


async def test_stopping_cancels_a_delivery_that_lasts_and_leaves_its_row_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "STOP_PATIENCE", 0.01)
    core = Core(queue=[CASES["unregistered"]])
    taker = Taker(core, forever)
    async with working(core, taker):
        await taker.begun.wait()
    assert core.settled == []
    assert core.due("oncall", core.now) is CASES["unregistered"]


async def test_stopping_ends_a_delivery_that_forgot_its_cancelling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await forever()

    monkeypatch.setattr(outbox, "STOP_PATIENCE", 0.01)
    core = Core(queue=[CASES["unregistered"]])
    taker = Taker(core, deaf)
    async with working(core, taker) as (courier, _):
        await taker.begun.wait()
        await asyncio.wait_for(courier.stop(), 5)
    assert core.settled == []


async def test_stopping_before_running_is_quiet() -> None:
    core = Core()
    courier = Courier(
        "oncall",
        Taker(core),
        core,
        render=core.render,
        flush=core.flush,
        clock=lambda: START,
        instance=INSTANCE,
    )
    await courier.stop()
    await courier.run()
    assert core.steps == []


async def test_a_complaint_of_a_notifier_that_delivers_is_passed_on() -> None:
    core = Core(queue=[CASES["unregistered"]])
    taker = Taker(core)
    taker.complaint = "b@example.com is refused: 550"  # type: ignore[attr-defined]
    async with working(core, taker) as (_, told):
        await core.done.wait()
    why = "b@example.com is refused: 550"
    assert told == [("b1", Outcome.ACCEPTED, START, why)]


async def test_the_delay_counts_from_the_change_that_is_told() -> None:
    opened = replace(reception(), opened_at=START - 12)
    over = incident(**(ended() | {"resolved_at": START - 100}))  # type: ignore[arg-type]
    core = Core(
        queue=[
            batch(opened, id="b1"),
            batch(opened, id="b2", step=1),
            batch(opened, id="b3", change=Told.WORSE),
            batch(over, id="b4", change=Told.RESOLVED),
        ],
        wanted=4,
    )
    async with working(core, Taker(core)) as (courier, _):
        await core.done.wait()
    assert courier.delays.total == 112
    assert courier.delays.counts == [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]


def test_a_delay_beyond_all_bounds_is_counted() -> None:
    delays = Delays()
    delays.add(1e6)
    assert delays.counts[-1] == 1
    assert len(delays.counts) == len(delays.bounds) + 1


class Forgetful(Taker):
    """A notifier whose peer forgets after a while."""

    renew = 60.0


async def turns() -> None:
    """Let the courier come to rest."""
    for _ in range(10):
        await asyncio.sleep(0)


def firing(*ids: int) -> list[Delivery]:
    several = [reception(id=id) for id in ids]
    return list(batch(*several).deliveries)


async def test_a_peer_that_puts_us_off_is_left_alone_for_so_long() -> None:
    core = Core(queue=[CASES["unregistered"]])
    error = DeliveryError("429", retry_after=90)
    async with working(core, Taker(core, fail(error))):
        await core.done.wait()
    assert core.asked_to_wait == [90]


async def test_what_fires_is_renewed_at_once_after_a_start_and_then_in_time() -> None:
    core = Core(firing=firing(1, 2))
    taker = Forgetful(core)
    async with working(core, taker) as (courier, _):
        await core.done.wait()
        courier.wake()
        await turns()
        assert len(taker.got) == 1
        core.done.clear()
        core.now += 60
        courier.wake()
        await core.done.wait()
    assert core.steps == ["send", "fared accepted", "flush"] * 2
    assert [n.renewal for n in taker.got] == [True, True]
    assert [[i.id for i in n.incidents] for n in taker.got] == [[1, 2], [1, 2]]
    assert [n.change for n in taker.got] == [Told.FIRING] * 2


async def test_what_was_just_told_is_renewed_a_while_later() -> None:
    core = Core(queue=[CASES["unregistered"]])

    async def begin() -> None:
        core.firing = firing(4711)

    taker = Forgetful(core, begin)
    async with working(core, taker) as (courier, _):
        await core.done.wait()
        core.done.clear()
        for after in (0, 59):
            core.now = START + after
            courier.wake()
            await turns()
            assert [n.renewal for n in taker.got] == [False]
        core.now = START + 60
        courier.wake()
        await core.done.wait()
    assert [n.renewal for n in taker.got] == [False, True]


async def test_who_asks_for_renewals_hears_at_once_that_somebody_took_it() -> None:
    core = Core(firing=firing(1))
    taker = Forgetful(core)
    async with working(core, taker) as (courier, _):
        await core.done.wait()
        core.done.clear()
        core.now += 5
        courier.renew()
        await core.done.wait()
        await turns()
        core.now += 59  # from then on in time again
        courier.wake()
        await turns()
    assert [n.renewal for n in taker.got] == [True, True]


async def test_who_asks_for_none_hears_nothing_when_somebody_takes_it() -> None:
    core = Core(firing=firing(1))
    taker = Taker(core)
    async with working(core, taker) as (courier, _):
        courier.renew()
        await turns()
    assert taker.got == []


async def test_a_lot_of_deliveries_does_not_hold_a_renewal_back() -> None:
    core = Core(queue=[CASES["unregistered"]], firing=firing(7))
    async with working(core, Forgetful(core)):
        while not core.settled:
            await core.done.wait()
            core.done.clear()
            await asyncio.sleep(0)
    assert core.steps[:3] == ["send", "fared accepted", "flush"]
    assert core.settled[0][1] is Outcome.ACCEPTED


async def test_a_renewal_that_fails_counts_against_the_notifier_and_comes_again() -> (
    None
):
    core = Core(firing=firing(7))
    taker = Forgetful(core, fail(DeliveryError("connection refused")))
    async with working(core, taker) as (courier, _):
        await core.done.wait()
        assert courier.failures == 1
        core.done.clear()
        core.now += 60
        courier.wake()
        await core.done.wait()
        assert courier.failures == 0
    assert core.fares == [
        (Outcome.TRANSIENT, "connection refused"),
        (Outcome.ACCEPTED, ""),
    ]


async def test_nothing_is_renewed_for_who_does_not_ask_for_it() -> None:
    core = Core(queue=[CASES["unregistered"]], firing=firing(7))
    taker = Taker(core)
    async with working(core, taker):
        await core.done.wait()
    assert [n.renewal for n in taker.got] == [False]
