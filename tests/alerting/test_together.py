"""Mass events with silences, ladders, limits, mails that fail, reloads and clocks."""

from __future__ import annotations

import pytest

from alerting.announcement import Opened
from alerting.incident import Outcome, Severity
from alerting.muting.muting import Muting
from alerting.routes import GroupSettings, per_severity, repeats
from alerting.rules.rule import RuleSettings, build
from alerting.store.rows import shifted
from checks.observation import Event, Figures, Loss, Observation, State

from .branches import Branches
from .calm import DAY, HOUR, MINUTE, Calm, Memory, route, schedule
from .test_masses import FLOOR, MASS, lyon_of

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
GONE = "ExtensionUnregistered"
LADDER = (route("anna", escalate=[(10 * MINUTE, "ben"), (30 * MINUTE, "carol")]),)
PEOPLE = ("anna", "ben", "carol")


def silence(site: Branches, *matchers: str, until: float):
    made = site.alarms.silences.add(
        matchers, author="Anna", reason="new switch", starts=None, ends=until,
        now=site.now,
    )  # fmt: skip
    site.until(site.now)
    return made


def changes(site: Branches, who: str = "oncall") -> list[tuple[str, str, float]]:
    """Of each mail: firing or resolved, of what rule, when."""
    return [
        (str(m.batch.change), m.batch.deliveries[0].incident.rule, round(m.at))
        for m in site.mails.get(who, ())
    ]


# --- silences -------------------------------------------------------------------------


def test_a_mass_event_under_a_silence_is_told_when_that_ends() -> None:
    site, lyon = lyon_of(40)
    silence(site, "site=lyon", until=2000)
    site.lose(100, lyon[:31])
    site.tells(0, 2000)
    site.tells(2000, 6000, f"firing lyon {MASS}")


def test_one_that_came_and_went_under_a_silence_is_told_to_nobody() -> None:
    site, lyon = lyon_of(40)
    silence(site, "site=lyon", until=2000)
    site.lose(100, lyon[:31])
    site.back(900, lyon[:31])
    site.tells(0, 8000)
    assert site.alarms.owed() == []


def test_one_that_was_told_before_a_silence_is_told_as_over_at_once() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.tells(0, 200, f"firing lyon {MASS}")
    silence(site, "site=lyon", until=9000)
    site.back(900, lyon[:31])
    site.tells(200, 1000, f"resolved lyon {MASS}")


def test_who_is_left_when_it_ends_is_held_by_the_silence_too() -> None:
    site, lyon = lyon_of(40)
    silence(site, "site=lyon", until=3000)
    site.lose(100, lyon[:31])
    site.back(900, lyon[:29])
    site.tells(0, 3000)
    site.tells(3000, 6000, f"firing 3029 3030 {GONE}")


def test_a_silence_on_the_phones_alone_does_not_hide_their_branch() -> None:
    site, lyon = lyon_of(40)
    silence(site, "rule=ExtensionUnregistered", until=3000)
    site.lose(100, lyon[:31])
    site.tells(0, 1000, f"firing lyon {MASS}")


# --- ladders, acknowledgements, repeats -----------------------------------------------


def test_a_mass_event_climbs_and_the_phones_of_it_do_not() -> None:
    site, lyon = lyon_of(40, routes=LADDER, notifiers=PEOPLE)
    site.lose(100, lyon[:31])
    site.until(3 * HOUR)
    site.back(3 * HOUR, lyon)
    site.until(4 * HOUR)
    for who, at in zip(PEOPLE, (130, 730, 1930), strict=True):
        assert changes(site, who) == [
            ("firing", MASS, at),
            ("resolved", MASS, 3 * HOUR),
        ]


def test_acknowledged_it_grows_in_silence_and_ends_aloud() -> None:
    site, lyon = lyon_of(40, routes=LADDER, notifiers=PEOPLE, group=FLOOR)
    site.lose(100, lyon[:10])
    site.until(200)
    (whole,) = site.alarms.incidents
    site.alarms.acknowledge(whole.id, "Sam", site.now)
    site.lose(300, lyon[10:], every=30)
    site.until(12 * HOUR)
    assert changes(site, "anna") == [("firing", MASS, 140)]
    assert (site.told("ben"), whole.acknowledged_by) == ([], "Sam")
    site.back(12 * HOUR, lyon)
    site.until(13 * HOUR)
    assert [text.split()[0] for text in site.told("anna")] == ["firing", "resolved"]
    assert site.told("ben") == []


def test_one_that_truly_recurs_is_open_to_all_again() -> None:
    site, lyon = lyon_of(40, routes=LADDER, notifiers=PEOPLE)
    site.lose(100, lyon[:31])
    site.until(200)
    (whole,) = site.alarms.incidents
    site.alarms.acknowledge(whole.id, "Sam", site.now)
    site.back(300, lyon[:31])
    site.lose(500, lyon[:31])
    site.until(2000)
    assert (whole.acknowledged_by, whole.firing) == ("", True)
    assert [c[:2] for c in changes(site, "ben")] == [("firing", MASS)]
    assert changes(site, "ben")[0][2] == 530 + 600


def test_mass_silence_and_ladder_together() -> None:
    site, lyon = lyon_of(40, routes=LADDER, notifiers=PEOPLE)
    silence(site, "site=lyon", until=2000)
    site.lose(100, lyon[:31])
    site.until(2000 + 599)
    assert changes(site, "anna") == [("firing", MASS, 2000)]
    assert site.told("ben") == []  # its ladder begins when the first news does
    site.until(2000 + 601)
    assert changes(site, "ben") == [("firing", MASS, 2600)]
    site.back(2700, lyon)
    site.until(2 * HOUR)
    assert [site.told(name)[-1] for name in PEOPLE[:2]] == [f"resolved lyon {MASS}"] * 2
    assert site.told("carol") == []


def test_singles_told_before_are_linked_not_repeated_and_resolved() -> None:
    often = GroupSettings(wait=0.0, interval=0.0, repeat=repeats({"warning": "1h"}))
    site, lyon = lyon_of(40, group=often)
    site.lose(100, lyon[:2], expires=3600)
    site.tells(0, 300, f"firing 3000 3001 {GONE}")
    site.lose(300, lyon[2:31], expires=3600)
    site.tells(300, 6 * HOUR, f"firing lyon {MASS}")
    singles = [i for i in site.alarms.incidents if i.rule == GONE]
    (whole,) = [i for i in site.alarms.incidents if i.rule == MASS]
    assert [i.part_of for i in singles] == [whole.id] * 2
    site.back(6 * HOUR, lyon)
    site.until(7 * HOUR)
    assert sorted(site.told()[2:]) == [
        f"resolved 3000 3001 {GONE}",
        f"resolved lyon {MASS}",
    ]


def test_one_that_falls_again_as_its_branch_comes_back_is_told() -> None:
    slow = GroupSettings(wait=300.0, interval=300.0, repeat={})
    site, lyon = lyon_of(40, group=slow)
    site.lose(100, lyon[:1], expires=3600)
    site.until(250)  # open, and waiting for others of its group
    site.lose(250, lyon[1:31], expires=3600)
    site.back(2000, lyon[:31])
    site.lose(2030, lyon[:1])  # before it counts as back
    site.until(4 * HOUR)
    assert ("firing", GONE, 2030 + 120) in changes(site)
    assert [i.rule for i in site.alarms.incidents] == [GONE]


# --- who covers whom ------------------------------------------------------------------


def test_who_is_lost_elsewhere_at_the_same_time_is_told_by_itself() -> None:
    site, lyon = lyon_of(100)
    paris = site.crowd("paris", 5, first=500)
    site.lose(100, [*lyon[:95], *paris])  # of hq nearly all are in Lyon
    site.until(4000)
    names = " ".join(phone.name for phone in paris)
    assert site.told() == [f"firing lyon {MASS}", f"firing {names} {GONE}"]


def test_a_phone_of_another_pbx_in_a_branch_is_told_with_the_branch() -> None:
    """Two registrars, one place: what is gone there is one event of the place."""
    site = Branches().begin()
    site.crowd("paris", 160)
    lyon = site.crowd("lyon", 31)
    site.lose(100, lyon)
    site.until(1000)
    (whole,) = site.alarms.incidents
    assert (whole.subject.name, whole.crowd.through) == ("lyon", ("hq",))


def test_branches_that_share_one_pbx_are_told_apart() -> None:
    site = Branches().begin()
    site.crowd("paris", 160)
    lyon, nice = site.crowd("lyon", 20), site.crowd("nice", 20)
    site.lose(100, lyon[:9])
    site.lose(1000, nice[:15])
    site.back(2000, lyon)
    site.until(2500)
    assert site.told() == [
        f"firing lyon {MASS}",
        f"firing nice {MASS}",
        f"resolved lyon {MASS}",
    ]


# --- how it grows ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [20, 40, 200])
def test_a_dead_switch_is_one_incident_that_grows_over_the_hour(number: int) -> None:
    site, lyon = lyon_of(number, group=FLOOR)
    site.lose(100, lyon, every=3600 / number, expires=3600)
    site.until(2 * HOUR)
    rules = [rule for _, rule, _ in changes(site)]
    assert rules.count(MASS) == 1
    assert len(rules) <= 5
    (whole,) = [i for i in site.alarms.incidents if i.rule == MASS]
    known = {i.subject.name for i in site.alarms.incidents}
    assert whole.crowd.missing + len(known) - 1 >= number * 0.8
    site.back(2 * HOUR, lyon, every=1)
    site.until(4 * HOUR)
    assert site.alarms.incidents == []
    assert len(changes(site)) <= 10


@pytest.mark.parametrize("gap", [1.0, 5.0, 20.0])
def test_a_wave_of_re_registrations_is_none(gap: float) -> None:
    site, lyon = lyon_of(40)
    for n in range(20):
        site.lose(100 + 600 * n, lyon)
        site.back(100 + 600 * n + gap, lyon)
    site.until(5 * HOUR)
    assert site.told() == []
    assert site.opened == []


def test_later_ones_join_without_a_word_and_leave_without_one() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:12])
    site.tells(0, 200, f"firing lyon {MASS}")
    for n in range(10):
        site.lose(300 + 200 * n, lyon[12 + n : 13 + n])
        site.back(400 + 200 * n, lyon[n : n + 1])
    site.tells(200, 3000)


def test_all_members_are_back_and_no_phone_is_told() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon)
    site.back(1000, lyon, every=20)
    site.until(3 * HOUR)
    assert site.told() == [f"firing lyon {MASS}", f"resolved lyon {MASS}"]


# --- reloads --------------------------------------------------------------------------


def replace(site: Branches, rules=None, routes=(), notifiers=("oncall",)) -> None:
    site.notifiers = notifiers
    site.alarms.replace(build(rules or {}), routes, site.group, notifiers, site.now)
    site.until(site.now)


def test_an_extension_that_moves_away_during_the_event_is_told_by_itself() -> None:
    slow = GroupSettings(wait=0.0, interval=0.0, repeat={})
    site, lyon = lyon_of(40, group=slow)
    site.crowd("nice", 20)
    site.lose(100, lyon[:31])
    site.tells(0, 200, f"firing lyon {MASS}")
    moving = lyon[0]
    moving.scope = site.scopes["nice"]
    site.alarms.moved(moving)
    site.tells(200, 1000, f"firing 3000 {GONE}")


@pytest.mark.parametrize("reload", [False, True])
def test_who_moves_with_many_others_in_mid_outage_is_told_with_them(
    reload: bool,
) -> None:
    """Some of those that Lyon has lost are found to belong to Nice."""
    site, lyon = lyon_of(40)
    site.crowd("nice", 5)
    site.lose(100, lyon[:31])
    site.tells(100, 300, f"firing lyon {MASS}")
    for phone in lyon[:20]:
        phone.scope = site.scopes["nice"]
        if not reload:
            site.alarms.moved(phone)
    if reload:
        replace(site)
    site.tells(300, 1000, f"firing nice {MASS}")
    assert site.alarms.owed() == []


def test_a_route_that_changes_tells_who_is_to_know_now() -> None:
    site, lyon = lyon_of(40, routes=(route("anna"),), notifiers=("anna", "ben"))
    site.lose(100, lyon[:31])
    site.until(200)
    replace(site, routes=(route("ben"),), notifiers=("anna", "ben"))
    site.until(300)
    site.back(300, lyon)
    site.until(1000)
    both = [f"firing lyon {MASS}", f"resolved lyon {MASS}"]
    assert (site.told("anna"), site.told("ben")) == (both, both)


def test_a_notifier_that_returns_is_told_what_ended_meanwhile() -> None:
    site, lyon = lyon_of(40, notifiers=("anna", "ben"))
    site.lose(100, lyon[:31])
    site.until(200)
    replace(site, notifiers=("ben",))
    site.back(300, lyon)
    site.until(1000)
    assert site.told("anna") == [f"firing lyon {MASS}"]
    replace(site, notifiers=("anna", "ben"))
    site.until(2000)
    both = [f"firing lyon {MASS}", f"resolved lyon {MASS}"]
    assert (site.told("anna"), site.told("ben")) == (both, both)


def test_a_share_that_is_raised_ends_what_it_does_not_cover_any_more() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:9])
    site.tells(0, 200, f"firing lyon {MASS}")
    replace(site, {MASS: RuleSettings(enabled=False)})
    replace(site)
    site.until(2000)
    assert [i.rule for i in site.alarms.incidents].count(MASS) <= 1
    known = {n for i in site.alarms.incidents for n in (i.subject.name,)}
    whole = [i for i in site.alarms.incidents if i.rule == MASS]
    assert whole or {p.name for p in lyon[:9]} <= known


def test_a_pbx_that_is_configured_anew_during_the_event_is_watched_once() -> None:
    site, lyon = lyon_of(60)
    site.lose(100, lyon)
    site.tells(0, 200, f"firing lyon {MASS}")
    site.alarms.release(site.hq)
    for phone in list(site.alarms._watched):
        if phone.kind == "extension":
            site.alarms.release(phone)
    site.flush()
    keys = [subject.key for subject in site.alarms._watched]
    assert len(keys) == len(set(keys))
    assert site.hq.key not in keys


def test_a_pbx_that_is_watched_no_more_leaves_no_event_behind() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.until(200)
    for subject in list(site.alarms._watched):
        if subject.kind in ("extension", "registrar"):
            site.alarms.unwatch(subject, site.now)
    site.reads_at = None
    site.until(3000)
    assert site.told() == [f"firing lyon {MASS}", f"resolved lyon {MASS}"]
    assert site.alarms.incidents == []


# --- limits, mails that fail ----------------------------------------------------------


def test_a_limit_holds_singles_back_and_not_the_whole_for_good() -> None:
    routes = (route("oncall", per_hour=2),)
    site, lyon = lyon_of(40, routes=routes, group=GroupSettings(
        by=("extension",), wait=0.0, interval=0.0, repeat={}))  # fmt: skip
    site.lose(100, lyon[:4], every=1, expires=3600)
    site.until(400)
    assert len(site.told()) == 2
    site.lose(400, lyon[4:31], expires=3600)
    site.until(430 + HOUR)
    assert f"{MASS}" in site.told()[-1] or MASS in str(changes(site))
    site.back(2 * HOUR, lyon)
    site.until(8 * HOUR)
    assert site.alarms.owed() == []
    for n, at in enumerate(times := site.times()):
        assert len([t for t in times[n:] if t < at + HOUR]) <= 2


def test_a_mail_server_down_across_the_end_is_told_late_and_once() -> None:
    site, lyon = lyon_of(40)
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if 90 < now < 4000 else Outcome.ACCEPTED
    )
    site.lose(100, lyon[:31])
    site.back(2000, lyon)
    site.until(8000)
    told = [text for text in site.told() if MASS in text]
    assert told == [f"late resolved lyon {MASS}"]


def test_a_mail_server_down_at_the_end_only_is_told_when_it_is_back() -> None:
    site, lyon = lyon_of(40)
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if 1900 < now < 6000 else Outcome.ACCEPTED
    )
    site.lose(100, lyon[:31])
    site.back(2000, lyon)
    site.until(10_000)
    told = [text for text in site.told() if MASS in text]
    assert told == [f"firing lyon {MASS}", f"resolved lyon {MASS}"]


def test_down_at_the_end_and_through_the_recurrence_nobody_is_told_twice() -> None:
    site, lyon = lyon_of(40)
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if 900 < now < 4000 else Outcome.ACCEPTED
    )
    site.lose(100, lyon[:31])
    site.back(1000, lyon)
    site.lose(1300, lyon[:31])
    site.until(6000)
    told = [text for text in site.told() if MASS in text]
    assert told[0] == f"firing lyon {MASS}"
    assert told[1:] in ([], [f"resolved lyon {MASS}", f"firing lyon {MASS}"])
    site.back(7000, lyon)
    site.until(9000)
    assert site.told()[-1] == f"resolved lyon {MASS}"


# --- restarts and clocks --------------------------------------------------------------


def test_a_mass_event_survives_a_restart_and_ends_once() -> None:
    disk = Memory()
    site, lyon = lyon_of(40, on_write=disk.write)
    site.lose(100, lyon[:31])
    site.tells(0, 200, f"firing lyon {MASS}")
    again = Branches(now=300, restored=disk.load(), on_write=disk.write)
    again.alarms.adopt(again.hq)
    phones = [again.phone(p.name) for p in lyon]
    paris = [again.phone(str(1000 + n), "paris") for n in range(160)]
    for n, phone in enumerate((*paris, *phones)):  # a slice at a time
        again.alarms.adopt(phone)
        if n % 50 == 0:
            again.until(300 + n / 100)
    again.readable(310)
    again.tells(0, 900)
    again.back(900, phones)
    again.until(3000)
    assert again.told() == [f"resolved lyon {MASS}"]
    assert again.alarms.incidents == []


def test_a_clock_set_back_an_hour_neither_doubles_nor_hastens_it() -> None:
    ahead = [0.0]
    muting = Muting(ahead=lambda: ahead[0])
    site, lyon = lyon_of(40, muting=muting, group=FLOOR)
    site.lose(100, lyon[:31])
    site.until(120)
    ahead[0] = -HOUR
    site.alarms.clock_set(site.now)
    site.until(3000)
    assert changes(site) == [("firing", MASS, 140)]
    site.back(3000, lyon)
    site.until(6000)
    assert len(site.told()) == 2


def test_a_clock_set_forward_a_day_loses_and_repeats_nothing() -> None:
    ahead = [0.0]
    muting = Muting(ahead=lambda: ahead[0])
    site, lyon = lyon_of(40, muting=muting, group=FLOOR)
    site.lose(100, lyon[:31])
    site.until(200)
    ahead[0] = DAY
    site.alarms.clock_set(site.now)
    site.until(3000)
    assert changes(site) == [("firing", MASS, 140)]
    site.back(3000, lyon)
    site.until(6000)
    assert len(site.told()) == 2


@pytest.mark.parametrize("by", [-HOUR, DAY])
def test_a_restart_after_the_clock_was_set_goes_on(by: float) -> None:
    ahead, disk, start = [0.0], Memory(), 100_000.0
    site = Branches(
        now=start,
        muting=Muting(ahead=lambda: ahead[0]),
        on_write=lambda writes: disk.write([shifted(w, ahead[0]) for w in writes]),
    ).begin()
    site.crowd("paris", 60)
    lyon = site.crowd("lyon", 40)
    site.lose(start + 100, lyon[:31])
    site.until(start + 200)
    ahead[0] = by
    site.alarms.clock_set(site.now)
    site.until(start + 300)
    now = start + 301 + by
    again = Branches(now=now, restored=disk.load())
    again.alarms.adopt(again.hq)
    phones = [again.phone(p.name) for p in lyon]
    for phone in (*phones, *(again.phone(str(1000 + n), "paris") for n in range(60))):
        again.alarms.adopt(phone)
    again.readable(now)
    again.until(now + 1000)
    assert (site.told(), again.told()) == ([f"firing lyon {MASS}"], [])
    again.back(now + 1000, phones)
    again.until(now + 3000)
    assert again.told() == [f"resolved lyon {MASS}"]


# --- hours ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "day"),
    [
        ("2026-03-29 00:00", "clocks are put forward"),
        ("2026-10-25 00:00", "clocks are put back"),
        ("2028-02-29 00:00", "a leap day"),
        ("2026-05-01 00:00", "a holiday"),
        ("2026-12-31 00:00", "the last of a year"),
    ],
)
def test_on_special_days_the_patience_is_the_same(start: str, day: str) -> None:
    hours = schedule({"mon-sun": "08:30-18:00"})
    site = Calm(
        start=start,
        schedules={"office": hours},
        rules={GONE: RuleSettings(during="office")},
    )
    phone = site.phone()
    site.lost("07:00", phone)
    site.until(site.time("23:00"))
    assert site.story() == [("09:02", "firing")], day


def test_a_holiday_is_closed_and_the_next_day_is_not() -> None:
    hours = schedule({"mon-fri": "08:30-18:00"}, holidays="FR")
    site = Calm(
        start="2026-05-01 00:00",  # a Friday
        schedules={"office": hours},
        rules={GONE: RuleSettings(during="office")},
    )
    phone = site.phone()
    site.lost("09:00", phone)
    site.until(site.time("+4 23:00"))
    assert site.story() == [("+3 09:02", "firing")]


def test_phones_that_are_off_all_night_are_no_mass_event_in_the_morning() -> None:
    hours = schedule({"mon-fri": "08:30-18:00"})
    site = Calm(
        schedules={"office": hours}, rules={GONE: RuleSettings(during="office")}
    )
    phones = [site.phone(str(n)) for n in range(1000, 1040)]
    for phone in phones:
        site.lost("19:00", phone)
    for n, phone in enumerate(phones):
        site.at(site.time("+1 08:20") + 30 * n, phone, REGISTERED)
    site.until(site.time("+1 17:00"))
    assert site.told() == []


def test_a_restart_of_the_pbx_and_a_mass_event_are_told_apart() -> None:
    site, lyon = lyon_of(40)
    o = Observation(site.hq, State.READABLE, 1, 100, event=Event.RESTARTED)
    o.figures = Figures(expected=200, present=160)
    site.until(100)
    site._observe(o)
    site.lose(101, lyon, not_before=400, loss=Loss.UNKNOWN)
    site.back(200, lyon)
    site.until(2000)
    assert site.told() == ["firing hq RegistrarRestarted"]
    assert {a.incident.rule for a in site.of(Opened)} == {"RegistrarRestarted"}


def test_severities_may_wait_differently_and_the_whole_does_not_wait_for_parts() -> (
    None
):
    group = GroupSettings(
        wait=per_severity({"warning": "10m"}), interval=0.0, repeat={}
    )
    site, lyon = lyon_of(40, group=group)
    site.lose(100, lyon[:2], expires=3600)
    site.lose(400, lyon[2:31], expires=3600)
    site.until(2 * HOUR)
    assert changes(site)[0] == ("firing", MASS, 430)
    assert {i.severity for i in site.alarms.incidents} >= {Severity.CRITICAL}


def test_a_branch_that_comes_back_leaves_no_event_of_its_pbx_behind() -> None:
    """As Lyon returns, the few who are missing elsewhere are most of the missing."""
    site = Branches().begin()
    paris, lyon = site.crowd("paris", 3), site.crowd("lyon", 6)
    site.lose(100, [*lyon, paris[0]])
    site.until(1000)
    site.back(1000, lyon, every=10)
    site.until(2000)
    assert site.told() == [
        f"firing lyon {MASS}",
        f"firing 1000 {GONE}",
        f"resolved lyon {MASS}",
    ]
    assert [i.subject.name for i in site.alarms.incidents] == ["1000"]


def test_a_pbx_that_loses_more_than_its_branch_is_told_as_well() -> None:
    site = Branches().begin()
    paris, lyon = site.crowd("paris", 30), site.crowd("lyon", 30)
    site.lose(100, lyon)
    site.lose(600, paris[:20])
    site.until(2000)
    assert site.told()[0] == f"firing lyon {MASS}"
    assert {f"firing hq {MASS}", f"firing paris {MASS}"} & set(site.told()[1:])
    assert f"resolved lyon {MASS}" not in site.told()
