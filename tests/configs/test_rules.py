"""The alerts: each firing and not firing, by promtool; and that none is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from alerting.rules.builtin import BUILT_IN
from tests.configs.promtool import RULES, Case, minutes, run

WARNING, CRITICAL, INFO = "warning", "critical", "info"
BOTH = f"{WARNING} {CRITICAL}"


def extension(name: str) -> str:
    return f"sipwatch_extension_registered{{{_joined('extension', name)}}}"


def _joined(key: str, name: str) -> str:
    return f'registrar="hq",{key}="{name}"'


def state(target: str, state: str) -> str:
    return f'sipwatch_target_state{{target="{target}",state="{state}"}}'


def failures(target: str) -> str:
    return f'sipwatch_options_consecutive_failures{{target="{target}"}}'


def probes(target: str, outcome: str) -> str:
    return f'sipwatch_options_probes_total{{target="{target}",outcome="{outcome}"}}'


def incidents(rule: str, severity: str, how: str = "firing") -> str:
    labels = f'rule="{rule}",severity="{severity}",state="{how}"'
    return f"sipwatch_incidents{{{labels}}}"


def here(registrar: str, state: str = "registered") -> str:
    return f'sipwatch_registrar_extensions{{registrar="{registrar}",state="{state}"}}'


def certificate(target: str) -> str:
    name = "sipwatch_target_certificate_not_after_timestamp_seconds"
    return f'{name}{{target="{target}",address="203.0.113.9:5061"}}'


def invites(code: int) -> str:
    labels = f'method="INVITE",code="{code}"'
    return f"sipwatch_passive_responses_total{{{labels}}}"


def account(name: str) -> str:
    return f'sipwatch_account_up{{account="{name}"}}'


def registrar(name: str) -> str:
    return f'sipwatch_registrar_up{{registrar="{name}",type="asterisk"}}'


def judged(rule: str, severity: str) -> Case:
    """An alert that is sipwatch's own incident, with its severity."""
    series = {incidents(rule, severity): minutes((0, 5), (1, 5), (0, 5))}
    here = {"pbx:9160": severity}
    return Case(rule, "instance", series, {4: {}, 6: here, 12: {}})


def ends(target: str, days: float) -> dict[str, str]:
    return {certificate(target): minutes((days * 86400, 3))}


CASES = {
    "unregistered for two minutes": Case(
        "ExtensionUnregistered",
        "extension",
        {
            extension("1001"): minutes((1, 10), (0, 10), (1, 10)),
            extension("1002"): minutes((1, 30)),
            extension("1003"): minutes((0, 30)),  # never registered
        },
        {11: {}, 12: {"1001": WARNING}, 19: {"1001": WARNING}, 23: {}},
    ),
    "unregistered while prometheus was down": Case(
        "ExtensionUnregistered",
        "extension",
        {extension("1001"): "1 1 1 " + "_ " * 30 + minutes((0, 5))},
        {34: {"1001": WARNING}},
    ),
    "unregistered for a week": Case(
        "ExtensionUnregistered",
        "extension",
        {
            extension("1001"): minutes((0, 10)),
            # As if it had been there till two minutes less than a week ago.
            "extension:sipwatch_last_registered:timestamp"
            f"{{{_joined('extension', '1001')}}}": str(120 - 7 * 86400),
        },
        {1: {"1001": WARNING}, 5: {}},
    ),
    "nothing is known of a registrar that is unreadable": Case(
        "ExtensionUnregistered",
        "extension",
        {extension("1001"): minutes((1, 5)) + " stale" + " _" * 10},
        {8: {}, 14: {}},
    ),
    "a required extension": Case(
        "ExtensionUnregistered",
        "instance",
        {
            incidents("ExtensionUnregistered", CRITICAL): minutes((0, 5), (1, 5)),
            incidents("ExtensionUnregistered", WARNING): minutes((3, 10)),
        },
        {4: {}, 6: {"pbx:9160": CRITICAL}},
    ),
    "registered but unreachable": Case(
        "ExtensionUnreachable",
        "registrar",
        {
            here("hq", "unreachable"): minutes((0, 5), (2, 5), (0, 5)),
            here("lab", "unreachable"): minutes((0, 15)),
        },
        {6: {}, 7: {"hq": WARNING}, 13: {}},
    ),
    "a fifth is lost at once": Case(
        "MassUnregistration",
        "registrar",
        {
            here("hq"): minutes((40, 10), (30, 5), (40, 10)),
            here("few"): minutes((8, 10), (4, 15)),  # four are no mass
            here("large"): minutes((1000, 10), (900, 15)),  # a tenth is none
            here("slow"): "100-1x24",  # neither is what goes one by one
        },
        {9: {}, 11: {"hq": CRITICAL}, 16: {}},
    ),
    "a refresh is overdue": Case(
        "RefreshOverdue",
        "registrar",
        {
            'sipwatch_registrar_extensions_overdue{registrar="hq"}': minutes(
                (0, 3), (1, 3)
            ),
            'sipwatch_registrar_extensions_overdue{registrar="lab"}': minutes((0, 6)),
        },
        {2: {}, 4: {"hq": INFO}},
    ),
    "outside the policy": Case(
        "RegistrationPolicy",
        "breach",
        {
            "sipwatch_registrar_extensions_outside_policy"
            f'{{registrar="hq",breach="{breach}"}}': values
            for breach, values in (
                ("too_long", minutes((0, 3), (4, 3))),
                ("too_short", minutes((0, 6))),
            )
        },
        {2: {}, 4: {"too_long": INFO}},
    ),
    "options fail": Case(
        "OptionsFailing",
        "target",
        {
            state("trunk", "down"): minutes((0, 5), (1, 10), (0, 5)),
            failures("trunk"): minutes((0, 4), (2, 2), (3, 9), (0, 5)),
            probes("trunk", "up"): minutes((9, 20)),
            state("never", "down"): minutes((1, 20)),
            failures("never"): minutes((9, 20)),
            probes("never", "up"): minutes((0, 20)),
            state("once", "down"): minutes((0, 5), (1, 15)),
            failures("once"): minutes((0, 5), (2, 15)),
            probes("once", "up"): minutes((9, 20)),
        },
        {
            0: {},
            6: {"never": WARNING},
            7: {"never": WARNING, "trunk": CRITICAL},
            16: {"never": WARNING},
        },
    ),
    "a phone's target falls silent": Case(
        "OptionsFailing",
        "target",
        {
            'sipwatch_target_up{target="phone"}': minutes((1, 5), (0, 10)),
            'sipwatch_target_up{target="other"}': minutes((1, 15)),
            'sipwatch_target_up{target="never"}': minutes((0, 15)),
        },
        {7: {}, 8: {"phone": CRITICAL}},
    ),
    "degraded": Case(
        "TargetDegraded",
        "target",
        {
            state("trunk", "degraded"): minutes((0, 3), (1, 10)),
            state("well", "degraded"): minutes((0, 13)),
        },
        {7: {}, 8: {"trunk": WARNING}},
    ),
    "a trunk is degraded": Case(
        "TargetDegraded",
        "instance",
        {incidents("TargetDegraded", CRITICAL): minutes((0, 3), (1, 3))},
        {2: {}, 4: {"pbx:9160": CRITICAL}},
    ),
    "slow": Case(
        "OptionsSlow",
        "target",
        {
            'sipwatch_options_rtt_seconds{target="trunk"}': minutes((0.7, 15)),
            'sipwatch_options_rtt_seconds{target="well"}': minutes(
                (0.04, 8), (2, 1), (0.04, 6)
            ),
        },
        {4: {}, 6: {"trunk": WARNING}, 14: {"trunk": WARNING}},
    ),
    "packets are lost": Case(
        "RetransmitsHigh",
        "target",
        {
            probes("trunk", "up"): "0+1x30",
            'sipwatch_options_retransmits_total{target="trunk"}': "0+0.5x30",
            probes("well", "up"): "0+1x30",
            'sipwatch_options_retransmits_total{target="well"}': "0+0.1x30",
            probes("dead", "down"): "0+1x30",
            'sipwatch_options_retransmits_total{target="dead"}': "0+6x30",
            state("dead", "down"): minutes((1, 31)),
        },
        {0: {}, 25: {"trunk": INFO}},
    ),
    "a certificate ends": Case(
        "CertificateExpiring",
        "target",
        ends("soon", 13) | ends("later", 15),
        {1: {"soon": WARNING}},
    ),
    "a certificate ends at once": Case(
        "CertificateCritical",
        "target",
        ends("now", 2) | ends("soon", 13),
        {1: {"now": CRITICAL}},
    ),
    "unreadable": Case(
        "RegistrarUnreadable",
        "registrar",
        {
            registrar("hq"): minutes((1, 5), (0, 25)),
            registrar("lab"): minutes((1, 30)),
        },
        {6: {}, 7: {"hq": WARNING}, 19: {"hq": WARNING}, 20: {"hq": BOTH}},
    ),
    "unreadable and silent": Case(
        "RegistrarUnreadable",
        "registrar",
        {
            registrar("hq"): minutes((1, 5), (0, 2)),
            registrar("lab"): minutes((1, 7)),
            incidents("RegistrarUnreadable", CRITICAL): minutes((0, 5), (1, 2)),
        },
        {4: {}, 6: {"hq": CRITICAL}},
    ),
    "a registration is lost": Case(
        "OutboundRegistrationLost",
        "registration",
        {
            f"sipwatch_registration_up{{{_joined('registration', name)}}}": values
            for name, values in (
                ("line1", minutes((1, 3), (0, 5), (1, 3))),
                ("line2", minutes((1, 11))),
            )
        },
        {4: {}, 5: {"line1": CRITICAL}, 9: {}},
    ),
    "an account is refused": Case(
        "RegisterFailing",
        "account",
        {
            account("line1"): minutes((1, 3), (0, 5)),
            account("line2"): minutes((1, 8)),
            incidents("RegisterFailing", CRITICAL): minutes((0, 5), (1, 3)),
            incidents("RegisterFailing", WARNING): minutes((0, 8)),
        },
        {4: {}, 6: {"line1": CRITICAL}},
    ),
    "an account is in use": Case(
        "RegisterFailing",
        "account",
        {
            account("line1"): minutes((1, 3), (0, 5)),
            incidents("RegisterFailing", CRITICAL): minutes((0, 8)),
            incidents("RegisterFailing", WARNING): minutes((0, 5), (1, 3)),
        },
        {4: {}, 6: {"line1": WARNING}},
    ),
    "twilio is unreadable": Case(
        "TwilioUnreadable",
        "instance",
        {"sipwatch_twilio_readable": minutes((1, 3), (0, 20), (1, 3))},
        {17: {}, 18: {"pbx:9160": WARNING}, 24: {}},
    ),
    "an extension flaps": Case(
        "Flapping",
        "extension",
        {
            extension("1001"): "1 0 1 0 1 0 1 1 1 1",
            extension("1002"): "1 0 1 1 1 1 1 1 1 1",
        },
        {5: {}, 6: {"1001": WARNING}},
    ),
    "a trunk flaps": Case(
        "Flapping",
        "target",
        {'sipwatch_target_up{target="trunk"}': "1 0 1 0 1 0 1 1 1 1"},
        {5: {}, 7: {"trunk": WARNING}},
    ),
    "many calls are answered 480": Case(
        "UnavailableRate",
        "instance",
        {
            invites(200): "0+10x90",
            invites(480): minutes((0, 60)) + " 5+5x30",
            invites(401): "0+100x90",
        },
        {59: {}, 62: {}, 68: {"pbx:9160": WARNING}},
    ),
    "480 as often as usual": Case(
        "UnavailableRate",
        "instance",
        {invites(200): "0+10x90", invites(480): "0+5x90"},
        {60: {}, 89: {}},
    ),
    "two calls answered 480 in the night": Case(
        "UnavailableRate",
        "instance",
        {invites(480): minutes((0, 60), (1, 5), (2, 25))},
        {63: {}, 68: {}},
    ),
    "sipwatch is down": Case(
        "SipwatchDown",
        "job",
        {"up": minutes((1, 5), (0, 5), (1, 3))},
        {6: {}, 7: {"sipwatch": CRITICAL}, 11: {}},
    ),
    "sipwatch is not scraped at all": Case(
        "SipwatchDown",
        "job",
        {"sipwatch_other": minutes((1, 5))},
        {1: {}, 3: {"sipwatch": CRITICAL}},
    ),
    "a configuration is refused": Case(
        "SipwatchConfigRejected",
        "instance",
        {"sipwatch_config_last_reload_successful": minutes((1, 3), (0, 3))},
        {2: {}, 4: {"pbx:9160": WARNING}},
    ),
    "people are not told": Case(
        "SipwatchOutboxStuck",
        "instance",
        {"sipwatch_outbox_oldest_seconds": minutes((0, 3), (899, 1), (959, 1))},
        {3: {}, 4: {"pbx:9160": CRITICAL}},
    ),
    "sipwatch is late": Case(
        "SipwatchLate",
        "instance",
        {"sipwatch_scheduler_lag_seconds": minutes((0, 5), (1, 15))},
        {8: {}, 14: {"pbx:9160": WARNING}},
    ),
    "a notifier fails": Case(
        "NotifierFailing",
        "notifier",
        {
            'sipwatch_notifier_up{notifier="oncall"}': minutes((1, 3), (0, 3)),
            'sipwatch_notifier_up{notifier="chat"}': minutes((1, 6)),
        },
        {2: {}, 4: {"oncall": WARNING}},
    ),
    "the kernel drops answers": Case(
        "ReceiveBufferDrops",
        "instance",
        {"sipwatch_receive_buffer_drops_total": minutes((0, 5), (7, 10))},
        {4: {}, 6: {"pbx:9160": WARNING}, 14: {}},
    ),
    "silent contacts": judged("ContactsSilent", WARNING),
    "few contacts": judged("FewContacts", WARNING),
    "an audit": judged("RegistrationAudit", WARNING),
    "a restart": judged("RegistrarRestarted", WARNING),
    "a restart after which few come back": judged("RegistrarRestarted", CRITICAL),
    "a fail-over": judged("RegistrarFailedOver", WARNING),
    "cut off": judged("VantageLost", CRITICAL),
    "an error of twilio": judged("TwilioAlert", CRITICAL),
    "a warning of twilio": judged("TwilioAlert", WARNING),
    "a clock that jumps": judged("ClockJump", WARNING),
    "no heartbeat": judged("HeartbeatFailing", WARNING),
    "no store": judged("StoreFailing", WARNING),
    "a wrong configuration": judged("ConfigNotReloaded", WARNING),
    "no resolver": judged("ResolverFailing", WARNING),
}


@pytest.mark.real("promtool")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_alert_fires_when_it_should_and_at_no_other_time(
    case: Case, tmp_path: Path
) -> None:
    assert run(tmp_path, case) == ""


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_each_built_in_rule_has_an_alert_of_its_name() -> None:
    own = {"SipwatchDown", "SipwatchConfigRejected", "SipwatchOutboxStuck"}
    own |= {"SipwatchLate"}
    assert {rule["alert"] for rule in alerts()} == set(BUILT_IN) | own


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for name in {rule["alert"] for rule in alerts()}:
        told = [at for c in CASES.values() if c.alert == name for at in c.at.values()]
        several = [c for c in CASES.values() if c.alert == name]
        assert any(told), name
        assert not all(told) or any(len(c.series) > 1 for c in several), name


def test_each_alert_says_what_to_do_next() -> None:
    for rule in alerts():
        assert rule["labels"]["via"] == "prometheus"
        assert set(rule["annotations"]) == {"summary", "description"}
        assert ". Next: " in rule["annotations"]["description"], rule["alert"]
