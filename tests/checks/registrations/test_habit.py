"""What sixteen bytes know of when a phone refreshes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from checks.registrations.habit import (
    ANEW,
    LEARNED,
    LOST,
    SIZE,
    Points,
    is_known,
    learned,
    packed,
    patience,
    points,
    unpacked,
)


def habit(*shares: float) -> bytes:
    made = b""
    for share in shares:
        made = learned(made, share)
    return made


def test_it_never_takes_more_than_sixteen_bytes() -> None:
    assert max(len(habit(*[0.5] * n)) for n in (1, 13, 14, 15, 300, 1000)) == SIZE


def test_three_refreshes_are_no_habit() -> None:
    assert patience(habit(0.5, 0.5, 0.5), 3600) is None
    assert not is_known(habit(0.5, 0.5, 0.5))
    assert is_known(habit(*[0.5] * LEARNED))
    assert points(b"") is None
    assert not is_known(b"")


def test_the_points_are_those_of_the_last_refreshes() -> None:
    assert points(habit(0.9, *[0.5] * 20)) == Points(0.5, 0.5, 0.5)
    assert points(habit(0.4, 0.5, 0.6, 0.55)) == Points(0.4, 0.525, 0.6)


@pytest.mark.parametrize(
    ("refreshes", "at_most"),
    [(4, 0.5 + 0.4), (8, 0.5 + 0.05), (40, 0.5 + 0.01)],
)
def test_a_regular_phone_is_soon_known_well(refreshes: int, at_most: float) -> None:
    waits = patience(habit(*[0.5] * refreshes), 3600)
    assert waits is not None
    assert 0.5 * 3600 + LOST < waits < at_most * 3600 + LOST


def test_a_reboot_makes_nobody_more_patient() -> None:
    steady = patience(habit(*[0.5] * 12), 3600)
    assert patience(habit(*[0.5] * 6, 0.03, *[0.5] * 5), 3600) == steady


def test_who_was_late_once_may_be_again_until_it_is_forgotten() -> None:
    once = habit(*[0.5] * 20, 0.8)
    waits = patience(once, 3600)
    assert waits is not None
    assert waits > 0.8 * 3600
    for _ in range(ANEW):
        once = learned(once, 0.5)
    assert (patience(once, 3600) or 0) < 0.51 * 3600 + LOST


@pytest.mark.parametrize("seed", range(5))
def test_a_phone_that_draws_its_point_by_lot_is_never_called_late(seed: int) -> None:
    lot = random.Random(seed)  # as sofia-sip does: from half to five sixths
    known = b""
    for _ in range(2000):
        share = lot.uniform(0.5, 5 / 6)
        waits = patience(known, 3600)
        assert waits is None or share * 3600 < waits
        known = learned(known, share)


def test_what_is_beyond_a_byte_is_kept_as_its_most() -> None:
    assert points(habit(40.0)) == Points(1.275, 1.275, 1.275)


def test_habits_are_packed_into_sixteen_bytes_each_and_unpacked() -> None:
    habits = {
        f"{1000 + n}@pbx.example.com": habit(*[0.5] * n) for n in (1, 13, 14, 300)
    }
    kept = json.loads(json.dumps(packed(habits)))
    assert len(kept["habits"]) == (4 * SIZE + 2) // 3 * 4
    assert unpacked(kept) == habits
    assert unpacked(packed({})) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"aors": None},
        {"aors": ["1001", "1002"]},
        {"habits": "?"},
        {"habits": None},
        {"habits": "AAAA"},
        {"aors": [7]},
        {"habits": "A" * 22 + "=="},  # zeros: no refresh
        {"habits": "/" + "A" * 21 + "=="},  # more than are counted
    ],
)
def test_what_is_not_as_it_was_packed_is_no_habit(change: dict[str, Any]) -> None:
    assert unpacked(packed({"1001": habit(0.5)}) | change) == {}
