"""Hours and dates, as people write them."""

from __future__ import annotations

from datetime import date

import pytest

from alerting.muting.hours import dates, exceptions, spans, week, weekdays


@pytest.mark.parametrize(
    ("written", "minutes"),
    [
        ("08:30-18:00", ((510, 1080),)),
        ("13:30-18:00, 8:30-12:00", ((510, 720), (810, 1080))),
        (["08:30-12:00", "12:00-18:00"], ((510, 720), (720, 1080))),
        ("22:00-06:00", ((1320, 1800),)),
        ("00:00-24:00", ((0, 1440),)),
        ("18:00-00:00", ((1080, 1440),)),
        ("closed", ()),
    ],
)
def test_spans_are_minutes_of_the_day(written: object, minutes: object) -> None:
    assert spans(written) == minutes


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("8-18", '8-18 is not a span of hours (write "08:30-18:00")'),
        ("08:30-18:60", "08:30-18:60: there is no 18:60"),
        ("08:30-25:00", "08:30-25:00: there is no 25:00"),
        ("24:00-06:00", "24:00-06:00 is empty (write 00:00-24:00 for a whole day)"),
        ("08:00-08:00", "08:00-08:00 is empty (write 00:00-24:00 for a whole day)"),
        ("08:00-12:00,11:00-13:00", "08:00-12:00, 11:00-13:00: the spans overlap"),
        (", ".join(["01:00-02:00"] * 25), "has more than 24 spans"),
    ],
)
def test_what_is_no_span_is_refused_with_a_sentence(written: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        spans(written)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("mon", [0]),
        ("mon-fri", [0, 1, 2, 3, 4]),
        ("sat,sun", [5, 6]),
        ("fri-mon", [4, 5, 6, 0]),
        ("Mon - Sun", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_weekdays_are_single_lists_or_ranges(written: str, days: list[int]) -> None:
    assert weekdays(written) == days


def test_a_week_has_hours_for_each_day_that_is_named() -> None:
    day, half = ((510, 1080),), ((540, 720),)
    assert week({"mon-fri": "08:30-18:00", "sat": "09:00-12:00"}) == (
        day, day, day, day, day, half, (),
    )  # fmt: skip
    with pytest.raises(ValueError, match="wed is there twice"):
        week({"mon-fri": "08:30-18:00", "wed": "closed"})
    with pytest.raises(ValueError, match="montag is not a day"):
        week({"montag": "closed"})
    with pytest.raises(ValueError, match="mapping of days"):
        week("08:30-18:00")


@pytest.mark.parametrize(
    ("written", "inside", "outside"),
    [
        ("2026-12-24", ["2026-12-24"], ["2026-12-23", "2027-12-24"]),
        ("12-24", ["2026-12-24", "2030-12-24"], ["2026-12-25"]),
        ("02-29", ["2028-02-29"], ["2028-02-28", "2027-03-01"]),
        ("2026-08-01..2026-08-15", ["2026-08-01", "2026-08-15"], ["2026-08-16"]),
        ("12-30 .. 01-02", ["2026-12-31", "2027-01-02"], ["2027-01-03", "2026-12-29"]),
    ],
)
def test_dates_are_days_of_one_year_or_of_every_year(
    written: str, inside: list[str], outside: list[str]
) -> None:
    found = dates(written)
    assert all(date.fromisoformat(day) in found for day in inside)
    assert not any(date.fromisoformat(day) in found for day in outside)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("24.12.2026", "24.12.2026 is not a date (write 2026-12-24, or 12-24)"),
        ("2027-02-29", "2027-02-29: there is no such day"),
        ("13-01", "13-01: there is no such day"),
        (
            "2026-12-30..01-02",
            "2026-12-30..01-02: write the year in both dates, or in none",
        ),
        (
            "2026-08-15..2026-08-01",
            "2026-08-15..2026-08-01 does not end within 400 days",
        ),
    ],
)
def test_what_is_no_date_is_refused_with_a_sentence(written: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        dates(written)
    assert str(error.value) == said


def test_exceptions_are_dates_and_their_hours() -> None:
    ((days, hours),) = exceptions({"2026-12-24": "08:30-12:00"})
    assert date(2026, 12, 24) in days
    assert hours == ((510, 720),)
    with pytest.raises(ValueError, match="mapping of dates"):
        exceptions(["2026-12-24"])
