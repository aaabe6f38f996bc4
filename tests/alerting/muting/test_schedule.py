"""When a schedule is open, by the wall clock of its zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.muting.hours import exceptions, week
from alerting.muting.schedule import Schedule, ScheduleSettings, holidays

PARIS = ZoneInfo("Europe/Paris")
OFFICE: dict[str, Any] = {"mon-fri": "08:30-18:00"}


def schedule(hours: Any, zone: ZoneInfo = PARIS, **more: Any) -> Schedule:
    if "exceptions" in more:
        more["exceptions"] = exceptions(more["exceptions"])
    return Schedule(ScheduleSettings(hours=week(hours), **more), zone)


def at(text: str, zone: ZoneInfo = PARIS, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def local(moment: float, zone: ZoneInfo = PARIS) -> str:
    return datetime.fromtimestamp(moment, zone).isoformat()


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2026-03-02T08:29:59", False),  # a Monday
        ("2026-03-02T08:30:00", True),
        ("2026-03-02T17:59:59", True),
        ("2026-03-02T18:00:00", False),
        ("2026-03-07T12:00:00", False),
    ],
)
def test_it_opens_and_closes_on_the_second(moment: str, open_: bool) -> None:
    assert schedule(OFFICE).is_open(at(moment)) is open_


def test_a_span_says_when_it_began_and_when_it_ends() -> None:
    office = schedule(OFFICE)
    span = office.span(at("2026-03-06T12:00:00"))
    assert (local(span.begin), local(span.end), span.open) == (
        "2026-03-06T08:30:00+01:00", "2026-03-06T18:00:00+01:00", True,
    )  # fmt: skip
    weekend = office.span(span.end)
    assert (local(weekend.begin), local(weekend.end), weekend.open) == (
        "2026-03-06T18:00:00+01:00", "2026-03-09T08:30:00+01:00", False,
    )  # fmt: skip


def test_a_night_belongs_to_the_day_that_it_begins_on() -> None:
    night = schedule({"mon-thu": "22:00-06:00"})
    assert night.is_open(at("2026-03-06T05:59:59"))  # Friday morning
    assert not night.is_open(at("2026-03-02T05:59:59"))  # Monday morning


def test_spans_that_touch_are_one() -> None:
    always = schedule({"mon-sun": "00:00-24:00"})
    span = always.span(at("2026-03-06T12:00:00"))
    assert span.open
    assert span.begin < at("2026-03-01T00:00:00")
    assert span.end > at("2027-01-01T00:00:00")
    shifts = schedule({"mon-sun": "06:00-14:00, 14:00-22:00"})
    assert shifts.span(at("2026-03-06T14:00:00")).begin == at("2026-03-06T06:00:00")


def test_what_never_opens_is_closed() -> None:
    span = schedule({}).span(at("2026-03-06T12:00:00"))
    assert not span.open
    assert span.end > at("2027-03-01T00:00:00")


def test_holidays_of_a_country_or_its_part_are_closed() -> None:
    plain, german = schedule(OFFICE), schedule(OFFICE, holidays="DE-BY")
    epiphany = at("2026-01-06T12:00:00")  # a Tuesday; a holiday in Bavaria
    assert plain.is_open(epiphany)
    assert not german.is_open(epiphany)
    assert schedule(OFFICE, holidays="FR").is_open(epiphany)
    assert not schedule(OFFICE, holidays="FR").is_open(at("2026-07-14T12:00:00"))
    assert local(german.span(epiphany).end) == "2026-01-07T08:30:00+01:00"


@pytest.mark.parametrize("written", ["XX", "DE-XX", "france", ""])
def test_a_country_that_nobody_knows_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no holidays are known of it"):
        holidays(written)


def test_an_exception_goes_before_holidays_and_weekdays() -> None:
    office = schedule(
        OFFICE,
        holidays="FR",
        exceptions={
            "12-24": "08:30-12:00",
            "2026-07-14": "10:00-11:00",
            "12-31": "off",
        },
    )
    assert office.is_open(at("2026-12-24T11:59:00"))
    assert not office.is_open(at("2026-12-24T12:00:00"))
    assert office.is_open(at("2026-07-14T10:30:00"))
    assert not office.is_open(at("2026-12-31T12:00:00"))


def test_a_leap_day_has_hours_like_any_other() -> None:
    office = schedule({"mon-sun": "08:30-18:00"}, exceptions={"02-29": "closed"})
    assert office.is_open(at("2028-02-28T12:00:00"))
    assert not office.is_open(at("2028-02-29T12:00:00"))
    span = office.span(at("2028-02-29T12:00:00"))
    assert local(span.begin) == "2028-02-28T18:00:00+01:00"
    assert local(span.end) == "2028-03-01T08:30:00+01:00"
    assert schedule(OFFICE).is_open(at("2028-02-29T12:00:00"))  # a Tuesday


# Paris: at 02:00 on 29 March 2026 clocks show 03:00, on 25 October 03:00 is 02:00.


@pytest.mark.parametrize(
    ("hours", "begin", "end"),
    [
        # Put forward: what begins or ends in the hour that is not does so at the jump.
        ("02:30-05:00", "2026-03-29T03:00:00+02:00", "2026-03-29T05:00:00+02:00"),
        ("01:00-02:30", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("00:30-06:00", "2026-03-29T00:30:00+01:00", "2026-03-29T06:00:00+02:00"),
        ("02:00-03:00", None, None),
    ],
)
def test_an_hour_that_is_skipped(hours: str, begin: str | None, end: str) -> None:
    jump = at("2026-03-29T03:00:00")
    if begin is None:
        assert not schedule({"sun": hours}).is_open(jump)
        assert not schedule({"sun": hours}).is_open(jump - 1)
        return
    found = schedule({"sun": hours}).span(datetime.fromisoformat(begin).timestamp())
    assert (local(found.begin), local(found.end)) == (begin, end)
    assert found.open


@pytest.mark.parametrize(
    ("hours", "begin", "end"),
    [
        # Put back: an hour that comes twice counts when it comes first.
        ("02:15-05:00", "2026-10-25T02:15:00+02:00", "2026-10-25T05:00:00+01:00"),
        ("01:00-02:45", "2026-10-25T01:00:00+02:00", "2026-10-25T02:45:00+02:00"),
        ("02:15-02:45", "2026-10-25T02:15:00+02:00", "2026-10-25T02:45:00+02:00"),
    ],
)
def test_an_hour_that_comes_twice(hours: str, begin: str, end: str) -> None:
    found = schedule({"sun": hours}).span(at("2026-10-25T02:30:00"))
    assert (local(found.begin), local(found.end), found.open) == (begin, end, True)
    second = at("2026-10-25T02:30:00", fold=1)
    assert schedule({"sun": hours}).is_open(second) is (hours == "02:15-05:00")


def test_an_office_opens_at_its_hour_on_both_sides_of_the_change() -> None:
    office = schedule({"mon-sun": "08:30-18:00"})
    for day in ("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"):
        assert not office.is_open(at(f"{day}T08:29:59"))
        assert office.is_open(at(f"{day}T08:30:00"))


def test_a_zone_that_has_skipped_a_whole_day() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December 2011
    always = schedule({"mon-sun": "09:00-17:00"}, apia)
    span = always.span(at("2011-12-29T20:00:00", apia))
    assert local(span.end, apia) == "2011-12-31T09:00:00+14:00"


def test_the_zone_of_the_schedule_goes_before_that_of_the_machine() -> None:
    office = schedule(OFFICE, ZoneInfo("Asia/Tokyo"), timezone="Europe/Paris")
    assert office.is_open(at("2026-03-02T08:30:00"))


HOURS = st.sampled_from(
    ["08:30-18:00", "22:00-06:00", "02:30-03:30", "00:00-24:00", "01:30-02:30", "off"]
)
ZONES = st.sampled_from(
    ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Tehran"]
)


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(HOURS, min_size=7, max_size=7),
    zone=ZONES,
    moments=st.lists(st.integers(1_740_000_000, 1_800_000_000), min_size=1, max_size=5),
)
def test_spans_follow_each_other_without_gap_or_overlap(
    days: list[str], zone: str, moments: list[int]
) -> None:
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    found = schedule(dict(zip(names, days, strict=True)), ZoneInfo(zone))
    for moment in moments:
        span = found.span(moment)
        assert span.begin <= moment < span.end
        following = found.span(span.end)
        if span.end < moment + 300 * 86400:  # else it never changes
            assert following.begin == span.end
            assert following.open is not span.open
