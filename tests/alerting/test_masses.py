"""Who is lost together is one incident, with what they have in common."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from alerting.alarms.common import Factors, factors_of, in_common, shared
from alerting.alarms.masses import TOO_FEW
from alerting.announcement import Opened, Suppressed
from alerting.incident import Outcome, Severity
from alerting.matching import routed
from alerting.notification.render import render
from alerting.routes import GroupSettings, RouteSettings, repeats
from alerting.rules.rule import RuleSettings, Threshold
from checks.observation import Fact, Figures, Loss, State

from .branches import REGISTERED, UNREGISTERED, Branches

MASS = "MassUnregistration"
FLOOR = GroupSettings(wait=10.0, interval=300.0, repeat=repeats({"critical": "4h"}))


def lyon_of(number: int, **more) -> tuple[Branches, list]:
    site = Branches(**more).begin()
    site.crowd("paris", 160)
    return site, site.crowd("lyon", number)


def test_a_branch_that_goes_dark_is_one_incident_after_thirty_seconds() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.tells(100, 130)
    (mail,) = site.tells(130, 4000, f"firing lyon {MASS}")
    assert mail.at == 130
    (incident,) = site.alarms.incidents
    assert (incident.since, incident.severity) == (100, Severity.CRITICAL)
    crowd = incident.crowd
    assert (crowd.lost, crowd.of, crowd.missing) == (31, 40, 31)
    assert crowd.through == ("hq",)
    assert [fact.text for fact in crowd.listed] == [p.name for p in lyon[:20]]
    assert crowd.listed[0] == Fact(100, lyon[0].name)


def test_it_resolves_once_when_enough_are_back() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.tells(100, 600, f"firing lyon {MASS}")
    site.back(600, lyon[:27], every=1)
    site.tells(600, 628)  # 4 of 8 are still enough for it
    site.back(640, lyon[27:28])
    (mail,) = site.tells(640, 700, f"resolved lyon {MASS}")
    (delivery,) = mail.batch.deliveries
    crowd = delivery.incident.crowd
    assert (crowd.lost, crowd.missing) == (31, 3)
    assert [fact.text for fact in crowd.listed] == [p.name for p in lyon[28:31]]


def test_who_is_left_behind_is_told_by_itself_after_a_fair_time() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.back(600, lyon[:29])
    site.tells(601, 720)
    (mail,) = site.tells(720, 800, "firing 3029 3030 ExtensionUnregistered")
    assert mail.at == 720


def test_who_is_left_behind_has_that_time_though_the_end_is_held_back() -> None:
    kept = {MASS: RuleSettings(keep_firing_for=60.0)}
    site, lyon = lyon_of(40, rules=kept)
    site.lose(100, lyon[:31])
    site.back(600, lyon[:29])
    site.at(601, lyon[29], UNREGISTERED, since=100.0)  # a list that lacks it still
    site.tells(601, 660)
    site.tells(660, 661, f"resolved lyon {MASS}")
    site.tells(661, 780)
    (mail,) = site.tells(780, 800, "firing 3029 3030 ExtensionUnregistered")
    assert mail.at == 780


def test_who_is_left_behind_and_comes_back_in_time_is_never_told() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.back(600, lyon[:29])
    site.back(719, lyon[29:31])
    site.tells(601, 4000)


def test_no_phone_of_it_is_told_and_each_is_recorded_with_the_reason() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.until(4000)
    reasons = [a.reason for a in site.of(Suppressed) if a.rule != MASS]
    assert reasons == [f"covered by {MASS} of lyon"] * 31


def test_phones_that_re_register_within_seconds_are_no_event() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon)
    site.back(104, lyon)
    site.tells(100, 4000)


def test_a_wave_over_the_whole_floor_is_none_while_enough_come_back_in_time() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon, every=0.5)
    site.back(101, lyon, every=0.5)
    site.tells(100, 4000)


def test_of_a_wave_that_is_nearly_over_when_it_is_due_nothing_is_told() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon)
    site.back(104, lyon[:35])  # 5 of 40 are more than the half of 8
    site.back(190, lyon[35:])
    site.tells(100, 4000)
    assert f"lyon {MASS}" not in site.opened
    (said,) = [a for a in site.of(Suppressed) if a.rule == MASS]
    assert (said.reason, said.at) == (TOO_FEW, 130)


def test_who_does_not_come_back_from_such_a_wave_is_told_by_itself() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon)
    site.back(104, lyon[:35])
    site.tells(100, 220)
    names = " ".join(phone.name for phone in lyon[35:])
    (mail,) = site.tells(220, 4000, f"firing {names} ExtensionUnregistered")
    assert mail.at == 220


@pytest.mark.parametrize(("missing", "event"), [(8, True), (7, False)])
def test_a_mass_event_is_told_when_a_fifth_is_missing_as_it_is_due(
    missing: int, event: bool
) -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon)
    site.back(110, lyon[missing:])
    site.until(131)
    assert site.told() == ([f"firing lyon {MASS}"] if event else [])


def test_a_dip_before_it_is_due_costs_a_mass_event_no_time() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:10])
    site.back(110, lyon[:5])
    site.lose(120, lyon[:5])
    (mail,) = site.tells(100, 4000, f"firing lyon {MASS}")
    assert mail.at == 130


def test_after_a_wave_that_was_none_the_next_loss_is_counted_anew() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon)
    site.back(104, lyon[:35])
    site.lose(140, lyon[:10])
    (mail,) = site.tells(100, 4000, f"firing lyon {MASS}")
    assert mail.at == 170
    (incident,) = site.alarms.incidents
    assert (incident.crowd.lost, incident.since) == (15, 100)


def test_a_pbx_whose_wave_is_nearly_over_leaves_a_dark_branch_to_itself() -> None:
    site = Branches().begin()
    paris, lyon = site.crowd("paris", 80), site.crowd("lyon", 20)
    site.lose(100, [*paris[:20], *lyon[:10]])
    site.back(110, paris[:15])
    site.tells(100, 130)
    (mail,) = site.tells(130, 131, f"firing lyon {MASS}")
    assert mail.batch.deliveries[0].incident.crowd.missing == 10


def test_four_of_forty_are_told_one_by_one() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:4])
    site.tells(100, 4000, "firing 3000 3001 3002 3003 ExtensionUnregistered")


def test_seven_of_forty_are_less_than_a_fifth() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:7])
    site.until(4000)
    assert {a.incident.rule for a in site.of(Opened)} == {"ExtensionUnregistered"}


@pytest.mark.parametrize(("number", "lost", "event"), [(3, 3, True), (3, 2, False)])
def test_a_small_site_is_one_event_when_all_of_it_is_gone(
    number: int, lost: int, event: bool
) -> None:
    site, lyon = lyon_of(number)
    site.lose(100, lyon[:lost])
    site.until(131)
    assert (f"lyon {MASS}" in site.opened) is event


def hung(number: int) -> tuple[Branches, list]:
    """The PBX hangs from 100 to 700: who cannot register then is lost."""
    site, lyon = lyon_of(number)
    site.unreadable(100, options_failed=True)
    site.readable(700)
    site.lose(700, lyon, since=200)
    return site, lyon


PBX = [f"{change} hq RegistrarUnreadable" for change in ("firing", "resolved")]


def test_after_a_pbx_that_hung_its_phones_have_time_to_come_back() -> None:
    site, lyon = hung(40)
    site.back(705, lyon, every=2)  # as they try again
    site.tells(0, 4000, *PBX)


def test_who_is_not_back_two_minutes_after_a_pbx_that_hung_is_a_mass_event() -> None:
    site, lyon = hung(40)
    site.back(705, lyon[:10], every=2)
    site.tells(0, 820, *PBX)
    site.tells(820, 821, f"firing lyon {MASS}")


def test_a_branch_that_goes_dark_long_after_that_has_no_more_time() -> None:
    site, lyon = hung(40)
    site.back(705, lyon)
    site.lose(900, lyon)
    site.tells(900, 930)
    site.tells(930, 931, f"firing lyon {MASS}")


def test_a_mass_event_of_the_pbx_itself_waits_as_well() -> None:
    site = Branches().begin()
    paris = site.crowd("paris", 40)
    site.unreadable(100, options_failed=True)
    site.readable(700)
    site.lose(700, paris, since=300)
    site.back(800, paris[:38])
    site.tells(0, 819, *PBX)
    site.tells(819, 1000, "firing 1038 1039 ExtensionUnregistered")


def test_two_phones_are_no_site() -> None:
    site, lyon = lyon_of(2)
    site.lose(100, lyon)
    site.until(4000)
    assert f"lyon {MASS}" not in site.opened


def test_who_logs_out_does_not_count() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31], loss=Loss.DEREGISTERED)
    site.until(4000)
    assert f"lyon {MASS}" not in site.opened


def test_later_ones_join_silently() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:10])
    site.tells(100, 200, f"firing lyon {MASS}")
    site.lose(200, lyon[10:], every=20)
    site.tells(200, 2000)
    assert len(site.alarms.incidents) == 1
    site.back(2000, lyon)
    (mail,) = site.tells(2000, 3000, f"resolved lyon {MASS}")
    assert mail.batch.deliveries[0].incident.crowd.lost == 40


def test_a_repeat_says_how_many_they_are_by_then() -> None:
    site, lyon = lyon_of(40, group=FLOOR)
    site.lose(100, lyon[:10])
    site.until(200)
    site.lose(1000, lyon[10:30])
    site.until(5 * 3600)
    first, again = site.mails["oncall"]
    assert again.batch.deliveries[0].step == 1
    assert again.batch.deliveries[0].incident.crowd.missing == 30
    assert first.batch.thread == again.batch.thread


def test_bindings_of_a_dead_switch_that_end_in_turn_are_one_that_grows() -> None:
    site, lyon = lyon_of(40, group=FLOOR)
    site.lose(100, lyon, every=90, expires=3600)
    site.until(100 + 4 * 3600 - 1)
    rules = [mail.batch.deliveries[0].incident.rule for mail in site.mails["oncall"]]
    assert rules.count(MASS) == 1
    assert len(rules) <= 4  # those that were gone before it could be known
    (whole,) = [i for i in site.alarms.incidents if i.rule == MASS]
    assert whole.crowd.missing >= 32
    assert whole.since == 100


def test_short_bindings_that_end_far_apart_are_not_together() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:9], every=90, expires=60)
    site.until(4000)
    assert f"lyon {MASS}" not in site.opened


def test_what_was_told_before_stays_told_and_is_told_as_over() -> None:
    site, lyon = lyon_of(40)
    early, rest = lyon[0], lyon[1:31]
    site.lose(100, [early], expires=3600)
    site.tells(100, 300, f"firing {early.name} ExtensionUnregistered")
    site.lose(300, rest, expires=3600)
    site.tells(300, 500, f"firing lyon {MASS}")
    single, whole = sorted(site.alarms.incidents, key=lambda i: i.id)
    assert single.part_of == whole.id
    assert whole.crowd.told_before == 1
    site.back(600, [early])
    site.tells(600, 700, f"resolved {early.name} ExtensionUnregistered")
    site.back(700, rest)
    site.tells(700, 900, f"resolved lyon {MASS}")


def test_what_was_open_and_untold_is_covered() -> None:
    slow = GroupSettings(wait=300.0, interval=300.0, repeat={})
    site, lyon = lyon_of(40, group=slow)
    site.lose(100, lyon[:3], expires=3600)
    site.until(250)
    assert len(site.alarms.incidents) == 3  # waiting for others of their group
    site.lose(250, lyon[3:31], expires=3600)
    site.tells(100, 2000, f"firing lyon {MASS}")
    site.back(2000, lyon)
    site.tells(2000, 4000, f"resolved lyon {MASS}")
    assert site.alarms.owed() == []


def test_what_is_part_of_it_is_not_repeated() -> None:
    hourly = GroupSettings(wait=0.0, interval=0.0, repeat=repeats({"warning": "1h"}))
    site, lyon = lyon_of(40, group=hourly)
    site.lose(100, lyon[:1], expires=3600)
    site.until(300)
    site.lose(300, lyon[1:31], expires=3600)
    site.until(12 * 3600)
    assert site.told() == [
        f"firing {lyon[0].name} ExtensionUnregistered",
        f"firing lyon {MASS}",
    ]


def test_a_pbx_that_loses_several_branches_is_one_event_of_its_own() -> None:
    site = Branches().begin()
    paris, lyon, nice = (site.crowd(name, 20) for name in site.names)
    site.lose(100, [*paris, *lyon, *nice])
    site.tells(100, 4000, f"firing hq {MASS}")
    assert site.alarms.incidents[0].crowd.of == 60
    reasons = {f"{a.subject.name} {a.reason}" for a in site.of(Suppressed)}
    assert f"lyon covered by {MASS} of hq" in reasons
    assert f"nice covered by {MASS} of hq" in reasons


def test_a_pbx_with_one_branch_is_told_as_the_pbx() -> None:
    site = Branches().begin()
    lyon = site.crowd("lyon", 40)
    site.lose(100, lyon)
    site.tells(100, 4000, f"firing hq {MASS}")


def test_what_the_branch_explains_is_not_the_pbx() -> None:
    site = Branches().begin()
    site.crowd("paris", 60)
    lyon = site.crowd("lyon", 40)
    site.lose(100, lyon)  # 40 % of hq as well
    site.tells(100, 4000, f"firing lyon {MASS}")
    reasons = [a.reason for a in site.of(Suppressed) if a.subject is site.hq]
    assert reasons == [f"covered by {MASS} of lyon"]


def test_it_does_not_open_while_the_pbx_cannot_be_read() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.unreadable(110)
    site.until(1000)
    assert f"lyon {MASS}" not in site.opened
    reasons = [a.reason for a in site.of(Suppressed) if a.rule == MASS]
    assert reasons == ["hq is unreadable"]
    site.readable(1000)
    site.until(1100)
    assert f"lyon {MASS}" in site.opened


def test_one_that_was_open_is_not_resolved_by_a_cut() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.tells(100, 200, f"firing lyon {MASS}")
    site.unreadable(200)
    site.tells(200, 1000, "firing hq RegistrarUnreadable")
    site.readable(1000)
    site.back(1010, lyon)
    site.until(2000)
    assert site.told()[2:] == [
        "resolved hq RegistrarUnreadable",
        f"resolved lyon {MASS}",
    ]


def test_after_a_restart_it_waits_for_the_grace() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31], not_before=400)
    site.tells(100, 430)
    site.tells(430, 440, f"firing lyon {MASS}")


def test_whoever_would_be_told_of_the_phone_is_told_of_the_whole() -> None:
    routes = (
        RouteSettings(("noc",), routed({"rule": MASS})),
        RouteSettings(("noc",), routed({"rule": "ExtensionUnregistered"})),
        RouteSettings(("desk",), routed({"extension": "3000"})),
    )
    site, lyon = lyon_of(40, routes=routes, notifiers=("noc", "desk"))
    site.lose(100, lyon[:31])
    site.until(1000)
    assert (site.told("desk"), site.times("desk")) == ([f"firing lyon {MASS}"], [220])
    assert (site.told("noc"), site.times("noc")) == ([f"firing lyon {MASS}"], [130])


def test_an_own_rule_for_somebody_else_tells_them_of_the_whole() -> None:
    vip = RuleSettings(
        on="extension",  # type: ignore[arg-type]
        where=routed({"extension": "3000"}),
        state=(State.UNREGISTERED,),
        for_=60.0,
        notify=("boss",),
    )
    site, lyon = lyon_of(
        40,
        rules={"Vip": vip},
        notifiers=("oncall", "boss"),
        routes=(RouteSettings(("oncall",)),),
    )
    site.lose(100, lyon[:31])
    site.until(1000)
    assert (site.told("boss"), site.times("boss")) == ([f"firing lyon {MASS}"], [160])


def test_switched_off_each_phone_is_told() -> None:
    off = {MASS: RuleSettings(enabled=False)}
    site, lyon = lyon_of(40, rules=off)
    site.lose(100, lyon[:31])
    site.until(1000)
    assert [a.incident.rule for a in site.of(Opened)] == ["ExtensionUnregistered"] * 31


def test_its_share_can_be_another() -> None:
    half = {MASS: RuleSettings(above=Threshold(0.5, "%"))}
    site, lyon = lyon_of(40, rules=half)
    site.lose(100, lyon[:19])
    site.until(4000)
    assert f"lyon {MASS}" not in site.opened


def test_a_reload_that_switches_it_off_tells_who_is_still_missing() -> None:
    from alerting.rules.rule import build

    site, lyon = lyon_of(40)
    site.lose(100, lyon[:10])
    site.until(1000)
    off = build({MASS: RuleSettings(enabled=False)})
    site.alarms.replace(off, (), site.group, ("oncall",), 1000)
    site.until(1200)
    assert f"resolved lyon {MASS}" in site.told()
    names = " ".join(phone.name for phone in lyon[:10])
    assert f"firing {names} ExtensionUnregistered" in site.told()


def test_a_branch_that_falls_twice_is_told_twice_in_one_thread() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:31])
    site.back(300, lyon[:31])
    site.lose(500, lyon[:31])
    site.until(600)
    firing, resolved, again = site.mails["oncall"]
    assert again.text == f"firing lyon {MASS}"
    assert again.batch.thread == firing.batch.thread == resolved.batch.thread


def test_a_phone_removed_from_the_pbx_leaves_the_crowd() -> None:
    site, lyon = lyon_of(40)
    site.lose(100, lyon[:10])
    site.until(200)
    for phone in lyon[:8]:
        site.alarms.unwatch(phone, 200)
    site.until(300)
    assert f"resolved lyon {MASS}" in site.told()


def test_a_phone_that_moves_to_another_branch_counts_there() -> None:
    site, lyon = lyon_of(5)
    nice = site.crowd("nice", 4)
    moving = lyon[0]
    moving.scope = site.scopes["nice"]
    site.alarms.moved(moving)
    site.lose(100, [*nice, moving])
    site.until(200)
    (incident,) = site.alarms.incidents
    assert (incident.subject.name, incident.crowd.of) == ("nice", 5)


@pytest.mark.parametrize(
    ("back", "missing", "told"),
    [
        (0, 10, "none of 10 lost extensions of lyon registered again"),
        (3, 7, "3 of 10 lost extensions of lyon registered again"),
    ],
)
def test_who_moves_to_another_branch_while_it_is_dark_is_not_said_to_be_back(
    back: int, missing: int, told: str
) -> None:
    site, lyon = lyon_of(10)
    site.lose(100, lyon)
    site.tells(100, 200, f"firing lyon {MASS}")
    site.back(200, lyon[:back])
    site.until(220)
    for phone in lyon:
        phone.scope = site.scopes["nice"]
        site.alarms.moved(phone)
    site.until(230)
    (over,) = (m for m in site.mails["oncall"] if m.text == f"resolved lyon {MASS}")
    crowd = over.batch.deliveries[0].incident.crowd
    assert (crowd.lost, crowd.missing) == (10, missing)
    mail = render(over.batch, instance="watcher", zone=ZoneInfo("UTC"), now=over.at)
    assert told in mail.subject


# --- what they have in common ---------------------------------------------------------

YEALINK = "10.20.0.{n}:5060 over UDP, Yealink SIP-T46U 108.86.0.75"


def test_the_mail_names_the_subnet_that_is_gone() -> None:
    others = [Factors("10.20.1.0/24", "lyon", "Yealink", "UDP")] * 9
    site, lyon = lyon_of(40, census=lambda group: others)
    site.lose(100, lyon[:31], where=YEALINK)
    site.until(200)
    crowd = site.alarms.incidents[0].crowd
    assert (crowd.common, crowd.factor) == ("subnet 10.20.0.0/24 (31 of 31)", "subnet")
    assert crowd.listed[0].text == (
        "3000, 10.20.0.1:5060 over UDP, Yealink SIP-T46U 108.86.0.75"
    )


@pytest.mark.parametrize(
    ("lost", "present", "common"),
    [
        (
            [("10.0.0.0/24", "lyon", "Snom", "UDP")] * 9,
            [("10.0.0.0/24", "lyon", "Yealink", "UDP")] * 20,
            ("phones by Snom (9 of 9)", "agent"),
        ),
        (
            [
                ("10.0.0.0/24", "lyon", "Snom", "TLS"),
                ("10.1.0.0/24", "", "Cisco", "TLS"),
            ]
            * 5,
            [
                ("10.0.0.0/24", "lyon", "Snom", "UDP"),
                ("10.1.0.0/24", "", "Cisco", "UDP"),
            ]
            * 9,
            ("transport TLS (10 of 10), phones of several makes", "transport"),
        ),
        (
            [("10.0.0.0/24", "lyon", "Snom", "UDP")] * 9,
            [],  # nobody is left to compare them with
            ("subnet 10.0.0.0/24, site lyon, phones by Snom, transport UDP", "subnet"),
        ),
        (
            [("10.0.0.0/24", "a", "Snom", "UDP"), ("10.1.0.0/24", "b", "Cisco", "TCP")],
            [("10.0.0.0/24", "a", "Snom", "UDP"), ("10.1.0.0/24", "b", "Cisco", "TCP")],
            ("", ""),
        ),
        ([("", "", "", "")] * 5, [("", "", "", "")] * 5, ("", "")),
    ],
)
def test_the_strongest_over_representation_is_named(lost, present, common) -> None:
    found = in_common([Factors(*f) for f in lost], [Factors(*f) for f in present])
    assert found == common


def test_of_two_factors_the_one_that_goes_best_with_the_loss_is_named() -> None:
    lost = [Factors("10.0.0.0/24", "", "Snom", "UDP")] * 15
    lost += [Factors("10.1.0.0/24", "", "Snom", "UDP")] * 5
    present = [Factors("10.1.0.0/24", "", "Snom", "UDP")] * 20
    present += [Factors("10.1.0.0/24", "", "Yealink", "UDP")] * 60
    found = shared(lost, present)
    assert found is not None
    assert str(found) == "subnet 10.0.0.0/24 (15 of 15)"


@pytest.mark.parametrize(
    ("seen", "factors"),
    [
        (
            "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75",
            ("10.20.0.0/24", "lyon", "Yealink", "UDP"),
        ),
        ("[2001:db8::7]:5061 over TLS", ("2001:db8::/64", "lyon", "", "TLS")),
        ("phone.example.com over TCP, x", ("", "lyon", "x", "TCP")),
        ("10.20.0.300 over UDP, x", ("", "lyon", "x", "UDP")),
        ("10.20.0x.3 over UDP, x", ("", "lyon", "x", "UDP")),
        ("10.20.0.31 by UDP", ("", "lyon", "", "")),
        ("", ("", "lyon", "", "")),
    ],
)
def test_factors_are_read_from_where_it_was_last_seen(seen, factors) -> None:
    assert factors_of(seen, "lyon") == factors


def test_a_notifier_that_refuses_gets_one_mail_in_the_end() -> None:
    site, lyon = lyon_of(40, group=FLOOR)
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if now < 4000 else Outcome.ACCEPTED
    )
    site.lose(100, lyon[:31])
    site.until(6000)
    assert site.told() == [f"firing lyon {MASS}"]


def test_figures_without_expires_count_within_two_minutes() -> None:
    site, lyon = lyon_of(40)
    for n, phone in enumerate(lyon[:8]):
        site.at(100 + 16 * n, phone, State.UNREGISTERED, figures=Figures())
    site.until(300)
    assert f"lyon {MASS}" in site.opened
    assert site.alarms.effective(lyon[9]) is REGISTERED


# --- the end of a whole, and who is left ----------------------------------------------


def test_a_branch_that_stays_away_when_the_pbx_is_back_is_told() -> None:
    site = Branches().begin()
    paris, nice, lyon = (
        site.crowd(name, n) for name, n in (("paris", 30), ("nice", 16), ("lyon", 4))
    )
    site.lose(100, [*paris, *nice, *lyon])
    site.tells(100, 400, f"firing hq {MASS}")
    site.back(400, [*paris, *nice])
    site.until(4000)
    told = site.told()[1:]
    assert f"resolved hq {MASS}" in told
    assert f"firing lyon {MASS}" in told
    assert {i.rule for i in site.alarms.incidents} == {MASS}


def test_too_few_to_be_an_event_of_their_own_are_told_by_themselves() -> None:
    site = Branches().begin()
    paris, lyon = site.crowd("paris", 30), site.crowd("lyon", 20)
    site.lose(100, [*paris, *lyon])
    site.tells(100, 600, f"firing hq {MASS}")
    site.back(600, [*paris, *lyon[:18]])
    site.until(4000)
    names = " ".join(phone.name for phone in lyon[18:])
    assert site.told()[1:] == [
        f"resolved hq {MASS}",
        f"firing {names} ExtensionUnregistered",
    ]


def test_the_end_says_how_many_are_missing_when_it_is_told() -> None:
    later = GroupSettings(wait=60.0, interval=60.0, repeat={})
    site, lyon = lyon_of(40, group=later)
    site.lose(100, lyon[:31])
    site.until(600)
    site.back(600, lyon[:29])
    site.back(630, lyon[29:30])  # before the mail goes
    site.until(700)
    over = site.mails["oncall"][-1].batch.deliveries[0].incident
    assert (over.crowd.lost, over.crowd.missing) == (31, 1)
    assert [fact.text for fact in over.crowd.listed] == [lyon[30].name]


def test_the_end_says_that_all_are_back_when_the_last_came_meanwhile() -> None:
    later = GroupSettings(wait=60.0, interval=60.0, repeat={})
    site, lyon = lyon_of(40, group=later)
    site.lose(100, lyon[:31])
    site.until(600)
    site.back(600, lyon[:29])
    site.back(630, lyon[29:31])
    site.until(2000)
    over = site.mails["oncall"][-1].batch.deliveries[0].incident
    assert (over.crowd.missing, over.crowd.listed) == (0, ())
    assert len(site.told()) == 2
