"""Timelines of delivery: groups, repeats, refusals, stand-ins."""

from dataclasses import replace
from itertools import pairwise

import pytest

from alerting.announcement import Delivered
from alerting.incident import Outcome, Severity, Told
from alerting.matching import routed
from alerting.routes import GroupSettings, RouteSettings, repeats
from alerting.rules.rule import RuleSettings, build
from checks.observation import Figures, Observation, State, Subject

from .timeline import Site

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
ACCEPTED, TRANSIENT = Outcome.ACCEPTED, Outcome.TRANSIENT
PERMANENT = Outcome.PERMANENT
WAITING = GroupSettings(wait=10.0, interval=300.0, repeat={})


def phones(site: Site, count: int = 3) -> list[Subject]:
    site.readable(10)
    found = [site.extension(str(1001 + n)) for n in range(count)]
    for phone in found:
        site.at(11, phone, REGISTERED)
    return found


def test_phones_that_go_together_are_told_together_after_the_wait() -> None:
    site = Site(group=WAITING)
    for n, phone in enumerate(phones(site)):
        site.at(100 + n, phone, UNREGISTERED)
    site.until(500)
    assert site.told() == ["firing 1001 1002 1003 ExtensionUnregistered"]
    assert site.times() == [230]


def test_what_comes_later_in_the_group_waits_for_the_interval() -> None:
    site = Site(group=WAITING)
    one, two, three = phones(site)
    site.at(100, one, UNREGISTERED)
    site.at(150, two, UNREGISTERED)
    site.at(200, three, UNREGISTERED)
    site.until(1000)
    assert site.told() == [
        "firing 1001 ExtensionUnregistered",
        "firing 1002 1003 ExtensionUnregistered",
    ]
    assert site.times() == [230, 530]


def test_a_group_of_which_nothing_fires_any_more_begins_anew() -> None:
    site = Site(group=WAITING)
    one, two, _ = phones(site)
    site.at(100, one, UNREGISTERED)
    site.at(470, one, REGISTERED)  # resolved at 530, told at 540
    site.at(500, two, UNREGISTERED)
    site.until(1000)
    assert site.times() == [230, 540, 630]


def test_resolves_of_one_thread_go_together_and_of_two_apart() -> None:
    site = Site(group=WAITING)
    one, two, three = phones(site)
    for at, phone in ((100, one), (101, two), (300, three)):
        site.at(at, phone, UNREGISTERED)
    for phone in (one, two, three):
        site.at(1000, phone, REGISTERED)
    site.until(2000)
    assert site.told()[2:] == [
        "resolved 1001 1002 ExtensionUnregistered",
        "resolved 1003 ExtensionUnregistered",
    ]


def test_a_phone_back_before_it_was_told_is_told_once_as_over() -> None:
    site = Site(group=GroupSettings(wait=600.0, interval=0.0, repeat={}))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.at(300, phone, REGISTERED)
    site.until(2000)
    assert site.told() == ["late resolved 1001 ExtensionUnregistered"]


def test_gone_and_back_and_gone_before_the_resolve_was_told_says_nothing_new() -> None:
    site = Site(group=GroupSettings(wait=0.0, interval=1000.0, repeat={}))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)  # told at 220
    site.at(300, phone, REGISTERED)  # resolved at 360, owed at 1220
    site.at(500, phone, UNREGISTERED)  # the same incident again at 620
    site.until(1500)
    assert len(site.told()) == 1
    site.at(1500, phone, REGISTERED)
    site.until(3000)
    assert len(site.told()) == 2


def test_it_is_repeated_by_severity_until_somebody_acknowledges() -> None:
    site = Site(
        group=GroupSettings(wait=0.0, interval=0.0, repeat=repeats({"warning": "1h"}))
    )
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(220 + 2 * 3600 + 1)
    assert site.times() == [220, 3820, 7420]
    assert len({mail.batch.thread for mail in site.mails["oncall"]}) == 1
    site.alarms.acknowledge(1, "sam", site.now)
    site.until(30000)
    assert len(site.told()) == 3
    site.at(30000, phone, REGISTERED)
    site.until(31000)
    assert site.told()[3:] == ["resolved 1001 ExtensionUnregistered"]


def test_acknowledging_what_is_not_open_says_so() -> None:
    assert Site().alarms.acknowledge(7, "sam", 0.0) is None


def test_routes_choose_by_severity_and_label_and_rule() -> None:
    routes = [
        RouteSettings(("boss",), routed({"severity": "critical"})),
        RouteSettings(("lyon",), routed({"site": "ly*", "rule": "Extension*"})),
    ]
    site = Site(routes=routes, notifiers=("boss", "lyon", "other"))
    site.readable(10)
    site.at(100, site.extension("1001"), UNREGISTERED)
    site.at(100, site.extension("1002", required=True), UNREGISTERED)
    site.until(300)
    assert site.told("boss") == ["firing 1002 ExtensionUnregistered"]
    assert site.told("lyon") == ["firing 1001 1002 ExtensionUnregistered"]
    assert site.told("other") == []


def test_a_rule_may_name_its_notifiers() -> None:
    rules = {"ExtensionUnregistered": RuleSettings(notify=("boss",))}
    site = Site(rules=rules, notifiers=("oncall", "boss"))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    assert site.told("oncall") == []
    assert site.told("boss") == ["firing 1001 ExtensionUnregistered"]


def down_until(end: float, how: Outcome = TRANSIENT, only: str = ""):
    def answers(name: str, now: float) -> Outcome:
        return how if now < end and name.startswith(only) else ACCEPTED

    return answers


def test_smtp_down_for_an_hour_tells_the_open_once_and_the_ended_once() -> None:
    site = Site(group=WAITING, answers=down_until(3800))
    stays, comes_back, later = phones(site)
    site.at(100, stays, UNREGISTERED)
    site.at(100, comes_back, UNREGISTERED)
    site.at(1000, comes_back, REGISTERED)
    site.at(3000, later, UNREGISTERED)
    site.until(8000)
    assert sorted(site.told()) == [
        "firing 1001 ExtensionUnregistered",
        "firing 1003 ExtensionUnregistered",
        "late resolved 1002 ExtensionUnregistered",
    ]
    assert all(3800 <= at <= 4410 for at in site.times())
    site.at(8000, stays, REGISTERED)
    site.at(8000, later, REGISTERED)
    site.until(9000)
    ends = [text for text in site.told()[3:] if "late" not in text]
    assert sorted(ends) == [
        "resolved 1001 ExtensionUnregistered",
        "resolved 1003 ExtensionUnregistered",
    ]


def test_refused_attempts_back_off_to_ten_minutes_and_keep_their_id() -> None:
    site = Site(answers=down_until(1e9))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(4000)
    tries = [a for a in site.announced if isinstance(a, Delivered)]
    waits = [b.at - a.at for a, b in pairwise(tries)]
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600, 600]
    assert len({a.batch.id for a in tries}) == 1


def test_smtp_down_for_more_than_a_day_never_gives_up_on_what_is_open() -> None:
    site = Site(answers=down_until(200_000))
    stays, comes_back, _ = phones(site)
    site.at(100, stays, UNREGISTERED)
    site.at(100, comes_back, UNREGISTERED)
    site.at(1000, comes_back, REGISTERED)
    site.until(210_000)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]


def test_a_notifier_that_refuses_for_good_is_stood_in_for_at_once() -> None:
    routes = [RouteSettings(("mail",))]
    site = Site(
        routes=routes,
        notifiers=("mail", "pager"),
        answers=down_until(1e9, PERMANENT, "mail"),
    )
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    assert site.told("mail") == []
    assert "firing 1001 ExtensionUnregistered" in site.told("pager")
    assert "firing notifier/mail NotifierFailing" in site.told("pager")
    assert "1001" not in {t.split()[1] for t in site.told("pager")[2:]}
    site.at(400, phone, REGISTERED)
    site.until(600)
    assert site.told("pager")[2:] == ["resolved 1001 ExtensionUnregistered"]


def test_the_only_notifier_is_tried_every_hour_while_it_is_open() -> None:
    site = Site(answers=down_until(8000, PERMANENT))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(7000)
    tries = [a.at for a in site.announced if isinstance(a, Delivered)]
    assert tries == [220, 3820]
    assert "notifier/oncall NotifierFailing" in site.opened
    site.until(12000)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]
    assert [i.rule for i in site.alarms.incidents] == ["ExtensionUnregistered"]


def test_a_notifier_fails_after_three_refusals_and_recovers_when_it_accepts() -> None:
    site = Site(answers=down_until(320))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(309)  # refused at 220 and 250
    assert site.opened == ["1001 ExtensionUnregistered"]
    site.until(429)
    assert "notifier/oncall NotifierFailing" in site.opened
    site.until(1000)
    assert site.resolved == ["notifier/oncall"]


def test_a_notifier_that_reaches_not_everybody_fails_until_it_does() -> None:
    site = Site(notifiers=("mail", "pager"))
    site.complaints["mail"] = "b@example.com is refused: 550"
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    assert site.told("mail") == ["firing 1001 ExtensionUnregistered"]
    assert site.told("pager")[1:] == ["firing notifier/mail NotifierFailing"]
    (failing,) = [i for i in site.alarms.incidents if i.rule == "NotifierFailing"]
    assert failing.detail == "b@example.com is refused: 550"
    site.complaints.clear()
    site.at(400, phone, REGISTERED)
    site.until(1000)
    assert site.resolved == ["1001", "notifier/mail"]


def test_nobody_is_told_of_their_own_silence() -> None:
    site = Site(answers=down_until(1000))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(3000)
    assert all("NotifierFailing" not in text for text in site.told())


def test_a_notifier_that_is_configured_no_more_is_stood_in_for() -> None:
    site = Site(notifiers=("old",), answers=down_until(500))
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    site.notifiers = ("new",)
    site.alarms.replace(build({}), (), site.group, ("new",), 300)
    site.until(500)
    assert site.told("new") == []
    site.until(1000)
    assert site.told("new") == ["firing 1001 ExtensionUnregistered"]


def test_worse_while_the_first_is_refused_is_told_once_as_it_is_now() -> None:
    site = Site(answers=down_until(1000))
    site.readable(10)
    site.unreadable(100)
    site.until(2000)
    assert site.told() == ["firing hq RegistrarUnreadable"]
    assert [i.severity for i in site.alarms.incidents] == [Severity.CRITICAL]


def test_worse_is_told_after_the_wait_and_not_after_the_interval() -> None:
    site = Site(group=WAITING)
    site.readable(10)
    site.unreadable(100)
    site.until(240)
    assert site.times() == [230]
    failed = Figures(options_failed=True)
    site.at(250, site.hq, State.UNREADABLE, since=100, figures=failed)
    site.until(1000)
    assert site.told()[1:] == ["worse hq RegistrarUnreadable"]
    assert site.times()[1:] == [260]


def test_what_waits_for_the_interval_goes_along_with_what_got_worse() -> None:
    site = Site(group=replace(WAITING, by=("registrar",)))
    one, two, _ = phones(site)
    site.at(100, one, UNREGISTERED)
    site.at(150, two, UNREGISTERED)
    site.until(280)  # told of one at 230; of two at 530 at the earliest
    rules = {"ExtensionUnregistered": RuleSettings(severity=Severity.CRITICAL)}
    site.alarms.replace(build(rules), (), site.group, ("oncall",), 300)
    site.until(500)
    assert site.told()[1:] == [
        "firing 1002 ExtensionUnregistered",
        "worse 1001 ExtensionUnregistered",
    ]
    assert site.times()[1:] == [310, 310]


@pytest.mark.parametrize("field", ["severity", "rule", "registrar", "site", "kind"])
def test_groups_may_be_by_any_field(field: str) -> None:
    site = Site(group=GroupSettings(by=(field,), wait=5.0, interval=0.0, repeat={}))
    for phone in phones(site):
        site.at(100, phone, UNREGISTERED)
    site.until(300)
    assert site.told() == ["firing 1001 1002 1003 ExtensionUnregistered"]


def test_a_recurrence_that_could_not_be_told_is_told_as_over() -> None:
    site = Site()
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.at(300, phone, REGISTERED)
    site.until(400)
    site.answers = down_until(5000)
    site.at(500, phone, UNREGISTERED)
    site.at(1500, phone, REGISTERED)
    site.until(7000)
    assert site.told() == [
        "firing 1001 ExtensionUnregistered",
        "resolved 1001 ExtensionUnregistered",
        "late resolved 1001 ExtensionUnregistered",
    ]
    assert len({mail.batch.thread for mail in site.mails["oncall"]}) == 1


def test_back_while_the_resolve_is_under_way_is_told_as_firing_again() -> None:
    site = Site()
    (phone,) = phones(site, 1)
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    under_way = []
    site.send = lambda name, batch: under_way.append(batch)  # type: ignore[method-assign]
    alarms = site.alarms
    alarms.observe(Observation(phone, REGISTERED, 300, 300))
    alarms.advance(360)
    resolving = alarms.due("oncall", 360)
    alarms.observe(Observation(site.hq, State.READABLE, 10, 550))
    alarms.observe(Observation(phone, UNREGISTERED, 400, 560))
    alarms.advance(560)
    assert resolving is not None
    assert alarms.due("oncall", 560) == resolving  # still the one in doubt
    alarms.settle(resolving, ACCEPTED, 561)
    again = alarms.due("oncall", 561)
    assert again is not None
    assert (again.change, again.late) == (Told.FIRING, False)
    assert again.thread == resolving.thread
