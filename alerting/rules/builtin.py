"""The built-in rules: what is right without a line of configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from alerting.incident import Severity
from alerting.matching import Patterns
from alerting.rules.grades import (
    Clock,
    Grade,
    Says,
    Verdict,
    breach_in_words,
    changed_often,
    changes_in_words,
    contacts_in_words,
    days_in_words,
    ends_within,
    every,
    failed,
    in_states,
    lost_in_words,
    lost_together,
    mean_in_words,
    outside_policy,
    rank_of,
    refresh_in_words,
    refresh_overdue,
    resent_in_words,
    resent_over,
    silent_in_words,
    silent_together,
    slower_than,
    too_few_contacts,
    unavailable_over,
)
from checks.observation import Cause, Event, Kind, Loss, Observation, State
from checks.settings import Glob

WARNING, CRITICAL, INFO = Severity.WARNING, Severity.CRITICAL, Severity.INFO

BLIND_TOO_LONG = 900.0  # s unreadable after which it is critical
BACK_AFTER = 120.0  # s after a restart, and the share that should be back by then
BACK_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a rule may be tuned by; a configuration replaces single ones."""

    for_: float = 0.0
    failures: int = 1
    recover: int = 1
    keep_firing_for: float = 0.0
    above: float = 0.0
    below: float = 0.0  # s
    window: float = 0.0  # s
    changes: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """A built-in rule before its numbers are filled in."""

    kind: Kind
    family: str
    grades: Callable[[Numbers], tuple[Grade, ...]]  # the worst first
    numbers: Numbers = field(default_factory=Numbers)
    tuned_by: tuple[str, ...] = ("for",)  # keys of Numbers that it reads
    clock: Clock = Clock.SINCE
    rank: int = 0
    where: Patterns = field(default_factory=dict)
    says: Says | None = None
    goes_on: bool = False
    also: tuple[Kind, ...] = ()
    follows: str = ""  # the rule whose hours it has, where it is given none


def _required(o: Observation) -> Verdict:
    return o.subject.required


def _not_logged_out(o: Observation) -> Verdict:
    return not (o.subject.logout_ok and o.loss is Loss.DEREGISTERED)


def _is_trunk(o: Observation) -> Verdict:
    return o.subject.scope.role == "trunk"


def _answered(o: Observation) -> Verdict:
    # What has not answered since a restart eases nothing that is open.
    return o.figures.answered or None


def _options_failed(o: Observation) -> Verdict:
    return o.figures.options_failed


def _few_are_back(o: Observation) -> Verdict:
    expected, present = o.figures.expected, o.figures.present
    if not expected or present is None:
        return None
    return present < BACK_SHARE * expected


def _event(event: Event) -> Callable[[Observation], Verdict]:
    # An event is in one observation; the later ones do not tell it has ended.
    return lambda o: True if o.event is event else None


def _unregistered(n: Numbers) -> tuple[Grade, ...]:
    lost = every([in_states(State.UNREGISTERED), _not_logged_out])
    return (
        Grade(CRITICAL, every([lost, _required]), n.for_),
        Grade(WARNING, lost, n.for_),
    )


def _unreachable(n: Numbers) -> tuple[Grade, ...]:
    return (Grade(WARNING, in_states(State.UNREACHABLE), n.for_),)


def _options_failing(n: Numbers) -> tuple[Grade, ...]:
    down = every([in_states(State.DOWN), failed(n.failures)])
    # What never answered is a matter of ACL, firewall or ban, not of an outage.
    return (
        Grade(CRITICAL, every([down, _answered]), n.for_),
        Grade(WARNING, down, n.for_),
    )


def _degraded(n: Numbers) -> tuple[Grade, ...]:
    degraded = in_states(State.DEGRADED)
    return (
        Grade(CRITICAL, every([degraded, _is_trunk]), n.for_),
        Grade(WARNING, degraded, n.for_),
    )


def _unreadable(n: Numbers) -> tuple[Grade, ...]:
    blind = in_states(State.UNREADABLE)
    return (
        Grade(CRITICAL, every([blind, _options_failed])),
        Grade(CRITICAL, blind, max(BLIND_TOO_LONG, n.for_)),
        Grade(WARNING, blind, n.for_),
    )


def _not_kept(n: Numbers) -> tuple[Grade, ...]:
    lost = in_states(State.REJECTED, State.FAILING)
    return (Grade(CRITICAL, lost, n.for_),)


def _account_well(o: Observation) -> Verdict:
    # A phone that uses the account, a contact of ours that stayed: to be put right by
    # day. Calls go on.
    return o.cause not in (Cause.IN_USE, Cause.NOT_REMOVED)


def _register_failing(n: Numbers) -> tuple[Grade, ...]:
    refused = in_states(State.REJECTED, State.FAILING)
    fails = every([refused, failed(n.failures)])
    return (
        Grade(CRITICAL, every([fails, _account_well]), n.for_),
        Grade(WARNING, fails, n.for_),
    )


def _restarted(n: Numbers) -> tuple[Grade, ...]:
    return (
        Grade(CRITICAL, _few_are_back, BACK_AFTER),
        Grade(WARNING, _event(Event.RESTARTED)),
    )


def _failing(n: Numbers) -> tuple[Grade, ...]:
    return (Grade(WARNING, in_states(State.FAILING), n.for_),)


def _cut_off(n: Numbers) -> tuple[Grade, ...]:
    return (Grade(CRITICAL, in_states(State.DOWN), n.for_),)


def _reported(n: Numbers) -> tuple[Grade, ...]:
    return (
        Grade(CRITICAL, in_states(State.FAILING), n.for_),
        Grade(WARNING, in_states(State.DEGRADED), n.for_),
    )


def _own_trouble(name: str) -> Form:
    """A rule about ourselves: a self subject of this name is failing."""
    return Form(Kind.SELF, "self", _failing, where={"self": (Glob(name),)})


def _certificate(severity: Severity, days: float) -> Form:
    def grades(n: Numbers) -> tuple[Grade, ...]:
        return (Grade(severity, ends_within(n.below / 86400), n.for_),)

    return Form(
        Kind.TARGET,
        "certificate",
        grades,
        Numbers(below=days * 86400),
        ("for", "below"),
        Clock.SEEN,
        says=days_in_words,
    )


BUILT_IN: Mapping[str, Form] = MappingProxyType(
    {
        "ExtensionUnregistered": Form(
            Kind.EXTENSION,
            "liveness",
            _unregistered,
            Numbers(for_=120, keep_firing_for=60),
            rank=rank_of([State.UNREGISTERED]),
        ),
        "ExtensionUnreachable": Form(
            Kind.EXTENSION,
            "liveness",
            _unreachable,
            Numbers(for_=120, keep_firing_for=60),
            rank=rank_of([State.UNREACHABLE]),
        ),
        "OptionsFailing": Form(
            Kind.TARGET,
            "liveness",
            _options_failing,
            Numbers(for_=60, failures=3, recover=2),
            ("for", "failures", "recover"),
            rank=rank_of([State.DOWN]),
        ),
        "TargetDegraded": Form(
            Kind.TARGET,
            "liveness",
            _degraded,
            Numbers(for_=300),
            ("for", "recover"),
            rank=rank_of([State.DEGRADED]),
        ),
        "OptionsSlow": Form(
            Kind.TARGET,
            "latency",
            lambda n: (Grade(WARNING, slower_than(n.above), n.for_),),
            Numbers(for_=300, above=0.5),
            ("for", "above s"),
            Clock.SEEN,
            says=mean_in_words,
        ),
        "RetransmitsHigh": Form(
            Kind.TARGET,
            "loss",
            lambda n: (Grade(INFO, resent_over(n.above), n.for_),),
            Numbers(above=0.3),
            ("for", "above %"),
            Clock.SEEN,
            says=resent_in_words,
        ),
        "CertificateExpiring": _certificate(WARNING, 14),
        "CertificateCritical": _certificate(CRITICAL, 3),
        "OutboundRegistrationLost": Form(
            Kind.REGISTRATION,
            "liveness",
            _not_kept,
            Numbers(for_=120),
        ),
        "RegisterFailing": Form(
            Kind.ACCOUNT,
            "liveness",
            _register_failing,
            Numbers(failures=2),
            ("for", "failures"),
        ),
        "RegistrarUnreadable": Form(
            Kind.REGISTRAR,
            "liveness",
            _unreadable,
            Numbers(for_=120),
            rank=rank_of([State.UNREADABLE]),
        ),
        "RefreshOverdue": Form(
            Kind.EXTENSION,
            "refresh",
            lambda n: (Grade(INFO, refresh_overdue, n.for_),),
            clock=Clock.SEEN,
            says=refresh_in_words,
        ),
        "FewContacts": Form(
            Kind.EXTENSION,
            "contacts",
            lambda n: (Grade(WARNING, too_few_contacts, n.for_),),
            Numbers(for_=600),
            clock=Clock.SEEN,
            says=contacts_in_words,
        ),
        "ContactsSilent": Form(
            Kind.REGISTRAR,
            "reach",
            lambda n: (Grade(WARNING, silent_together, n.for_),),
            Numbers(for_=120),
            clock=Clock.SEEN,
            says=silent_in_words,
        ),
        "RegistrationPolicy": Form(
            Kind.EXTENSION,
            "policy",
            lambda n: (Grade(INFO, outside_policy, n.for_),),
            clock=Clock.SEEN,
            says=breach_in_words,
        ),
        "RegistrationAudit": Form(
            Kind.REGISTRAR,
            "policy",
            lambda n: (Grade(WARNING, _event(Event.AUDITED)),),
            tuned_by=(),
            clock=Clock.EVENT,
        ),
        "MassUnregistration": Form(
            Kind.REGISTRAR,
            "mass",
            lambda n: (Grade(CRITICAL, lost_together, n.for_),),
            Numbers(for_=30, above=0.2, window=120),
            ("for", "window", "above %"),
            clock=Clock.SEEN,
            says=lost_in_words,
            also=(Kind.SITE,),
            follows="ExtensionUnregistered",
        ),
        "Flapping": Form(
            Kind.EXTENSION,
            "flapping",
            lambda n: (Grade(WARNING, changed_often(n.changes, n.until)),),
            Numbers(window=1800, changes=6, until=2),
            ("window", "changes", "until"),
            clock=Clock.SEEN,
            says=changes_in_words,
            also=(
                *(Kind.TARGET, Kind.REGISTRATION, Kind.ACCOUNT),
                *(Kind.REGISTRAR, Kind.SITE),
            ),
        ),
        "VantageLost": Form(
            Kind.VANTAGE,
            "liveness",
            _cut_off,
            Numbers(for_=30),
            rank=rank_of([State.DOWN]),
        ),
        "RegistrarRestarted": Form(
            Kind.REGISTRAR,
            "restart",
            _restarted,
            tuned_by=(),
            clock=Clock.EVENT,
            goes_on=True,
        ),
        "RegistrarFailedOver": Form(
            Kind.REGISTRAR,
            "failover",
            lambda n: (Grade(WARNING, _event(Event.FAILED_OVER)),),
            tuned_by=(),
            clock=Clock.EVENT,
            goes_on=True,
        ),
        "TwilioAlert": Form(
            Kind.TWILIO,
            "alert",
            _reported,
            rank=rank_of([State.FAILING]),
        ),
        "TwilioUnreadable": Form(
            Kind.TWILIO,
            "liveness",
            lambda n: (Grade(WARNING, in_states(State.UNREADABLE), n.for_),),
            Numbers(for_=900),
        ),
        "UnavailableRate": Form(
            Kind.SELF,
            "calls",
            lambda n: (Grade(WARNING, unavailable_over(n.above), n.for_),),
            Numbers(for_=120, above=0.2),
            ("for", "above %"),
            Clock.SEEN,
            where={"self": (Glob("calls"),)},
        ),
        "NotifierFailing": _own_trouble("notifier/*"),
        "HeartbeatFailing": _own_trouble("heartbeat"),
        "StoreFailing": _own_trouble("store"),
        "ConfigNotReloaded": _own_trouble("configuration"),
        "ResolverFailing": _own_trouble("resolver"),
        "ReceiveBufferDrops": _own_trouble("receive-buffer"),
        "ClockJump": Form(
            Kind.SELF,
            "clock",
            lambda n: (Grade(WARNING, _event(Event.CLOCK_JUMPED)),),
            tuned_by=(),
            clock=Clock.EVENT,
            where={"self": (Glob("clock"),)},
        ),
    }
)
