"""How often a diagnosis asks a registrar that bans who asks too often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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
