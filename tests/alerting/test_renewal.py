"""What a notifier was told as firing: what is renewed, through crashes as well."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from alerting.incident import Batch, Outcome
from alerting.routes import GroupSettings
from checks.observation import State

from .test_crash import BACK, END, GONE, STORY, Machine, PowerCutError
from .timeline import Site

UNREGISTERED, REGISTERED = State.UNREGISTERED, State.REGISTERED


def told(site: Site, notifier: str = "oncall") -> list[str]:
    return [row.incident.subject.name for row in site.alarms.told(notifier)]


def test_what_was_accepted_as_firing_is_told_until_it_is_over() -> None:
    site = Site()
    phone = site.extension("1001")
    site.readable(1)
    site.at(100, phone, UNREGISTERED)
    site.until(219)
    assert told(site) == []
    site.until(221)
    assert told(site) == ["1001"]
    site.at(900, phone, REGISTERED)
    assert told(site) == ["1001"]  # it may come again within a minute
    site.until(961)
    assert told(site) == []


def test_what_was_never_accepted_is_not_told() -> None:
    site = Site(answers=lambda name, now: Outcome.TRANSIENT)
    site.readable(1)
    site.at(100, site.extension("1001"), UNREGISTERED)
    site.until(1000)
    assert told(site) == []


def test_an_end_that_waits_for_its_turn_is_no_longer_told_as_firing() -> None:
    site = Site(group=GroupSettings(wait=0.0, interval=600.0, repeat={}))
    phone = site.extension("1001")
    site.readable(1)
    site.at(100, phone, UNREGISTERED)
    site.at(300, phone, REGISTERED)
    site.until(400)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]
    assert told(site) == []


def test_what_got_worse_and_is_told_so_just_now_goes_on_being_told() -> None:
    answers = {Outcome.ACCEPTED: 1}
    site = Site(
        answers=lambda name, now: (
            Outcome.ACCEPTED if answers.pop(Outcome.ACCEPTED, 0) else Outcome.TRANSIENT
        )
    )
    phone = site.extension("1001")
    site.readable(1)
    site.at(100, phone, State.UNREACHABLE)
    site.at(300, phone, UNREGISTERED)
    site.until(600)
    assert site.told() == ["firing 1001 ExtensionUnreachable"]
    assert told(site) == ["1001"]


def test_several_are_told_in_the_order_of_their_numbers() -> None:
    site = Site()
    site.readable(1)
    for number in range(20):
        site.at(100 + number, site.extension(str(1000 + number)), UNREGISTERED)
    site.until(400)
    assert told(site) == [str(1000 + n) for n in range(20)]


def test_a_peer_that_puts_us_off_is_asked_no_sooner_nor_an_hour_later() -> None:
    site = Site()
    site.readable(1)
    site.at(100, site.extension("1001"), UNREGISTERED)
    site.until(219)
    batches: list[Batch] = []

    def put_off(name: str, batch: Batch) -> None:
        batches.append(batch)
        site.alarms.settle(batch, Outcome.TRANSIENT, site.now, "429", 90)

    site.send = put_off  # type: ignore[method-assign]
    site.until(300)
    (batch,) = batches
    began = site.alarms.next_due("oncall")
    assert began is not None
    assert 220 + 90 <= began <= 225 + 90
    for asked, delay in ((0, 30), (1e9, 3600)):
        site.alarms.settle(batch, Outcome.TRANSIENT, 300, "429", asked)
        assert site.alarms.next_due("oncall") == 300 + delay


@pytest.mark.parametrize("crash", range(0, 32, 3))
def test_what_was_accepted_before_a_crash_is_renewed_after_it(
    tmp_path: Path, crash: int
) -> None:
    """At any moment who was told as firing, and is not over, is renewed or in doubt."""
    machine = Machine(tmp_path / "sipwatch.db", (crash,))
    store, site, phones = machine.start()
    with suppress(PowerCutError):
        machine.live(site, phones, STORY)
    accepted = [m for m in machine.accepted if m.batch.change != 3]
    before = {d.incident.id for m in accepted for d in m.batch.deliveries}
    firing = {i.id for i in site.alarms.incidents}
    store.close()
    machine.now = site.now + 1.0
    store, site, _ = machine.start()
    renewed = {row.incident.id for row in site.alarms.told("oncall")}
    batch = site.alarms.due("oncall", machine.now)
    doubted = {d.incident.id for d in batch.deliveries} if batch else set()
    open_now = {i.id for i in site.alarms.incidents}
    store.close()
    assert before & firing & open_now <= renewed | doubted


def test_after_a_crash_and_the_end_nothing_is_renewed(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "sipwatch.db", (9,))
    machine.run(STORY)
    store, site, _ = machine.start()
    store.close()
    assert machine.now > GONE
    assert BACK < END
    assert told(site) == []


def test_a_notifier_that_cannot_renew_fails_and_recovers() -> None:
    site = Site(notifiers=("prom", "mail"))
    site.readable(1)
    for at in (100, 160, 220):
        site.alarms.fared("prom", Outcome.TRANSIENT, at, "connection refused")
    site.until(400)
    assert site.opened == ["notifier/prom NotifierFailing"]
    assert site.told("mail") == ["firing notifier/prom NotifierFailing"]
    site.alarms.fared("prom", Outcome.ACCEPTED, 460)
    site.until(800)
    assert site.told("mail")[-1] == "resolved notifier/prom NotifierFailing"
