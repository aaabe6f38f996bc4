"""What is taken down of an extension: what changes, and never a quiet refresh."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from checks.observation import Binding, Loss, Place, State
from checks.registrations.memory import of_habits
from checks.registrations.standing import CONTACTS, Standing
from tests.checks.registrations.judging import Timeline, bound

HERE, GONE = State.REGISTERED, State.UNREGISTERED
YEALINK = "Yealink SIP-T46U 108.86.0.75"


def taken(hq: Timeline, most: int = 1000) -> list[Standing]:
    return hq.judge.standings.take(most)


def said(hq: Timeline) -> list[tuple[str, float | None, State, list[str]]]:
    """AOR, when, state, and the ports of its contacts."""
    return [
        (
            s.subject.name,
            s.at,
            s.state,
            [p.address.rpartition(":")[2] for p in s.contacts],
        )
        for s in taken(hq)
    ]


def test_the_first_list_says_how_everybody_stands() -> None:
    hq = Timeline("1001", "1002").at(10.0)
    hq.list(bound("1001", 60.0))
    first, second = sorted(taken(hq), key=lambda standing: standing.subject.name)
    place = Place("sip:1001@10.20.0.31:5060", "10.20.0.31:5060", YEALINK)
    subject = hq.judge.extensions["1001"].subject
    assert first == Standing(subject, 10.0, HERE, None, "", (place,))
    assert (second.state, second.contacts) == (State.NEVER_REGISTERED, ())
    assert second.why == "it has not registered since it is watched"
    assert not hq.judge.standings


def test_a_quiet_refresh_changes_nothing() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0, granted=60))
    taken(hq)
    hq.at(40.0).list(bound("1001", 90.0, granted=60))
    hq.at(70.0).added(bound("1001", 120.0, granted=60))
    hq.at(71.0).reach("1001", True)
    assert taken(hq) == []


def test_a_loss_is_one_row_with_its_reason_at_its_time() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0, granted=60))
    taken(hq)
    hq.at(61.0).list()
    (lost,) = taken(hq)
    assert (lost.at, lost.state, lost.loss) == (60.0, GONE, Loss.EXPIRED)
    assert lost.why.startswith("its registration expired after the 60 s granted")
    assert lost.contacts == ()


def test_a_phone_that_comes_back_from_elsewhere_is_one_row() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0))
    hq.at(20.0).gone("1001", Loss.DEREGISTERED)
    hq.at(30.0).added(bound("1001", 90.0, port=5090))
    assert said(hq) == [("1001", 30.0, HERE, ["5090"])]  # as it stands when it is taken


def test_a_second_contact_comes_and_the_first_goes() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0))
    taken(hq)
    hq.at(20.0).added(bound("1001", 90.0, port=5090))
    assert said(hq) == [("1001", 20.0, HERE, ["5060", "5090"])]
    hq.at(30.0).gone("1001")
    assert said(hq) == [("1001", 30.0, HERE, ["5090"])]
    hq.at(40.0).list(bound("1001", 100.0, port=5090))
    assert said(hq) == []


@pytest.mark.parametrize(
    ("change", "when"),
    [
        ({"user_agent": "Yealink SIP-T46U 108.87.0.1"}, 50.0),
        ({"received": "10.20.0.99:5060"}, 50.0),
        ({"user_agent": ""}, None),  # it was not told, no more
        ({"user_agent": YEALINK}, None),
    ],
)
def test_another_address_or_user_agent_is_a_change(
    change: dict[str, Any], when: float | None
) -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0))
    taken(hq)
    hq.at(50.0).list(replace(bound("1001", 110.0), **change))
    assert [s.at for s in taken(hq)] == ([] if when is None else [when])


def test_what_an_event_does_not_tell_is_completed_by_the_next_list() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list()
    taken(hq)
    hq.at(20.0).added(Binding("1001", "sip:1001@10.20.0.31:5060"))
    (event,) = taken(hq)
    assert event.contacts == (Place("sip:1001@10.20.0.31:5060", "10.20.0.31:5060", ""),)
    hq.at(30.0).list(bound("1001", 80.0))
    (known,) = taken(hq)
    assert known.at is None
    assert known.contacts[0].user_agent == YEALINK


def test_completed_before_it_was_taken_it_is_one_row() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list()
    taken(hq)
    hq.at(20.0).added(Binding("1001", "sip:1001@10.20.0.31:5060"))
    hq.at(30.0).list(bound("1001", 80.0))
    (row,) = taken(hq)
    assert (row.at, row.contacts[0].user_agent) == (20.0, YEALINK)


def test_a_move_told_by_two_events_is_one_row_for_who_takes_it_later() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0))
    taken(hq)
    hq.at(20.0).added(bound("1001", 90.0, port=5090))
    assert hq.judge.standings.take(1000, moved=False) == []
    hq.gone("1001", Loss.DEREGISTERED)
    assert hq.judge.standings
    assert hq.judge.standings.take(1000, moved=False) == []
    assert said(hq) == [("1001", 20.0, HERE, ["5090"])]
    assert not hq.judge.standings


def test_a_change_of_state_waits_for_nothing_and_says_the_move_before_it() -> None:
    hq = Timeline("1001", "1002").at(10.0)
    hq.list(bound("1001", 60.0), bound("1002", 60.0))
    taken(hq)
    hq.at(20.0).added(bound("1001", 90.0, port=5090))
    hq.added(bound("1002", 90.0, port=5090))
    hq.at(25.0).gone("1001", Loss.DEREGISTERED)
    hq.gone("1001", Loss.DEREGISTERED, port=5090)
    (lost,) = hq.judge.standings.take(1000, moved=False)
    assert (lost.subject.name, lost.at, lost.state) == ("1001", 25.0, GONE)
    assert said(hq) == [("1002", 20.0, HERE, ["5060", "5090"])]


def test_half_a_list_says_nothing() -> None:
    hq = Timeline("1001").at(10.0)
    hq.half(bound("1001", 60.0))
    assert taken(hq) == []
    hq.end()
    assert said(hq) == [("1001", 10.0, HERE, ["5060"])]


def test_a_registrar_that_cannot_be_read_changes_nobody() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0))
    taken(hq)
    hq.at(20.0).lost()
    assert taken(hq) == []


def test_an_unreachable_phone_is_a_row_of_its_own() -> None:
    hq = Timeline("1001").at(10.0)
    hq.list(bound("1001", 60.0, reachable=True))
    taken(hq)
    hq.at(20.0).reach("1001", False)
    hq.at(25.0).reach("1001", False)
    (row,) = taken(hq)
    assert (row.at, row.state) == (20.0, State.UNREACHABLE)
    assert row.why == "it is registered, but does not answer the PBX's OPTIONS"


def test_a_mass_event_is_taken_in_slices() -> None:
    aors = [f"1{n:03}" for n in range(250)]
    hq = Timeline(*aors).at(10.0)
    hq.list(*(bound(aor, 60.0) for aor in aors))
    while hq.judge.next_deadline() == 0.0:
        hq.advance()
    assert [len(taken(hq, 100)) for _ in range(4)] == [100, 100, 50, 0]


def test_contacts_are_bounded_and_in_one_order() -> None:
    hq = Timeline("1001").at(10.0)
    rows = [bound("1001", 60.0, port=port) for port in range(5074, 5059, -1)]
    hq.list(*rows)
    (row,) = taken(hq)
    assert len(row.contacts) == CONTACTS
    assert list(row.contacts) == sorted(row.contacts)


def test_two_members_that_hold_the_same_contact_are_one_place() -> None:
    hq = Timeline("1001", members=("a", "b")).at(10.0)
    hq.list(bound("1001", 60.0), member="a")
    hq.list(bound("1001", 60.0), member="b")
    assert said(hq) == [("1001", 10.0, HERE, ["5060"])]


# --- habits ---------------------------------------------------------------------------


def test_habits_are_known_again_after_a_restart() -> None:
    hq = Timeline("1001", "1002").at(0.0)
    hq.list(bound("1001", 600.0, granted=600))
    for n in range(1, 8):
        hq.at(300.0 * n).added(bound("1001", 300.0 * n + 600, granted=600))
    habit = hq.judge.extensions["1001"].habit
    assert len(habit) > 2
    again = Timeline("1001", "1002", remembered=[of_habits({"1001": habit})])
    assert again.judge.extensions["1001"].habit == habit
    assert again.judge.extensions["1002"].habit == b""
    renewed = Timeline("1001")
    renewed.judge.keep_habits(hq.judge)
    assert renewed.judge.extensions["1001"].habit == habit
