"""Which alerts make a problem, since when, and with what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from checks.observation import Cause, Fact, Observation, State
from checks.settings import Secret
from checks.twilio.alerts import Alert
from checks.twilio.judge import CASES, Case, Join, Judge, Local
from checks.twilio.settings import TwilioSettings
from tests.wires.twilio import ACCOUNT, TOKEN

NOW = 1_790_000_000.0
WHO = "204@acme.sip.twilio.com"


def words(case: Case, here: Local | None) -> str:
    said = f"{case.calls[-1].code} x{len(case.calls)}"
    return f"{said}; {here.name} {here.state}" if here else said


@dataclass
class World:
    """A judge, and a phone of ours."""

    judge: Judge = field(
        default_factory=lambda: Judge(
            TwilioSettings(account_sid=ACCOUNT, auth_token=Secret(TOKEN))
        )
    )
    here: Local | None = None
    number: int = 0

    def alert(
        self, code: int, at: float, who: str = WHO, *, level: str = "warning"
    ) -> None:
        self.number += 1
        call = f"CA{self.number}"
        self.judge.take(Alert(f"NO{self.number}", code, level, at, who, call), at)

    def look(self, now: float) -> tuple[list[Observation], list[Join]]:
        return self.judge.look(now, lambda who: self.here, words)

    def said(self, now: float) -> list[tuple[str, State, float]]:
        return [(o.subject.name, o.state, o.since) for o in self.look(now)[0]]


def phone(state: State, since: float, *, told: bool = False) -> Local:
    return Local("204", "Reception", "hq", state, since, told)


def test_a_fault_is_told_at_once_by_its_level() -> None:
    world = World()
    world.alert(32010, NOW, "", level="error")
    world.alert(32202, NOW + 1)
    assert world.said(NOW + 2) == [
        ("32010/", State.FAILING, NOW),
        (f"32202/{WHO}", State.DEGRADED, NOW + 1),
    ]
    assert world.said(NOW + 3) == []


def test_a_code_is_the_cause() -> None:
    world = World()
    world.alert(32202, NOW)
    (told,), _ = world.look(NOW)
    assert (told.cause, told.detail) == (Cause("twilio_32202"), "32202 x1")


@pytest.mark.parametrize(
    ("times", "tells"),
    [
        ([0, 100], False),
        ([0, 300, 600], True),
        ([0, 300, 601], False),
        ([0, 500, 900, 1000], True),
        ([600, 0, 300], True),  # they come late, and in any order
    ],
)
def test_failed_calls_are_told_from_three_in_ten_minutes_on(
    times: list[float], tells: bool
) -> None:
    world = World()
    for at in times:
        world.alert(32009, NOW + at)
    assert bool(world.said(NOW + max(times))) is tells


def test_calls_to_one_user_are_counted_under_all_codes_and_others_apart() -> None:
    world = World()
    world.alert(32009, NOW)
    world.alert(31480, NOW + 1)
    world.alert(32009, NOW + 2, "205@acme.sip.twilio.com")
    assert world.said(NOW + 2) == []
    world.alert(31480, NOW + 3)
    assert world.said(NOW + 3) == [(WHO, State.DEGRADED, NOW)]


def test_one_call_that_is_reported_twice_has_failed_once() -> None:
    world = World()
    for sid in ("a", "b", "c"):
        world.judge.take(Alert(sid, 32009, "warning", NOW, WHO, "CA1"), NOW)
    assert world.said(NOW) == []


def test_it_is_over_an_hour_after_the_last_alert() -> None:
    world = World()
    world.alert(32202, NOW)
    world.look(NOW)
    world.alert(32202, NOW + 3000)
    assert [s for _, s, _ in world.said(NOW + 3000)] == [State.DEGRADED]
    assert world.said(NOW + 6600) == []
    assert world.said(NOW + 6601) == [(f"32202/{WHO}", State.OK, NOW + 6601)]
    assert world.judge.cases == {}
    assert list(world.judge.gone) == [f"32202/{WHO}"]


def test_who_comes_again_is_the_same_subject() -> None:
    world = World()
    world.alert(32202, NOW)
    ((first,), _) = world.look(NOW)
    world.look(NOW + 4000)
    world.alert(32202, NOW + 4001)
    ((again,), _) = world.look(NOW + 4001)
    assert again.subject is first.subject
    assert world.judge.gone == {}


# --- joined with the phone itself -----------------------------------------------------


def failing_calls(world: World, at: float) -> None:
    for n in range(3):
        world.alert(32009, at + n)


def test_what_an_incident_tells_already_is_added_to_it_and_not_told_twice() -> None:
    world = World(here=phone(State.UNREGISTERED, NOW - 240, told=True))
    failing_calls(world, NOW)
    told, joins = world.look(NOW + 3)
    assert told == []
    assert joins == [Join(WHO, Fact(NOW + 2, "Twilio 32009 for 204, 3 times"))]
    assert world.look(NOW + 8) == ([], [])
    world.alert(32009, NOW + 60)
    assert world.look(NOW + 60)[1] == [
        Join(WHO, Fact(NOW + 60, "Twilio 32009 for 204, 4 times"))
    ]


def test_an_incident_that_is_about_to_open_is_waited_for() -> None:
    world = World(here=phone(State.UNREGISTERED, NOW - 30))
    failing_calls(world, NOW)
    assert world.look(NOW + 3) == ([], [])
    world.here = phone(State.UNREGISTERED, NOW - 30, told=True)
    told, joins = world.look(NOW + 90)
    assert (told, len(joins)) == ([], 1)


def test_where_none_opens_it_is_told_with_what_we_know_of_the_phone() -> None:
    world = World(here=phone(State.UNREGISTERED, NOW - 30))
    failing_calls(world, NOW)
    world.look(NOW + 3)
    (told,), _ = world.look(NOW + 150)
    assert (told.subject.title, told.detail) == (
        "Reception",
        "32009 x3; 204 unregistered",
    )
    assert told.evidence[0] == Fact(NOW - 30, "204 unregistered at hq")
    assert [fact.text for fact in told.evidence[1:]] == ["Twilio 32009 (warning)"] * 3


def test_a_phone_that_never_registered_is_told_at_once() -> None:
    world = World(here=phone(State.NEVER_REGISTERED, NOW - 30))
    failing_calls(world, NOW)
    assert len(world.look(NOW + 3)[0]) == 1


def test_an_incident_of_the_phone_takes_over_what_was_told_before() -> None:
    world = World(here=phone(State.REGISTERED, NOW - 9999))
    failing_calls(world, NOW)
    ((first,), _) = world.look(NOW + 3)
    world.here = phone(State.UNREGISTERED, NOW + 60, told=True)
    told, joins = world.look(NOW + 200)
    assert (told, len(joins)) == ([], 1)
    assert world.judge.moved == [first.subject]


def test_it_is_over_when_the_phone_is_back() -> None:
    world = World(here=phone(State.UNREGISTERED, NOW - 500, told=True))
    failing_calls(world, NOW)
    world.look(NOW + 3)
    world.here = phone(State.REGISTERED, NOW + 60)
    assert world.look(NOW + 61) == ([], [])
    assert world.judge.cases == {}


def test_a_phone_that_is_registered_here_and_not_at_twilio_is_told() -> None:
    world = World(here=phone(State.REGISTERED, NOW - 9999))
    failing_calls(world, NOW)
    ((told,), _) = world.look(NOW + 3)
    assert told.detail == "32009 x3; 204 registered"


# --- bounds, restarts -----------------------------------------------------------------


def test_who_scans_a_domain_makes_no_crowd_of_incidents() -> None:
    world = World()
    for n in range(5 * CASES):
        world.alert(32202, NOW, f"u{n}@acme.sip.twilio.com")
    assert len(world.look(NOW)[0]) == CASES + 1
    assert "32202/" in world.judge.cases


def test_calls_that_were_too_few_are_forgotten() -> None:
    world = World()
    world.alert(32009, NOW)
    world.look(NOW + 10_000)
    assert world.judge.cases == {}


def test_a_restart_forgets_no_call() -> None:
    world = World()
    world.alert(32009, NOW)
    world.alert(32009, NOW + 1)
    world.alert(32202, NOW + 2)
    world.look(NOW + 2)
    again = World(number=10)
    again.judge.load(world.judge.dump())
    again.alert(32009, NOW + 3)
    assert again.said(NOW + 3) == [
        (WHO, State.DEGRADED, NOW),
        (f"32202/{WHO}", State.DEGRADED, NOW + 2),
    ]


@pytest.mark.parametrize("stored", [None, [1], [["a"]], [["a", "b", 1, "x", 1, 1, []]]])
def test_what_cannot_be_read_is_refused(stored: object) -> None:
    with pytest.raises(ValueError):
        World().judge.load(stored)


@pytest.mark.parametrize(
    ("code", "level", "counts"),
    [
        (32009, "warning", True),
        (31201, "error", True),
        (32009, "notice", False),
        (11200, "error", False),
    ],
)
def test_codes_and_levels_that_count(code: int, level: str, counts: bool) -> None:
    assert World().judge.wants(Alert("NO1", code, level, NOW)) is counts
