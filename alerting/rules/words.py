"""Rules in words: when they match, with the numbers that are in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from alerting.matching import Patterns
from alerting.rules.builtin import Numbers
from alerting.rules.grades import Clock, Grade, Rule
from checks.observation import Loss, State
from checks.settings import written_duration

_GONE = "nothing is registered for it"
_DOWN = "{failures} questions in a row had no good answer"
_ENDS = "its certificate ends within {below}"
_FAILED = "{failures} tests in a row failed"

# When each grade of a built-in rule matches, the worst first, as its form has them.
BUILT_IN_WORDS: dict[str, tuple[str, ...]] = {
    "ExtensionUnregistered": (f"{_GONE}, and it is required", _GONE),
    "ExtensionUnreachable": ("it is registered, and no contact of it answers",),
    "OptionsFailing": (_DOWN, f"{_DOWN}, and it has never answered"),
    "TargetDegraded": (
        "it answers, but not as a healthy peer; it is a trunk",
        "it answers, but not as a healthy peer",
    ),
    "OptionsSlow": ("the mean round trip is over {above_s}",),
    "RetransmitsHigh": ("over {above_share} of the last 20 questions were sent again",),
    "CertificateExpiring": (_ENDS,),
    "CertificateCritical": (_ENDS,),
    "OutboundRegistrationLost": ("the PBX is not registered there",),
    "RegisterFailing": (
        _FAILED,
        f"{_FAILED}, by another phone on the account, or a contact that stayed",
    ),
    "RegistrarUnreadable": (
        "it cannot be read, and does not answer OPTIONS",
        "it cannot be read for long",
        "it cannot be read",
    ),
    "RefreshOverdue": ("its refresh comes later than it usually does",),
    "FewContacts": ("it has fewer contacts than it should",),
    "ContactsSilent": ("all contacts that answered our OPTIONS are silent together",),
    "RegistrationPolicy": ("it registers outside of `expiry`",),
    "RegistrationAudit": ("who is outside of `expiry` is not who it was",),
    "MassUnregistration": (
        "{above_share} or more, at least 5, were lost within {window} and are missing",
    ),
    "Flapping": (
        "{changes} changes of state within {window}, until fewer than {until}",
    ),
    "VantageLost": ("none of the places by which we know our network answers",),
    "TwilioAlert": (
        "Twilio reports an error whose code is listed",
        "Twilio reports a warning whose code is listed",
    ),
    "TwilioUnreadable": ("the alerts of the account cannot be read",),
    "RegistrarRestarted": (
        "it restarted, and under 80% of its extensions are back",
        "it restarted",
    ),
    "RegistrarFailedOver": ("another member took over",),
    "UnavailableRate": (
        "more than {above_share} of the calls on the network are answered 480",
    ),
    "NotifierFailing": ("it does not accept what it is told",),
    "HeartbeatFailing": ("it does not arrive",),
    "StoreFailing": ("the database cannot be written",),
    "ConfigNotReloaded": ("a changed configuration is wrong",),
    "ResolverFailing": ("no DNS server answers",),
    "ReceiveBufferDrops": ("this host drops packets before we read them",),
    "ClockJump": ("the clock of this host was set",),
}


def worded(name: str, grades: Sequence[Grade], numbers: Numbers) -> tuple[Grade, ...]:
    """The grades of a built-in rule, each with its words."""
    said = (words.format(**_figures(numbers)) for words in BUILT_IN_WORDS[name])
    return tuple(
        replace(grade, about=about) for grade, about in zip(grades, said, strict=True)
    )


def _figures(n: Numbers) -> dict[str, str]:
    return {
        "failures": str(n.failures),
        "above_s": written_duration(n.above),
        "above_share": f"{100 * n.above:g}%",
        "below": written_duration(n.below),
        "window": written_duration(n.window),
        "changes": str(n.changes),
        "until": str(n.until),
    }


def own_words(
    states: Iterable[State],
    losses: Iterable[Loss],
    failures: int | None,
    above: str,
    below: float | None,
) -> str:
    """When a rule of the configuration's own matches."""
    parts = [" or ".join(str(s).replace("_", " ") for s in states)]
    parts.append(" or ".join(str(loss).replace("_", " ") for loss in losses))
    if failures is not None:
        parts.append(f"{failures} failures in a row")
    if above:
        parts.append(f"over {above}")
    if below is not None:
        parts.append(f"its certificate ends within {written_duration(below)}")
    return ", ".join(part for part in parts if part)


def settings(rule: Rule) -> Iterator[str]:
    """What a rule says beside when it matches: "keep_firing_for 1m"."""
    if rule.recover > 1:
        yield f"recover {rule.recover}"
    if rule.keep_firing_for:
        yield f"keep_firing_for {written_duration(rule.keep_firing_for)}"
    if rule.where:
        yield f"where {matched(rule.where)}"
    if rule.during:
        yield f"during {rule.during}"
    if rule.notify:
        yield f"notify {', '.join(rule.notify)}"
    yield f"family {rule.family}"


def graded(rule: Rule) -> Iterator[str]:
    """Its degrees, the worst first: "critical for 2m: nothing is registered for it"."""
    for grade in rule.grades:
        after = "" if rule.clock is Clock.EVENT else _after(grade)
        yield f"{grade.severity}{after}: {grade.about}"


def _after(grade: Grade) -> str:
    return f" for {written_duration(grade.for_)}" if grade.for_ else " at once"


def matched(patterns: Patterns) -> str:
    """Patterns as they are written: "severity: [warning, critical], site: lyon"."""
    written = []
    for name, several in patterns.items():
        values = ", ".join(one.pattern for one in several)
        written.append(f"{name}: {values if len(several) == 1 else f'[{values}]'}")
    return ", ".join(written)
