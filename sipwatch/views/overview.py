"""What is on top of everything: is it well, and how many are not."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typing_extensions import TypedDict

from checks.options.rows import STATES
from sipwatch import __version__
from sipwatch.answers import telling
from sipwatch.sources import Sources, owed_since
from sipwatch.views import registrars
from sipwatch.views.lens import UNKNOWN, Lens

SEVERITIES = ("critical", "warning", "info")
TARGETS = ("up", "degraded", "down", UNKNOWN)


class Outbox(TypedDict):
    """What notifiers should know and do not."""

    pending: int
    oldest: str | None


class Overview(TypedDict):
    """The daemon in a line."""

    instance: str
    version: str
    ready: bool
    since: str
    worst: str | None  # severity of the worst open incident
    incidents: dict[str, int]  # open ones, by severity
    acknowledged: int  # of them
    extensions: dict[str, int]  # by state
    targets: dict[str, int]
    registrars: dict[str, int]
    vantage: dict[str, Any] | None
    outbox: Outbox
    notifiers_failing: list[str]
    silences: int
    maintenance: list[dict[str, Any]]


def overview(sources: Sources) -> Overview:
    """The daemon in a line; it walks over all extensions and targets, counting."""
    lens = Lens(sources)
    incidents = sources.alarms.incidents
    by_severity = Counter(str(one.severity) for one in incidents)
    extensions = Counter(dict.fromkeys((*map(str, registrars.EXTENSIONS), UNKNOWN), 0))
    states = Counter(dict.fromkeys(("readable", "unreadable", UNKNOWN), 0))
    for judge in list(sources.judges.values()):
        extensions.update(registrars.counts(lens, judge))
        states[judge.state or UNKNOWN] += 1
    return {
        "instance": sources.config.instance,
        "version": __version__,
        "ready": sources.ready,
        "since": lens.at(sources.started_at),
        "worst": next((s for s in SEVERITIES if by_severity[s]), None),
        "incidents": {severity: by_severity[severity] for severity in SEVERITIES},
        "acknowledged": sum(bool(one.acknowledged_by) for one in incidents),
        "extensions": dict(extensions),
        "targets": targets(lens),
        "registrars": dict(states),
        "vantage": telling.vantage(sources, lens.at),
        "outbox": outbox(lens),
        "notifiers_failing": [
            name for name in sources.couriers if sources.alarms.failing(name)
        ],
        "silences": telling.silences(sources),
        "maintenance": telling.maintenance(sources),
    }


def targets(lens: Lens) -> dict[str, int]:
    """How many targets are in each state."""
    judge = lens.sources.options.judge
    counts = [0] * len(STATES)
    # Files of targets put thousands of one scope behind each other.
    scope, seen = None, True
    for subject, state in zip(judge.subjects, judge.state, strict=True):
        if subject is None:
            continue
        if subject.scope is not scope:
            scope, seen = subject.scope, lens.sees(subject)
        counts[state if seen else 0] += 1
    found = {str(s or UNKNOWN): n for s, n in zip(STATES, counts, strict=True)}
    return {state: found[state] for state in TARGETS}


def outbox(lens: Lens) -> Outbox:
    """How much is owed, and since when."""
    owed = lens.sources.alarms.owed()
    oldest = min((owed_since(row, lens.now) for row in owed), default=None)
    return {"pending": len(owed), "oldest": lens.maybe(oldest)}
