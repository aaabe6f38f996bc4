"""Maintenance windows: once, weekly, as cron has them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerting.matching import routed
from alerting.muting.cron import cron
from alerting.muting.hours import week
from alerting.muting.maintenance import MaintenanceSettings, Window, local_time
from alerting.muting.muting import Muting
from alerting.muting.schedule import Schedule, ScheduleSettings
from alerting.muting.silences import silence
from checks.observation import Cause
from tests.alerting.muting.incidents import incident

PARIS = ZoneInfo("Europe/Paris")
NIGHT: dict[str, Any] = {"from_": "2026-03-07 20:00", "until": "2026-03-08 04:00"}


def window(**written: Any) -> Window:
    if "match" in written:
        written["match"] = routed(written["match"])
    if "hours" in written:
        written["hours"] = week(written["hours"])
    if "cron" in written:
        written["cron"] = cron(written["cron"])
    return Window("work", MaintenanceSettings(**written), PARIS)


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).timestamp()


def test_one_that_comes_once() -> None:
    once = window(**NIGHT)
    end = at("2026-03-08T04:00")
    assert once.until(at("2026-03-07T19:59:59")) is None
    assert once.until(at("2026-03-07T20:00")) == end
    assert once.until(at("2026-03-08T03:59:59")) == end
    assert once.until(end) is None


def test_one_that_comes_every_week() -> None:
    weekly = window(hours={"sun": "02:00-04:00"}, timezone="America/New_York")
    sunday = datetime(2026, 3, 15, 2, tzinfo=ZoneInfo("America/New_York")).timestamp()
    assert weekly.until(sunday - 1) is None
    assert weekly.until(sunday) == sunday + 7200
    assert weekly.until(sunday + 7200) is None


@pytest.mark.parametrize(
    ("written", "moment", "until"),
    [
        ("0 2 1 * *", "2026-03-01T02:00", "2026-03-01T04:00"),
        ("0 2 1 * *", "2026-03-01T03:59:59", "2026-03-01T04:00"),
        ("0 2 1 * *", "2026-03-01T04:00", None),
        ("0 2 1 * *", "2026-03-02T02:00", None),
        ("30 23 * * sat", "2026-03-08T00:10", "2026-03-08T01:30"),
        ("0 3 29 2 *", "2028-02-29T03:30", "2028-02-29T05:00"),
        ("0 3 29 2 *", "2027-03-01T03:30", None),
        # The hour that is skipped begins at the jump.
        ("30 2 * * *", "2026-03-29T03:00", "2026-03-29T05:00"),
        ("*/15 * * * *", "2026-03-01T10:20", "2026-03-01T12:15"),
    ],
)
def test_one_that_comes_as_cron_says(
    written: str, moment: str, until: str | None
) -> None:
    found = window(cron=written, lasts=7200.0).until(at(moment))
    assert found == (None if until is None else at(until))


def test_an_hour_that_comes_twice_begins_it_once() -> None:
    nightly = window(cron="15 2 * * *", lasts=600.0)
    first, second = at("2026-10-25T02:15"), at("2026-10-25T02:15", fold=1)
    assert second - first == 3600
    assert nightly.until(first) == first + 600
    assert nightly.until(second) is None


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("0 0 1,15 * *", ["2026-03-01", "2026-03-15"]),
        ("0 0 * * mon-tue", ["2026-03-02", "2026-03-03", "2026-03-09"]),
        ("0 0 13 * fri", ["2026-03-06", "2026-03-13", "2026-04-13"]),  # either
        ("0 0 * mar 0", ["2026-03-01", "2026-03-08"]),
        ("0 0 * * 7", ["2026-03-01", "2026-04-05"]),
        ("0 0 1-7 * *", ["2026-03-01", "2026-03-07"]),
        ("0 0 */10 * *", ["2026-03-01", "2026-03-11", "2026-03-31"]),
        ("0 0 28/2 * *", ["2026-03-28", "2026-03-30"]),
    ],
)
def test_cron_says_on_which_days(written: str, days: list[str]) -> None:
    assert all(cron(written).on(date.fromisoformat(day)) for day in days)
    assert not cron(written).on(date(2026, 3, 19))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("0 2 * *", '0 2 * * is not a time of cron (write "0 2 * * sun")'),
        ("60 2 * * *", r"60 is no minute of cron (0 to 59)"),
        ("0 2 0 * *", r"0 is no day of cron (1 to 31)"),
        ("0 2 * * noon", "noon is no weekday of cron"),
        ("0 5-2 * * *", r"5-2 is no hour of cron (0 to 23)"),
        ("*/0 * * * *", r"*/0 is no minute of cron (0 to 59)"),
        ("@daily", '@daily is not a time of cron (write "0 2 * * sun")'),
    ],
)
def test_what_is_not_of_cron_is_refused(written: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        cron(written)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "write from and until, or hours, or cron and lasts"),
        (NIGHT | {"cron": "0 2 * * *", "lasts": 60.0}, "write from and until, or "),
        ({"from_": "2026-03-07 20:00"}, "write both from and until"),
        ({"from_": "2026-03-07 20:00", "until": "2026-03-07 20:00"}, "before it"),
        ({"cron": "0 2 * * *"}, "write both cron and lasts"),
        ({"hours": {"sun": "02:00-04:00"}, "lasts": 60.0}, "write both cron and"),
        ({"cron": "0 2 * * *", "lasts": 1e7}, "lasts longer than two weeks"),
    ],
)
def test_a_window_that_cannot_be_is_refused(written: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        window(**written)


def test_a_moment_is_written_as_date_and_time() -> None:
    assert local_time("2026-03-07T20:00") == "2026-03-07T20:00"
    for wrong in ("2026-03-07", "2026-02-30 20:00", "20:00", "2026-03-07 25:00"):
        with pytest.raises(ValueError, match=f"{wrong} is not a time"):
            local_time(wrong)


# The one question.


def test_a_window_mutes_what_it_is_about() -> None:
    muting = Muting(windows=[window(match={"registrar": "hq"}, **NIGHT)])
    during, end = at("2026-03-07T21:00"), at("2026-03-08T04:00")
    assert muting.muted_by(incident(), during) == ("maintenance work", end)
    assert muting.muted_by(incident(registrar="lyon"), during) is None
    assert muting.muted_by(incident(), end) is None


def test_a_silence_says_whose_it_is_and_why() -> None:
    muting = Muting()
    muting.silences.add(
        silence(
            ["site=lyon"],
            author="Anna", reason="new switch", starts=0.0, ends=200.0, wall=0.0,
        )
    )  # fmt: skip
    assert muting.muted_by(incident(), 100.0) == ("silenced by Anna: new switch", 200.0)
    assert muting.muted_by(incident(), 200.0) is None


@pytest.mark.parametrize("cause", ["do_not_disturb", "out_of_hours", "maintenance"])
def test_what_is_so_on_purpose_is_no_alarm(cause: str) -> None:
    found = Muting().muted_by(incident(cause=Cause(cause)), 100.0)
    assert found is not None
    assert found.until == 160.0


def test_the_wall_clock_counts_and_times_come_back_in_ours() -> None:
    ahead = [0.0]
    muting = Muting(windows=[window(**NIGHT)], ahead=lambda: ahead[0])
    start = at("2026-03-07T20:00")
    assert muting.muted_by(incident(), start - 3600) is None
    ahead[0] = 3600.0  # set forward an hour
    found = muting.muted_by(incident(), start - 3600)
    assert found is not None
    assert found.until == at("2026-03-08T04:00") - 3600


def test_a_schedule_tells_when_a_rule_may_count_and_a_route_may_tell() -> None:
    office = Schedule(ScheduleSettings(hours=week({"mon-fri": "08:30-18:00"})), PARIS)
    muting = Muting({"office": office})
    monday, noon = at("2026-03-02T08:30"), at("2026-03-02T12:00")
    night = at("2026-03-01T23:00")
    assert muting.settled_at("office", noon) == monday + 1800
    assert muting.settled_at("office", night) == monday + 1800
    assert muting.outside("office", noon) is None
    assert muting.outside("office", night) == ("outside office", monday)
    assert muting.within("office", night) is None
    assert muting.within("office", noon) == ("within office", at("2026-03-02T18:00"))
    assert muting.settled_at("gone", noon) == 0.0
    assert muting.outside("gone", noon) is muting.within("gone", noon) is None
