"""What was announced since the start, counted in plain ints."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pyee.base import EventEmitter

from alerting.announcement import Opened
from alerting.incident import Incident, Severity
from checks.cause import Finding
from checks.observation import Cause
from sipwatch import sources

# From the moment it happened: rules wait for 30 s to 15 min.
DETECTION = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0)


class Sources(sources.Sources, Protocol):
    """The daemon, which counts what it announces as well."""

    @property
    def counts(self) -> Counts:
        """What was announced since the start."""


@dataclass(slots=True)
class Histogram:
    """Counts by upper bound, in plain ints."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)  # the last: above all bounds
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counts:
    """Counts what the bus announces; a lost one costs nothing but a number."""

    def __init__(
        self, bus: EventEmitter, found: Callable[[Incident], Finding | None]
    ) -> None:
        """`found` says why the subject of an incident cannot be called."""
        self._found = found
        self.unavailable: Counter[Cause] = Counter()
        self.opened: Counter[tuple[str, Severity]] = Counter()
        self.detection = Histogram(DETECTION)
        bus.on("opened", self._opened)

    def _opened(self, announced: Opened) -> None:
        incident = announced.incident
        self.opened[incident.rule, incident.severity] += 1
        if not announced.again:  # then `since` is the first one's
            self.detection.add(max(0.0, announced.at - incident.since))
        finding = self._found(incident)
        if finding is not None and finding.cause is not None:
            self.unavailable[finding.cause] += 1
