"""The metrics of alarms that take a walk over many rows: incidents, what is owed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from alerting.incident import Severity
from sipwatch.metrics.counts import Sources
from sipwatch.metrics.exposition import Family, label
from sipwatch.sources import owed_since, sliced

COUNTED = 1000  # incidents or outbox rows between two looks at the time

FIRING, ACKNOWLEDGED = "firing", "acknowledged"


def families(sources: Sources) -> Iterator[Family]:
    """The open incidents, and the outbox."""
    yield Family(
        "sipwatch_incidents",
        "gauge",
        "Open incidents; acknowledged: somebody has taken them.",
        _incidents(sources),
    )
    outbox = _Outbox(sources)
    yield Family(
        "sipwatch_outbox_pending",
        "gauge",
        "What some notifier should know of an incident and does not yet.",
        outbox.pending(),
    )
    yield Family(
        "sipwatch_outbox_oldest_seconds",
        "gauge",
        "How long the oldest of these has been due; 0 without any.",
        outbox.oldest(),
    )


def _incidents(sources: Sources) -> Iterator[str]:
    counts: Counter[tuple[str, Severity, str]] = Counter()
    for rule, severity in possible(sources):  # so that a closed one goes to 0
        counts[rule, severity, FIRING] = counts[rule, severity, ACKNOWLEDGED] = 0
    for part in sliced(sources.alarms.incidents, COUNTED):
        for i in part:
            how = ACKNOWLEDGED if i.acknowledged_by else FIRING
            counts[i.rule, i.severity, how] += 1
        yield ""
    yield "".join(
        f'sipwatch_incidents{{rule="{label(rule)}",severity="{severity}"'
        f',state="{how}"}} {count}\n'
        for (rule, severity, how), count in sorted(counts.items())
    )


def possible(sources: Sources) -> list[tuple[str, Severity]]:
    """Rules with the severities that they can have, and those that were."""
    rules = sources.alarms.rules
    can = {(rule.name, grade.severity) for rule in rules for grade in rule.grades}
    return sorted(can | set(sources.counts.opened))


class _Outbox:
    """What is owed, counted once for the two metrics of a rendering."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._oldest: float | None = None

    def pending(self) -> Iterator[str]:
        now, count = self._sources.clock.now(), 0
        for part in sliced(self._sources.alarms.owed(), COUNTED):
            count += len(part)
            oldest = min(owed_since(row, now) for row in part)
            self._oldest = oldest if self._oldest is None else min(self._oldest, oldest)
            yield ""
        yield f"sipwatch_outbox_pending {count}\n"

    def oldest(self) -> Iterator[str]:
        now = self._sources.clock.now()
        age = 0.0 if self._oldest is None else max(0.0, now - self._oldest)
        yield f"sipwatch_outbox_oldest_seconds {age:.3f}\n"
