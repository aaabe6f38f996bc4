"""Schedules, maintenance, silences: what is muted is told later, or never, or as over.

Rules wait two minutes, an end is kept for one; groups here do not wait.
"""

from __future__ import annotations

import pytest

from alerting.announcement import Suppressed
from alerting.incident import Outcome
from alerting.muting.muting import ON_PURPOSE
from alerting.routes import GroupSettings, repeats
from alerting.rules.rule import RuleSettings
from alerting.store.rows import Memo, Restored
from checks.observation import Cause, Event, Figures, Observation, State

from .calm import HOUR, Calm, Memory, moment, route, schedule, window

UNREACHABLE, UNREGISTERED = State.UNREACHABLE, State.UNREGISTERED
OFFICE = {"office": schedule({"mon-fri": "08:30-18:00"})}
IN_HOURS = {"ExtensionUnregistered": RuleSettings(during="office")}
HOURLY = GroupSettings(wait=0.0, interval=0.0, repeat=repeats({"warning": "1h"}))


def in_hours(**more: object) -> Calm:
    return Calm(rules=IN_HOURS, schedules=OFFICE, **more)  # type: ignore[arg-type]


# --- a rule and its hours -------------------------------------------------------------


def test_what_is_lost_at_night_and_back_in_the_morning_is_never_told() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("01:00", phone)
    site.back("08:45", phone)
    site.until(site.time("+1 00:00"))
    assert site.story() == []
    assert site.opened == []


def test_what_is_lost_at_night_is_told_half_an_hour_into_the_day() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("12:00"))
    assert site.story() == [("09:02", "firing")]
    assert site.alarms.incidents[0].since == site.time("01:00")


def test_what_is_lost_when_the_day_begins_has_the_same_patience() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("08:31", phone)
    site.until(site.time("12:00"))
    assert site.story() == [("09:02", "firing")]


def test_what_is_lost_during_the_day_is_told_as_always() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("10:00", phone)
    site.until(site.time("12:00"))
    assert site.story() == [("10:02", "firing")]


def test_500_phones_that_were_off_all_night_are_no_alarm_at_half_past_eight() -> None:
    site = in_hours()
    phones = [site.phone(f"1{n:03}") for n in range(500)]
    for phone in phones:
        site.lost("02:00", phone)
    for phone in phones:
        site.back("08:50", phone)
    site.until(site.time("18:00"))
    assert site.story() == []


def test_what_was_told_goes_on_after_hours_and_its_end_is_told_at_once() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("17:50", phone)
    site.back("22:00", phone)
    site.until(site.time("+1 12:00"))
    assert site.story() == [("17:52", "firing"), ("22:01", "resolved")]


def test_what_was_told_is_the_same_incident_the_next_morning() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("17:50", phone)
    site.back("+1 10:00", phone)
    site.until(site.time("+1 12:00"))
    assert site.story() == [("17:52", "firing"), ("+1 10:01", "resolved")]


def test_a_loss_that_is_due_at_closing_time_waits_for_the_next_day() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("17:59", phone)
    site.until(site.time("+1 12:00"))
    assert site.story() == [("+1 09:02", "firing")]


def test_what_opened_in_its_hours_is_told_although_they_end_before_it_goes() -> None:
    group = GroupSettings(wait=60.0, interval=0.0, repeat={})
    site = in_hours(group=group)
    phone = site.phone()
    site.at(site.time("17:57") + 30, phone, UNREGISTERED)
    site.until(site.time("+1 07:00"))
    assert site.story() == [("18:00", "firing")]


def test_nobody_is_reminded_out_of_hours() -> None:
    site = in_hours(group=HOURLY)
    phone = site.phone()
    site.lost("16:30", phone)
    site.until(site.time("+1 09:00"))
    assert site.story() == [
        ("16:32", "firing"), ("17:32", "firing"), ("+1 08:30", "firing"),
    ]  # fmt: skip


def test_a_weekend_is_out_of_hours() -> None:
    site = in_hours(start="2026-03-06 12:00")  # a Friday
    phone = site.phone()
    site.lost("20:00", phone)
    site.until(site.time("+4 00:00"))
    assert site.story() == [("+3 09:02", "firing")]


def test_the_wait_for_its_hours_is_recorded_once() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("01:00", phone)
    site.at(site.time("03:00"), phone, UNREGISTERED, since=site.time("01:00"))
    site.until(site.time("08:00"))
    assert site.suppressed == ["1001: out of its hours (office)"]
    (told,) = site.of(Suppressed)
    assert told.at == site.time("01:02")


def test_an_event_out_of_hours_is_forgotten_if_it_ends_before_them() -> None:
    rules = {"RegistrarRestarted": RuleSettings(during="office")}
    site = Calm(rules=rules, schedules=OFFICE)
    figures = Figures(present=40, expected=40)
    for clock in ("03:00", "10:00"):
        at = site.time(clock)
        site.until(at)
        o = Observation(site.hq, State.READABLE, at, at, figures=figures)
        o.event = Event.RESTARTED
        site._observe(o)
    site.until(site.time("20:00"))
    assert site.story() == [("10:00", "firing")]


def test_two_rules_of_a_family_may_have_hours_of_their_own() -> None:
    site = in_hours()  # ExtensionUnreachable has none
    phone = site.phone()
    site.at(site.time("01:00"), phone, UNREACHABLE)
    site.at(site.time("02:00"), phone, UNREGISTERED)
    site.back("10:00", phone)
    site.until(site.time("12:00"))
    # Once it is told it is open; that it is worse is a matter of the day.
    assert site.story() == [
        ("01:02", "firing"), ("09:02", "worse"), ("10:01", "resolved"),
    ]  # fmt: skip


# --- the clocks of the world ----------------------------------------------------------


def test_hours_hold_on_the_day_that_clocks_are_put_forward() -> None:
    days = {"office": schedule({"mon-sun": "08:30-18:00"})}
    site = Calm(rules=IN_HOURS, schedules=days, start="2026-03-29 00:00")
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("12:00"))
    assert site.story() == [("09:02", "firing")]
    assert site.times() == [moment("2026-03-29T09:02")]


def test_hours_hold_on_the_day_that_clocks_are_put_back() -> None:
    days = {"office": schedule({"mon-sun": "08:30-18:00"})}
    site = Calm(rules=IN_HOURS, schedules=days, start="2026-10-25 00:00")
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("12:00"))
    assert site.times() == [moment("2026-10-25T09:02")]


def test_a_window_over_the_hour_that_comes_twice_ends_once() -> None:
    night = window("patches", hours={"sun": "02:00-03:30"})
    site = Calm(windows=[night], start="2026-10-25 00:00")
    phone = site.phone()
    site.at(moment("2026-10-25T02:10"), phone, UNREGISTERED)
    site.until(site.time("12:00"))
    assert site.times() == [moment("2026-10-25T03:30")]  # two and a half hours later


def test_a_window_in_the_hour_that_is_skipped_mutes_nothing() -> None:
    night = window("patches", hours={"sun": "02:00-03:00"})
    site = Calm(windows=[night], start="2026-03-29 00:00")
    phone = site.phone()
    site.lost("01:57", phone)
    site.until(site.time("12:00"))
    assert site.times() == [site.time("01:57") + 120]


def test_a_leap_day_is_a_day_like_any_other() -> None:
    site = in_hours(start="2028-02-28 00:00")  # a Monday; the leap day is a Tuesday
    phone = site.phone()
    site.lost("20:00", phone)
    site.until(site.time("+1 12:00"))
    assert site.times() == [moment("2028-02-29T09:02")]


def test_a_wall_clock_set_back_an_hour_neither_doubles_nor_hastens() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("08:45"))
    site.set_clock(-HOUR)  # it is 07:45 again
    site.until(site.time("12:00"))
    assert site.story() == [("10:02", "firing")]  # 09:02 on the wall
    site.set_clock(-HOUR)
    site.back("12:10", phone)
    site.until(site.time("14:00"))
    assert site.story() == [("10:02", "firing"), ("12:11", "resolved")]


def test_a_wall_clock_set_forward_a_day_loses_nothing() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("20:00", phone)
    site.until(site.time("23:00"))
    site.set_clock(24 * HOUR)  # Tuesday 23:00
    site.until(site.time("+1 12:00"))
    assert site.story() == [("+1 09:02", "firing")]
    site.set_clock(10 * HOUR)  # Wednesday 22:00
    site.back("+1 12:10", phone)
    site.until(site.time("+2 00:00"))
    assert site.story()[1:] == [("+1 12:11", "resolved")]


def test_a_wall_clock_set_into_the_hours_opens_what_waits_for_them() -> None:
    site = in_hours()
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("02:00"))
    assert site.story() == []
    site.set_clock(8 * HOUR)  # 10:00, an hour and a half into the day
    site.until(site.time("02:01"))
    assert site.story() == [("02:00", "firing")]


def test_a_silence_ends_by_the_wall_clock_whatever_it_does() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "extension=1001", until="12:00")
    site.lost("02:00", phone)
    site.until(site.time("03:00"))
    site.set_clock(-HOUR)
    site.until(site.time("12:30"))
    assert site.story() == []  # 11:30 on the wall
    site.until(site.time("14:00"))
    assert site.story() == [("13:00", "firing")]


def test_a_wall_clock_set_over_the_end_of_a_silence_ends_it() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "extension=1001", until="12:00")
    site.lost("02:00", phone)
    site.until(site.time("03:00"))
    site.set_clock(24 * HOUR)
    site.until(site.time("05:00"))
    assert site.story() == [("03:00", "firing")]


# --- silences -------------------------------------------------------------------------


def test_what_fires_under_a_silence_is_told_when_it_ends() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "site=lyon", until="04:00")
    site.lost("02:00", phone)
    site.until(site.time("03:00"))
    assert site.opened == ["1001 ExtensionUnregistered"]  # it is seen all the same
    site.until(site.time("05:00"))
    assert site.story() == [("04:00", "firing")]
    site.back("06:00", phone)
    site.until(site.time("07:00"))
    assert site.story()[1:] == [("06:01", "resolved")]


def test_what_comes_and_goes_under_a_silence_is_told_to_nobody() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "site=lyon", until="04:00")
    site.lost("02:00", phone)
    site.back("03:00", phone)
    site.until(site.time("05:00"))
    assert site.story() == []
    assert site.alarms.owed() == []


def test_what_was_told_before_a_silence_is_told_as_over_at_once() -> None:
    site = Calm()
    phone = site.phone()
    site.lost("01:00", phone)
    site.silence("02:00", "extension=1001", until="04:00")
    site.back("03:00", phone)
    site.until(site.time("05:00"))
    assert site.story() == [("01:02", "firing"), ("03:01", "resolved")]


def test_a_silence_does_not_hold_what_it_is_not_about() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "extension=1002", until="04:00")
    site.silence("01:00", "site=lyon", "severity=critical", until="04:00")
    site.lost("02:00", phone)
    site.until(site.time("03:00"))
    assert site.story() == [("02:02", "firing")]


def test_a_silence_that_is_removed_lets_go_of_what_it_held() -> None:
    site = Calm()
    phone = site.phone()
    made = site.silence("01:00", "extension=1001", until="+30 04:00")
    site.lost("02:00", phone)
    site.unsilence("03:00", made)
    site.until(site.time("05:00"))
    assert site.story() == [("03:00", "firing")]


def test_of_two_silences_the_later_end_counts() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "extension=1001", until="03:00")
    site.silence("01:30", "site=lyon", until="05:00")
    site.lost("02:00", phone)
    site.until(site.time("06:00"))
    assert site.story() == [("05:00", "firing")]


def test_a_silence_that_begins_while_a_group_waits_holds_it() -> None:
    site = Calm(group=GroupSettings(wait=600.0, interval=0.0, repeat={}))
    phone = site.phone()
    site.lost("02:00", phone)
    site.silence("02:05", "extension=1001", until="04:00")
    site.until(site.time("06:00"))
    assert site.story() == [("04:00", "firing")]


def test_what_the_mail_server_refuses_is_held_by_a_silence_too() -> None:
    site = Calm()
    down = [True]
    site.answers = lambda name, now: Outcome.TRANSIENT if down[0] else Outcome.ACCEPTED
    phone = site.phone()
    site.lost("02:00", phone)
    site.silence("02:10", "extension=1001", until="04:00")
    site.until(site.time("03:00"))
    down[0] = False
    site.until(site.time("06:00"))
    assert site.story()[0] == ("04:00", "firing")


def test_reminders_wait_for_the_end_of_a_silence() -> None:
    site = Calm(group=HOURLY)
    phone = site.phone()
    site.lost("01:00", phone)
    site.silence("01:30", "extension=1001", until="05:30")
    site.until(site.time("06:00"))
    assert site.story() == [("01:02", "firing"), ("05:30", "firing")]


def test_that_it_got_worse_is_told_after_the_silence() -> None:
    site = Calm()
    phone = site.phone()
    site.at(site.time("01:00"), phone, UNREACHABLE)
    site.silence("01:30", "extension=1001", until="05:00")
    site.lost("02:00", phone)
    site.until(site.time("06:00"))
    assert site.story() == [("01:02", "firing"), ("05:00", "worse")]


def test_those_who_are_silenced_do_not_hold_up_the_others_of_their_group() -> None:
    site = Calm()
    one, other = site.phone("1001"), site.phone("1002")
    site.silence("01:00", "extension=1001", until="04:00")
    site.lost("02:00", one)
    site.lost("02:00", other)
    site.until(site.time("05:00"))
    assert [m.text for m in site.mails["oncall"]] == [
        "firing 1002 ExtensionUnregistered",
        "firing 1001 ExtensionUnregistered",
    ]
    assert site.times() == [site.time("02:02"), site.time("04:00")]


def test_what_is_held_is_not_owed_and_says_why() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("01:00", "extension=1001", until="04:00")
    site.lost("02:00", phone)
    site.until(site.time("03:00"))
    (incident,) = site.alarms.incidents
    (row,) = site.alarms.deliveries(incident)
    assert (row.held, row.error) == (True, "silenced by Anna: new switch")
    assert site.alarms.owed() == []
    assert site.suppressed == ["1001: silenced by Anna: new switch"]
    assert site.alarms.silences.reason(incident, site.now) == row.error


def test_a_recurrence_under_a_silence_waits_as_well() -> None:
    site = Calm()
    phone = site.phone()
    site.lost("01:00", phone)
    site.back("01:30", phone)
    site.silence("01:32", "extension=1001", until="04:00")
    site.lost("01:35", phone)
    site.until(site.time("03:00"))
    assert site.story() == [("01:02", "firing"), ("01:31", "resolved")]
    site.until(site.time("05:00"))
    assert site.story()[2:] == [("04:00", "firing")]


def test_silences_are_written_and_come_back() -> None:
    site = Calm()
    site.phone()
    written: list = []
    site.on_write = written.extend
    made = site.silence("01:00", "extension=1001", until="04:00")
    (memo,) = [w for w in written if isinstance(w, Memo)]
    again = Calm(
        now=site.time("01:30"), restored=Restored(memos={memo.name: memo.json})
    )
    assert list(again.muting.silences.values()) == [made]
    phone = again.phone()
    again.at(again.time("02:00"), phone, UNREGISTERED)
    again.until(again.time("05:00"))
    assert again.story() == [("04:00", "firing")]


# --- maintenance, and what is so on purpose -------------------------------------------


def test_what_still_lasts_after_a_maintenance_window_is_told_at_its_end() -> None:
    night = window("patches", hours={"mon": "02:00-04:00"}, match={"registrar": "hq"})
    site = Calm(windows=[night])
    one, other = site.phone("1001"), site.phone("1002")
    site.lost("02:10", one)
    site.lost("02:10", other)
    site.back("03:00", other)
    site.until(site.time("05:00"))
    assert [m.text for m in site.mails["oncall"]] == [
        "firing 1001 ExtensionUnregistered"
    ]
    assert site.times() == [site.time("04:00")]


def test_a_window_that_is_taken_out_of_the_configuration_lets_go() -> None:
    site = Calm(windows=[window("patches", hours={"mon": "02:00-10:00"})])
    phone = site.phone()
    site.lost("02:10", phone)
    site.until(site.time("03:00"))
    site.muting.replace({}, [])
    site.alarms.replace(site.alarms.rules, (), site.group, ["oncall"], site.now)
    site.until(site.time("03:01"))
    assert site.story() == [("03:00", "firing")]


def test_what_is_so_on_purpose_is_no_alarm() -> None:
    site = Calm()
    target = site.target("reception", role="phone")
    site.at(site.time("01:00"), target, State.UP)
    dnd = {"cause": Cause.DO_NOT_DISTURB}
    site.at(site.time("01:10"), target, State.DEGRADED, **dnd)
    site.until(site.time("02:00"))
    assert site.story() == []
    site.at(
        site.time("02:10"), target, State.DEGRADED,
        since=site.time("01:10"), cause=Cause.OVERLOADED,
    )  # fmt: skip
    site.until(site.time("03:00"))
    assert site.story() == [("02:11", "firing")]


def test_who_wants_no_calls_may_be_unreachable() -> None:
    site = Calm()
    phone = site.phone()
    phone.paused = Cause.DO_NOT_DISTURB
    site.at(site.time("01:00"), phone, UNREACHABLE)
    site.until(site.time("02:00"))
    assert site.story() == []
    assert site.suppressed == ["1001: do not disturb is on"]
    phone.paused = None
    site.until(site.time("02:02"))
    assert len(site.story()) == 1  # within a minute


def test_who_wants_no_calls_and_is_gone_is_told_when_that_ends() -> None:
    site = Calm()
    phone, back = site.phone(), site.phone("1002")
    phone.paused = back.paused = Cause.DO_NOT_DISTURB
    site.at(site.time("01:00"), phone, UNREACHABLE)
    site.lost("02:00", phone)
    site.lost("02:00", back)
    site.back("02:30", back)
    site.until(site.time("04:00"))
    assert site.story() == []
    phone.paused = back.paused = None
    site.until(site.time("04:02"))
    assert [m.text for m in site.mails["oncall"]] == [
        "firing 1001 ExtensionUnregistered"
    ]


def test_who_must_be_there_is_missed_though_it_wants_no_calls() -> None:
    site = Calm()
    phone = site.phone()
    phone.paused, phone.required = Cause.DO_NOT_DISTURB, True
    site.at(site.time("01:00"), phone, UNREACHABLE)
    site.until(site.time("02:00"))
    assert site.story() == []
    site.lost("02:00", phone)
    site.until(site.time("02:03"))
    assert site.story() == [("02:02", "firing")]
    site.back("03:00", phone)
    site.until(site.time("03:10"))
    assert [words for _, words in site.story()] == ["firing", "resolved"]


def test_what_was_told_before_it_wants_no_calls_is_told_as_over() -> None:
    site = Calm()
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("01:30"))
    phone.paused = Cause.DO_NOT_DISTURB
    site.back("02:00", phone)
    site.until(site.time("02:10"))
    assert [words for _, words in site.story()] == ["firing", "resolved"]


@pytest.mark.parametrize("cause", ON_PURPOSE)
def test_a_target_whose_answer_says_that_it_is_on_purpose_is_no_alarm(
    cause: Cause,
) -> None:
    site = Calm()
    said: list[Cause | None] = [cause]
    site.muting.purpose = lambda incident: said[-1]
    target = site.target("reception", role="phone")
    site.at(site.time("01:00"), target, State.UP)
    site.at(site.time("01:10"), target, State.DEGRADED, cause=Cause.UNAVAILABLE)
    site.until(site.time("02:00"))
    assert site.story() == []
    said.append(None)
    site.until(site.time("02:02"))
    assert [words for _, words in site.story()] == ["firing"]


def test_of_what_is_in_maintenance_nothing_is_an_alarm() -> None:
    site = Calm()
    phone = site.phone()
    phone.paused = Cause.MAINTENANCE
    site.lost("01:00", phone)
    site.until(site.time("02:00"))
    assert site.story() == []
    phone.paused = None
    site.back("02:00", phone)
    site.until(site.time("03:00"))
    assert site.story() == []


def test_after_a_restart_the_pbx_has_a_minute_to_say_it_again() -> None:
    disk = Memory()
    site = Calm(on_write=disk.write)
    phone = site.phone()
    phone.paused = Cause.MAINTENANCE
    site.lost("01:00", phone)
    site.until(site.time("02:00"))
    for paused, told in ((Cause.MAINTENANCE, []), (None, ["firing"])):
        again = Calm(now=site.time("05:00"), restored=disk.load())
        phone = again.extension("1001")
        assert again.alarms.adopt(phone) is not None
        again.until(again.time("05:00") + 20)
        phone.paused = paused
        again.until(again.time("06:00"))
        assert [words for _, words in again.story()] == told


# --- routes with hours ----------------------------------------------------------------

DAY_AND_NIGHT = (
    route("team", during="office"),
    route("oncall", outside="office"),
)


def day_and_night(**more: object) -> Calm:
    return Calm(
        routes=DAY_AND_NIGHT, schedules=OFFICE, notifiers=("team", "oncall"), **more
    )  # type: ignore[arg-type]


def test_a_route_with_hours_waits_for_them() -> None:
    site = day_and_night()
    phone = site.phone()
    site.lost("01:00", phone)
    site.back("10:00", phone)
    site.until(site.time("12:00"))
    assert site.story("oncall") == [("01:02", "firing"), ("10:01", "resolved")]
    assert site.story("team") == [("08:30", "firing"), ("10:01", "resolved")]


def test_what_is_over_before_the_hours_of_a_route_is_not_told_by_it() -> None:
    site = day_and_night()
    phone = site.phone()
    site.lost("01:00", phone)
    site.back("02:00", phone)
    site.until(site.time("12:00"))
    assert site.story("oncall") == [("01:02", "firing"), ("02:01", "resolved")]
    assert site.story("team") == []


def test_the_end_is_told_to_who_was_told_whatever_the_hour() -> None:
    site = day_and_night()
    phone = site.phone()
    site.lost("17:00", phone)
    site.back("17:30", phone)
    site.lost("17:35", phone)
    site.back("20:00", phone)
    site.until(site.time("+1 12:00"))
    assert site.story("team") == [
        ("17:02", "firing"), ("17:31", "resolved"),
        ("17:37", "firing"), ("20:01", "resolved"),
    ]  # fmt: skip
    assert site.story("oncall") == [("18:00", "firing"), ("20:01", "resolved")]


def test_a_rule_that_names_its_notifiers_has_no_hours_of_a_route() -> None:
    rules = {"ExtensionUnregistered": RuleSettings(notify=("team",))}
    site = day_and_night(rules=rules)
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("02:00"))
    assert site.story("team") == [("01:02", "firing")]


def test_by_two_routes_one_that_is_open_is_enough() -> None:
    routes = (route("team", during="office"), route("team", match={"site": "lyon"}))
    site = Calm(routes=routes, schedules=OFFICE, notifiers=("team",))
    phone = site.phone()
    site.lost("01:00", phone)
    site.until(site.time("02:00"))
    assert site.story("team") == [("01:02", "firing")]


def test_that_an_event_got_worse_is_not_told_once_it_is_over_and_silenced() -> None:
    answers = {"now": Outcome.ACCEPTED}
    site = Calm(reads_every=1e6, answers=lambda name, at: answers["now"])
    at = site.time("10:00")
    site.until(at)
    figures = Figures(present=5, expected=40)
    o = Observation(site.hq, State.READABLE, at, at, figures=figures)
    o.event = Event.RESTARTED
    site._observe(o)
    answers["now"] = Outcome.TRANSIENT
    figures = Figures(present=6, expected=40)
    site.at(at + 100, site.hq, State.READABLE, since=at, figures=figures)
    site.silence("11:05", "registrar=hq", until="18:00")  # it closed at 11:00
    site.until(site.time("12:00"))
    answers["now"] = Outcome.ACCEPTED
    site.until(site.time("23:00"))
    assert site.story() == [("10:00", "firing")]
    assert site.alarms.owed() == []


# --- a silence that is about nobody ---------------------------------------------------


@pytest.mark.parametrize(
    ("written", "concerned"),
    [
        (["extension=1001"], True),
        (["extension=1O01"], False),
        (["site=lyon", "severity=warning"], True),
        (["site=lyon", "severity=info"], True),  # its refreshes and its policy
        (["rule=OptionsFailing"], False),
        (["site!=lyon"], False),
        (["registrar=hq", "rule!=ExtensionUnregistered"], True),
        (["rule=ExtensionUnregistered", "family=policy"], False),
    ],
)
def test_a_silence_knows_whom_it_is_about_before_anything_happens(
    written: list[str], concerned: bool
) -> None:
    site = Calm()
    phone = site.phone("1001")
    made = site.alarms.silences.add(
        written, author="Anna", reason="new switch", starts=None,
        ends=site.now + HOUR, now=site.now,
    )  # fmt: skip
    rules = site.alarms.rules
    assert site.alarms.silences.concerns(made, phone, rules) is concerned
