"""Who is told of an incident, with which others together, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from alerting.incident import Incident, Severity
from alerting.matching import (
    Patterns,
    RoutePatterns,
    matches_field,
    severity,
    subject_field,
)
from checks.observation import plain
from checks.settings import Duration, Glob, Parsed, duration

STEPS_MOST = 20  # of one ladder
REPEAT_LEAST = 60.0  # s; one of 0s would be told again and again without end
PER_HOUR_MOST = 1000
# Without routes: every warning and every critical to every notifier.
TOLD_BY_DEFAULT = Severity.WARNING


def repeats(written: Any) -> Mapping[Severity, float]:
    """A mapping of severities to durations."""
    if not isinstance(written, Mapping):
        raise ValueError("is a mapping of severities (write {critical: 4h})")
    return {severity(name): duration(value) for name, value in written.items()}


def per_severity(written: Any) -> float | Mapping[Severity, float]:
    """A duration for all severities, or a mapping of them."""
    return repeats(written) if isinstance(written, Mapping) else duration(written)


def by_severity(value: float | Mapping[Severity, float], severity: Severity) -> float:
    """The duration for a severity; what a mapping leaves out does not wait."""
    return value.get(severity, 0.0) if isinstance(value, Mapping) else value


_DURATIONS: tuple[tuple[str, Any], ...] = (
    ("type", "object"),
    ("propertyNames", {"enum": [str(s) for s in Severity]}),
    ("additionalProperties", {"type": "string"}),
)
Repeats = Annotated[Mapping[Severity, float], Parsed(repeats, _DURATIONS)]
PerSeverity = Annotated[
    float | Mapping[Severity, float],
    Parsed(per_severity, (("anyOf", [{"type": "string"}, dict(_DURATIONS)]),)),
]
_REPEAT = MappingProxyType(
    {Severity.CRITICAL: 4 * 3600.0, Severity.WARNING: 24 * 3600.0}
)
_STAND_IN = MappingProxyType({Severity.CRITICAL: 300.0})


@dataclass(frozen=True, slots=True)
class StepSettings:
    """One step of a ladder: who is told if nobody has acknowledged until then."""

    after: Duration  # since the incident opened
    notify: tuple[str, ...]  # who is told then

    def __post_init__(self) -> None:
        if self.after <= 0:
            raise ValueError("after must be more than 0s")


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """Incidents that match all fields go to these notifiers."""

    notify: tuple[str, ...]  # who is told
    match: RoutePatterns = field(default_factory=dict)  # all must fit; empty: any
    during: str = ""  # a schedule: out of it, this route waits for it
    outside: str = ""  # a schedule: as long as it is open, this route waits
    escalate: tuple[StepSettings, ...] = ()  # unless somebody acknowledges
    repeats: int | None = None  # at most; default: until it ends or is acknowledged
    per_hour: int | None = None  # to each notifier; the rest is one more, later

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 0:
            raise ValueError("repeats must not be less than 0")
        if self.per_hour is not None and not 2 <= self.per_hour <= PER_HOUR_MOST:
            raise ValueError(f"per_hour must be 2 to {PER_HOUR_MOST}")
        if len(self.escalate) > STEPS_MOST:
            raise ValueError(f"escalate has more than {STEPS_MOST} steps")


class Rung(NamedTuple):
    """One notifier of one step of a ladder."""

    number: int  # the same whatever other routes an incident takes
    after: float
    notifier: str


class Limit(NamedTuple):
    """How many notifications an hour a route allows to each of its notifiers."""

    route: int
    most: int


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Which incidents share a notification, and when it goes."""

    by: tuple[str, ...] = ("rule", "registrar")  # what is alike in these shares a mail
    wait: PerSeverity = 10.0  # before the first notification of a group
    interval: PerSeverity = 300.0  # before the next one of the same group
    repeat: Repeats = field(default_factory=lambda: _REPEAT)  # until acknowledged
    stand_in: Repeats = field(default_factory=lambda: _STAND_IN)
    """How long a notifier may fail to tell it, until the next one is told as well."""

    def __post_init__(self) -> None:
        if any(every < REPEAT_LEAST for every in self.repeat.values()):
            raise ValueError("repeat must be 1m or more (leave out what is not wanted)")


class Routes:
    """The routes as written, or the default one."""

    def __init__(
        self, settings: Sequence[RouteSettings], notifiers: Sequence[str]
    ) -> None:
        self._settings = tuple(settings)
        self.notifiers = tuple(notifiers)
        self.timed = any(route.during or route.outside for route in self._settings)
        self.limited = any(route.per_hour for route in self._settings)

    def of(self, incident: Incident, named: Sequence[str] = ()) -> tuple[str, ...]:
        """The notifiers to tell, in order; a rule's own `notify` goes first."""
        own = own_notifier(incident)
        found = dict.fromkeys(named or self._matching(incident))
        told = tuple(n for n in found if n != own and n in self.notifiers)
        if own is not None and own in found and not told:
            return tuple(n for n in self.notifiers if n != own)  # whoever still works
        return told

    def _matching(self, incident: Incident) -> list[str]:
        if not self._settings:
            told = incident.severity >= TOLD_BY_DEFAULT
            return list(self.notifiers) if told else []
        return [name for route in self._taken(incident) for name in route.notify]

    def _taken(self, incident: Incident) -> list[RouteSettings]:
        return [route for route in self._settings if fits(incident, route.match)]

    def considered(self, incident: Incident) -> list[tuple[RouteSettings, str]]:
        """Every route, and why an incident does not take it; empty where it does."""
        return [(route, misfit(incident, route.match)) for route in self._settings]

    def ways(self, incident: Incident, notifier: str) -> list[RouteSettings]:
        """The routes by which a notifier is told of an incident, at once or later."""
        return [
            route
            for route in self._taken(incident)
            if notifier in route.notify
            or any(notifier in step.notify for step in route.escalate)
        ]

    def ladder(self, incident: Incident, named: Sequence[str] = ()) -> list[Rung]:
        """Who is told later unless somebody acknowledges; nobody by a rule's word."""
        own = own_notifier(incident)
        return [
            Rung(number * STEPS_MOST + n, step.after, name)
            for number, route in enumerate(() if named else self._settings)
            if route.escalate and fits(incident, route.match)
            for n, step in enumerate(route.escalate, 1)
            for name in step.notify
            if name in self.notifiers and name != own
        ]

    def limit(self, incident: Incident, notifier: str) -> Limit | None:
        """The limit of the way by which a notifier is told; one that has none rules."""
        ways = self.ways(incident, notifier)
        if not ways or not all(way.per_hour for way in ways):
            return None
        return Limit(self._settings.index(ways[0]), ways[0].per_hour or 0)

    def repeats(self, incident: Incident, notifier: str) -> int | None:
        """How often at most a notifier is told again; None: without end."""
        if not self._settings:
            return None  # by the default route; of a mass event each would look
        found = [route.repeats for route in self.ways(incident, notifier)]
        limits = [most for most in found if most is not None]
        return max(limits) if limits and len(limits) == len(found) else None

    def after(self, incident: Incident, told: Sequence[str]) -> str | None:
        """Who stands in for a notifier that refused for good: the next untold."""
        own = own_notifier(incident)
        for name in (*self.of(incident), *self.notifiers):
            if name not in told and name != own:
                return name
        return None


def own_notifier(incident: Incident) -> str | None:
    """The notifier that an incident is about: nobody reports its own silence."""
    kind, _, name = incident.subject.name.partition("/")
    return name if incident.subject.kind == "self" and kind == "notifier" else None


def fits(incident: Incident, match: Patterns) -> bool:
    """Whether an incident has all of these fields."""
    return all(fits_one(incident, name, several) for name, several in match.items())


def misfit(incident: Incident, match: Patterns) -> str:
    """The first field that an incident has otherwise: "severity is info"."""
    for name, several in match.items():
        if not fits_one(incident, name, several):
            own = _own_field(incident, name)
            value = subject_field(incident.subject, name) if own is None else own
            return f"{name} is {plain(value)}" if value else f"it has no {plain(name)}"
    return ""


def fits_one(incident: Incident, name: str, several: tuple[Glob, ...]) -> bool:
    """Whether a field of an incident, or of its subject, fits one of the patterns."""
    own = _own_field(incident, name)
    if own is None:
        return matches_field(incident.subject, name, several)
    return any(one(own) for one in several)


def _own_field(incident: Incident, name: str) -> str | None:
    if name == "severity":
        return str(incident.severity)
    if name in ("rule", "family"):
        return incident.rule if name == "rule" else incident.family
    return None


def group_of(incident: Incident, by: Sequence[str]) -> str:
    """The group an incident falls in; incidents of one group are told together."""
    parts = []
    for name in by:
        own = _own_field(incident, name)
        value = subject_field(incident.subject, name) if own is None else own
        parts.append(f"{name}={value}")
    return " ".join(parts)
