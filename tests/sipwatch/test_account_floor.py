"""How often a diagnosis asks a registrar that bans who asks too often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from checks.accounts.exchange import Step
from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Outcome, Trial
from checks.observation import State
from checks.settings import Secret
from sipwatch.accounts import Accounts
from tests.sipwatch.watching import START, Watching

TWILIO, PBX = "sip:acme.sip.twilio.com", "sip:203.0.113.9"


def made(site: Watching, **registrars: str) -> Accounts:
    nothing: Any = SimpleNamespace(write=lambda rows: None)
    site.alarms.adopt = lambda subject: None  # type: ignore[method-assign]
    accounts = Accounts(
        site.clock,
        nothing,
        site.alarms,
        nothing,
        nothing,
        resolver=nothing,
        site=lambda name: None,
        instance=lambda: "test",
        agent="sipwatch",
        held=lambda aor: (),
        explains=lambda: False,
        tested=lambda account, observation, news: None,
    )
    for name, registrar in registrars.items():
        settings = AccountSettings(
            registrar=registrar, username=name, password=Secret("x")
        )
        accounts.watch(name, settings)
    return accounts


@pytest.mark.parametrize(
    ("registrar", "rtt", "after", "asked"),
    [
        (TWILIO, 0.1, 599.0, 1),
        (TWILIO, 0.1, 600.0, 2),
        (TWILIO, None, 1.0, 2),  # nothing came there
        (PBX, 0.1, 1.0, 2),
    ],
)
async def test_who_was_asked_is_not_asked_before_its_floor(
    monkeypatch: pytest.MonkeyPatch,
    registrar: str,
    rtt: float | None,
    after: float,
    asked: int,
) -> None:
    site, times = Watching(), []

    async def run(self: Trial) -> Outcome:
        times.append(site.now)
        return Outcome(State.OK, None, "accepted", "", site.now, rtt=rtt)

    monkeypatch.setattr(Trial, "run", run)
    accounts = made(site, line1=registrar)
    first = await accounts.ask("line1")
    site.now += after
    second = await accounts.ask("line1")
    assert times == [START, START + after][:asked]
    assert (second is first) is (asked == 1)
    site.close()


class Refusing:
    """A registrar that takes no credentials; when it was asked."""

    def __init__(self, site: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: list[float] = []

        async def run(trial: Trial) -> Outcome:
            self.times.append(site.now - START)
            return Outcome(State.REJECTED, None, "refused", "", site.now, rtt=0.1)

        monkeypatch.setattr(Trial, "run", run)


async def test_who_refused_twice_is_asked_once_in_five_minutes_until_a_reload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Watching()
    asked, accounts = Refusing(site, monkeypatch), made(site, line1=PBX)
    answers = []
    for seconds in (0, 1, 2, 300, 301, 302):
        site.now = START + seconds
        answers.append((await accounts.ask("line1")).at - START)
    assert asked.times == [0, 1, 301]
    assert answers == [0, 1, 1, 1, 301, 301]
    assert accounts["line1"].due == START + 601  # nor does its test come before
    accounts.allow()
    await accounts.ask("line1")
    assert asked.times == [0, 1, 301, 302]
    site.close()


async def test_a_test_by_hand_that_comes_too_soon_tells_the_last_answer_and_its_age(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, steps = Watching(), list[Step]()
    asked, accounts = Refusing(site, monkeypatch), made(site, line1=PBX)
    for seconds in (0, 1, 43):
        site.now = START + seconds
        if seconds < 43:
            await accounts.ask("line1")
    outcome = await accounts.test("line1", steps.append)
    assert (asked.times, outcome.at) == ([0, 1], START + 1)
    assert [(step.ok, step.what, step.text) for step in steps] == [
        (
            None,
            "wait",
            "answered 42 s ago: it must not be asked more often",
        )
    ]
    site.close()
