"""Restarts of the PBX and of sipwatch, and clusters."""

from __future__ import annotations

import pytest

from checks.observation import Binding, Event, Kind, Loss, State
from checks.registrations.judge import Judge, Listed, Remembered
from tests.checks.registrations.judging import Timeline, bound

REGISTERED, UNREACHABLE = State.REGISTERED, State.UNREACHABLE
UNREGISTERED, NEVER = State.UNREGISTERED, State.NEVER_REGISTERED
READABLE, UNREADABLE = State.READABLE, State.UNREADABLE


# --- a restart of the PBX is one event ------------------------------------------------


def phones(end: float, *numbers: int, granted: int = 60) -> list[Binding]:
    return [bound(str(n), end, granted=granted) for n in numbers]


def restarted(t: Timeline, at: float, *numbers: int) -> None:
    """Cut at `at` - 5, booted at `at`, read 2 s later."""
    t.at(at - 5).lost()
    t.boot = at
    t.at(at + 2).list(*phones(at + 50, *numbers))


def test_a_restart_is_one_event_and_who_is_missing_has_the_grace_of_its_expires():
    t = Timeline(*(str(n) for n in range(1, 6)))
    t.at(10).list(*phones(65, 1, 2, 3, 4, 5))
    restarted(t, 30.0, 1, 2)
    [event] = [o for o in t.told if o.event]
    assert (event.subject, event.event) == (t.subject, Event.RESTARTED)
    assert (event.state, event.since, event.at) == (READABLE, 30.0, 32.0)
    assert (event.figures.expected, event.figures.present) == (5, 2)
    assert event.figures.due_by == 90.0
    assert event.detail == "2 of 5 back, the rest are due by 00:01 UTC"
    told = t.last("4")
    assert (told.state, told.since, told.not_before) == (UNREGISTERED, 30.0, 90.0)
    assert told.detail == "it has not come back since the PBX restarted"
    assert t.states("1") == [(REGISTERED, 10.0)]


def test_phones_that_come_back_are_counted_until_all_are():
    t = Timeline("1", "2", "3")
    t.at(10).list(*phones(65, 1, 2, 3))
    restarted(t, 30.0, 1)
    t.at(40).added(bound("2", 100))
    t.at(62).list(*phones(120, 1, 2))
    assert t.last("hq").detail == "2 of 3 back, the rest are due by 00:01 UTC"
    assert t.last("hq").event is None
    t.at(92).list(*phones(150, 1, 2))
    assert t.last("hq").detail == "2 of 3 back, the rest were due by 00:01 UTC"
    t.at(122).list(*phones(180, 1, 2, 3))
    assert t.last("hq").detail == "all 3 back"
    assert (t.last("hq").figures.expected, t.last("hq").figures.present) == (3, 3)
    t.at(152).list(*phones(210, 1, 2, 3))
    assert (t.last("hq").detail, t.last("hq").figures.expected) == ("", None)
    assert [o.event for o in t.told if o.event] == [Event.RESTARTED]


def test_the_end_of_the_grace_is_told_once():
    t = Timeline("1", "2")
    t.at(10).list(*phones(65, 1, 2))
    restarted(t, 30.0, 1)
    assert t.judge.next_deadline() == 81.0  # end of 1's binding, as read, and 1 s
    assert t.at(89).advance() == []
    [told] = t.at(90.5).advance()
    assert told.detail == "1 of 2 back, the rest were due by 00:01 UTC"
    assert t.at(91).advance() == []


@pytest.mark.parametrize(
    ("granted", "grace"),
    [(60, 60.0), (3600, 600.0), (None, 600.0)],
)
def test_the_grace_is_at_most_ten_minutes(granted: int | None, grace: float):
    t = Timeline("1")
    end = None if granted is None else 10.0 + granted
    t.at(10).list(bound("1", end, granted=granted))
    restarted(t, 30.0)
    assert t.last("1").not_before == 30.0 + grace


def test_a_grace_known_from_reads_only_is_a_poll_longer():
    t = Timeline("1")
    t.at(10).list(bound("1", 65))
    restarted(t, 30.0)
    assert t.last("1").not_before == 30.0 + 55.0 + 30.0


def test_a_binding_that_outlived_the_restart_and_then_ends_has_the_grace_too():
    t = Timeline("1")
    t.at(10).list(bound("1", 65, granted=60))
    t.at(25).lost()
    t.boot = 30.0
    t.at(32).list(bound("1", 65, granted=60))
    t.at(66.5).gone("1")
    told = t.last("1")
    assert (told.since, told.not_before) == (65.0, 90.0)
    assert told.loss is Loss.EXPIRED


def test_a_removal_while_the_pbx_boots_has_the_grace_too():
    t = Timeline("1")
    t.at(10).list(bound("1", 20, granted=60))
    t.at(12).lost()
    t.boot = 30.0
    t.at(31).gone("1")
    t.at(32).end()
    assert t.last("1").not_before == 90.0


def test_a_phone_that_logs_out_after_a_restart_has_none():
    t = Timeline("1")
    t.at(10).list(bound("1", 65, granted=60))
    restarted(t, 30.0, 1)
    t.at(40).gone("1", Loss.DEREGISTERED)
    assert (t.last("1").since, t.last("1").not_before) == (40.0, 0.0)


@pytest.mark.parametrize(
    ("boots", "events"),
    [
        ([100.0, 100.4, 99.8], 0),  # converted to our clock
        ([100.0, None, 100.0], 0),
        ([None, 100.0], 0),
        ([100.0, 101.0], 1),  # it died as soon as it had booted
        ([100.0, 50.0], 1),  # behind one address another machine
    ],
)
def test_the_boot_time_may_jitter(boots: list[float | None], events: int):
    t = Timeline("1")
    for n, boot in enumerate(boots):
        t.boot = boot
        t.at(200.0 + 30 * n).list(*phones(900, 1))
    assert len([o for o in t.told if o.event]) == events


def test_the_first_read_is_no_restart():
    t = Timeline("1")
    t.boot = 8.0
    t.at(10).list(*phones(65, 1))
    assert [o.event for o in t.told] == [None, None]


# --- a restart of sipwatch ------------------------------------------------------------


def again(t: Timeline, now: float, *listed: str, **more: object) -> Timeline:
    """A new judge with what the old one and the alarms had stored."""
    after = Timeline(*listed, now=now, remembered=t.judge.take(), **more)
    after.boot = t.boot
    for aor, extension in t.judge.extensions.items():
        if extension.state:
            after.judge.restore(
                aor, extension.state, extension.since, extension.not_before
            )
    return after


def test_a_restart_of_ours_repeats_nothing():
    before = Timeline("1", "2", "3", "4", required=["4"])
    before.at(10).list(*phones(65, 1, 2))
    before.at(20).gone("2", Loss.DEREGISTERED)
    after = again(before, 30, "1", "2", "3", "4", required=["4"])
    after.at(31).list(*phones(65, 1))
    assert [o.subject.name for o in after.told] == ["hq"]
    assert after.states("hq") == [(READABLE, 10.0)]
    extensions = after.judge.extensions
    assert (extensions["2"].state, extensions["2"].since) == (UNREGISTERED, 20)
    assert (extensions["3"].state, extensions["3"].since) == (NEVER, 0.0)
    assert (extensions["4"].state, extensions["4"].since) == (UNREGISTERED, 0.0)


def test_what_was_lost_while_we_were_off_was_there_at_our_last_read():
    before = Timeline("1", "2")
    before.at(10).list(*phones(65, 1, 2))
    after = again(before, 500, "1", "2")
    after.at(501).list(*phones(540, 1))
    assert after.states("2") == [(UNREGISTERED, 10.0)]
    assert after.states("hq") == [(READABLE, 501.0)]  # we had been away for long


def test_a_restart_of_the_pbx_while_we_were_off_is_noticed():
    before = Timeline("1", "2")
    before.at(10).list(*phones(65, 1, 2))
    after = again(before, 500, "1", "2")
    after.boot = 480.0
    after.at(501).list(*phones(540, 1))
    [event] = [o for o in after.told if o.event]
    assert (event.since, event.figures.expected, event.figures.present) == (480, 2, 1)
    assert (after.last("2").since, after.last("2").not_before) == (480.0, 1080.0)


def test_what_stays_unreadable_over_a_restart_of_ours_keeps_its_since():
    before = Timeline("1")
    before.at(10).list(*phones(65, 1))
    before.at(20).lost()
    after = again(before, 400, "1")
    after.at(405).lost()
    assert after.states("hq") == [(UNREADABLE, 10.0)]


def test_an_unreachable_phone_stays_what_it_was_over_a_restart_of_ours():
    before = Timeline("1")
    for now, reachable in ((10, True), (40, False), (70, False)):
        before.at(now).list(bound("1", 900, reachable=reachable))
    after = again(before, 90, "1")
    after.at(91).list(bound("1", 900, reachable=False))
    after.at(121).list(bound("1", 900, reachable=False))
    assert after.of("1") == []
    assert after.state("1") is UNREACHABLE
    after.at(151).list(bound("1", 900, reachable=True))
    assert after.states("1") == [(REGISTERED, 151.0)]


def test_broken_memory_is_no_memory():
    rows = [
        Remembered("member/pbx", "{"),
        Remembered("aor/1", "[]"),
        Remembered("aor/2", '{"first": "x", "held": null}'),
        Remembered("else", "null"),
    ]
    t = Timeline("1", remembered=rows)
    t.at(10).list(*phones(65, 1))
    assert t.state("1") is REGISTERED


# --- clusters -------------------------------------------------------------------------

A, B = "pbx-a", "pbx-b"


def pair(mode: str = "any", *listed: str) -> Timeline:
    return Timeline(*(listed or ("1", "2")), members=(A, B), mode=mode)


def test_an_aor_is_registered_when_any_member_holds_it_and_lost_when_none_does():
    t = pair()
    t.at(10).list(*phones(900, 1), member=A)
    assert t.of("2") == []  # it may be at the other
    t.at(11).list(*phones(900, 1, 2), member=B)
    assert t.state("2") is REGISTERED
    t.at(40).gone("1", Loss.DEREGISTERED, member=A)
    assert t.state("1") is REGISTERED
    t.at(41).list(*phones(900, 2), member=B)
    told = t.last("1")
    assert (told.state, told.since) == (UNREGISTERED, 40.0)
    assert told.loss is Loss.DEREGISTERED


def test_the_death_of_one_member_is_told_for_it_alone():
    t = pair()
    t.at(10).list(*phones(900, 1), member=A)
    t.at(11).list(*phones(900, 2), member=B)
    told = t.at(40).lost(member=B)
    member, registrar = told
    assert member.subject.key == f"registrar:hq/{B}"
    assert member.subject.kind is Kind.REGISTRAR
    assert member.subject.parent is t.subject
    assert (member.state, member.since) == (UNREADABLE, 11.0)
    assert (registrar.state, registrar.detail) == (
        READABLE,
        f"cannot be read: {B}: refused",
    )
    for now in range(70, 4000, 30):  # what it held stays what it was
        t.at(now).list(*phones(now + 900.0, 1), member=A)
    assert t.states("2") == [(REGISTERED, 11.0)]
    told = t.gone("1", Loss.DEREGISTERED, member=A)  # and the others are watched
    assert [(o.subject.name, o.state) for o in told] == [("1", UNREGISTERED)]


def test_with_every_member_unreadable_the_registrar_is():
    t = pair()
    t.at(10).list(member=A)
    t.at(11).list(member=B)
    t.at(20).lost(member=A)
    t.at(50).lost(member=B)
    assert t.states("hq")[-1] == (UNREADABLE, 11.0)
    t.at(80).list(member=B)
    assert t.states("hq")[-1] == (READABLE, 80.0)


def test_a_phone_that_moved_over_lives_there_from_then():
    t = pair()
    t.at(10).list(member=A)
    t.at(10).list(*phones(70, 1), member=B)
    t.at(20).lost(member=B)
    t.at(30).added(bound("1", 90), member=A)
    t.at(91.5).gone("1", member=A)
    assert (t.last("1").state, t.last("1").since) == (UNREGISTERED, 90.0)


def test_a_row_in_the_first_list_of_a_member_is_no_sign_of_a_move():
    t = pair()
    t.at(10).list(*phones(900, 1), member=B)
    t.at(20).lost(member=B)
    t.at(30).list(bound("1", 29), member=A)  # as old as the other, or older
    t.at(40).list(member=A)
    assert t.states("1") == [(REGISTERED, 10.0)]


def test_another_phone_of_the_same_aor_does_not_count_as_moved():
    t = pair()
    t.at(10).list(member=A)
    t.at(10).list(*phones(70, 1), member=B)
    t.at(20).lost(member=B)
    soft = bound("1", 90, port=9)
    soft.user_agent = "Linphone"
    t.at(30).added(soft, member=A)
    t.at(91.5).gone("1", member=A, port=9)
    assert t.state("1") is REGISTERED  # the other may still be at B


def test_what_a_dead_member_held_is_judged_when_it_can_be_read_again():
    t = pair()
    t.at(10).list(*phones(900, 1), member=A)
    t.at(10).list(*phones(900, 2), member=B)
    t.at(20).lost(member=B)
    t.boot = 25.0
    t.at(60).list(member=B)
    told = t.last("2")
    assert (told.state, told.since, told.not_before) == (UNREGISTERED, 25.0, 85.0)
    [event] = [o for o in t.told if o.event]
    assert (event.subject.name, event.event) == (B, Event.RESTARTED)
    assert t.state("1") is REGISTERED


def test_a_restart_of_ours_keeps_who_lives_where():
    t = pair()
    t.at(10).list(*phones(900, 1), member=A)
    t.at(10).list(*phones(900, 2), member=B)
    after = again(t, 20, "1", "2", members=(A, B))
    after.at(21).list(member=A)
    after.at(22).lost(member=B)
    assert after.states("1") == [(UNREGISTERED, 10.0)]
    assert after.of("2") == []


def failed_over() -> Timeline:
    t = pair("active_standby")
    t.at(10).list(*phones(65, 1, 2), member=A)
    t.at(10).list(member=B)
    t.at(20).lost(member=A)
    t.at(35).added(bound("1", 95, granted=60), member=B)
    t.at(40).list(*phones(95, 1), member=B)
    return t


def test_an_unreadable_standby_is_told_for_it_alone():
    t = pair("active_standby")
    t.at(10).list(*phones(65, 1, 2), member=A)
    t.at(11).list(member=B)
    told = t.at(20).lost(member=B)
    assert [(o.subject.name, o.state) for o in told] == [(B, UNREADABLE)]
    told = t.at(30).gone("1", Loss.DEREGISTERED, member=A)
    assert [o.state for o in told] == [UNREGISTERED]  # it cannot be at the standby


def test_an_unreadable_active_member_is_the_registrar_unreadable():
    t = pair("active_standby")
    t.at(10).list(*phones(65, 1, 2), member=A)
    t.at(11).list(member=B)
    t.at(20).lost(member=A)
    assert t.states("hq")[-1] == (UNREADABLE, 10.0)
    t.at(41).list(member=B)  # the standby has nobody: no failover yet
    assert t.states("hq")[-1] == (UNREADABLE, 10.0)
    assert t.state("1") is REGISTERED


def test_a_failover_is_one_event_with_the_grace_of_a_restart():
    t = failed_over()
    [event] = [o for o in t.told if o.event]
    assert (event.subject, event.event) == (t.subject, Event.FAILED_OVER)
    assert (event.figures.expected, event.figures.present) == (2, 1)
    told = t.last("2")
    assert (told.since, told.not_before) == (40.0, 100.0)
    assert told.detail == "it has not come back since the failover"
    assert t.states("1") == [(REGISTERED, 10.0)]
    assert t.states("hq")[-2:] == [(READABLE, 40.0), (READABLE, 40.0)]


@pytest.mark.parametrize(
    ("end", "active"),
    [(65.0, A), (66.0, A), (64.0, A), (125.0, B)],  # whole seconds jitter by one
)
def test_a_standby_takes_over_when_a_binding_is_refreshed_there(
    end: float, active: str
):
    t = pair("active_standby", "1")
    t.at(10).list(*phones(65, 1), member=A)
    t.at(11).list(*phones(65, 1), member=B)  # it has a copy
    t.at(20).lost(member=A)
    t.at(41).list(*phones(end, 1), member=B)
    assert t.last("hq").state is (UNREADABLE if active == A else READABLE)


def test_the_old_member_that_comes_back_is_a_standby():
    t = failed_over()
    t.at(60).list(member=A)
    t.at(70).lost(member=A)
    assert t.last("hq").state is READABLE
    assert len([o for o in t.told if o.event]) == 1


# --- asked AOR by AOR -----------------------------------------------------------------


def test_a_list_of_some_aors_says_nothing_of_the_others():
    t = Timeline("1", "2", "3")
    t.boot = None
    t.at(10).half(bound("1", 300))
    t.end(aors=frozenset({"1", "2"}))
    assert {o.subject.name: o.state for o in t.told} == {
        "hq": READABLE,
        "1": REGISTERED,
        "2": NEVER,
    }
    t.at(11).end(aors=frozenset({"3"}))
    assert t.state("3") is NEVER
    t.at(41).end(aors=frozenset({"1"}))
    assert (t.last("1").state, t.last("1").since) == (UNREGISTERED, 10.0)


def test_the_judge_names_the_aors_to_ask_for():
    t = Timeline("1", "2", file=[Listed("3")], exclude=["2"])
    assert isinstance(t.judge, Judge)
    assert t.judge.aors() == ["1", "3"]
