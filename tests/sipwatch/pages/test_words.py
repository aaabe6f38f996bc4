"""States, times and figures in words."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from sipwatch.web.pages import words
from sipwatch.web.pages.words import Clockwork

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.0, "0.0 ms"),
        (0.00042, "0.4 ms"),
        (0.0382, "38 ms"),
        (1.5, "1,500 ms"),
    ],
)
def test_milliseconds(seconds: float | None, said: str) -> None:
    assert words.milliseconds(seconds) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, ""),
        (0.0, "0 %"),
        (0.0001, "0.1 %"),
        (0.013, "1.3 %"),
        (0.5, "50 %"),
        (1.0, "100 %"),
    ],
)
def test_shares(share: float | None, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("extension:hq/1001@example.com", "/e/extension:hq/1001@example.com"),
        ("target:sip:a?b#c d", "/t/target:sip:a%3Fb%23c%20d"),
        ('extension:hq/"><script>', "/e/extension:hq/%22%3E%3Cscript%3E"),
        ("registrar:hq", ""),
        ("", ""),
    ],
)
def test_where_a_subject_has_its_page(key: str, path: str) -> None:
    assert words.path_of(key) == path


def test_a_state_that_nobody_knows_looks_unknown() -> None:
    assert [words.mark(s) for s in ("up", "unregistered", "<b>", None)] == [
        "good",
        "bad",
        "unknown",
        "unknown",
    ]


def test_times_are_of_the_zone_and_have_a_date_where_it_is_another_day() -> None:
    now = Clockwork(NOW, ZoneInfo("Europe/Paris"))
    assert now.clock("2026-09-21T14:13:20.000Z") == "16:13:20"
    assert now.clock("2026-09-20T14:13:20.000Z") == "20 Sep 16:13:20"
    assert now.clock(None) == ""
    assert now.ago("2026-09-21T14:00:20Z") == "13 min"
    assert now.ago(NOW + 90) == "1 min"
    assert now.since("2026-09-21T14:13:10Z") == 10.0
    assert words.stamp(NOW) == "2026-09-21T14:13:20Z"


def test_the_worst_state_is_counted_first() -> None:
    counts = {"registered": 3, "unregistered": 1, "unreachable": 0, "unknown": 2}
    assert words.by_state(counts) == [
        ("unregistered", 1),
        ("unknown", 2),
        ("registered", 3),
    ]
    assert words.counted(1, "phone") == "1 phone"
    assert words.counted(20_000, "phone") == "20,000 phones"
