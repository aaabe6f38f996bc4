"""When an account is tested, and what its state is since when."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from checks.accounts.account import (
    CONFIRM,
    HOLD_BACK,
    RETRY_LIMIT,
    Account,
    due,
    phase,
)
from checks.accounts.settings import AccountSettings
from checks.accounts.trial import Outcome
from checks.observation import Cause, Kind, Scope, State, Subject
from checks.settings import Secret

START = 1_790_000_000.0
OK, REJECTED, FAILING = State.OK, State.REJECTED, State.FAILING


def account(name: str = "line1", **more: Any) -> Account:
    """An account of one hour."""
    keys: dict[str, Any] = {
        "registrar": "sip:10.0.0.5",
        "username": "line1",
        "password": Secret("x"),
        "interval": 3600.0,
    }
    settings = AccountSettings(**(keys | more))
    return Account(name, settings, Subject(Kind.ACCOUNT, name, Scope(name)), START)


def outcome(state: State = OK, at: float = START, **more: Any) -> Outcome:
    cause = None if state is OK else Cause.TIMEOUT
    keys: dict[str, Any] = {"cause": cause, "sentence": "so it is", "step": "do"}
    return Outcome(state=state, at=at, **(keys | more))


def waits(line: Account, *several: Outcome) -> list[float]:
    """How long after each outcome the next test comes, in the middle of its spread."""
    found = []
    for one in several:
        line.judge(one, 0.5)
        found.append(round(line.due - one.at, 6))
    return found


def test_the_first_is_at_once_and_the_second_at_its_place_in_the_interval() -> None:
    line = account()
    assert [a.name for a in due([line], START)] == ["line1"]
    first, second = waits(line, outcome(), outcome())
    assert first == pytest.approx(3600 * max(0.05, phase("line1")))
    assert second == 3600


def test_places_in_the_interval_are_spread() -> None:
    places = sorted(phase(f"line{n}") for n in range(100))
    gaps = [b - a for a, b in pairwise(places)]
    assert max(gaps) < 0.1


def test_each_test_comes_a_little_sooner_or_later() -> None:
    line = account()
    line.judge(outcome(), 0.5)
    line.judge(outcome(), 0.0)
    assert line.due - START == pytest.approx(3600 * 0.95)
    line.judge(outcome(), 1.0)
    assert line.due - START == pytest.approx(3600 * 1.05)


def test_a_failure_is_confirmed_soon_until_it_is_settled() -> None:
    failing = [outcome(FAILING)] * 4
    assert waits(account(), *failing) == [CONFIRM, CONFIRM, 3600, 3600]


def test_refused_credentials_are_not_tried_again_and_again() -> None:
    line = account(interval=20.0)
    refused = [outcome(REJECTED)] * 3
    assert waits(line, *refused) == [20, HOLD_BACK, HOLD_BACK]


def test_silence_after_refused_credentials_is_no_reason_to_hurry() -> None:
    line = account(interval=20.0)
    told = [outcome(s) for s in (REJECTED, REJECTED, FAILING, FAILING, REJECTED)]
    assert waits(line, *told)[1:] == [HOLD_BACK] * 4
    assert waits(line, outcome(), outcome(REJECTED)) == [20, 20]


@pytest.mark.parametrize(
    ("more", "wait"),
    [({"interval": 20.0}, 10), ({"registrar": "sip:acme.sip.twilio.com"}, 600)],
)
def test_a_reload_has_what_was_held_back_tested_at_once(
    more: dict[str, Any], wait: float
) -> None:
    line = account(**more)
    waits(line, outcome(REJECTED), outcome(REJECTED))
    line.pardon(START + 1)
    assert line.due == START + wait


def test_a_reload_leaves_those_alone_that_are_well() -> None:
    line = account()
    waits(line, outcome(), outcome())
    line.pardon(START + 1)
    assert line.due == START + 3600


def test_retry_after_is_honoured_within_reason() -> None:
    line = account()
    assert waits(
        line,
        outcome(FAILING, retry_after=600),
        outcome(FAILING, retry_after=10**9),
    ) == [600, RETRY_LIMIT]


def test_twilio_is_asked_every_ten_minutes_at_most() -> None:
    line = account(registrar="sip:acme.sip.twilio.com")
    assert waits(line, outcome(FAILING)) == [600]


def test_a_state_lasts_since_its_first_outcome() -> None:
    line = account()
    told = [
        line.judge(outcome(state, START + n), 0.5)
        for n, state in enumerate([OK, OK, FAILING, FAILING, REJECTED])
    ]
    assert [t.observation.since - START for t in told] == [0, 0, 2, 2, 4]
    assert [t.moved for t in told] == [True, False, True, False, True]
    figures = [
        (t.observation.figures.failures, t.observation.figures.successes) for t in told
    ]
    assert figures == [(0, 1), (0, 2), (1, 0), (2, 0), (3, 0)]


def test_a_state_of_before_a_restart_goes_on() -> None:
    line = account()
    line.before = (FAILING, START - 500)
    assert line.judge(outcome(FAILING), 0.5).observation.since == START - 500

    other = account()
    other.before = (FAILING, START - 500)
    assert other.judge(outcome(OK), 0.5).observation.since == START


def test_what_is_told_of_a_failure_is_its_sentence_and_what_was_seen() -> None:
    result = account().judge(
        outcome(
            FAILING,
            evidence=("REGISTER: 500",),
            address="10.0.0.5:5060",
            transport="udp",
        ),
        0.5,
    )
    o = result.observation
    assert (o.detail, o.last_seen) == ("so it is", "10.0.0.5:5060 over UDP")
    assert [(fact.at, fact.text) for fact in o.evidence] == [(START, "REGISTER: 500")]


def test_who_uses_it_is_remembered() -> None:
    line = account(mode="bind", dedicated=True)
    line.judge(outcome(FAILING, cause=Cause.IN_USE, others=("sip:1@10.0.0.1",)), 0.5)
    assert line.forbidden == ("sip:1@10.0.0.1",)
    line.judge(outcome(FAILING, cause=Cause.IN_USE), 0.5)
    assert line.forbidden == ("sip:1@10.0.0.1",)
    line.pardon(START + 60)
    assert (line.forbidden, line.due) == ((), START + 60)


def test_what_to_do_is_told_with_the_observation() -> None:
    line = account()
    assert line.judge(outcome(REJECTED), 0.5).observation.next_step == "do"
    assert line.judge(outcome(OK), 0.5).observation.next_step == ""


TWILIO = {"registrar": "sip:acme.sip.twilio.com;transport=tls"}


@pytest.mark.parametrize(
    ("more", "ago", "rejections", "waits_for"),
    [
        (TWILIO, 100.0, 0, 500.0),
        (TWILIO, 700.0, 0, 0.0),
        (TWILIO, -9e6, 0, 600.0),  # the clock was set back while we were away
        ({}, 20.0, 1, 0.0),
        ({}, 20.0, 2, HOLD_BACK - 20),
        ({}, 400.0, 7, 0.0),
    ],
)
def test_a_restart_is_no_way_round_what_holds_back(
    more: dict[str, str], ago: float, rejections: int, waits_for: float
) -> None:
    line = account(**more)
    line.resume(START - ago, rejections, now=START)
    assert line.due - START == waits_for
    assert line.rests is (waits_for > 0)
    line.judge(outcome(REJECTED, cause=Cause.UNAUTHORIZED), 0.5)
    assert line.rejections == rejections + 1
