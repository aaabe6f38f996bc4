"""480s on real calls: a rise is told, what is usual is not."""

from __future__ import annotations

import pytest

from sipwatch.keeping.rate import WINDOW, CallRate, Share

NOW = 1_700_000_000.0


def fed(rate: CallRate, at: float, calls: int, unavailable: int) -> Share:
    """The share after so many calls since the start."""
    counts = [
        ("INVITE", "200", calls - unavailable),
        ("INVITE", "480", unavailable),
        ("INVITE", "100", 900),
        ("INVITE", "407", 800),
        ("REGISTER", "480", 700),
        ("other", "480", 600),
    ]
    return rate.take(counts, at)


def test_the_first_look_is_only_a_beginning() -> None:
    assert fed(CallRate(), NOW, 1000, 900) == Share(0, 0, 0.0)


def test_a_rise_is_a_share_of_the_window() -> None:
    rate = CallRate()
    fed(rate, NOW, 100, 0)

    share = fed(rate, NOW + 60, 140, 12)

    assert share == Share(40, 12, 0.0)
    assert share.risen == pytest.approx(0.3)
    assert share.said == (
        "12 of 40 calls of the last 5 min were answered 480 (usually 0 %)"
    )


def test_a_few_are_chance() -> None:
    rate = CallRate()
    fed(rate, NOW, 0, 0)

    assert fed(rate, NOW + 60, 4, 4).risen == 0.0


def test_what_was_before_the_window_counts_no_more() -> None:
    rate = CallRate()
    fed(rate, NOW, 0, 0)
    fed(rate, NOW + 60, 40, 20)

    share = fed(rate, NOW + 61 + WINDOW, 60, 20)

    assert (share.calls, share.unavailable, share.risen) == (0, 0, 0.0)


def test_what_is_usual_is_no_rise() -> None:
    """Half of all calls of a place go to phones that are off."""
    rate = CallRate()
    fed(rate, NOW, 0, 0)
    fed(rate, NOW + 15, 8, 4)
    shares = [fed(rate, NOW + 15 * n, 8 * n, 4 * n) for n in range(2, 400)]

    assert shares[-1].usual == pytest.approx(0.5, abs=0.01)
    assert all(share.risen == 0.0 for share in shares[-100:])


def test_a_rise_does_not_become_usual() -> None:
    rate = CallRate()
    fed(rate, NOW, 0, 0)
    fed(rate, NOW + 15, 100, 2)
    shares = [fed(rate, NOW + 15 * n, 100 * n, 60 * n) for n in range(2, 400)]

    assert all(share.risen > 0.2 for share in shares)
    assert shares[-1].usual == pytest.approx(0.02)


def test_a_service_that_was_started_anew_is_no_rise() -> None:
    rate = CallRate()
    fed(rate, NOW, 1000, 500)

    assert fed(rate, NOW + 15, 10, 9) == Share(0, 0, 0.0)
