"""Who comes and goes all night is told of twice: that it does, that it does no more."""

from __future__ import annotations

from hypothesis import given, settings, target
from hypothesis import strategies as st

from alerting.alarms.flapping import NOTICES, STEADY
from alerting.announcement import Opened
from alerting.rules.rule import RuleSettings, build
from checks.observation import Figures, Loss, State, Subject

from .branches import Branches
from .calm import Calm, Memory, route
from .test_masses import MASS, lyon_of
from .timeline import Site

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
UNREACHABLE = State.UNREACHABLE
HOUR = 3600.0
FIRING, ENDED = "firing 1001 Flapping", "resolved 1001 Flapping"
GONE, BACK = "firing 1001 ExtensionUnregistered", "resolved 1001 ExtensionUnregistered"


def one_phone(**more) -> tuple[Site, Subject]:
    site = Site(**more)
    phone = site.extension("1001")
    site.readable(site.now + 1)
    site.at(site.now + 1, phone, REGISTERED)
    return site, phone


def flap(site: Site, phone: Subject, begin: float, times: int, every: float) -> float:
    """It is lost, comes back, ...; when it last changed."""
    for n in range(times):
        state = REGISTERED if n % 2 else UNREGISTERED
        site.at(begin + n * every, phone, state)
    return begin + (times - 1) * every


def test_a_phone_that_flaps_all_night_is_two_notices() -> None:
    site, phone = one_phone()
    last = flap(site, phone, 100, 480, 60)  # eight hours
    site.until(last + 2 * HOUR)
    assert site.told() == [FIRING, ENDED]


def test_it_is_told_at_the_sixth_change_and_ends_when_one_is_left() -> None:
    site, phone = one_phone()
    flap(site, phone, 100, 6, 60)
    assert (site.told(), round(site.times()[0])) == ([FIRING], 400)
    site.until(3 * HOUR)
    assert site.told() == [FIRING, ENDED]
    assert site.times()[1] == 340 + 1800  # from then there is but one in half an hour


def test_between_the_two_thresholds_it_goes_on() -> None:
    site, phone = one_phone()
    flap(site, phone, 100, 6, 60)
    flap(site, phone, 1000, 12, 870)  # two or three in half an hour
    assert FIRING in site.told()
    assert ENDED not in site.told()


def test_five_changes_are_none() -> None:
    site, phone = one_phone()
    flap(site, phone, 100, 5, 100)
    site.until(HOUR)
    assert "1001 Flapping" not in site.opened


def test_meanwhile_what_lasts_is_told_and_told_as_over() -> None:
    site, phone = one_phone()
    last = flap(site, phone, 100, 7, 60)
    site.until(last + STEADY - 1)
    assert site.told() == [FIRING]
    site.until(last + STEADY)
    assert site.told() == [FIRING, GONE]
    site.at(last + STEADY + 100, phone, REGISTERED)
    site.until(last + 2 * HOUR)
    assert sorted(site.told()[2:]) == [BACK, ENDED]
    assert site.alarms.owed() == []


def test_one_that_stops_flapping_while_it_is_gone_is_told_as_gone() -> None:
    site, phone = one_phone()
    last = flap(site, phone, 100, 9, 60)
    site.until(last + 10 * HOUR)
    assert site.told() == [FIRING, GONE, ENDED]
    assert [i.rule for i in site.alarms.incidents] == ["ExtensionUnregistered"]


def test_that_it_flaps_is_why_nothing_else_opens() -> None:
    site, phone = one_phone()
    last = flap(site, phone, 100, 7, 60)
    site.until(last + 300)
    assert "1001: it is flapping" in site.suppressed


def test_one_that_was_told_as_gone_before_it_flaps_is_told_as_back_once() -> None:
    site, phone = one_phone()
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    last = flap(site, phone, 400, 1, 0)
    site.at(401, phone, REGISTERED)
    last = flap(site, phone, 420, 8, 40)
    site.until(last + 3 * HOUR)
    told = site.told()
    assert told[0] == GONE
    assert (told.count(GONE), told.count(BACK)) == (1, 1)
    assert (told.count(FIRING), told.count(ENDED)) == (1, 1)
    assert site.alarms.incidents == []


def test_a_trunk_that_flaps_is_one_notice_at_each_end() -> None:
    site = Site()
    trunk = site.target("twilio")
    site.up(10, trunk, since=10, successes=1)
    for n in range(20):
        at = 100.0 + 50 * n
        if n % 2:
            site.up(at, trunk, since=at, successes=3)
        else:
            site.failing(at, trunk, since=at, failures=3)
    site.until(3 * HOUR)
    assert site.told() == ["firing twilio Flapping", "resolved twilio Flapping"]


def test_a_pbx_that_flaps_is_one_notice_at_each_end() -> None:
    site, _ = one_phone()
    for n in range(10):
        site.unreadable(100 + 120 * n)
        site.readable(160 + 120 * n)
    site.until(3 * HOUR)
    assert site.told() == ["firing hq Flapping", "resolved hq Flapping"]


def test_phones_of_a_pbx_that_flaps_do_not() -> None:
    site, phone = one_phone()
    for n in range(10):
        site.unreadable(100 + 120 * n)
        site.readable(160 + 120 * n)
    site.at(1400, phone, UNREGISTERED)
    site.until(3 * HOUR)
    assert GONE in site.told()
    assert "1001 Flapping" not in site.opened


def test_it_goes_on_through_a_restart_and_ends_once() -> None:
    disk = Memory()
    site, phone = one_phone(on_write=disk.write)
    flap(site, phone, 100, 8, 60)
    told = site.told()
    again = Site(now=600, restored=disk.load(), on_write=disk.write)
    phone = again.extension("1001")
    again.alarms.adopt(again.hq)
    assert again.alarms.adopt(phone) is not None
    again.readable(601)
    last = flap(again, phone, 700, 5, 60)
    again.until(last + 2 * HOUR)
    # What lasts is told; that it flaps has been.
    assert told == [FIRING]
    assert again.told().count(FIRING) == 0
    assert again.told().count(ENDED) == 1
    assert GONE in again.told()


def test_one_that_was_quiet_after_a_restart_ends_a_window_later() -> None:
    disk = Memory()
    site, phone = one_phone(on_write=disk.write)
    flap(site, phone, 100, 6, 60)
    again = Site(now=500, restored=disk.load(), on_write=disk.write)
    again.alarms.adopt(again.hq)
    again.alarms.adopt(again.extension("1001"))
    again.readable(501)
    again.until(3 * HOUR)
    assert (again.told(), again.times()) == ([ENDED], [500 + 1800])


def test_what_flaps_under_a_silence_is_told_to_nobody_once_it_has_ended() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("10:00", "extension=1001", until="14:00")
    flap(site, phone, site.time("10:01"), 20, 60)
    site.until(site.time("18:00"))
    assert site.told() == []
    assert site.alarms.incidents == []


def test_what_still_flaps_after_a_silence_is_told_then() -> None:
    site = Calm()
    phone = site.phone()
    site.silence("10:00", "extension=1001", until="11:00")
    flap(site, phone, site.time("10:01"), 80, 60)
    assert site.story() == [("11:00", "firing")]
    assert site.told() == [FIRING]


def test_flapping_is_escalated_like_anything_else() -> None:
    site = Calm(
        routes=(route("anna", escalate=[(600.0, "ben")]),), notifiers=("anna", "ben")
    )
    phone = site.phone()
    flap(site, phone, site.time("10:00"), 40, 60)
    assert site.story("anna") == [("10:05", "firing")]
    assert site.story("ben") == [("10:15", "firing")]


def test_acknowledged_it_is_not_told_again_until_it_ends() -> None:
    site = Calm()
    phone = site.phone()
    flap(site, phone, site.time("10:00"), 8, 60)
    site.acknowledge("10:08")
    flap(site, phone, site.time("10:10"), 200, 60)
    site.until(site.time("18:00"))
    assert [what for _, what in site.story()] == ["firing", "resolved"]


def shake(site: Branches, phones: list[Subject], begin: float, times: int) -> float:
    """A branch is lost and comes back, every five minutes; when it last did."""
    for n in range(times):
        site.lose(begin + 300 * n, phones)
        site.back(begin + 300 * n + 100, phones)
    return begin + 300 * (times - 1) + 100


def test_a_crowd_that_comes_and_goes_together_does_not_flap_one_by_one() -> None:
    site, lyon = lyon_of(40)
    shake(site, lyon, 100, 8)
    site.until(3 * HOUR)
    flapping = {text for text in site.told() if "Flapping" in text}
    assert flapping == {"firing lyon Flapping", "resolved lyon Flapping"}


def test_a_branch_that_flaps_all_night_is_few_notices() -> None:
    site, lyon = lyon_of(40)
    last = shake(site, lyon, 100, 96)  # eight hours
    site.until(last + 2 * HOUR)
    assert site.told() == [
        *(f"firing lyon {MASS}", f"resolved lyon {MASS}") * 2,
        f"firing lyon {MASS}",
        "firing lyon Flapping",
        f"resolved lyon {MASS}",
        "resolved lyon Flapping",
    ]
    assert site.alarms.incidents == []


def test_a_branch_that_stays_away_after_it_flapped_is_told_as_lost() -> None:
    site, lyon = lyon_of(40)
    last = shake(site, lyon, 100, 10)
    site.until(last + 2 * HOUR)
    site.lose(site.now, lyon)
    site.until(site.now + HOUR)
    assert site.told()[-1] == f"firing lyon {MASS}"


def test_a_branch_that_stays_away_while_it_flaps_is_told_once_that_lasts() -> None:
    site, lyon = lyon_of(40)
    last = shake(site, lyon, 100, 10)
    site.until(last + STEADY + 1)
    site.lose(site.now, lyon)
    begun = site.now
    site.until(begun + 2 * HOUR)
    (mail,) = [m for m in site.mails["oncall"] if m.at > begun and MASS in m.text]
    assert mail.text == f"firing lyon {MASS}"
    assert begun + 30 <= mail.at <= begun + STEADY
    assert site.told()[-1] == "resolved lyon Flapping"


def test_waves_of_re_registrations_are_no_flapping_of_a_branch() -> None:
    site, lyon = lyon_of(40)
    for n in range(20):
        site.lose(100 + 120 * n, lyon)
        site.back(104 + 120 * n, lyon)
    site.until(2 * HOUR)
    assert site.told() == []


def test_one_that_flapped_before_its_branch_is_lost_is_part_of_that() -> None:
    site, lyon = lyon_of(40)
    flap(site, lyon[0], 100, 7, 60)
    site.back(470, lyon[:1])
    site.lose(500, lyon)
    site.until(HOUR)
    name = lyon[0].name
    assert site.told()[0] == f"firing {name} Flapping"
    assert f"firing lyon {MASS}" in site.told()
    assert f"firing {name} ExtensionUnregistered" not in site.told()
    site.back(HOUR, lyon)
    site.until(4 * HOUR)
    assert site.told().count(f"resolved {name} Flapping") == 1
    assert site.alarms.incidents == []


def test_unreachable_and_back_flaps_too() -> None:
    site, phone = one_phone()
    for n in range(12):
        state = REGISTERED if n % 2 else UNREACHABLE
        site.at(100 + 60 * n, phone, state)
    site.until(3 * HOUR)
    assert site.told() == [FIRING, ENDED]


def test_who_logs_in_and_out_flaps_though_it_may() -> None:
    site, phone = one_phone()
    phone.logout_ok = True
    for n in range(12):
        state = REGISTERED if n % 2 else UNREGISTERED
        site.at(100 + 60 * n, phone, state, loss=Loss.DEREGISTERED)
    site.until(3 * HOUR)
    assert site.told() == [FIRING, ENDED]


def test_switched_off_while_it_flaps_it_ends_and_what_is_gone_is_told() -> None:
    site, phone = one_phone()
    flap(site, phone, 100, 7, 60)
    rules = build({"Flapping": RuleSettings(enabled=False)})
    site.alarms.replace(rules, (), site.group, ("oncall",), site.now)
    site.until(HOUR)
    assert sorted(site.told()) == [GONE, FIRING, ENDED]


def test_its_numbers_may_be_others() -> None:
    tuned = {"Flapping": RuleSettings(changes=3, window=600.0, until=1)}
    site, phone = one_phone(rules=tuned)
    flap(site, phone, 100, 3, 60)
    assert site.told() == [FIRING]
    site.at(300, phone, REGISTERED)
    site.until(HOUR)
    assert (site.told(), [round(at) for at in site.times()]) == (
        [FIRING, ENDED],
        [220, 900],
    )


def test_one_removed_while_it_flaps_is_told_as_over() -> None:
    site, phone = one_phone()
    flap(site, phone, 100, 7, 60)
    site.alarms.unwatch(phone, site.now)
    site.until(HOUR)
    assert site.told() == [FIRING, ENDED]
    assert site.alarms.next_deadline() is None or site.reads_at


def test_only_who_changed_is_remembered() -> None:
    site, phone = one_phone()
    others = [site.extension(str(n)) for n in range(2000, 2100)]
    for other in others:
        site.at(site.now, other, REGISTERED)
    flap(site, phone, 100, 4, 60)
    flaps = site.alarms._observing.flaps
    assert [w.subject for w in flaps._times] == [phone]
    site.at(HOUR, others[0], UNREGISTERED)
    assert [w.subject for w in flaps._times] == [others[0]]


CHANGES = st.lists(
    st.tuples(
        st.sampled_from((61, 130, 181, 261, 301, 359, 361, 401, 601, 661, 901)),
        st.sampled_from((REGISTERED, UNREGISTERED, UNREGISTERED, UNREACHABLE)),
    ),
    min_size=12,
    max_size=30,
)


def notices(changes: list[tuple[int, State]]) -> int:
    """The most that are told of one phone within an hour, whatever it does."""
    site, phone = one_phone()
    site.reads_every = 86400.0
    at = 100.0
    for gap, state in changes:
        at += gap
        site.at(at, phone, state, figures=Figures(expires=60))
    site.until(at + 3 * HOUR)
    times = site.times()
    return max((sum(t <= u < t + HOUR for u in times) for t in times), default=0)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(CHANGES)
def test_no_hour_has_more_notices_than_are_promised(changes) -> None:
    found = notices(changes)
    target(float(found))
    assert found <= NOTICES


GAPS = st.integers(60, 1000)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(GAPS, GAPS)
def test_night_after_night_the_same_is_few_notices_an_hour(
    gone: int, back: int
) -> None:
    site, phone = one_phone()
    site.reads_every = 86400.0
    at = 100.0
    while at < 8 * HOUR:
        site.at(at, phone, UNREGISTERED)
        site.at(at + gone, phone, REGISTERED)
        at += gone + back
    later = [t for t in site.times() if t >= site.times()[0] + HOUR]
    most = max((sum(t <= u < t + HOUR for u in later) for t in later), default=0)
    target(float(most))
    assert most <= NOTICES / 2


def test_just_slower_than_flapping_is_flapping_at_its_fourth_alarm() -> None:
    site, phone = one_phone()
    last = flap(site, phone, 100, 80, 361)  # eight hours
    site.until(last + 3 * HOUR)
    assert site.told() == [*(GONE, BACK) * 3, GONE, FIRING, BACK, ENDED]
    (flapping,) = [a.incident for a in site.of(Opened) if a.incident.rule == "Flapping"]
    assert flapping.opened_at == 100 + 6 * 361 + 120


def test_alarms_of_one_that_comes_back_for_a_while_are_counted_as_well() -> None:
    """No recurrence of the same incident: each is one of its own."""
    site, phone = one_phone()
    for n in range(30):
        site.at(100 + 950 * n, phone, UNREGISTERED)
        site.at(100 + 950 * n + 135, phone, REGISTERED)
        if n == 3:
            flapping = site.alarms.incidents[-1]
            assert (flapping.rule, flapping.detail) == (
                "Flapping",
                "8 changes of state",
            )
    site.until(10 * HOUR)
    assert site.told() == [*(GONE, BACK) * 3, GONE, FIRING, BACK, ENDED]


def test_three_alarms_within_an_hour_are_told_each() -> None:
    site, phone = one_phone()
    flap(site, phone, 100, 6, 500)
    site.until(4 * HOUR)
    assert site.told() == [GONE, BACK] * 3


def test_slower_than_that_each_is_told() -> None:
    often = [(601, REGISTERED if n % 2 else UNREGISTERED) for n in range(40)]
    assert notices(often) == 6


def test_a_trunk_that_is_down_again_and_again_is_told_as_flapping() -> None:
    site = Site()
    trunk = site.target("twilio")
    site.up(10, trunk, since=10, successes=1)
    for n in range(40):
        at = 100.0 + 400 * n
        if n % 2:
            site.up(at, trunk, since=at, successes=3)
        else:
            site.failing(at, trunk, since=at - 60, failures=3)
    site.until(8 * HOUR)
    down, up = "firing twilio OptionsFailing", "resolved twilio OptionsFailing"
    told = site.told()
    assert told[:6] == [down, up] * 3
    assert sorted(told[6:8]) == ["firing twilio Flapping", down]
    assert sorted(told[8:]) == ["resolved twilio Flapping", up]


def test_that_it_was_slow_four_times_is_no_flapping() -> None:
    site = Site()
    trunk = site.target("twilio")
    for n in range(120):
        slow = Figures(rtt=0.9 if n % 8 < 6 else 0.02, successes=n + 1)
        site.at(100.0 + 60 * n, trunk, State.UP, since=100, figures=slow)
    site.until(8 * HOUR)
    assert "twilio Flapping" not in site.opened
