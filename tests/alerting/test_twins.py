"""A PBX and the target that it answers at are one machine: its outage is told once."""

from __future__ import annotations

from alerting.incident import Severity
from alerting.rules.rule import RuleSettings
from checks.observation import Figures, Observation, State, Subject

from .calm import Memory, route
from .timeline import Site

HUNG = "firing hq RegistrarUnreadable"
MINUTE = 60.0


def paired(**more: object) -> tuple[Site, Subject]:
    """A PBX that is well by both ways."""
    site = Site(**more)  # type: ignore[arg-type]
    pbx = site.target("pbx", role="pbx")
    site.alarms.pair([(pbx, site.hq)])
    site.readable(1)
    site.up(1, pbx, since=1, successes=1)
    return site, pbx


def silent(site: Site, pbx: Subject, since: float) -> None:
    """OPTIONS get no answer any more: one each 15 s."""
    for failures in range(1, 7):
        site.failing(since + 15 * (failures - 1), pbx, since, failures)


def well(site: Site, pbx: Subject, since: float) -> None:
    for successes in (1, 2):
        site.up(since + 15 * successes, pbx, since + 15, successes)


def test_a_pbx_that_hangs_is_one_mail_and_one_when_it_is_back() -> None:
    site, pbx = paired()
    site.failing(100, pbx, 100, 1)
    site.unreadable(110, options_failed=True)
    silent(site, pbx, 115)
    site.until(600)
    assert site.told() == [HUNG]
    assert site.opened == ["hq RegistrarUnreadable", "pbx OptionsFailing"]
    whole, part = site.alarms.incidents
    assert (part.part_of, part.severity) == (whole.id, Severity.CRITICAL)
    site.readable(600)
    well(site, pbx, 600)
    site.until(4000)
    assert site.told() == [HUNG, "resolved hq RegistrarUnreadable"]
    assert (site.alarms.owed(), site.alarms.incidents) == ([], [])


def test_where_its_options_fail_first_that_is_what_is_told() -> None:
    site, pbx = paired()
    silent(site, pbx, 100)
    site.unreadable(190, options_failed=True)
    site.until(600)
    assert site.told() == ["firing pbx OptionsFailing"]
    well(site, pbx, 600)
    site.readable(640)
    site.until(4000)
    assert site.told() == ["firing pbx OptionsFailing", "resolved pbx OptionsFailing"]


def test_each_way_that_fails_alone_is_told_by_itself() -> None:
    site, pbx = paired()
    silent(site, pbx, 100)
    well(site, pbx, 300)
    site.unreadable(1000)
    site.readable(1200)
    site.until(4000)
    assert site.told() == [
        "firing pbx OptionsFailing",
        "resolved pbx OptionsFailing",
        HUNG,
        "resolved hq RegistrarUnreadable",
    ]


def test_who_is_no_twin_is_told_by_itself() -> None:
    site, _ = paired()
    trunk = site.target("twilio")
    site.unreadable(110, options_failed=True)
    silent(site, trunk, 115)
    assert site.told() == [HUNG, "firing twilio OptionsFailing"]


def test_what_goes_on_when_the_other_is_over_is_told_after_a_while() -> None:
    site, pbx = paired()
    silent(site, pbx, 100)
    site.unreadable(190, options_failed=True)
    well(site, pbx, 600)
    site.unreadable(650)  # as it was, but OPTIONS are answered
    site.until(629 + 120)
    assert site.told()[1:] == ["resolved pbx OptionsFailing"]
    site.until(1000)
    assert site.told()[2:] == [HUNG]
    assert site.times()[2] == 630 + 120
    site.readable(1000)
    site.until(4000)
    assert site.told()[3:] == ["resolved hq RegistrarUnreadable"]


def test_one_that_was_told_as_a_warning_is_told_no_more_until_it_is_over() -> None:
    site, pbx = paired()
    site.unreadable(100)
    site.until(230)
    assert site.told() == [HUNG]
    silent(site, pbx, 300)
    site.unreadable(400, options_failed=True)  # critical by now, as the other is
    site.until(900)
    assert site.told() == [HUNG, "firing pbx OptionsFailing"]
    site.readable(900)
    well(site, pbx, 900)
    site.until(4000)
    ends = ["resolved hq RegistrarUnreadable", "resolved pbx OptionsFailing"]
    assert site.told()[2:] == ends


def test_who_hears_of_one_way_alone_is_told_of_that() -> None:
    routes = [
        route("anna", match={"rule": ["OptionsFailing"]}),
        route("ben", match={"rule": ["RegistrarUnreadable"]}),
    ]
    site, pbx = paired(routes=routes, notifiers=("anna", "ben"))
    site.unreadable(110, options_failed=True)
    silent(site, pbx, 115)
    site.readable(600)
    well(site, pbx, 600)
    site.until(4000)
    assert site.told("anna") == [
        "firing pbx OptionsFailing",
        "resolved pbx OptionsFailing",
    ]
    assert site.told("ben") == [HUNG, "resolved hq RegistrarUnreadable"]


def test_it_climbs_one_ladder() -> None:
    routes = [route("anna", escalate=[(10 * MINUTE, "ben")])]
    site, pbx = paired(routes=routes, notifiers=("anna", "ben"))
    site.unreadable(110, options_failed=True)
    silent(site, pbx, 115)
    site.until(3600)
    assert (site.told("anna"), site.told("ben")) == ([HUNG], [HUNG])


def test_a_restart_of_ours_in_between_tells_nothing_twice() -> None:
    disk = Memory()
    site, pbx = paired(on_write=disk.write)
    site.unreadable(110, options_failed=True)
    silent(site, pbx, 115)
    site.until(300)
    again = Site(restored=disk.load(), now=310, on_write=disk.write)
    again.alarms.adopt(again.hq)
    again.alarms.adopt(pbx)
    again.alarms.pair([(pbx, again.hq)])
    figures = Figures(options_failed=True)
    again._observe(Observation(again.hq, State.UNREADABLE, 110, 320, figures=figures))
    again.failing(330, pbx, 115, 9)
    again.until(2000)
    assert again.told() == []
    again.readable(2000)
    well(again, pbx, 2000)
    again.until(4000)
    assert again.told() == ["resolved hq RegistrarUnreadable"]


def test_what_is_only_a_warning_hides_nothing() -> None:
    rules = {"OptionsFailing": RuleSettings(severity=Severity.WARNING)}
    site, pbx = paired(rules=rules)
    silent(site, pbx, 100)
    site.unreadable(190, options_failed=True)
    site.until(600)
    assert site.told() == ["firing pbx OptionsFailing", HUNG]
