"""Timelines: what is observed when, and what the on-call is told when."""

from alerting.announcement import Ask, Opened, Transition
from alerting.incident import Severity
from alerting.matching import patterns
from alerting.rules.rule import RuleSettings, build
from alerting.store.rows import IncidentRow, Restored, SubjectRow, Write
from checks.observation import (
    Event,
    Figures,
    Kind,
    Loss,
    Observation,
    Scope,
    State,
    Subject,
)

from .timeline import Site

REGISTERED, UNREACHABLE = State.REGISTERED, State.UNREACHABLE
UNREGISTERED, UP, DOWN = State.UNREGISTERED, State.UP, State.DOWN


def watched_site(**more) -> tuple[Site, Subject]:
    site = Site(**more)
    site.readable(10)
    phone = site.extension("1001")
    site.at(11, phone, REGISTERED)
    return site, phone


def test_a_phone_that_goes_away_is_told_two_minutes_after_it_happened() -> None:
    site, phone = watched_site()
    site.at(105, phone, UNREGISTERED, since=100, loss=Loss.EXPIRED)
    site.until(219.9)
    assert site.told() == []
    site.until(220)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]
    assert site.times() == [220]
    (incident,) = site.alarms.incidents
    assert (incident.since, incident.severity) == (100, Severity.WARNING)


def test_it_resolves_in_its_thread_a_minute_after_the_phone_came_back() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREGISTERED)
    site.at(500, phone, REGISTERED)
    site.until(559.9)
    assert len(site.told()) == 1
    site.until(600)
    assert site.told()[1:] == ["resolved 1001 ExtensionUnregistered"]
    firing, resolved = site.mails["oncall"]
    assert resolved.at == 560
    assert resolved.batch.thread == firing.batch.id
    incident = resolved.batch.deliveries[0].incident
    assert (incident.ended_at, incident.loss) == (500, None)


def test_a_phone_that_is_back_in_time_is_never_told() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREGISTERED)
    site.at(219, phone, REGISTERED)
    site.until(2000)
    assert site.told() == []


def test_a_required_phone_is_critical() -> None:
    site, _ = watched_site()
    boss = site.extension("1000", required=True)
    site.at(12, boss, REGISTERED)
    site.at(100, boss, UNREGISTERED)
    site.until(300)
    assert [i.severity for i in site.alarms.incidents] == [Severity.CRITICAL]


def test_unreachable_then_unregistered_is_one_incident_and_worse() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREACHABLE)
    site.at(300, phone, UNREGISTERED)
    site.until(2000)
    assert site.told() == [
        "firing 1001 ExtensionUnreachable",
        "worse 1001 ExtensionUnregistered",
    ]
    (incident,) = site.alarms.incidents
    assert incident.since == 100
    firing, worse = site.mails["oncall"]
    assert worse.batch.thread == firing.batch.id
    site.at(2000, phone, REGISTERED)
    site.until(3000)
    assert site.told()[2:] == ["resolved 1001 ExtensionUnregistered"]


def test_a_recurrence_within_ten_minutes_is_the_same_incident() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREGISTERED)
    site.at(300, phone, REGISTERED)
    site.at(700, phone, UNREGISTERED)
    site.until(900)
    firing, _, again = site.mails["oncall"]
    assert again.batch.thread == firing.batch.id
    assert [a.incident.id for a in site.of(Opened)] == [1, 1]
    (incident,) = site.alarms.incidents
    assert incident.since == 700  # it was well before: that is what was told
    site.at(900, phone, REGISTERED)
    site.at(2000, phone, UNREGISTERED)
    site.until(2200)
    assert [a.incident.id for a in site.of(Opened)] == [1, 1, 2]


def test_ten_minutes_without_ami_are_one_incident_and_no_extension_alarm() -> None:
    site = Site()
    site.readable(10)
    phones = [site.extension(str(n)) for n in range(1000, 1040)]
    for phone in phones:
        site.at(11, phone, REGISTERED)
    site.at(95, phones[0], UNREGISTERED)  # noticed just before the cut
    site.unreadable(100)
    assert site.alarms.effective(phones[1]) is None
    site.until(700)
    assert site.told() == ["firing hq RegistrarUnreadable"]
    assert site.suppressed == ["1000: hq is unreadable"]
    site.readable(700)
    site.at(702, phones[0], REGISTERED)
    site.until(2000)
    assert site.told()[1:] == ["resolved hq RegistrarUnreadable"]
    assert site.alarms.effective(phones[1]) is REGISTERED


def test_a_phone_still_gone_after_the_cut_counts_from_when_hq_is_well() -> None:
    site, phone = watched_site()
    site.at(95, phone, UNREGISTERED)
    site.unreadable(100)
    site.readable(700)
    site.until(819)
    assert "1001 ExtensionUnregistered" not in site.opened
    site.until(821)
    assert "1001 ExtensionUnregistered" in site.opened


def test_a_child_that_notices_before_its_parent_asks_the_parent() -> None:
    rules = {"ExtensionUnregistered": RuleSettings(for_=0.0)}
    site, phone = watched_site(rules=rules)
    site.answers_asks = False
    site.at(60, phone, UNREGISTERED)
    assert [a.subject.name for a in site.of(Ask)] == ["hq"]
    assert site.told() == []
    site.until(69)
    assert site.suppressed == []
    site.until(69.5)
    site.readable_since = site.reads_at = None  # hq says nothing at all
    site.until(75)
    assert site.suppressed == ["1001: hq was asked and not seen well since"]
    site.until(119)
    assert len(site.of(Ask)) == 1
    site.until(121)
    assert len(site.of(Ask)) == 2
    site.readable(125)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]


def test_a_parent_that_answers_lets_the_alarm_go_at_once() -> None:
    site, phone = watched_site(rules={"ExtensionUnregistered": RuleSettings(for_=0.0)})
    site.at(60.5, phone, UNREGISTERED)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]


def test_a_grace_after_a_restart_holds_the_alarm_back() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREGISTERED, not_before=400)
    site.until(519)
    assert site.told() == []
    site.until(520)
    assert site.told() == ["firing 1001 ExtensionUnregistered"]


def test_logging_out_is_no_problem_where_it_may() -> None:
    site, _ = watched_site()
    agent = site.extension("2001")
    agent.logout_ok = True
    site.at(100, agent, UNREGISTERED, loss=Loss.DEREGISTERED)
    site.until(1000)
    assert site.told() == []
    site.at(1000, agent, UNREGISTERED, loss=Loss.EXPIRED)
    site.until(2000)
    assert site.told() == ["firing 2001 ExtensionUnregistered"]


def test_a_dead_trunk_takes_three_failures_and_a_minute_and_two_successes() -> None:
    site = Site()
    trunk = site.target("twilio")
    site.at(0, trunk, UP)
    for n in range(4):
        site.failing(60 + 15 * n, trunk, since=60, failures=n + 1)
    site.until(119)
    assert site.told() == []
    site.failing(120, trunk, since=60, failures=5)
    assert site.told() == ["firing twilio OptionsFailing"]
    site.up(200, trunk, since=200, successes=1)
    site.failing(215, trunk, since=215, failures=1)
    site.up(230, trunk, since=230, successes=1)
    assert len(site.told()) == 1
    site.up(245, trunk, since=230, successes=2)
    assert site.told()[1:] == ["resolved twilio OptionsFailing"]
    assert site.mails["oncall"][1].batch.deliveries[0].incident.ended_at == 230


def test_two_failures_in_a_row_are_no_alarm_however_long_ago() -> None:
    site = Site()
    trunk = site.target("twilio")
    site.failing(60, trunk, since=60, failures=1)
    site.failing(75, trunk, since=60, failures=2)
    site.until(500)
    assert site.told() == []


def test_a_target_that_has_never_answered_is_a_warning() -> None:
    site = Site()
    trunk = site.target("twilio")
    figures = Figures(failures=3, answered=False)
    site.at(100, trunk, DOWN, since=10, figures=figures)
    assert [i.severity for i in site.alarms.incidents] == [Severity.WARNING]


def test_down_then_degraded_is_eased_without_being_resolved_between() -> None:
    site = Site()
    trunk = site.target("provider", role="phone")
    site.failing(100, trunk, since=10, failures=3)
    site.at(200, trunk, State.DEGRADED)
    site.until(499)
    assert [i.rule for i in site.alarms.incidents] == ["OptionsFailing"]
    site.until(501)
    (incident,) = site.alarms.incidents
    assert (incident.rule, incident.severity) == ("TargetDegraded", Severity.WARNING)
    assert len(site.told()) == 1


def test_a_slow_target_counts_from_the_first_slow_answer() -> None:
    site = Site()
    trunk = site.target("twilio")
    for at in range(0, 500, 60):
        mean = 0.1 if at < 100 else 0.8
        site.at(at, trunk, UP, since=0, figures=Figures(rtt_mean=mean))
    assert site.told() == ["firing twilio OptionsSlow"]
    assert [a.at for a in site.of(Opened)] == [420]
    assert site.alarms.incidents[0].detail == "800 ms on average"
    site.failing(500, trunk, since=500, failures=1)  # tells nothing of its speed
    assert len(site.alarms.incidents) == 1
    site.at(560, trunk, UP, figures=Figures(rtt_mean=0.2))
    assert site.told()[1:] == ["resolved twilio OptionsSlow"]


def test_retransmits_are_an_info_that_only_a_route_takes() -> None:
    site = Site()
    trunk = site.target("twilio")
    figures = Figures(probes=20, resent=0b1111111)
    site.at(100, trunk, UP, figures=figures)
    assert site.opened == ["twilio RetransmitsHigh"]
    assert site.told() == []


def test_a_certificate_gets_worse_by_days() -> None:
    site = Site()
    trunk = site.target("twilio")
    site.at(100, trunk, UP, since=0, figures=Figures(days=20))
    site.at(200, trunk, UP, since=0, figures=Figures(days=13))
    site.at(300, trunk, UP, since=0, figures=Figures(days=2))
    site.at(400, trunk, UP, since=0, figures=Figures(days=90))
    assert site.told() == [
        "firing twilio CertificateExpiring",
        "worse twilio CertificateCritical",
        "resolved twilio CertificateCritical",
    ]


def test_an_unreadable_registrar_is_critical_at_once_if_options_fail_too() -> None:
    site, _ = watched_site()
    site.unreadable(100)
    site.until(300)
    assert [i.severity for i in site.alarms.incidents] == [Severity.WARNING]
    site.until(1001)
    assert [i.severity for i in site.alarms.incidents] == [Severity.CRITICAL]
    site, _ = watched_site()
    site.unreadable(100, options_failed=True)
    assert [i.severity for i in site.alarms.incidents] == [Severity.CRITICAL]


def restarted(site: Site, at: float, present: int, expected: int = 40) -> None:
    figures = Figures(present=present, expected=expected)
    site.at(
        at, site.hq, State.READABLE, since=10, event=Event.RESTARTED, figures=figures
    )


def test_a_restart_is_told_once_and_closes_quietly_after_an_hour() -> None:
    site, _ = watched_site()
    restarted(site, 100, present=39)
    assert [i.since for i in site.alarms.incidents] == [10]  # when it was
    site.until(3000)
    assert site.told() == ["firing hq RegistrarRestarted"]
    site.until(4000)
    assert site.told() == ["firing hq RegistrarRestarted"]
    assert site.resolved == ["hq"]
    assert site.alarms.incidents == []


def test_a_restart_turns_critical_if_few_are_back_after_two_minutes() -> None:
    site, _ = watched_site(reads_every=1e6)
    restarted(site, 100, present=5)
    figures = Figures(present=31, expected=40)
    more = {"figures": figures, "detail": "31 of 40 back"}
    site.at(200, site.hq, State.READABLE, since=10, **more)
    site.until(219)
    assert [i.severity for i in site.alarms.incidents] == [Severity.WARNING]
    site.until(221)
    (incident,) = site.alarms.incidents
    assert (incident.severity, incident.detail) == (Severity.CRITICAL, "31 of 40 back")
    assert site.told()[1:] == ["worse hq RegistrarRestarted"]


def test_a_restart_of_which_all_are_back_stays_a_warning() -> None:
    site, _ = watched_site(reads_every=1e6)
    restarted(site, 100, present=5)
    figures = Figures(present=38, expected=40)
    site.at(200, site.hq, State.READABLE, since=10, figures=figures)
    figures = Figures(present=3, expected=40)
    site.at(300, site.hq, State.READABLE, since=10, figures=figures)
    site.until(600)
    assert [i.severity for i in site.alarms.incidents] == [Severity.WARNING]


def test_a_subject_that_is_watched_no_more_is_told_so() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    site.alarms.unwatch(phone, 300)
    site.until(300)
    assert site.told()[1:] == ["resolved 1001 ExtensionUnregistered"]
    incident = site.mails["oncall"][1].batch.deliveries[0].incident
    assert incident.closed == "no longer watched"
    assert site.alarms.effective(phone) is None


def test_an_own_rule_leads_the_incident_of_its_family() -> None:
    vip = RuleSettings(
        on=Kind.EXTENSION,
        where=patterns({"extension": "10*"}),
        state=(UNREGISTERED, UNREACHABLE),
        for_=30.0,
        severity=Severity.CRITICAL,
    )
    site, phone = watched_site(rules={"VipPhones": vip})
    other = site.extension("2001")
    site.at(100, phone, UNREGISTERED)
    site.at(100, other, UNREGISTERED)
    site.until(400)
    assert site.told() == [
        "firing 1001 VipPhones",
        "firing 2001 ExtensionUnregistered",
    ]


def test_a_rule_that_is_switched_off_closes_what_it_opened() -> None:
    site, phone = watched_site()
    site.at(100, phone, UNREGISTERED)
    site.until(300)
    off = build({"ExtensionUnregistered": RuleSettings(enabled=False)})
    site.alarms.replace(off, (), site.group, ("oncall",), 300)
    site.until(301)
    assert site.alarms.incidents == []
    site.alarms.replace(build({}), (), site.group, ("oncall",), 301)
    site.until(302)
    assert [i.rule for i in site.alarms.incidents] == ["ExtensionUnregistered"]


def test_only_what_changes_is_written_or_announced() -> None:
    site, phone = watched_site()
    site.alarms.take()
    seen = len(site.announced)
    for at in range(20, 90):
        site.alarms.observe(Observation(phone, REGISTERED, 11, at))
    assert site.alarms.take() == ([], [])
    assert len(site.announced) == seen
    site.at(100, phone, UNREGISTERED)
    changes = [a for a in site.announced if isinstance(a, Transition)]
    assert [(c.old, c.new) for c in changes] == [(REGISTERED, UNREGISTERED)]


def test_a_target_that_has_only_been_up_is_not_written() -> None:
    site = Site()
    phone = Subject(Kind.TARGET, "192.0.2.1:5060", Scope("phones.txt"))
    assert not site.alarms.wants(phone)
    site.alarms.observe(Observation(phone, UP, 5, 5))
    assert site.alarms.take() == ([], [])


def test_of_a_named_target_it_is_written_once_that_it_answered() -> None:
    site = Site()
    trunk = Subject(Kind.TARGET, "twilio", Scope("twilio"))
    assert site.alarms.wants(trunk)
    for at in (5, 65, 125):
        site.alarms.observe(Observation(trunk, UP, 5, at))
    row = SubjectRow("target:twilio", UP, 5, answered=True)
    assert site.alarms.take() == ([row], [])


def test_who_answered_before_a_restart_is_known_to_have() -> None:
    row = SubjectRow("target:twilio", UP, 5, answered=True)
    dead = SubjectRow("target:dead", DOWN, 5, answered=False)
    site = Site(now=100, restored=Restored({row.key: row, dead.key: dead}))
    found = []
    for name in ("twilio", "dead", "other"):
        site.alarms.adopt(subject := site.target(name))
        found.append(site.alarms.answered(subject))
    assert found == [True, False, False]


def test_an_open_incident_is_not_eased_for_what_a_restart_forgot() -> None:
    before = Site()
    trunk = before.target("twilio")
    rows: list[Write] = []
    before.on_write = rows.extend
    before.failing(100, trunk, since=10, failures=3)
    assert [i.severity for i in before.alarms.incidents] == [Severity.CRITICAL]
    incident = [row for row in rows if isinstance(row, IncidentRow)][-1]
    after = Site(now=200, restored=Restored(incidents=[incident], last_incident=1))
    figures = Figures(failures=3, answered=False)
    after.at(300, after.target("twilio"), DOWN, since=200, figures=figures)
    after.until(1000)
    assert [i.severity for i in after.alarms.incidents] == [Severity.CRITICAL]


def test_a_first_answer_is_written_though_the_state_stays() -> None:
    site = Site()
    trunk = site.target("twilio")
    never, busy = Figures(failures=1, answered=False), Figures(failures=2)
    site.alarms.observe(Observation(trunk, DOWN, 5, 5, figures=never))
    (written,) = site.alarms.take()[0]
    assert not written.answered
    site.alarms.observe(Observation(trunk, DOWN, 5, 20, figures=busy))
    (written,) = site.alarms.take()[0]
    assert written.answered


def test_what_was_never_trouble_is_not_known() -> None:
    site = Site()
    trunk, other = site.target("twilio"), site.target("other")
    assert not site.alarms.knows(trunk)
    site.failing(10, trunk, since=10, failures=1)
    assert site.alarms.knows(trunk)
    site.alarms.release(trunk)
    assert site.alarms.knows(trunk)  # its story waits under its key
    assert not site.alarms.knows(other)
    site.alarms.unwatch_missing("target:", 20)
    assert not site.alarms.knows(trunk)
