"""The one clock: it never jumps, and knows how far the wall has."""

from __future__ import annotations

import pytest

from sipwatch.clock import JUMP, Clock


class Hands:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.monotonic = 50.0
        self.wall = 1_790_000_000.0

    def pass_by(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def clock(hands: Hands) -> Clock:
    return Clock(lambda: hands.monotonic, lambda: hands.wall)


def test_it_reads_as_utc_and_goes_with_the_monotonic_clock(
    hands: Hands, clock: Clock
) -> None:
    assert clock.now() == 1_790_000_000.0
    hands.pass_by(12.5)
    assert clock.now() == 1_790_000_012.5
    assert clock.to_wall(clock.now()) == hands.wall


@pytest.mark.parametrize("step", [3600.0, -3600.0, JUMP, -1.5])
def test_a_step_of_the_wall_is_told_once_and_moves_no_time_of_ours(
    hands: Hands, clock: Clock, step: float
) -> None:
    before = clock.now()
    hands.wall += step
    assert clock.now() == before
    assert clock.measure() == step
    assert clock.measure() == 0.0
    assert clock.to_wall(before) == before + step
    assert clock.from_wall(clock.to_wall(before)) == before


def test_a_step_there_and_back_leaves_no_skew(hands: Hands, clock: Clock) -> None:
    hands.wall += 100
    assert clock.measure() == 100
    hands.wall -= 100
    assert clock.measure() == -100
    assert clock.skew == 0.0


def test_lateness_between_two_looks_is_no_step(hands: Hands, clock: Clock) -> None:
    hands.wall += 0.4
    assert clock.measure() == 0.0


def test_small_steps_add_up_to_one(hands: Hands, clock: Clock) -> None:
    steps = []
    for _ in range(30):
        hands.pass_by(1.0)
        hands.wall += 0.1
        steps.append(clock.measure())
    assert sum(steps) == pytest.approx(3.0, abs=JUMP)
    assert sum(step != 0.0 for step in steps) <= 3
