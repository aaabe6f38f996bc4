"""Which observations are a problem: the rules, built in and own.

A rule remembers nothing. The check counts (failures in a row, outcomes as bits), so
that every rule is a set of pure predicates over one observation. A predicate answers
True (it is so), False (it is not so) or None (this observation cannot tell: a target
that is down says nothing of its certificate); None leaves matters as they are.

A rule has one or more *grades*, worst first, each with a severity and a `for`. From
what its `for` counts is the rule's clock: the state's `since` (it happened then, not
when we saw it), the first observation that matched (figures have no since), or the
event. What is pending or firing is remembered by `alerting.alarms.core`, which knows of
rules only what stands in `alerting.rules.grades`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Annotated, Any, NamedTuple

from alerting.incident import Severity
from alerting.matching import WrittenPatterns, WrittenSeverity
from alerting.rules.builtin import BUILT_IN, Form, Numbers
from alerting.rules.grades import (
    Clock,
    Grade,
    Predicate,
    Rule,
    Says,
    Verdict,
    days_in_words,
    ends_within,
    every,
    failed,
    in_states,
    mean_in_words,
    rank_of,
    resent_in_words,
    resent_over,
    slower_than,
)
from alerting.rules.inforce import Rules, Watermarks
from alerting.rules.words import own_words, worded
from checks.observation import Kind, Loss, Observation, State
from checks.settings import Duration, Parsed, duration, written_duration

WINDOW_MOST = 86400.0  # s; what changed longer ago belongs to another day


class Threshold(NamedTuple):
    """A written threshold: seconds ("500ms") or a share ("30%")."""

    value: float
    unit: str  # "s" or "%"


def threshold(written: Any) -> Threshold:
    """A threshold from "500ms" or "30%"."""
    text = str(written).strip()
    if not text.endswith("%"):
        return Threshold(duration(written), "s")
    try:
        share = float(text[:-1]) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{text} is not a share (write 30%)")
    return Threshold(share, "%")


def _listed(written: Any) -> list[Any]:
    return list(written) if isinstance(written, list | tuple) else [written]


def _members(written: Any, of: type[State] | type[Loss], what: str) -> tuple[Any, ...]:
    names = [str(member) for member in of]
    for one in _listed(written):
        if one not in names:
            raise ValueError(f"{one} is not {what} ({', '.join(names)})")
    return tuple(of(one) for one in _listed(written))


def states(written: Any) -> tuple[State, ...]:
    """One state or a list of them."""
    found: tuple[State, ...] = _members(written, State, "a state")
    return found


def losses(written: Any) -> tuple[Loss, ...]:
    """One kind of loss or a list of them."""
    found: tuple[Loss, ...] = _members(written, Loss, "a loss")
    return found


def _names_schema(of: type[State] | type[Loss]) -> tuple[tuple[str, Any], ...]:
    one = {"enum": [str(member) for member in of]}
    return (("anyOf", [one, {"type": "array", "items": one}]),)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """A change of a built-in rule, or with `on` a rule of one's own.

    What is None or empty is left as it is built in.
    """

    on: Kind | None = None  # what a rule of your own looks at
    state: Annotated[tuple[State, ...], Parsed(states, _names_schema(State))] = ()
    """The states that are the problem: one or a list."""
    loss: Annotated[tuple[Loss, ...], Parsed(losses, _names_schema(Loss))] = ()
    """How a registration was lost: one or a list; empty: however."""
    where: WrittenPatterns = field(default_factory=dict)  # which subjects; empty: all
    for_: Duration | None = field(default=None, metadata={"alias": "for"})
    """How long it must have been so."""
    failures: int | None = None  # in a row
    recover: int | None = None  # successes in a row until it has ended
    keep_firing_for: Duration | None = None  # well for so long until it is over
    above: Annotated[Threshold, Parsed(threshold, (("type", "string"),))] | None = None
    """The mean round trip (500ms), or a share of probes, phones, calls (30%)."""
    below: Duration | None = None  # what is left of a certificate
    window: Duration | None = None  # within which changes, or losses, belong together
    changes: int | None = None  # of state within the window
    until: int | None = None  # fewer changes within it end it
    severity: WrittenSeverity | None = None  # how much it matters
    during: str = ""  # a schedule: out of it, it neither opens nor reminds
    notify: tuple[str, ...] = ()  # instead of what the routes say
    runbook: str = ""  # a link that is shown with the incident
    enabled: bool = True  # false switches it off
    family: str = ""  # one incident for each subject and family


class Problem(NamedTuple):
    """Something wrong in `rules:`; `key` is empty where the rule itself is."""

    rule: str
    key: str
    sentence: str


class RulesError(ValueError):
    """All that is wrong in `rules:`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(
                f"rules.{p.rule}{'.' if p.key else ''}{p.key}: {p.sentence}"
                for p in self.problems
            )
        )


# What each kind can be; kinds without a check are not listed, and refused.
_STATES: dict[Kind, tuple[State, ...]] = {
    Kind.TARGET: (State.UP, State.DEGRADED, State.DOWN),
    Kind.EXTENSION: (
        State.REGISTERED,
        State.UNREACHABLE,
        State.UNREGISTERED,
        State.NEVER_REGISTERED,
    ),
    Kind.REGISTRATION: (State.OK, State.REJECTED, State.FAILING),
    Kind.ACCOUNT: (State.OK, State.REJECTED, State.FAILING),
    Kind.REGISTRAR: (State.READABLE, State.UNREADABLE),
    Kind.VANTAGE: (State.UP, State.DOWN),
    Kind.TWILIO: (State.OK, State.DEGRADED, State.FAILING, State.UNREADABLE),
    Kind.SELF: (State.OK, State.FAILING),
}


def build(settings: Mapping[str, RuleSettings]) -> Rules:
    """The built-in rules as changed, and the own ones; raises RulesError."""
    problems: list[Problem] = []
    built: list[Rule] = []
    used: list[tuple[Kind, Numbers, str]] = []
    for name, form in BUILT_IN.items():
        changed = settings.get(name, RuleSettings())
        if form.follows and not changed.during:
            of = settings.get(form.follows, RuleSettings())
            changed = replace(changed, during=of.during)
        wrong = list(_wrong_change(name, form, changed))
        problems += wrong
        if changed.enabled and not wrong:
            numbers = _numbers(form.numbers, changed)
            built.append(_changed(name, form, numbers, changed))
            used += [(kind, numbers, _unit(form)) for kind in (form.kind, *form.also)]
    for name, own in settings.items():
        if name in BUILT_IN:
            continue
        wrong = list(_wrong_own(name, own))
        problems += wrong
        if own.enabled and not wrong:
            numbers = _numbers(Numbers(), own)
            built.append(_own(name, own, numbers))
            unit = own.above.unit if own.above else ""
            used.append((Kind(own.on or ""), numbers, unit))
    if problems:
        raise RulesError(problems)
    return Rules(built, _watermarks(used))


def _unit(form: Form) -> str:
    return next((k[-1] for k in form.tuned_by if k.startswith("above")), "")


def _watermarks(used: list[tuple[Kind, Numbers, str]]) -> Watermarks:
    targets = [(numbers, unit) for kind, numbers, unit in used if kind is Kind.TARGET]
    return Watermarks(
        rtt=min((n.above for n, unit in targets if unit == "s"), default=None),
        resent=min((n.above for n, unit in targets if unit == "%"), default=None),
        failures=max((n.failures for n, _ in targets), default=1),
        recover=max((n.recover for n, _ in targets), default=1),
    )


def _numbers(numbers: Numbers, s: RuleSettings) -> Numbers:
    given: dict[str, Any] = {
        "for_": s.for_,
        "failures": s.failures,
        "recover": s.recover,
        "keep_firing_for": s.keep_firing_for,
        "above": s.above.value if s.above else None,
        "below": s.below,
        "window": s.window,
        "changes": s.changes,
        "until": s.until,
    }
    return replace(numbers, **{k: v for k, v in given.items() if v is not None})


def _changed(name: str, form: Form, numbers: Numbers, s: RuleSettings) -> Rule:
    grades = worded(name, form.grades(numbers), numbers)
    if s.severity is not None:
        grades = tuple(replace(grade, severity=s.severity) for grade in grades)
    if s.loss:
        lost = _lost(s.loss)
        grades = tuple(replace(g, matches=every([g.matches, lost])) for g in grades)
    return Rule(
        name,
        form.kind,
        s.family or form.family,
        grades,
        clock=form.clock,
        rank=form.rank,
        where={**form.where, **s.where},
        recover=numbers.recover,
        keep_firing_for=numbers.keep_firing_for,
        notify=s.notify,
        during=s.during,
        runbook=s.runbook,
        says=form.says,
        goes_on=form.goes_on,
        also=form.also,
        share=numbers.above,
        window=numbers.window,
        changes=numbers.changes,
        until=numbers.until,
    )


def _lost(several: tuple[Loss, ...]) -> Predicate:
    def matches(o: Observation) -> Verdict:
        return o.loss in several

    return matches


def _own(name: str, s: RuleSettings, numbers: Numbers) -> Rule:
    parts: list[Predicate] = []
    if s.state:
        parts.append(in_states(*s.state))
    if s.loss:
        parts.append(_lost(s.loss))
    if s.failures is not None:
        parts.append(failed(s.failures))
    if s.above is not None:
        above = slower_than if s.above.unit == "s" else resent_over
        parts.append(above(s.above.value))
    if s.below is not None:
        parts.append(ends_within(s.below / 86400))
    figures = s.above is not None or s.below is not None
    severity = Severity.WARNING if s.severity is None else s.severity
    return Rule(
        name,
        Kind(s.on or ""),
        s.family or _own_family(s),
        (Grade(severity, every(parts), numbers.for_, _about(s)),),
        clock=Clock.SEEN if figures else Clock.SINCE,
        rank=rank_of(s.state),
        own=True,
        where=s.where,
        recover=numbers.recover,
        keep_firing_for=numbers.keep_firing_for,
        notify=s.notify,
        during=s.during,
        runbook=s.runbook,
        says=_own_words(s),
    )


def _about(s: RuleSettings) -> str:
    above = ""
    if s.above is not None and s.above.unit == "s":
        above = f"{written_duration(s.above.value)} of mean round trip"
    elif s.above is not None:
        above = f"{100 * s.above.value:g}% of the questions were sent again"
    return own_words(s.state, s.loss, s.failures, above, s.below)


def _own_words(s: RuleSettings) -> Says | None:
    if s.above is not None:
        return mean_in_words if s.above.unit == "s" else resent_in_words
    return days_in_words if s.below is not None else None


def _own_family(s: RuleSettings) -> str:
    """The family of the built-in rule that looks at the same thing."""
    if s.above is not None:
        return "latency" if s.above.unit == "s" else "loss"
    if s.below is not None:
        return "certificate"
    return "self" if s.on is Kind.SELF else "liveness"


def _wrong_change(name: str, form: Form, s: RuleSettings) -> Iterator[Problem]:
    tuned = {key.split()[0] for key in form.tuned_by}
    if form.clock is not Clock.EVENT:
        tuned.add("keep_firing_for")
    if s.on is not None and s.on is not form.kind:
        kinds = ", ".join((form.kind, *form.also))
        yield Problem(name, "on", f"the built-in rule is on {kinds}")
    if s.state:
        yield Problem(name, "state", "is built in; give an own rule another name")
    if s.loss and form.kind is not Kind.EXTENSION:
        yield Problem(name, "loss", f"a {form.kind} has no loss")
    for key in sorted(_given(s) - tuned):
        yield Problem(name, key, f"{name} does not look at it")
    unit = _unit(form)
    if s.above is not None and "above" in tuned and s.above.unit != unit:
        wanted = "500ms" if unit == "s" else "30%"
        yield Problem(name, "above", f"has the wrong unit (write {wanted})")
    numbers = _numbers(form.numbers, s)
    if numbers.until > numbers.changes:
        text = f"{numbers.until} is more than changes: {numbers.changes}"
        yield Problem(name, "until", text)
    yield from _wrong_counts(name, s)


def _given(s: RuleSettings) -> set[str]:
    values = {
        "for": s.for_,
        "failures": s.failures,
        "recover": s.recover,
        "keep_firing_for": s.keep_firing_for,
        "above": s.above,
        "below": s.below,
        "window": s.window,
        "changes": s.changes,
        "until": s.until,
    }
    return {key for key, value in values.items() if value is not None}


def _wrong_counts(name: str, s: RuleSettings) -> Iterator[Problem]:
    counts = ("failures", "recover", "changes", "until")
    for key, count in ((key, getattr(s, key)) for key in counts):
        if count is not None and not 1 <= count <= 32:
            yield Problem(name, key, f"{count} is not between 1 and 32")
    if s.window is not None and not 60 <= s.window <= WINDOW_MOST:
        yield Problem(name, "window", "is not between 1m and 1d")


def _wrong_own(name: str, s: RuleSettings) -> Iterator[Problem]:
    if s.on is None:
        yield Problem(name, "", _no_such_rule(name))
        return
    if s.on not in _STATES:
        yield Problem(name, "on", f"{s.on} is not watched ({', '.join(_STATES)})")
        return
    for state in s.state:
        if state not in _STATES[s.on]:
            known = ", ".join(_STATES[s.on])
            yield Problem(name, "state", f"a {s.on} is never {state} ({known})")
    if s.loss and s.on is not Kind.EXTENSION:
        yield Problem(name, "loss", f"a {s.on} has no loss")
    for key in sorted(_given(s) & {"window", "changes", "until"}):
        yield Problem(name, key, "is a matter of Flapping and MassUnregistration")
    for key in sorted(_given(s) & {"failures", "recover", "above", "below"}):
        if s.on is not Kind.TARGET and (s.on, key) != (Kind.ACCOUNT, "failures"):
            yield Problem(name, key, f"is a figure of targets, not of a {s.on}")
    if not (s.state or s.loss or s.failures or s.above or s.below):
        yield Problem(name, "", "says nothing of when it fires (write state: [...])")
    yield from _wrong_counts(name, s)


def _no_such_rule(name: str) -> str:
    close = get_close_matches(name, BUILT_IN, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"no such rule, and no `on` that would make it one of yours{hint}"
