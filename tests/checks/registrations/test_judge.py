"""When an extension is lost, since when, why; and when nothing may be concluded."""

from __future__ import annotations

import pytest

from checks.observation import Binding, Cause, Fact, Loss, State
from checks.registrations.extension import whole
from checks.registrations.judge import AT_ONCE, Bindings, Restarting
from tests.checks.registrations.judging import BOOT, Timeline, bound

REGISTERED, UNREACHABLE = State.REGISTERED, State.UNREACHABLE
UNREGISTERED, NEVER = State.UNREGISTERED, State.NEVER_REGISTERED
READABLE, UNREADABLE = State.READABLE, State.UNREADABLE


# --- blind is not down ----------------------------------------------------------------


def test_losing_the_connection_tells_of_the_registrar_and_of_no_extension():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 70))
    t.at(200)
    told = t.lost(detail="AMI at 10.0.0.5:5038: connection refused")
    assert [(o.subject.name, o.state, o.since) for o in told] == [
        ("hq", UNREADABLE, 10.0)
    ]
    assert told[0].cause is Cause.CONNECTION_REFUSED
    assert told[0].detail == "AMI at 10.0.0.5:5038: connection refused"
    assert t.state("1001") is REGISTERED


def test_a_registrar_that_stays_unreadable_tells_of_another_cause_only():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 70))
    t.at(20).lost()
    assert t.at(25).lost() == []
    told = t.at(30).lost(Cause.UNAUTHORIZED, "wrong password")
    assert [(o.since, o.cause) for o in told] == [(10.0, Cause.UNAUTHORIZED)]


def test_one_that_was_never_read_is_unreadable_since_it_was_tried():
    t = Timeline("1001", now=5.0)
    t.at(15).lost()
    assert t.states("hq") == [(UNREADABLE, 5.0)]
    assert t.of("1001") == []


def test_half_a_list_makes_nothing_readable_and_changes_no_extension():
    t = Timeline("1001", "1002", "1003")
    t.at(10).list(bound("1001", 300), bound("1002", 300))
    t.at(40).half(bound("1001", 330), bound("1003", 330))
    t.lost(Cause.TIMEOUT, "half a list")
    t.at(70).half(bound("1001", 330))
    t.lost(Cause.TIMEOUT, "half a list")
    assert t.states("hq") == [(READABLE, 10.0), (UNREADABLE, 10.0)]
    assert t.state("1002") is REGISTERED
    assert t.state("1003") is NEVER
    t.at(100).list(bound("1001", 330), bound("1002", 330))
    assert t.states("hq")[-1] == (READABLE, 100.0)
    assert t.state("1002") is REGISTERED


def test_a_roster_that_came_with_half_a_list_counts_for_nothing():
    t = Timeline()
    t.expect("1001", "1002")
    t.at(10).list(bound("1001", 300))
    t.at(40).expect("1001")
    t.lost()
    t.at(70).list(bound("1001", 300))
    assert "1002" in t.judge.extensions


def test_what_was_lost_while_blind_is_told_after_the_next_full_list():
    t = Timeline("1001", "1002")
    t.at(10).list(bound("1001", 70), bound("1002", 70))
    t.at(20).lost()
    t.at(600)
    assert t.gone("1001") == []  # it may have another contact by now
    t.list(bound("1002", 640))
    told = t.last("1001")
    assert (told.state, told.loss) == (UNREGISTERED, Loss.EXPIRED)
    assert t.state("1002") is REGISTERED
    assert [o.state for o in t.of("hq")] == [READABLE, UNREADABLE, READABLE]


def test_a_phone_that_moved_to_another_port_while_blind_is_not_lost():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 70))
    t.at(20).lost()
    t.at(90).gone("1001")
    t.list(bound("1001", 140, port=5070))
    assert t.states("1001") == [(REGISTERED, 10.0)]


def test_a_shutdown_that_was_announced_is_named():
    t = Timeline()
    t.at(10).list()
    t.judge.apply("pbx", Restarting(20.0), 20.0)
    t.at(20.1).lost(Cause.CONNECTION_RESET, "AMI: closed")
    assert t.last("hq").detail == "AMI: closed (it said that it shuts down)"


def test_the_registrar_is_told_of_after_every_full_list_as_seen_well():
    t = Timeline()
    for now in (10, 40, 70):
        t.at(now).list()
    assert [(o.state, o.since, o.at) for o in t.of("hq")] == [
        (READABLE, 10.0, 10.0),
        (READABLE, 10.0, 40.0),
        (READABLE, 10.0, 70.0),
    ]


def test_options_to_the_registrar_are_a_figure_told_on_change():
    t = Timeline()
    assert t.judge.options_answer(False, 1.0) == []
    t.at(10).lost()
    assert t.last("hq").figures.options_failed
    assert t.judge.options_answer(False, 12.0) == []
    [told] = t.judge.options_answer(True, 13.0)
    assert (told.state, told.figures.options_failed) == (UNREADABLE, False)


# --- a passed end is a hint -----------------------------------------------------------


def test_a_healthy_phone_never_leaves_registered():
    t = Timeline("1001")
    for now in range(0, 3600, 30):  # it refreshes 60 s every 50 s
        refreshed = now - now % 50
        t.at(now + 1.0).list(bound("1001", refreshed + 60.0))
        for member in t.judge.wants_read(now + 20.0):
            t.at(now + 20.0).list(bound("1001", refreshed + 110.0), member=member)
    assert set(t.states("1001")) == {(REGISTERED, 1.0)}


def test_a_read_is_wanted_a_second_after_the_soonest_end_once_for_all():
    t = Timeline("1001", "1002")
    t.at(10).list(bound("1001", 60), bound("1002", 60.5))
    assert t.judge.next_deadline() == 61.0
    assert t.judge.wants_read(60.9) == set()
    assert t.judge.wants_read(61.6) == {"pbx"}
    assert t.judge.wants_read(61.7) == set()
    t.at(61.8).list(bound("1001", 120), bound("1002", 121), began=61.6)
    assert t.judge.wants_read(120.0) == set()
    assert t.judge.wants_read(121.0) == {"pbx"}


def test_a_row_that_outlives_its_end_is_read_less_and_less_often():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 60))
    reads, now = [], 60.0
    while now < 140:
        now += 0.25
        if t.judge.wants_read(now):
            reads.append(now)
            t.at(now).list(bound("1001", 60), began=now)
    assert reads == [61.0, 62.0, 64.0, 69.0, 79.0, 99.0, 129.0]


def test_no_hint_is_given_for_a_member_that_cannot_be_read():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 60))
    t.at(50).lost()
    assert t.judge.wants_read(100.0) == set()
    assert t.judge.next_deadline() is None


def test_a_slow_registrar_is_hinted_at_no_more_than_its_pace():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 12), began=9.6)  # 0.4 s: the next after 20
    assert t.judge.wants_read(29.9) == set()
    assert t.judge.wants_read(30.1) == {"pbx"}


def test_a_read_begun_before_an_event_does_not_miss_what_the_event_brought():
    t = Timeline("1001")
    t.at(10).list()
    t.at(40.2).added(bound("1001"))
    t.at(40.3).end(began=40.0)
    assert t.states("1001") == [(NEVER, 0.0), (REGISTERED, 40.2)]


def test_a_row_older_than_its_removal_does_not_revive_it():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 300))
    t.at(40.1).gone("1001", Loss.DEREGISTERED)
    t.at(40.2).half(bound("1001", 300))
    t.end(began=40.0)
    assert t.states("1001")[-1] == (UNREGISTERED, 40.1)


def test_a_row_younger_than_its_removal_is_a_new_binding():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 300))
    t.at(40.1).gone("1001", Loss.DEREGISTERED)
    t.at(50).list(bound("1001", 350), began=49.9)
    assert t.states("1001")[-1] == (REGISTERED, 50.0)


# --- since is when it happened, and why -----------------------------------------------


@pytest.mark.parametrize("skew", [0.0, 3600.0, -7200.5])
def test_an_expiry_by_event_is_dated_by_the_end_on_the_pbxs_clock(skew: float):
    t = Timeline("1001", skew=skew)
    t.at(10).list()
    t.at(15).added(bound("1001"))
    t.at(16).list(bound("1001", 75))
    t.at(46).list(bound("1001", 75))
    [told] = t.at(95).gone("1001")
    assert (told.state, told.loss, told.since) == (UNREGISTERED, Loss.EXPIRED, 75.0)
    assert told.figures.expires == 60
    assert told.detail == (
        "its registration expired after the 60 s granted: the phone did not refresh it"
    )
    assert told.last_seen == "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75"
    assert told.evidence == (
        Fact(15.0, "refresh, 60 s granted"),
        Fact(75.0, "end"),
        Fact(95.0, "removed by the PBX"),
    )


def test_an_expiry_by_polls_shows_the_last_refreshes_the_end_and_the_read():
    t = Timeline("1001")
    t.at(1).list(bound("1001", 60, granted=60))
    t.at(31).list(bound("1001", 90, granted=60))
    t.at(61).list(bound("1001", 120, granted=60))
    t.at(91).list(bound("1001", 120, granted=60))
    t.at(121.2).list()
    told = t.last("1001")
    assert (told.since, told.loss) == (120.0, Loss.EXPIRED)
    assert told.evidence == (
        Fact(30.0, "refresh, 60 s granted"),
        Fact(60.0, "refresh, 60 s granted"),
        Fact(120.0, "end"),
        Fact(121.2, "read, no binding"),
    )


def test_a_deregistration_by_event_is_dated_by_the_event():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 300))
    t.at(20.02).gone("1001", Loss.DEREGISTERED, at=20.0)
    told = t.last("1001")
    assert (told.since, told.loss) == (20.0, Loss.DEREGISTERED)


def test_a_binding_that_polls_miss_before_its_end_was_there_at_the_last_read():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 300))
    t.at(40).list(bound("1001", 300))
    t.at(70).list()
    told = t.last("1001")
    assert (told.since, told.loss) == (40.0, Loss.DEREGISTERED)


@pytest.mark.parametrize(
    ("transport", "boot", "loss"),
    [
        ("", -1.0, Loss.DEREGISTERED),
        (";transport=tls", -1.0, Loss.UNKNOWN),  # closed with its connection?
        (";transport=tcp", -1.0, Loss.UNKNOWN),
        ("", None, Loss.UNKNOWN),  # or all were, by a restart
    ],
)
def test_a_binding_missed_early_is_a_logout_only_where_nothing_else_can_be(
    transport: str, boot: float | None, loss: Loss
):
    t = Timeline("1001")
    t.boot = boot
    t.at(10).list(bound("1001", 300, transport=transport))
    t.at(40).list()
    assert t.last("1001").loss is loss


def test_a_binding_without_a_known_end_was_there_at_the_last_read():
    t = Timeline("1001")
    t.at(10).list(bound("1001"))
    t.at(40).list(bound("1001"))
    t.at(70).list()
    told = t.last("1001")
    assert (told.since, told.loss) == (40.0, Loss.UNKNOWN)


def test_an_end_that_a_refresh_may_have_moved_does_not_date_a_removal():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 60))
    [told] = t.at(150).gone("1001")  # refreshed at 50 and 100, and not read since
    assert told.since == 150.0


def test_a_jittery_clock_of_the_pbx_never_dates_an_end_early():
    t = Timeline("1001")
    for n, jitter in enumerate([0.0, -0.9, -0.4, -0.7, -0.2, -0.8]):
        t.skew = 100.0
        t.half(bound("1001", 170))
        t.skew = 100.0 + jitter  # told in whole seconds, after a delay
        t.at(10.0 + n).end(began=9.9 + n)
    t.skew = 100.0
    t.at(180).gone("1001")
    assert t.last("1001").since == pytest.approx(170.0, abs=1e-9)


def test_a_clock_that_is_set_back_is_noticed_at_the_next_read():
    t = Timeline("1001", skew=100.0)
    t.at(10).list(bound("1001", 60))
    t.skew = -500.0
    t.at(40).list(bound("1001", 90))
    assert t.judge.wants_read(91.0) == {"pbx"}
    t.at(92).list()
    assert t.last("1001").since == 90.0


@pytest.mark.parametrize("step", [3600.0, 90.0, -90.0, -3600.0])
def test_a_clock_that_is_set_within_a_list_loses_nobody(step: float):
    t = Timeline("1001", "1002")
    t.at(0).list(bound("1001", 60), bound("1002", 60))
    t.at(30).half(bound("1001", 90))
    t.skew, t.boot = step, BOOT - step  # it started when it says it did
    t.half(bound("1002", 90))
    t.end(began=29.0)
    for now in (60, 90, 120):
        t.at(now).list(bound("1001", now + 60), bound("1002", now + 60))
    assert {o.state for o in t.told} == {REGISTERED, READABLE}
    assert not [o.event for o in t.told if o.event]
    for now in (150, 181, 212):
        t.at(now).list(bound("1001", now + 60))
    assert t.last("1001").state is REGISTERED
    assert t.states("1002")[-1][0] is UNREGISTERED
    assert 120 <= t.states("1002")[-1][1] <= 180  # by its end, or its last sight


def test_three_contacts_removed_together_are_one_loss():
    t = Timeline("1001")
    t.at(10).list(*(bound("1001", 300, port=port) for port in (1, 2, 3)))
    for n, port in enumerate((1, 2, 3)):
        t.at(20 + n / 100).gone("1001", Loss.DEREGISTERED, port=port)
    assert t.states("1001") == [(REGISTERED, 10.0), (UNREGISTERED, 20.02)]


def test_a_contact_that_lives_on_keeps_the_extension():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 60, port=1), bound("1001", 600, port=2))
    t.at(62).list(bound("1001", 600, port=2))
    assert t.states("1001") == [(REGISTERED, 10.0)]


# --- reachability ---------------------------------------------------------------------


def seen(t: Timeline, *reports: bool | None) -> None:
    rows = [bound("1001", 900, port=n, reachable=r) for n, r in enumerate(reports, 1)]
    t.at(t.now + 30).list(*rows)


@pytest.mark.parametrize(
    ("lists", "states"),
    [
        ([(True,), (False,)], [(REGISTERED, 30.0)]),
        ([(True,), (False,), (False,)], [(REGISTERED, 30.0), (UNREACHABLE, 60.0)]),
        (
            [(True,), (False,), (False,), (True,)],
            [(REGISTERED, 30.0), (UNREACHABLE, 60.0), (REGISTERED, 120.0)],
        ),
        ([(False,), (False,), (False,)], [(REGISTERED, 30.0)]),  # it never answers
        ([(None,), (None,), (None,)], [(REGISTERED, 30.0)]),  # it is not asked
        ([(True, False), (True, False), (True, False)], [(REGISTERED, 30.0)]),
        ([(True, None), (False, None), (False, None)], [(REGISTERED, 30.0)]),
        (
            [(True, False), (False, False), (False, False)],
            [(REGISTERED, 30.0), (UNREACHABLE, 60.0)],
        ),
        ([(True,), (False,), (True,), (False,)], [(REGISTERED, 30.0)]),
        (
            [(True,), (False,), (False,), (None,)],  # the PBX asks no more
            [(REGISTERED, 30.0), (UNREACHABLE, 60.0), (REGISTERED, 120.0)],
        ),
    ],
)
def test_unreachable_is_every_contact_twice_where_one_ever_answered(
    lists: list[tuple[bool | None, ...]], states: list[tuple[State, float]]
):
    t = Timeline("1001")
    for reports in lists:
        seen(t, *reports)
    assert t.states("1001") == states


def test_events_count_as_reports_and_recovery_is_immediate():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 300, reachable=True))
    t.at(20).reach("1001", False)
    t.at(40).list(bound("1001", 300, reachable=False))
    t.at(50).reach("1001", True)
    assert t.states("1001") == [
        (REGISTERED, 10.0),
        (UNREACHABLE, 20.0),
        (REGISTERED, 50.0),
    ]
    assert t.of("1001")[1].cause is Cause.UNREACHABLE_CONTACT


def test_unreachable_then_expired_has_the_since_of_its_end():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 100, reachable=True))
    t.at(30).list(bound("1001", 100, reachable=False))
    t.at(60).list(bound("1001", 100, reachable=False))
    t.at(101.5).list()
    assert t.states("1001")[1:] == [(UNREACHABLE, 30.0), (UNREGISTERED, 100.0)]


def test_a_pbx_that_has_just_been_reconnected_does_not_make_phones_reachable():
    t = Timeline("1001")
    t.at(10).list(bound("1001", 900, reachable=True))
    for now in (20, 40):
        t.at(now).list(bound("1001", 900, reachable=False))
    t.at(50).lost()
    t.boot = 55.0
    t.at(60).list(bound("1001", 900))  # restarted, nothing asked yet
    t.at(90).list(bound("1001", 900))
    assert t.state("1001") is UNREACHABLE
    t.at(95).reach("1001", True)
    assert t.state("1001") is REGISTERED


# --- hostile input --------------------------------------------------------------------


def test_contacts_of_one_aor_are_bounded_and_still_counted_as_presence():
    t = Timeline("1001")
    rows = [bound("1001", 300, port=n) for n in range(1, 500)]
    t.at(10).list(*rows)
    t.at(40).list(*(bound("1001", 300, port=n) for n in range(1, 500)))
    assert len(t.judge.extensions["1001"].contacts) == 32
    assert t.states("1001") == [(REGISTERED, 10.0)]


def test_text_of_a_peer_is_bounded_and_printable():
    hostile = Binding(
        "1001", "sip:1001@h" + "x" * 9000, 60.0, user_agent="\x1b[2J" * 99
    )
    t = Timeline("1001")
    t.judge.apply("pbx", Bindings([hostile]), 1.0)
    t.at(1).end()
    t.at(62).list()
    told = t.last("1001")
    assert told.last_seen.isprintable()
    assert len(told.last_seen) <= 300


def test_a_long_list_is_judged_in_parts_that_no_loop_feels():
    t = Timeline(*(str(n) for n in range(1200)))
    t.at(10).list(*(bound(str(n), 60) for n in range(1200)))
    assert len(t.told) == 1 + AT_ONCE
    for part in range(1, 1200 // AT_ONCE):
        assert t.judge.next_deadline() == 0.0
        assert len(t.at(10 + part / 10).advance()) == AT_ONCE
    assert t.judge.counts() == {REGISTERED: 1200}
    assert {(o.since, o.state) for o in t.told[1:]} == {(10.0, REGISTERED)}
    assert t.at(11).advance() == []
    assert t.judge.next_deadline() == 61.0


def test_what_is_lost_meanwhile_is_judged_by_what_holds_then():
    t = Timeline(*(str(n) for n in range(1200)))
    t.at(10).list(*(bound(str(n), 60) for n in range(1200)))
    waiting = next(aor for aor, e in t.judge.extensions.items() if e.state is None)
    t.at(10.1).gone(waiting, Loss.DEREGISTERED)
    t.at(10.2).advance()
    t.at(10.3).advance()
    assert t.states(waiting) == [(UNREGISTERED, 10.1)]


def test_what_an_event_does_not_tell_of_a_phone_comes_with_the_list():
    t = Timeline("1")
    t.at(10).list()
    t.at(20.4).added(Binding("1", bound("1").contact))
    t.at(22).list(bound("1", 80.0))
    t.at(25).gone("1", loss=Loss.DEREGISTERED)
    seen = "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75"
    assert t.last("1").last_seen == seen
    assert t.last("1").evidence[0] == Fact(20.4, "refresh, 60 s granted")


def test_a_refresh_before_the_first_sight_is_known_where_the_list_tells_what_it_got():
    t = Timeline("1")
    t.at(10).list()
    t.at(15).list(bound("1", 70.0, granted=60))
    t.at(20).list()
    assert t.last("1").evidence[0] == Fact(10.0, "refresh, 60 s granted")
    assert t.last("1").figures.expires == 60


@pytest.mark.parametrize(
    ("left", "granted"),
    [(59.98, 60), (59.5, 60), (59.04, 60), (60.03, 60), (44.5, 45), (0.01, 1)],
)
def test_what_was_granted_is_told_by_an_end_in_whole_seconds(
    left: float, granted: int
) -> None:
    assert whole(left) == granted


def test_a_removal_was_not_before_its_contact_was_last_seen() -> None:
    """A PBX whose clock is set back by a minute stamps events too early by that."""
    line = Timeline("1001")
    line.list(bound("1001"))
    line.at(line.now + 20)
    line.list(bound("1001"))
    seen = line.now
    line.at(seen + 10)
    (lost,) = line.gone("1001", at=seen + 10 - 60)
    assert (lost.state, lost.since) == (State.UNREGISTERED, seen)


def test_an_end_that_had_passed_when_the_phone_came_again_dates_no_removal() -> None:
    hq = Timeline("1001")
    hq.list(bound("1001", 60.5))
    hq.lost()
    hq.at(61.0).half()
    hq.added(bound("1001"))  # the same contact, beside the list that is under way
    hq.end(60.6)
    hq.at(122.0).gone("1001")
    assert (hq.state("1001"), hq.last("1001").since) == (UNREGISTERED, 122.0)


def test_an_end_that_lies_ahead_stays_where_the_phone_is_seen_again() -> None:
    hq = Timeline("1001")
    hq.list(bound("1001", 60.5))
    hq.at(30.0).added(bound("1001"))
    hq.at(61.0).gone("1001")
    assert hq.last("1001").since == 60.5
