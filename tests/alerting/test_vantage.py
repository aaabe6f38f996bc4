"""While this machine is cut off nobody else is down; nor what depends on what is."""

from __future__ import annotations

import pytest

from alerting.alarms.ancestors import ANSWER_WITHIN, ASK_AGAIN
from alerting.alarms.doubts import FAIR_LOOK, SETTLED
from alerting.announcement import Ask, Opened, Transition
from alerting.incident import Outcome
from alerting.routes import GroupSettings, repeats
from checks.observation import Figures, Kind, Observation, Scope, State, Subject

from .branches import DOWN, LOOKS, UNREGISTERED, UP, Branches
from .calm import Memory
from .test_masses import MASS
from .timeline import Site

REGISTERED = State.REGISTERED
CUT, OVER = "firing network VantageLost", "resolved network VantageLost"
GONE = "ExtensionUnregistered"


def watched(**more) -> Branches:
    return Branches(watched=True, **more).begin()


def history(site: Site, since: float) -> list[str]:
    """What is told as having become bad since then, of others than ourselves."""
    return [
        f"{a.subject.name} {a.new}"
        for a in site.of(Transition)
        if a.since >= since and a.new in (DOWN, State.UNREADABLE, UNREGISTERED)
        if a.subject.kind is not Kind.VANTAGE
    ]


def trunk_fails(
    site: Branches, trunk: Subject, begin: float, end: float, since: float = 0.0
) -> None:
    """It is asked every 15 s and does not answer."""
    at, n = begin, 0
    while at <= end:
        n += 1
        site.failing(at, trunk, since=since or begin, failures=n)
        at += 15


# --- cut off --------------------------------------------------------------------------


def test_one_incident_says_that_we_are_cut_off_and_nothing_else() -> None:
    site = watched()
    site.crowd("lyon", 20)
    trunk = site.trunk("twilio")
    site.cut(100)
    trunk_fails(site, trunk, 100.5, 101, since=100.5)
    site.found()
    site.unreadable(103)
    trunk_fails(site, trunk, 115, 700, since=100.5)
    site.tells(0, 129)
    (mail,) = site.tells(129, 4000, CUT)
    assert mail.at == 130
    (incident,) = site.alarms.incidents
    assert (incident.since, incident.subject.kind) == (100, Kind.VANTAGE)


def test_children_that_notice_before_us_are_held_until_we_know() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.cut(100, found=60)
    trunk_fails(site, trunk, 100.5, 160, since=100.5)
    site.unreadable(105)
    site.found()
    site.tells(0, 4000, CUT)
    assert history(site, 100) == []


def test_of_the_time_when_we_were_blind_nothing_is_history() -> None:
    site = watched()
    lyon = site.crowd("lyon", 20)
    trunk = site.trunk("twilio")
    site.cut(100)
    site.found()
    site.unreadable(103)
    trunk_fails(site, trunk, 110, 300)
    site.connect(600)
    site.readable(601)
    site.up(602, trunk, since=602, successes=1)
    site.up(617, trunk, since=602, successes=2)
    site.tells(131, 4000, OVER)
    assert history(site, 0) == []
    assert {site.alarms.effective(s) for s in (*lyon, trunk)} == {REGISTERED, UP}


def test_while_we_are_blind_no_state_is_known() -> None:
    site = watched()
    (phone,) = site.crowd("lyon", 1)
    trunk = site.trunk("twilio")
    site.cut(100)
    site.found()
    assert site.alarms.effective(phone) is None
    assert site.alarms.effective(trunk) is None
    assert site.alarms.blind(phone).kind is Kind.VANTAGE
    site.connect(200)
    assert site.alarms.effective(trunk) is UP


def test_what_was_lost_meanwhile_is_told_two_minutes_after_it_can_be_seen() -> None:
    site = watched()
    lyon = site.crowd("lyon", 20)
    site.cut(100)
    site.found()
    site.unreadable(103)
    site.connect(600)
    site.readable(601)
    site.at(602, lyon[0], UNREGISTERED, since=300)
    site.until(4000)
    assert site.told() == [CUT, OVER, f"firing {lyon[0].name} {GONE}"]
    assert site.times()[2] == 601 + 120  # two minutes since it can be seen


def test_what_fails_only_as_an_echo_of_the_cut_is_never_told() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.cut(100)
    site.found()
    trunk_fails(site, trunk, 110, 600)
    site.connect(605)
    site.failing(606, trunk, since=110, failures=40)  # asked before we were back
    site.up(640, trunk, since=640, successes=2)
    site.until(4000)
    assert site.told() == [CUT, OVER]
    assert history(site, 0) == []


def test_what_still_fails_when_we_are_back_is_told() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.cut(100)
    site.found()
    trunk_fails(site, trunk, 110, 600)
    site.connect(605)
    trunk_fails(site, trunk, 605 + SETTLED, 900, since=110)
    assert site.told() == [CUT, OVER, "firing twilio OptionsFailing"]
    assert site.times()[2] == pytest.approx(605 + 60, abs=1)


def test_what_nobody_looks_at_again_is_believed_after_a_fair_time() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.cut(100)
    site.found()
    trunk_fails(site, trunk, 110, 600)
    site.connect(605)
    site.until(605 + FAIR_LOOK - 1)
    assert history(site, 0) == []
    site.until(4000)
    assert history(site, 0) == ["twilio down"]
    assert site.told()[2:] == ["firing twilio OptionsFailing"]


def test_a_short_cut_is_told_to_nobody() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.cut(100)
    trunk_fails(site, trunk, 100.5, 101, since=100.5)
    site.found()
    site.unreadable(105)
    site.connect(120)
    site.readable(121)
    site.up(122, trunk, since=122, successes=1)
    site.tells(0, 4000)
    assert history(site, 0) == []


def test_a_link_of_ours_that_flaps_invents_nothing_of_others() -> None:
    site = watched()
    lyon = site.crowd("lyon", 20)
    for n in range(10):
        site.cut(100 + 60 * n)
        site.found()
        site.unreadable(104 + 60 * n)
        site.connect(130 + 60 * n)
        site.readable(131 + 60 * n)
    site.until(4 * 3600)
    assert history(site, 0) == []
    assert all("network" in text for text in site.told())
    assert {site.alarms.effective(phone) for phone in lyon} == {REGISTERED}


def test_what_was_told_before_the_cut_is_told_as_over_after_it() -> None:
    site = watched()
    (phone,) = site.crowd("lyon", 1)
    site.lose(100, [phone])
    site.tells(0, 300, f"firing {phone.name} {GONE}")
    site.cut(300)
    site.found()
    site.unreadable(303)
    site.tells(300, 900, CUT)
    site.connect(900)
    site.readable(901)
    site.back(902, [phone])
    site.until(4000)
    assert site.told()[2:] == [OVER, f"resolved {phone.name} {GONE}"]


def test_what_was_lost_before_a_second_cut_is_not_forgotten_by_it() -> None:
    site = watched()
    (phone,) = site.crowd("lyon", 1)
    site.cut(100)
    site.found()
    site.unreadable(103)
    site.connect(600)
    site.readable(601)
    site.at(602, phone, UNREGISTERED, since=300)  # told once, and held
    site.cut(640)
    site.found()
    site.unreadable(643)
    site.until(1200)
    assert phone.name not in " ".join(site.told())
    site.connect(1200)
    site.readable(1201)
    site.until(6000)
    assert site.told()[-1] == f"firing {phone.name} {GONE}"
    assert site.alarms.effective(phone) is UNREGISTERED


def test_a_branch_that_was_lost_while_we_were_blind_is_one_incident_then() -> None:
    site = watched()
    site.crowd("paris", 160)
    lyon = site.crowd("lyon", 40)
    site.cut(100)
    site.found()
    site.unreadable(103)
    site.connect(600)
    site.readable(601)
    for phone in lyon[:31]:
        site.at(602, phone, UNREGISTERED, since=300)
    site.until(4000)
    assert site.told() == [CUT, OVER, f"firing lyon {MASS}"]


def test_a_branch_that_was_lost_before_stays_one_incident() -> None:
    site = watched()
    site.crowd("paris", 160)
    lyon = site.crowd("lyon", 40)
    site.lose(100, lyon[:31])
    site.tells(0, 200, f"firing lyon {MASS}")
    site.cut(200)
    site.found()
    site.unreadable(203)
    site.connect(900)
    site.readable(901)
    site.back(905, lyon[:31])
    site.until(4000)
    assert site.told() == [
        f"firing lyon {MASS}",
        CUT,
        OVER,
        f"resolved lyon {MASS}",
    ]


def test_mails_that_could_not_leave_are_told_late_and_once() -> None:
    site = watched(group=GroupSettings(wait=0.0, interval=0.0, repeat=repeats({})))
    cut = [False]
    site.answers = lambda name, now: Outcome.TRANSIENT if cut[0] else Outcome.ACCEPTED
    site.cut(100)
    site.found()
    cut[0] = True
    site.until(4000)
    assert site.told() == []
    cut[0] = False
    site.connect(4000)
    site.until(9000)
    # The one that was in doubt for an hour, or its end, and no failing notifier.
    assert site.told() in ([CUT, OVER], ["late " + OVER])
    assert history(site, 0) == []


def test_a_restart_while_we_are_blind_invents_nothing() -> None:
    disk = Memory()
    site = watched(on_write=disk.write)
    trunk = site.trunk("twilio")
    phone = site.phone("3000")
    site.at(site.now, phone, REGISTERED)
    site.cut(100)
    site.found()
    trunk_fails(site, trunk, 110, 300)
    site.until(400)
    again = Branches(watched=True, now=400, restored=disk.load(), on_write=disk.write)
    again.well_since = None
    trunk = Subject(
        Kind.TARGET, "twilio", Scope("twilio", role="trunk", parent=again.vantage)
    )
    phone = again.phone("3000")
    again.alarms.adopt(trunk)
    again.alarms.adopt(again.hq)
    again.alarms.adopt(phone)
    again._observe(Observation(again.vantage, DOWN, 401, 402))
    again.unreadable(403)
    trunk_fails(again, trunk, 404, 700)
    assert (site.told(), again.told()) == ([CUT], [])
    assert history(again, 0) == []
    again.connect(800)
    again.readable(801)
    again.up(812, trunk, since=812, successes=2)
    again.until(4000)
    assert again.told() == [OVER]


def test_at_the_very_start_nothing_is_down_before_we_are_seen_well() -> None:
    site = Branches(watched=True)
    trunk = Subject(
        Kind.TARGET, "twilio", Scope("twilio", role="trunk", parent=site.vantage)
    )
    trunk_fails(site, trunk, 10, 200)
    assert site.told() == []
    site.connect(200)
    trunk_fails(site, trunk, 215, 600, since=10)
    assert site.told() == ["firing twilio OptionsFailing"]


def test_unwatched_it_stands_in_nobodys_way() -> None:
    site = Branches()  # nobody asks the landmarks
    trunk = site.trunk("twilio")
    trunk_fails(site, trunk, 100, 300)
    assert site.told() == ["firing twilio OptionsFailing"]


def test_that_it_is_watched_no_more_lets_go_of_what_it_hid() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.cut(100)
    site.found()
    trunk_fails(site, trunk, 110, 300)
    site.alarms.unwatch(site.vantage, site.now)  # as a reload does
    site.until(400)
    assert sorted(site.told()) == [
        "firing network VantageLost",
        "firing twilio OptionsFailing",
        "resolved network VantageLost",
    ]


# --- doubts: who is asked now ---------------------------------------------------------


def asked(site: Site) -> list[str]:
    return [f"{a.subject.name} {a.at:.0f}" for a in site.of(Ask)]


def test_a_pbx_that_was_not_seen_since_is_asked_and_its_good_answer_opens() -> None:
    site = Site(reads_every=600.0)
    phone = site.extension("1001")
    site.readable(1)
    site.at(1, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(230)
    assert asked(site) == ["hq 220"]
    assert site.told() == [f"firing 1001 {GONE}"]
    assert site.times()[0] == pytest.approx(220, abs=0.1)


def test_a_bad_answer_suppresses_with_the_reason() -> None:
    site = Site(reads_every=600.0)
    site.answers_asks = False
    phone = site.extension("1001")
    site.readable(1)
    site.at(1, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.unreadable(222)
    site.until(300)
    assert site.told() == []
    assert site.suppressed == ["1001: hq is unreadable"]


def test_a_missing_answer_suppresses_and_is_asked_for_again() -> None:
    site = Site(reads_every=10_000.0)
    site.answers_asks = False
    phone = site.extension("1001")
    site.readable(1)
    site.at(1, phone, REGISTERED)
    site.at(100, phone, UNREGISTERED)
    site.until(220 + 3 * ASK_AGAIN + 1)
    assert asked(site) == ["hq 220", "hq 280", "hq 340", "hq 400"]
    assert site.told() == []
    assert site.suppressed == ["1001: hq was asked and not seen well since"]
    suppressed = [a.at for a in site.announced if hasattr(a, "reason")]
    assert suppressed == [220 + ANSWER_WITHIN]
    site.until(500)
    site._read(500)
    assert site.told() == [f"firing 1001 {GONE}"]


def test_what_is_doubted_asks_our_own_network_at_once() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    site.failing(100.5, trunk, since=100.5, failures=1)
    assert [a.subject.name for a in site.of(Ask)] == ["network"]
    site.until(100.5 + LOOKS)
    assert history(site, 0) == ["twilio down"]


def test_news_that_is_taken_back_while_it_is_doubted_never_was() -> None:
    site = watched()
    site.answers_asks = False
    phone = site.phone("3000")
    site.at(50, phone, REGISTERED)
    site.cut(100)
    site.at(101, phone, UNREGISTERED)
    site.at(101.5, phone, REGISTERED, since=50)  # a list that was half, a failover
    site.connect(110)
    site.until(4000)
    assert history(site, 0) == []
    assert site.alarms.effective(phone) is REGISTERED
    assert site.opened == []


# --- what depends on what -------------------------------------------------------------


def gateway_and(site: Branches, *names: str) -> list[Subject]:
    gateway = site.trunk("gateway")
    found = [gateway]
    for name in names:
        scope = Scope(name, role="trunk", depends_on=(found[-1],))
        one = Subject(Kind.TARGET, name, scope)
        site.up(site.now, one, since=site.now, successes=1)
        found.append(one)
    return found


def fail_all(site: Branches, several: list[Subject], begin: float, end: float) -> None:
    at, n = begin, 0
    while at <= end:
        n += 1
        for target in several:
            site.failing(at, target, since=begin, failures=n)
        at += 15


def recover(site: Branches, several: list[Subject], at: float) -> None:
    for n in range(3):
        for target in several:
            site.up(at + 15 * n, target, since=at, successes=n + 1)


@pytest.mark.parametrize("order", [1, -1])
def test_what_depends_on_a_gateway_is_not_told_while_that_is_down(order: int) -> None:
    site = Branches().begin()
    several = gateway_and(site, "trunk")
    fail_all(site, several[::order], 100, 1000)
    recover(site, several, 1015)
    site.until(4000)
    assert site.told() == [
        "firing gateway OptionsFailing",
        "resolved gateway OptionsFailing",
    ]


def test_through_several_steps_only_the_first_is_told() -> None:
    site = Branches().begin()
    several = gateway_and(site, "trunk", "carrier")
    fail_all(site, several[::-1], 100, 1000)
    assert site.told() == ["firing gateway OptionsFailing"]
    blind = site.alarms.blind(several[2])
    assert blind is several[1]


def test_what_stays_down_when_its_gateway_is_back_is_told_then() -> None:
    site = Branches().begin()
    gateway, trunk = gateway_and(site, "trunk")
    fail_all(site, [gateway, trunk], 100, 400)
    at = 415.0
    for n in range(12):
        site.up(at + 15 * n, gateway, since=at, successes=n + 1)
        site.failing(at + 15 * n, trunk, since=100, failures=22 + n)
    (last,) = [m for m in site.mails["oncall"] if "trunk" in m.text]
    assert last.at == pytest.approx(415 + 60, abs=1)


def test_a_trunk_alone_is_told_although_it_depends_on_something() -> None:
    site = Branches().begin()
    gateway, trunk = gateway_and(site, "trunk")
    at = 100.0
    for n in range(10):
        site.up(at + 15 * n, gateway, since=0, successes=n + 5)
        site.failing(at + 15 * n, trunk, since=at, failures=n + 1)
    assert site.told() == ["firing trunk OptionsFailing"]


def test_a_circle_hides_nobody_for_ever() -> None:
    """The configuration refuses one; were there one, it would end where it began."""
    site = Branches().begin()
    gateway, trunk = gateway_and(site, "trunk")
    gateway.scope.depends_on = (trunk,)
    at = 100.0
    for n in range(10):
        site.up(at + 15 * n, gateway, since=0, successes=n + 5)
        site.failing(at + 15 * n, trunk, since=at, failures=n + 1)
    assert site.told() == ["firing trunk OptionsFailing"]


def test_a_reload_that_makes_it_depend_on_nothing_tells_it() -> None:
    site = Branches().begin()
    gateway, trunk = gateway_and(site, "trunk")
    fail_all(site, [gateway, trunk], 100, 400)
    assert site.told() == ["firing gateway OptionsFailing"]
    trunk.scope.depends_on = ()
    site.alarms.relink()
    site.alarms.moved(trunk)
    site.until(500)
    assert "firing trunk OptionsFailing" in site.told()


def test_phones_of_a_site_that_is_behind_a_router_wait_for_it() -> None:
    site = Branches().begin()
    router = site.trunk("router")
    site.sites["lyon"].scope.depends_on = (router,)
    site.alarms.relink()
    lyon = site.crowd("lyon", 4)
    at = 100.0
    for n in range(20):
        site.failing(at + 15 * n, router, since=at, failures=n + 1)
        if n == 2:
            site.lose(at + 31, lyon)
    assert site.told() == ["firing router OptionsFailing"]
    assert {a.incident.subject.name for a in site.of(Opened)} == {"router"}


def test_figures_of_a_target_that_is_up_open_nothing_while_we_are_blind() -> None:
    site = watched()
    trunk = site.trunk("twilio")
    slow = Figures(successes=5, rtt_mean=0.9)
    site.at(60, trunk, UP, since=0, figures=slow)
    site.cut(100)
    site.found()
    site.until(1000)
    assert site.told() == [CUT]
