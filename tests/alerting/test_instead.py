"""Critical to the pager, warning to the team: who would be told of what is covered.

A lost branch is critical, each of its phones a warning: whoever is told of warnings
alone hears of the branch instead of its phones, once, when the first of them is due.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alerting.incident import Incident, Outcome
from alerting.muting.muting import Muting
from alerting.routes import GroupSettings, RouteSettings, repeats
from alerting.rules.rule import RuleSettings, build

from .branches import Branches
from .calm import HOUR, Memory, moment, route, schedule
from .test_masses import MASS
from .test_together import GONE, changes, silence

PAGER = route("pager", match={"severity": "critical"})
TEAM = route("team", match={"severity": "warning"})
WHOLE, OVER = f"firing lyon {MASS}", f"resolved lyon {MASS}"
EACH = GroupSettings(by=("extension",), wait=0.0, interval=0.0, repeat={})


def split(
    *routes: RouteSettings, number: int = 40, names: Sequence[str] = (), **more
) -> tuple[Branches, list]:
    """Lyon, by these routes; each phone would have a mail of its own."""
    found = dict.fromkeys(("pager", "team", *names))
    more = {"group": EACH, "notifiers": tuple(found)} | more
    site = Branches(routes=routes or (PAGER, TEAM), **more).begin()
    site.crowd("paris", 160)
    return site, site.crowd("lyon", number)


def whole_of(site: Branches) -> Incident:
    (whole,) = [i for i in site.alarms.incidents if i.rule == MASS]
    return whole


def test_five_hundred_phones_are_one_message_to_each() -> None:
    site, lyon = split(number=500)
    site.lose(100, lyon)
    site.until(2 * HOUR)
    assert (site.told("pager"), site.times("pager")) == ([WHOLE], [130])
    assert (site.told("team"), site.times("team")) == ([WHOLE], [220])
    assert site.opened == [f"lyon {MASS}"]
    site.back(2 * HOUR, lyon, every=1)
    site.until(4 * HOUR)
    assert site.told("pager") == site.told("team") == [WHOLE, OVER]
    assert site.alarms.incidents == []


def test_ten_minutes_between_two_losses_are_one_message_as_well() -> None:
    site, lyon = split(number=20)
    site.lose(100, lyon[:5], expires=3600)
    site.lose(700, lyon[5:], every=600, expires=3600)
    site.until(4 * HOUR)
    assert site.told("team") == [WHOLE]


def test_back_before_any_phone_is_due_the_team_hears_nothing() -> None:
    site, lyon = split()
    site.lose(100, lyon[:31])
    site.back(200, lyon)
    site.until(HOUR)
    assert (site.told("pager"), site.told("team")) == ([WHOLE, OVER], [])


def test_phones_that_are_due_before_the_whole_wait_for_it() -> None:
    late = {MASS: RuleSettings(for_=300.0)}
    site, lyon = split(rules=late)
    site.lose(100, lyon[:31])
    site.until(HOUR)
    assert (site.told("team"), site.times("team")) == ([WHOLE], [400])
    assert site.told("pager") == [WHOLE]


def test_a_whole_that_never_opens_leaves_the_phones_to_the_team() -> None:
    late = {MASS: RuleSettings(for_=300.0)}
    site, lyon = split(rules=late)
    site.lose(100, lyon[:9])
    site.back(300, lyon[:6])
    site.until(HOUR)
    left = [f"firing {phone.name} {GONE}" for phone in lyon[6:9]]
    assert (site.told("pager"), sorted(site.told("team"))) == ([], left)


def test_told_before_the_whole_begins_a_phone_stays_told_and_ends() -> None:
    site, lyon = split()
    site.lose(100, lyon[:1], expires=3600)
    site.until(300)
    site.lose(300, lyon[1:31], expires=3600)
    site.until(HOUR)
    assert site.told("team") == [f"firing 3000 {GONE}", WHOLE]
    site.back(HOUR, lyon)
    site.until(2 * HOUR)
    assert sorted(site.told("team")[2:]) == [f"resolved 3000 {GONE}", OVER]
    assert site.told("pager") == [WHOLE, OVER]


def test_open_and_not_told_yet_a_phone_is_told_with_the_whole() -> None:
    slow = GroupSettings(by=("extension",), wait=300.0, interval=0.0, repeat={})
    site, lyon = split(group=slow)
    site.lose(100, lyon[:1], expires=3600)
    site.lose(250, lyon[1:31], expires=3600)
    site.until(HOUR)
    assert site.told("team") == [WHOLE]
    site.back(HOUR, lyon)
    site.until(2 * HOUR)
    assert site.told("team") == [WHOLE, OVER]
    assert site.alarms.owed() == []


def test_who_is_still_missing_at_the_end_is_told_to_the_team_alone() -> None:
    site, lyon = split()
    site.lose(100, lyon[:31])
    site.back(600, lyon[:29])
    site.until(HOUR)
    assert site.told("pager") == [WHOLE, OVER]
    left = [f"firing {phone.name} {GONE}" for phone in lyon[29:31]]
    assert site.told("team")[:2] == [WHOLE, OVER]
    assert sorted(site.told("team")[2:]) == left
    assert min(site.times("team")[2:]) == 720


def test_as_it_comes_again_the_team_is_told_again_and_of_its_end() -> None:
    site, lyon = split()
    for n in range(2):
        site.lose(100 + 400 * n, lyon[:31])
        site.back(400 + 400 * n, lyon[:31])
    site.until(HOUR)
    assert site.told("team") == site.told("pager") == [WHOLE, OVER] * 2


# --- its hours, silences, limits, ladder ----------------------------------------------

OFFICE = {"office": schedule({"mon-fri": "08:30-18:00"})}
NIGHT = moment("2026-03-02 22:00")


def at_night(**more) -> tuple[Branches, list]:
    day = route("team", match={"severity": "warning"}, during="office")
    return split(PAGER, day, now=NIGHT, muting=Muting(OFFICE), **more)


def test_out_of_its_hours_the_team_is_told_in_the_morning() -> None:
    site, lyon = at_night()
    site.lose(NIGHT + 100, lyon[:31])
    site.until(NIGHT + 14 * HOUR)
    assert site.times("pager") == [NIGHT + 130]
    assert (site.told("team"), site.times("team")) == ([WHOLE], [NIGHT + 10.5 * HOUR])


def test_come_and_gone_out_of_its_hours_the_team_hears_nothing() -> None:
    site, lyon = at_night()
    site.lose(NIGHT + 100, lyon[:31])
    site.back(NIGHT + HOUR, lyon)
    site.until(NIGHT + 20 * HOUR)
    assert (site.told("pager"), site.told("team")) == ([WHOLE, OVER], [])
    assert site.alarms.owed() == []


def test_told_in_its_hours_the_end_is_told_out_of_them() -> None:
    site, lyon = at_night()
    site.lose(NIGHT + 11 * HOUR, lyon[:31])
    site.back(NIGHT + 23 * HOUR, lyon)
    site.until(NIGHT + 24 * HOUR)
    assert site.told("team") == [WHOLE, OVER]


def test_one_open_way_is_enough() -> None:
    vip = route("team", match={"extension": "3005"})
    day = route("team", match={"severity": "warning"}, during="office")
    site, lyon = split(PAGER, day, vip, now=NIGHT, muting=Muting(OFFICE))
    site.lose(NIGHT + 100, lyon[:31])
    site.until(NIGHT + HOUR)
    assert (site.told("team"), site.times("team")) == ([WHOLE], [NIGHT + 220])


def test_after_a_restart_at_night_the_team_still_waits_for_its_hours() -> None:
    disk = Memory()
    site, lyon = at_night(on_write=disk.write)
    site.lose(NIGHT + 100, lyon[:31])
    site.until(NIGHT + HOUR)
    site.until(NIGHT + HOUR + 1)
    day = route("team", match={"severity": "warning"}, during="office")
    again = resumed(site, disk, lyon, (PAGER, day), muting=Muting(OFFICE))
    again.until(NIGHT + 14 * HOUR)
    assert (again.told("pager"), again.told("team")) == ([], [WHOLE])
    assert again.times("team") == [NIGHT + 10.5 * HOUR]


def test_a_silence_on_their_phones_keeps_it_from_the_team_alone() -> None:
    site, lyon = split()
    silence(site, "rule=ExtensionUnregistered", until=3000)
    site.lose(100, lyon[:31])
    site.until(2999)
    assert (site.told("pager"), site.told("team")) == ([WHOLE], [])
    site.until(HOUR)
    assert (site.told("team"), site.times("team")) == ([WHOLE], [3000])


def test_a_silence_on_some_of_their_phones_does_not() -> None:
    site, lyon = split()
    silence(site, "extension=~300*", until=3000)
    site.lose(100, lyon[:31])
    site.until(2000)
    assert (site.told("team"), site.times("team")) == ([WHOLE], [220])


def test_a_silence_on_the_branch_holds_it_back_from_both() -> None:
    site, lyon = split()
    silence(site, "site=lyon", until=3000)
    site.lose(100, lyon[:31])
    site.until(2999)
    assert (site.told("pager"), site.told("team")) == ([], [])
    site.until(HOUR)
    assert (site.told("pager"), site.told("team")) == ([WHOLE], [WHOLE])


def test_its_route_has_no_more_room_than_before() -> None:
    few = route("team", match={"severity": "warning"}, per_hour=2)
    site, lyon = split(PAGER, few)
    site.lose(100, lyon[:2], every=1, expires=3600)
    site.until(400)
    site.lose(400, lyon[2:31], expires=3600)
    site.until(2 * HOUR)
    assert len(site.told("team")[:2]) == 2
    assert site.told("team")[2:] == [WHOLE]
    assert site.times("team")[2] == site.times("team")[0] + HOUR


def test_its_ladder_is_not_climbed_and_that_of_the_whole_is_once() -> None:
    site, lyon = split(
        route("pager", match={"severity": "critical"}, escalate=[(600.0, "boss")]),
        route("team", match={"severity": "warning"}, escalate=[(600.0, "chief")]),
        names=("boss", "chief"),
    )
    site.lose(100, lyon[:31])
    site.until(3 * HOUR)
    assert (site.told("boss"), site.times("boss")) == ([WHOLE], [730])
    assert (site.told("team"), site.told("chief")) == ([WHOLE], [])


def test_it_is_repeated_as_often_as_its_route_allows() -> None:
    often = GroupSettings(
        by=("extension",), wait=0.0, interval=0.0, repeat=repeats({"critical": "1h"})
    )
    once = route("team", match={"severity": "warning"}, repeats=1)
    site, lyon = split(PAGER, once, group=often)
    site.lose(100, lyon[:31])
    site.until(5 * HOUR)
    assert (len(site.told("pager")), len(site.told("team"))) == (5, 2)


def test_acknowledged_by_the_pager_the_team_is_told_once_and_not_again() -> None:
    often = GroupSettings(
        by=("extension",), wait=0.0, interval=0.0, repeat=repeats({"critical": "1h"})
    )
    site, lyon = split(group=often)
    site.lose(100, lyon[:31])
    site.until(200)
    site.alarms.acknowledge(whole_of(site).id, "Sam", site.now)
    site.until(5 * HOUR)
    assert (site.told("pager"), site.told("team")) == ([WHOLE], [WHOLE])


# --- mails that fail, restarts, reloads -----------------------------------------------


def test_a_team_whose_mails_fail_is_told_of_the_outage_late() -> None:
    site, lyon = split()
    site.answers = lambda name, now: (
        Outcome.TRANSIENT if name == "team" and now < 4000 else Outcome.ACCEPTED
    )
    site.lose(100, lyon[:31])
    site.back(2000, lyon)
    site.until(2 * HOUR)
    told = [text for text in site.told("team") if "lyon" in text or GONE in text]
    assert told == [f"late resolved lyon {MASS}"]


def resumed(
    site: Branches, disk: Memory, lyon: Sequence, routes: Sequence, **more
) -> Branches:
    again = Branches(
        now=site.now + 60, restored=disk.load(), on_write=disk.write, group=EACH,
        routes=routes, notifiers=site.notifiers, **more,
    )  # fmt: skip
    again.alarms.adopt(again.hq)
    for phone in lyon:
        again.alarms.adopt(again.phone(phone.name))
    for n in range(160):
        again.alarms.adopt(again.phone(str(1000 + n), "paris"))
    again.readable(again.now + 5)
    return again


@pytest.mark.parametrize("at", [110, 150, 215, 225, 1000])
def test_a_restart_at_any_time_tells_each_once(at: float) -> None:
    disk = Memory()
    site, lyon = split(on_write=disk.write)
    site.lose(100, lyon[:31])
    site.until(at)
    again = resumed(site, disk, lyon, (PAGER, TEAM))
    again.until(2 * HOUR)
    phones = [s for s in again.alarms._watched if s.name in {p.name for p in lyon}]
    again.back(2 * HOUR, phones)
    again.until(3 * HOUR)
    for name in ("pager", "team"):
        assert site.told(name) + again.told(name) == [WHOLE, OVER], name
    assert again.alarms.incidents == []


def test_a_restart_keeps_who_is_told_instead_from_counting_as_a_stand_in() -> None:
    disk = Memory()
    site, lyon = split(on_write=disk.write)
    site.answers = lambda name, now: (
        Outcome.ACCEPTED if name == "pager" else Outcome.TRANSIENT
    )
    site.lose(100, lyon[:31])
    site.until(500)
    again = resumed(site, disk, lyon, (PAGER, TEAM))
    assert whole_of(again).instead == ("team",)
    again.until(2 * HOUR)
    assert WHOLE in again.told("team")


def replace(site: Branches, *routes: RouteSettings, rules=None) -> None:
    names = site.notifiers
    site.alarms.replace(build(rules or {}), routes, site.group, names, site.now)
    site.until(site.now)


def test_who_comes_into_the_routes_is_told_of_the_whole() -> None:
    site, lyon = split(PAGER)
    site.lose(100, lyon[:31])
    site.until(1000)
    assert site.told("team") == []
    replace(site, PAGER, TEAM)
    site.until(2000)
    assert (site.told("team"), site.times("team")) == ([WHOLE], [1000])


def test_who_goes_from_the_routes_is_told_its_end() -> None:
    site, lyon = split()
    site.lose(100, lyon[:31])
    site.until(1000)
    replace(site, PAGER)
    site.back(2000, lyon)
    site.until(HOUR)
    assert site.told("team") == [WHOLE, OVER]


def test_switched_off_meanwhile_the_team_is_told_of_each_phone() -> None:
    site, lyon = split()
    site.lose(100, lyon[:8])
    site.until(1000)
    replace(site, PAGER, TEAM, rules={MASS: RuleSettings(enabled=False)})
    site.until(HOUR)
    assert site.told("pager") == [WHOLE, OVER]
    assert site.told("team")[:2] == [WHOLE, OVER]
    assert len(site.told("team")) == 2 + 8


# --- wholes of wholes -----------------------------------------------------------------


def test_who_hears_of_the_pbx_alone_is_told_of_its_branch_instead() -> None:
    site, lyon = split(
        route("pager", match={"severity": "critical"}),
        route("team", match={"severity": "critical", "registrar": "hq"}),
    )
    site.lose(100, lyon)  # 20 % of hq as well
    site.until(HOUR)
    assert site.told("pager") == site.told("team") == [WHOLE]


def test_who_hears_of_a_branch_alone_is_told_of_its_pbx_instead() -> None:
    site = Branches(
        routes=(
            route("pager", match={"severity": "critical", "registrar": "hq"}),
            route("team", match={"severity": "critical", "site": "lyon"}),
        ),
        group=EACH,
        notifiers=("pager", "team"),
    ).begin()
    crowds = [site.crowd(name, 20) for name in site.names]
    site.lose(100, [phone for crowd in crowds for phone in crowd])
    site.until(HOUR)
    assert site.told("pager") == site.told("team") == [f"firing hq {MASS}"]


# --- what is seen through something that is lost --------------------------------------


def test_a_pbx_that_cannot_be_read_is_told_and_none_of_its_phones() -> None:
    site, lyon = split()
    site.unreadable(100)
    site.until(900)
    assert site.told("team") == ["firing hq RegistrarUnreadable"]
    assert site.told("pager") == []  # 15 min are not over
    site.until(HOUR)
    assert site.told("pager") == ["firing hq RegistrarUnreadable"]
    assert site.told("team")[1:] == ["worse hq RegistrarUnreadable"]
    site.readable(HOUR)
    site.lose(HOUR + 1, lyon)
    site.until(2 * HOUR)
    assert site.told("pager")[1:] == ["resolved hq RegistrarUnreadable", WHOLE]
    assert site.told("team")[-1] == WHOLE
    assert GONE not in " ".join(site.told("team"))


def test_lost_and_then_hidden_the_phones_are_told_as_the_whole_later() -> None:
    site, lyon = split()
    site.lose(100, lyon[:31])
    site.unreadable(110)
    site.until(HOUR)
    assert GONE not in " ".join(site.told("team"))
    assert f"lyon {MASS}" not in site.opened
    site.readable(HOUR)
    site.until(2 * HOUR)
    assert site.told("team").count(WHOLE) == site.told("pager").count(WHOLE) == 1
    assert GONE not in " ".join(site.told("team"))


def test_cut_off_somebody_is_told_that_we_are_and_nobody_of_phones() -> None:
    site, lyon = split(watched=True)
    trunk = site.trunk("twilio", "lyon")
    site.cut(100)
    site.found()
    site.failing(110, trunk, since=105, failures=1)
    site.lose(120, lyon[:31])
    site.until(1000)
    told = {*site.told("pager"), *site.told("team")}
    assert told == {"firing network VantageLost"}
    assert site.alarms.effective(lyon[0]) is None


def test_who_hears_of_an_outage_by_no_severity_is_left_out() -> None:
    """The pager alone is told that the network is lost; the team's phones are not."""
    site, lyon = split(
        route("pager", match={"kind": ["vantage", "registrar", "site"]}),
        route("team", match={"kind": "extension"}),
    )
    site.unreadable(100)
    site.lose(110, lyon)
    site.until(HOUR)
    assert [c[:2] for c in changes(site, "pager")] == [
        ("firing", "RegistrarUnreadable"),
        ("worse", "RegistrarUnreadable"),
    ]
    assert site.told("team") == []
    site.readable(HOUR)
    site.until(2 * HOUR)
    assert site.told("team") == [WHOLE]
    assert [c[:2] for c in changes(site, "pager")][-1] == ("firing", MASS)
