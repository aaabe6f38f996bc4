"""What each rule says of one observation, and what a configuration may say of rules."""

from __future__ import annotations

import pytest

from alerting.incident import Severity
from alerting.matching import patterns, routed, severity
from alerting.routes import repeats
from alerting.rules.grades import (
    Says,
    Verdict,
    days_in_words,
    mean_in_words,
    resent_in_words,
)
from alerting.rules.inforce import Rules
from alerting.rules.rule import (
    RulesError,
    RuleSettings,
    build,
    losses,
    states,
    threshold,
)
from checks.observation import (
    Cause,
    Event,
    Figures,
    Kind,
    Loss,
    Observation,
    Scope,
    State,
    Subject,
)

WARNING, CRITICAL, INFO = Severity.WARNING, Severity.CRITICAL, Severity.INFO
HQ = Scope("hq", labels={"registrar": "hq", "site": "lyon"})
PHONE = Subject(Kind.EXTENSION, "1001@example.com", HQ)
BOSS = Subject(Kind.EXTENSION, "1000", HQ, required=True)
AGENT = Subject(Kind.EXTENSION, "2001", HQ, logout_ok=True)
TRUNK = Subject(Kind.TARGET, "twilio", Scope("twilio", role="trunk"))
DESK = Subject(Kind.TARGET, "desk", Scope("desk", role="phone"))
PBX = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
LINE = Subject(Kind.ACCOUNT, "line1", Scope("line1"))
KEPT = Subject(Kind.REGISTRATION, "provider", Scope("hq"))
FIRST, SECOND = Figures(failures=1), Figures(failures=2)


def own(name: str) -> Subject:
    return Subject(Kind.SELF, name, Scope(name))


def seen(subject: Subject, state: State, figures: Figures | None = None, **more):
    return Observation(subject, state, 0.0, 0.0, figures=figures or Figures(), **more)


def says(rule: str, o: Observation) -> tuple[Verdict, ...]:
    found = build({}).get(rule)
    assert found is not None
    assert found.applies(o.subject)
    return tuple(grade.matches(o) for grade in found.grades)


@pytest.mark.parametrize(
    ("rule", "o", "verdicts"),
    [
        ("RegisterFailing", seen(LINE, State.OK), (False, False)),
        ("RegisterFailing", seen(LINE, State.REJECTED, FIRST), (None, None)),
        ("RegisterFailing", seen(LINE, State.REJECTED, SECOND), (True, True)),
        (
            "RegisterFailing",
            seen(LINE, State.FAILING, SECOND, cause=Cause.TIMEOUT),
            (True, True),
        ),
        (
            "RegisterFailing",
            seen(LINE, State.FAILING, SECOND, cause=Cause.IN_USE),
            (False, True),
        ),
        (
            "ExtensionUnregistered",
            seen(PHONE, State.UNREGISTERED),
            (False, True),
        ),
        ("ExtensionUnregistered", seen(BOSS, State.UNREGISTERED), (True, True)),
        ("ExtensionUnregistered", seen(PHONE, State.UNREACHABLE), (False, False)),
        ("ExtensionUnregistered", seen(PHONE, State.NEVER_REGISTERED), (False, False)),
        (
            "ExtensionUnregistered",
            seen(AGENT, State.UNREGISTERED, loss=Loss.DEREGISTERED),
            (False, False),
        ),
        (
            "ExtensionUnregistered",
            seen(AGENT, State.UNREGISTERED, loss=Loss.EXPIRED),
            (False, True),
        ),
        (
            "ExtensionUnregistered",
            seen(PHONE, State.UNREGISTERED, loss=Loss.DEREGISTERED),
            (False, True),
        ),
        ("ExtensionUnreachable", seen(PHONE, State.UNREACHABLE), (True,)),
        ("OutboundRegistrationLost", seen(KEPT, State.OK), (False,)),
        ("OutboundRegistrationLost", seen(KEPT, State.REJECTED), (True,)),
        ("OutboundRegistrationLost", seen(KEPT, State.FAILING), (True,)),
        ("OptionsFailing", seen(TRUNK, State.DOWN, Figures(failures=2)), (None, None)),
        ("OptionsFailing", seen(TRUNK, State.DOWN, Figures(failures=3)), (True, True)),
        ("OptionsFailing", seen(TRUNK, State.UP), (False, False)),
        ("OptionsFailing", seen(TRUNK, State.DEGRADED), (False, False)),
        (
            "OptionsFailing",
            seen(TRUNK, State.DOWN, Figures(failures=9, answered=False)),
            (None, True),
        ),
        ("TargetDegraded", seen(TRUNK, State.DEGRADED), (True, True)),
        ("TargetDegraded", seen(DESK, State.DEGRADED), (False, True)),
        ("OptionsSlow", seen(TRUNK, State.UP, Figures(rtt_mean=0.51)), (True,)),
        ("OptionsSlow", seen(TRUNK, State.UP, Figures(rtt_mean=0.5)), (False,)),
        ("OptionsSlow", seen(TRUNK, State.UP), (None,)),
        ("OptionsSlow", seen(TRUNK, State.DOWN, Figures(rtt_mean=0.6)), (None,)),
        (
            "RetransmitsHigh",
            seen(TRUNK, State.UP, Figures(probes=32, resent=0b1111111)),
            (True,),
        ),
        (
            "RetransmitsHigh",
            seen(TRUNK, State.UP, Figures(probes=32, resent=0b111111)),
            (False,),
        ),
        (
            "RetransmitsHigh",
            seen(TRUNK, State.UP, Figures(probes=32, resent=0xFFF00000)),
            (False,),  # longer ago than 20 probes
        ),
        (
            "RetransmitsHigh",
            seen(TRUNK, State.UP, Figures(probes=19, resent=0x7FFFF)),
            (None,),
        ),
        ("CertificateExpiring", seen(TRUNK, State.UP, Figures(days=13.9)), (True,)),
        ("CertificateExpiring", seen(TRUNK, State.UP, Figures(days=14)), (False,)),
        ("CertificateExpiring", seen(TRUNK, State.DOWN), (None,)),
        ("CertificateCritical", seen(TRUNK, State.UP, Figures(days=-1)), (True,)),
        ("RegistrarUnreadable", seen(PBX, State.UNREADABLE), (False, True, True)),
        (
            "RegistrarUnreadable",
            seen(PBX, State.UNREADABLE, Figures(options_failed=True)),
            (True, True, True),
        ),
        ("RegistrarUnreadable", seen(PBX, State.READABLE), (False, False, False)),
        (
            "RegistrarRestarted",
            seen(PBX, State.READABLE, event=Event.RESTARTED),
            (None, True),
        ),
        (
            "RegistrarRestarted",
            seen(PBX, State.READABLE, Figures(present=31, expected=40)),
            (True, None),
        ),
        (
            "RegistrarRestarted",
            seen(PBX, State.READABLE, Figures(present=32, expected=40)),
            (False, None),
        ),
        (
            "RegistrarFailedOver",
            seen(PBX, State.READABLE, event=Event.FAILED_OVER),
            (True,),
        ),
        (
            "RegistrationAudit",
            seen(PBX, State.READABLE, event=Event.AUDITED),
            (True,),
        ),
        (
            "RegistrationAudit",
            seen(PBX, State.READABLE, event=Event.RESTARTED),
            (None,),
        ),
        (
            "RegistrationPolicy",
            seen(PHONE, State.REGISTERED, Figures(breach="3600 s, more than 120 s")),
            (True,),
        ),
        (
            "RegistrationPolicy",
            seen(PHONE, State.REGISTERED, Figures(breach="")),
            (False,),
        ),
        ("RegistrationPolicy", seen(PHONE, State.UNREGISTERED), (None,)),
        (
            "RefreshOverdue",
            seen(PHONE, State.REGISTERED, Figures(refresh_late_by=12.0)),
            (True,),
        ),
        (
            "RefreshOverdue",
            seen(PHONE, State.REGISTERED, Figures(refresh_late_by=0.0)),
            (False,),
        ),
        ("RefreshOverdue", seen(PHONE, State.UNREGISTERED), (None,)),
        (
            "FewContacts",
            seen(PHONE, State.REGISTERED, Figures(contacts=1, wanted=2)),
            (True,),
        ),
        (
            "FewContacts",
            seen(PHONE, State.REGISTERED, Figures(contacts=2, wanted=2)),
            (False,),
        ),
        ("FewContacts", seen(PHONE, State.UNREGISTERED), (None,)),
        ("ContactsSilent", seen(PBX, State.READABLE, Figures(silent=40)), (True,)),
        ("ContactsSilent", seen(PBX, State.READABLE, Figures(silent=0)), (False,)),
        ("ContactsSilent", seen(PBX, State.UNREADABLE), (None,)),
        (
            "UnavailableRate",
            seen(own("calls"), State.OK, Figures(unavailable=0.21)),
            (True,),
        ),
        (
            "UnavailableRate",
            seen(own("calls"), State.OK, Figures(unavailable=0.2)),
            (False,),
        ),
        ("UnavailableRate", seen(own("calls"), State.OK), (None,)),
        ("NotifierFailing", seen(own("notifier/oncall"), State.FAILING), (True,)),
        ("StoreFailing", seen(own("store"), State.FAILING), (True,)),
        ("ConfigNotReloaded", seen(own("configuration"), State.FAILING), (True,)),
        ("ResolverFailing", seen(own("resolver"), State.OK), (False,)),
        ("ReceiveBufferDrops", seen(own("receive-buffer"), State.FAILING), (True,)),
        ("ClockJump", seen(own("clock"), State.OK, event=Event.CLOCK_JUMPED), (True,)),
    ],
)
def test_a_built_in_rule_says(
    rule: str, o: Observation, verdicts: tuple[Verdict, ...]
) -> None:
    assert says(rule, o) == verdicts


def names(rules: Rules, subject: Subject) -> set[str]:
    return {rule.name for rule in rules.of(subject).rules}


@pytest.mark.parametrize(
    ("subject", "watching"),
    [
        (
            PHONE,
            {
                "ExtensionUnregistered",
                "ExtensionUnreachable",
                "FewContacts",
                "RefreshOverdue",
                "RegistrationPolicy",
                "Flapping",
            },
        ),
        (own("store"), {"StoreFailing"}),
        (own("configuration"), {"ConfigNotReloaded"}),
        (own("notifier/oncall"), {"NotifierFailing"}),
        (
            PBX,
            {
                "RegistrarUnreadable",
                "RegistrarRestarted",
                "RegistrarFailedOver",
                "ContactsSilent",
                "RegistrationAudit",
                "MassUnregistration",
                "Flapping",
            },
        ),
        (Subject(Kind.SITE, "lyon", Scope("lyon")), {"MassUnregistration", "Flapping"}),
        (Subject(Kind.VANTAGE, "network", Scope("network")), {"VantageLost"}),
    ],
)
def test_a_subject_is_watched_by_the_rules_of_its_kind(
    subject: Subject, watching: set[str]
) -> None:
    assert names(build({}), subject) == watching


def test_subjects_alike_share_their_rules() -> None:
    rules = build({})
    assert rules.of(PHONE) is rules.of(BOSS)
    vip = {"Vip": RuleSettings(on=Kind.EXTENSION, state=(State.UNREGISTERED,))}
    assert build(vip).of(PHONE) is not rules.of(PHONE)


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ({"extension": "10*"}, True),
        ({"extension": ["20*", "1001"]}, True),
        ({"extension": "1002"}, False),
        ({"registrar": "hq", "site": "l*"}, True),
        ({"site": "paris"}, False),
        ({"role": "trunk"}, False),
    ],
)
def test_where_looks_at_names_and_labels(where: dict, fits: bool) -> None:
    vip = RuleSettings(
        on=Kind.EXTENSION, where=patterns(where), state=(State.UNREGISTERED,)
    )
    assert ("Vip" in names(build({"Vip": vip}), PHONE)) is fits


def test_a_built_in_rule_is_changed_by_name() -> None:
    changed = RuleSettings(for_=30.0, severity=CRITICAL, runbook="https://example.com")
    rules = build({"ExtensionUnregistered": changed})
    rule = rules.get("ExtensionUnregistered")
    assert rule is not None
    assert {(g.severity, g.for_) for g in rule.grades} == {(CRITICAL, 30.0)}
    assert rule.keep_firing_for == 60
    assert rules.runbook("ExtensionUnregistered") == "https://example.com"
    assert rules.runbook("Nothing") == ""


def test_a_later_warning_keeps_the_later_critical_of_a_blind_registrar() -> None:
    rules = build({"RegistrarUnreadable": RuleSettings(for_=1800.0)})
    rule = rules.get("RegistrarUnreadable")
    assert rule is not None
    assert [g.for_ for g in rule.grades] == [0.0, 1800.0, 1800.0]


def test_a_rule_that_is_not_enabled_is_not_there() -> None:
    rules = build({"OptionsSlow": RuleSettings(enabled=False)})
    assert rules.get("OptionsSlow") is None
    assert rules.watermarks.rtt is None


def test_watermarks_are_the_lowest_of_all_rules_on_targets() -> None:
    assert build({}).watermarks == (0.5, 0.3, 3, 2)
    slow = RuleSettings(on=Kind.TARGET, above=threshold("80ms"), recover=5)
    often = RuleSettings(on=Kind.TARGET, failures=7)
    lossy = {"RetransmitsHigh": RuleSettings(above=threshold("10%"))}
    rules = build({"Slow": slow, "Often": often} | lossy)
    assert rules.watermarks == (0.08, 0.1, 7, 5)


def test_an_own_rule_needs_all_that_it_names() -> None:
    settings = RuleSettings(
        on=Kind.TARGET,
        state=(State.UP,),
        above=threshold("100ms"),
        severity=INFO,
    )
    rule = build({"Own": settings}).get("Own")
    assert rule is not None
    (grade,) = rule.grades
    assert (rule.family, grade.severity) == ("latency", INFO)
    assert grade.matches(seen(TRUNK, State.UP, Figures(rtt_mean=0.2))) is True
    assert grade.matches(seen(TRUNK, State.DEGRADED, Figures(rtt_mean=0.2))) is False
    assert grade.matches(seen(TRUNK, State.UP)) is None


@pytest.mark.parametrize(
    ("name", "settings", "key", "sentence"),
    [
        (
            "ExtensionUnregisterd",
            RuleSettings(for_=1.0),
            "",
            "no such rule, and no `on` that would make it one of yours "
            "(did you mean ExtensionUnregistered?)",
        ),
        (
            "Mine",
            RuleSettings(),
            "",
            "no such rule, and no `on` that would make it one",
        ),
        ("Mine", RuleSettings(on=Kind.SITE), "on", "site is not watched (target, "),
        ("Mine", RuleSettings(on=Kind.TARGET), "", "says nothing of when it fires"),
        (
            "Mine",
            RuleSettings(on=Kind.TARGET, state=(State.REGISTERED,)),
            "state",
            "a target is never registered (up, degraded, down)",
        ),
        (
            "Mine",
            RuleSettings(on=Kind.TARGET, state=(State.UP,), loss=(Loss.EXPIRED,)),
            "loss",
            "a target has no loss",
        ),
        (
            "Mine",
            RuleSettings(on=Kind.EXTENSION, failures=3),
            "failures",
            "is a figure of targets, not of a extension",
        ),
        (
            "Mine",
            RuleSettings(on=Kind.TARGET, failures=33),
            "failures",
            "33 is not between 1 and 32",
        ),
        (
            "OptionsFailing",
            RuleSettings(recover=0),
            "recover",
            "0 is not between 1 and 32",
        ),
        (
            "OptionsFailing",
            RuleSettings(on=Kind.EXTENSION),
            "on",
            "the built-in rule is on target",
        ),
        (
            "OptionsFailing",
            RuleSettings(state=(State.DEGRADED,)),
            "state",
            "is built in; give an own rule another name",
        ),
        (
            "OptionsFailing",
            RuleSettings(above=threshold("1s")),
            "above",
            "OptionsFailing does not look at it",
        ),
        (
            "OptionsSlow",
            RuleSettings(above=threshold("30%")),
            "above",
            "has the wrong unit (write 500ms)",
        ),
        (
            "RegistrarRestarted",
            RuleSettings(for_=60.0),
            "for",
            "RegistrarRestarted does not look at it",
        ),
        (
            "TargetDegraded",
            RuleSettings(loss=(Loss.EXPIRED,)),
            "loss",
            "a target has no loss",
        ),
    ],
)
def test_a_wrong_rule_is_refused_with_a_sentence(
    name: str, settings: RuleSettings, key: str, sentence: str
) -> None:
    with pytest.raises(RulesError) as caught:
        build({name: settings})
    (problem,) = caught.value.problems
    assert (problem.rule, problem.key) == (name, key)
    assert problem.sentence.startswith(sentence)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RulesError) as caught:
        build({"A": RuleSettings(), "OptionsSlow": RuleSettings(failures=3)})
    assert len(caught.value.problems) == 2
    assert "rules.A: no such rule" in str(caught.value)


@pytest.mark.parametrize(
    ("parse", "written", "sentence"),
    [
        (threshold, "fast", "fast is not a duration"),
        (threshold, 500, "500 is not a duration (write 500s)"),
        (threshold, "x%", "x% is not a share (write 30%)"),
        (threshold, "130%", "130% is not a share (write 30%)"),
        (states, "dead", "dead is not a state (up, degraded, "),
        (losses, ["gone"], "gone is not a loss (expired, "),
        (severity, "bad", "bad is not a severity (info, warning, critical)"),
        (patterns, "hq", "is a mapping of fields to patterns"),
        (patterns, {"site": []}, "site: an empty list matches nothing"),
        (patterns, {1: "x"}, "1 is not the name of a field"),
        (patterns, {"extension": None}, "None is not a pattern"),
        (routed, {"severity": ["critcal"]}, "critcal is not a severity"),
        (repeats, "4h", "is a mapping of severities"),
        (repeats, {"bad": "4h"}, "bad is not a severity"),
        (repeats, {"critical": 4}, "4 is not a duration (write 4s)"),
    ],
)
def test_what_is_written_wrong_is_refused(parse, written, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(written)
    assert str(caught.value).startswith(sentence)


def test_what_is_written_right_is_read() -> None:
    assert threshold("500ms") == (0.5, "s")
    assert threshold("30%") == (0.3, "%")
    assert states("down") == (State.DOWN,)
    assert states(["down", "degraded"]) == (State.DOWN, State.DEGRADED)
    assert losses("expired") == (Loss.EXPIRED,)
    assert repeats({"critical": "4h"}) == {CRITICAL: 14400.0}


@pytest.mark.parametrize(
    ("figures", "told", "words"),
    [
        (Figures(rtt_mean=0.612), mean_in_words, "612 ms on average"),
        (Figures(), mean_in_words, ""),
        (Figures(resent=0b1011, probes=32), resent_in_words, "3 of 20 probes"),
        (Figures(resent=0xFFF00000, probes=32), resent_in_words, "0 of 20 probes"),
        (Figures(days=13.2), days_in_words, "in 13 days, on 14 Jan"),
        (Figures(days=1.5), days_in_words, "in 1 day, on 2 Jan"),
        (Figures(days=0.5), days_in_words, "in 12 h, at 12:00 UTC"),
        (Figures(days=-2.0), days_in_words, "it ended on 30 Dec"),
        (
            Figures(days=13.2, days_at="192.0.2.7:5061"),
            days_in_words,
            "in 13 days, on 14 Jan (that of 192.0.2.7:5061)",
        ),
        (Figures(), days_in_words, ""),
    ],
)
def test_a_figure_is_told_in_words(figures: Figures, told: Says, words: str) -> None:
    assert told(seen(TRUNK, State.UP, figures)) == words
