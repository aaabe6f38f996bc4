"""The types that configuration classes share."""

from __future__ import annotations

import pytest

from checks.settings import LONGEST, duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30s", 30.0), ("1m30s", 90.0), (" 1.5h ", 5400.0), ("500ms", 0.5), ("0s", 0.0)],
)
def test_a_duration_is_told_in_seconds(written: str, seconds: float) -> None:
    assert duration(written) == seconds


# Each of these as long as a body of the API may be: to read all of it takes minutes.
@pytest.mark.parametrize("written", ["1" * 60_000, "1h" * 30_000, "1" * 60_000 + "x"])
def test_a_long_duration_is_refused_before_it_is_read(written: str) -> None:
    with pytest.raises(
        ValueError, match=r"^1[1h]{63}\.\.\. is not a duration"
    ) as error:
        duration(written)
    assert len(str(error.value)) < 2 * LONGEST
