"""Whose turn it is to be asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from checks.registrars.turns import SPARE, Turns

NAMES = ["u1", "u2", "u3"]


def of(*names: str) -> Turns:
    """Names that have all been planned at 1000, each 30 s after its first turn."""
    turns = Turns()
    turns.adopt(names, 1000.0)
    for n in range(len(names)):
        plan(turns, n, 1000.0)
        plan(turns, n, 1000.0)
    return turns


def plan(turns: Turns, n: int, now: float, end: float = float("inf")) -> None:
    turns.plan(n, now, interval=30.0, floor=2.0, end=end)


def test_who_is_new_is_due_at_once_and_in_order() -> None:
    turns = Turns()
    assert turns.next_due() is None
    turns.adopt(NAMES, 1000.0)
    assert turns.next_due() == 1000.0
    assert turns.take(999.0, 8) == []
    assert turns.take(1000.0, 2) == [0, 1]
    assert turns.take(1000.0, 2) == [2]
    assert turns.next_due() is None  # all are being asked


def test_the_first_turns_are_spread_and_the_next_are_an_interval_later() -> None:
    turns = Turns()
    turns.adopt(NAMES, 1000.0)
    for n in turns.take(1000.0, 8):
        plan(turns, n, 1000.0)
    assert [turns.due_at(n) for n in range(3)] == [1010.0, 1020.0, 1030.0]
    assert turns.take(1010.0, 8) == [0]
    plan(turns, 0, 1010.0)
    assert turns.due_at(0) == 1040.0


def test_an_end_is_looked_for_but_not_within_the_floor() -> None:
    turns = of(*NAMES)
    plan(turns, 0, 1000.0, end=1011.0)
    plan(turns, 1, 1000.0, end=1001.0)
    assert [turns.due_at(n) for n in range(3)] == [1011.0, 1002.0, 1030.0]


def test_a_place_that_is_out_of_date_is_passed_over() -> None:
    turns = of(*NAMES)
    turns.wish(2, 1005.3)
    turns.wish(2, 1005.1)  # twice in one second
    assert turns.take(1010.0, 8) == [2]
    assert turns.take(1029.0, 8) == []
    plan(turns, 2, 1010.0)
    assert turns.take(1030.0, 8) == [0, 1]
    assert turns.next_due() == 1040.0


def test_who_comes_before_the_second_that_lies_open_is_first() -> None:
    turns = of(*NAMES)
    assert turns.next_due() == 1030.0
    turns.wish(1, 1003.5)
    assert turns.next_due() == 1003.5
    assert turns.take(1003.5, 1) == [1]
    assert turns.take(1030.0, 8) == [0, 2]


def test_the_order_within_a_second_is_that_of_the_times() -> None:
    turns = of(*NAMES)
    for n, due in ((0, 1005.9), (1, 1005.2), (2, 1005.5)):
        turns.wish(n, due)
    assert turns.take(1005.5, 8) == [1, 2]
    turns.wish(1, 1005.6)  # it is being asked: that is no wish
    assert turns.take(1006.0, 8) == [0]


def test_a_wish_moves_nobody_to_a_later_time_nor_within_the_floor() -> None:
    turns = of(*NAMES)
    turns.wish(0, 1001.0)
    turns.wish(1, 1050.0)
    assert [turns.due_at(n) for n in range(3)] == [1002.0, 1030.0, 1030.0]


def test_those_who_were_asked_the_longest_ago() -> None:
    turns = of(*NAMES)
    plan(turns, 0, 1003.0)
    assert turns.oldest(2) == [1, 2]


def test_who_was_known_keeps_his_time_under_another_number() -> None:
    turns = of(*NAMES)
    plan(turns, 2, 1005.0)
    turns.adopt(["u9", "u3", "u1"], 1010.0)
    assert [turns.due_at(n) for n in range(3)] == [1010.0, 1035.0, 1030.0]
    assert (turns.number("u3"), turns.number("u2")) == (1, None)
    assert turns.take(1040.0, 8) == [0, 2, 1]


def test_who_was_being_asked_when_that_broke_off_is_due_again() -> None:
    turns = of(*NAMES)
    assert turns.take(1030.0, 2) == [0, 1]
    turns.resume(1031.0)
    assert turns.take(1031.0, 8) == [2, 0, 1]


def test_wishes_take_no_more_room_than_two_places_each() -> None:
    turns = of(*(f"u{n}" for n in range(20)))
    for tenths in range(200):
        plan(turns, 7, 1000.0, end=1029.0 - tenths / 10)
        assert turns.places <= 2 * 20 + SPARE + 1
    assert turns.take(2000.0, 100)[0] == 7


_steps = st.lists(
    st.tuples(st.sampled_from(["wish", "plan"]), st.integers(0, 4), st.floats(0, 40)),
    max_size=40,
)


@given(_steps)
def test_the_order_is_that_of_the_due_times_whatever_comes_between(
    steps: list[tuple[str, int, float]],
) -> None:
    turns, now = of(*(f"u{n}" for n in range(5))), 1000.0
    for what, n, seconds in steps:
        if what == "wish":
            turns.wish(n, now + seconds)
            continue
        now += seconds / 4
        for taken in turns.take(now, 2):
            plan(turns, taken, now, end=now + seconds)
    times = [turns.due_at(n) for n in range(5)]
    assert turns.next_due() == min(times)
    assert [times[n] for n in turns.take(5000.0, 9)] == sorted(times)
