"""Deadlines come out in order, whatever was set, moved and taken back before."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alerting.alarms.deadlines import MOMENTS, PASSED, Deadlines

KEYS = st.integers(0, 5)
TIMES = st.none() | st.sampled_from([0.0, 0.01, 0.02, 0.5, 1.0, 1.01, 7.0, 3600.0, inf])


def drained(deadlines: Deadlines[str], until: float = inf) -> list[str]:
    return list(deadlines.due(until))


def test_the_earliest_comes_out_first_and_equal_ones_as_they_came_in() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key, at in {"d": 9.0, "b": 5.0, "c": 5.0, "a": 4.999}.items():
        deadlines.set(key, at)
    assert deadlines.next() == 4.999
    assert drained(deadlines, 5.0) == ["a", "b", "c"]
    assert (deadlines.next(), len(deadlines)) == (9.0, 1)


def test_what_is_set_earlier_than_what_was_next_comes_before_it() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("far", 3600.0)
    assert deadlines.next() == 3600.0
    deadlines.set("near", 1.0)
    deadlines.set("nearer", 0.5)
    assert drained(deadlines) == ["nearer", "near", "far"]


def test_what_is_set_while_it_is_taken_out_comes_out_as_well() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    several = deadlines.due(2.0)
    assert next(several) == "a"
    deadlines.set("a", 2.0)
    deadlines.set("b", 3.0)
    assert list(several) == ["a"]


def test_a_key_that_is_set_again_and_again_takes_no_more_room() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for n in range(100_000):
        deadlines.set("a", float(n % 50))
        deadlines.set("b", float(n % 50) + 0.001)
    entries = sum(map(len, deadlines._later.values())) + len(deadlines._keys)
    assert entries <= 2 * PASSED
    assert len(deadlines._later) <= PASSED
    assert drained(deadlines) == ["a", "b"]


def test_thousands_of_one_second_come_out_in_their_order() -> None:
    deadlines: Deadlines[int] = Deadlines()
    times = {n: 120.0 + n % 977 / (MOMENTS * 100) for n in range(5 * PASSED)}
    for key, at in times.items():
        deadlines.set(key, at)
    assert list(deadlines.due(inf)) == sorted(times, key=times.__getitem__)
    assert (deadlines.next(), len(deadlines)) == (None, 0)


@given(st.lists(st.tuples(KEYS, TIMES) | st.floats(0, 10)))
def test_they_are_as_a_plain_table_of_them_would_have_it(steps: list[Any]) -> None:
    """A step sets one, or takes out what is due by then."""
    deadlines: Deadlines[int] = Deadlines()
    table: dict[int, tuple[float, int]] = {}
    for number, step in enumerate(steps):
        if isinstance(step, tuple):
            key, at = step
            deadlines.set(key, at)
            if at is None:
                table.pop(key, None)
            elif key not in table or table[key][0] != at:
                table[key] = at, number
        else:
            due = [
                k for k in sorted(table, key=table.__getitem__) if table[k][0] <= step
            ]
            got = list(deadlines.due(step))
            assert sorted(got) == sorted(due)
            assert [table[k][0] for k in got] == [table.pop(k)[0] for k in due]
        earliest = min((at for at, _ in table.values()), default=None)
        assert deadlines.next() == earliest
        assert set(deadlines) == set(table)
