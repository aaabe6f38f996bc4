"""What Prometheus reads: aggregates by prometheus-client, subjects by `series`."""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from pyee.base import EventEmitter

from alerting.announcement import Opened
from alerting.incident import Incident, Severity
from checks.cause import CAUSES, Finding
from checks.observation import Cause, State
from checks.options.inbox import BUCKETS
from checks.options.rows import ASKED_FOR, ROLES
from sipwatch import (
    __version__,
    account_series,
    capture_series,
    outbound,
    series,
    telling,
    twilio_series,
)
from sipwatch import sources as seen
from sipwatch.exposition import Exposition, Family, label
from sipwatch.sources import Sight, owed_since, sliced

# From the moment it happened: rules wait for 30 s to 15 min.
DETECTION = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1800.0, 3600.0)
COUNTED = 1000  # incidents or outbox rows between two looks at the time

FIRING, ACKNOWLEDGED = "firing", "acknowledged"


class Sources(seen.Sources, Protocol):
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


def exposition(sources: Sources) -> Exposition:
    """All metrics of the daemon, rendered on request."""
    registry = CollectorRegistry()
    registry.register(_Aggregates(sources))
    ProcessCollector(registry=registry)
    return Exposition(lambda: generate_latest(registry), lambda: _families(sources))


def _families(sources: Sources) -> Iterator[Family]:
    """What is told of subjects, and what takes a walk over many rows to count."""
    yield from series.families(sources)
    yield from outbound.families(sources)
    yield from account_series.families(sources)
    yield from twilio_series.families(sources)
    yield from telling.families(sources)
    yield from capture_series.families(sources)
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
    for rule, severity in _possible(sources):  # so that a closed one goes to 0
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


def _possible(sources: Sources) -> list[tuple[str, Severity]]:
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


class _Aggregates(Collector):
    """What is few by nature: registrars, rules, notifiers, sipwatch itself."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        """Nothing: a collector may not be asked before there is a daemon."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them, as they stand."""
        yield self._registrars()
        yield self._answers()
        yield from self._alarms()
        yield from self._couriers()
        yield from self._own()

    def _registrars(self) -> Metric:
        up = GaugeMetricFamily(
            "sipwatch_registrar_up",
            "Whether a registrar can be read.",
            labels=("registrar", "type"),
        )
        sight = Sight(self._sources.alarms)
        for judge in self._sources.judges.values():
            if judge.state is not None and sight.of(judge.subject):
                well = float(judge.state is State.READABLE)
                up.add_metric((judge.name, judge.settings.type), well)
        return up

    def _answers(self) -> Metric:
        durations = HistogramMetricFamily(
            "sipwatch_options_duration_seconds",
            "Time to the answers to OPTIONS, by role of who was asked.",
            labels=("role",),
        )
        inbox = self._sources.options.sweep.inbox
        for role, counts, total in zip(
            ROLES, inbox.histograms, inbox.sums, strict=True
        ):
            if role not in ASKED_FOR or any(counts):
                _fill(durations, (role,), Histogram(BUCKETS, counts, total))
        return durations

    def _alarms(self) -> Iterator[Metric]:
        counts = self._sources.counts
        opened = CounterMetricFamily(
            "sipwatch_incidents_opened",
            "Incidents opened, also those that came again.",
            labels=("rule", "severity"),
        )
        for rule, severity in _possible(self._sources):
            opened.add_metric((rule, str(severity)), counts.opened[rule, severity])
        yield opened
        unavailable = CounterMetricFamily(
            "sipwatch_unavailable",
            "Incidents of who cannot be called, by the cause found when they opened.",
            labels=("cause",),
        )
        for cause in sorted(CAUSES | set(counts.unavailable)):
            unavailable.add_metric((str(cause),), counts.unavailable[cause])
        yield unavailable
        delay = HistogramMetricFamily(
            "sipwatch_detection_delay_seconds",
            "From the moment that it happened to the incident.",
        )
        _fill(delay, (), counts.detection)
        yield delay

    def _couriers(self) -> Iterator[Metric]:
        sent = CounterMetricFamily(
            "sipwatch_notifications",
            "Attempts at a notification, by outcome.",
            labels=("notifier", "outcome"),
        )
        delay = HistogramMetricFamily(
            "sipwatch_delivery_delay_seconds",
            "From the opening or closing of an incident to a notifier's acceptance.",
            labels=("notifier",),
        )
        for name, courier in list(self._sources.couriers.items()):
            for outcome, count in courier.outcomes.items():
                sent.add_metric((name, str(outcome)), count)
            took = courier.delays
            _fill(delay, (name,), Histogram(took.bounds, took.counts, took.total))
        yield sent
        yield delay

    def _own(self) -> Iterator[Metric]:
        sources = self._sources
        yield GaugeMetricFamily(
            "sipwatch_scheduler_lag_seconds",
            "How late the last look of the loop at itself was.",
            sources.selfwatch.lag,
        )
        yield CounterMetricFamily(
            "sipwatch_receive_buffer_drops",
            "Answers that the kernel had no room for.",
            sources.options.drops,
        )
        yield GaugeMetricFamily(
            "sipwatch_config_last_reload_successful",
            "Whether the last configuration that was read is in force.",
            float(sources.reload_ok),
        )
        build = GaugeMetricFamily(
            "sipwatch_build_info",
            "1, with the versions as labels.",
            labels=("version", "python"),
        )
        build.add_metric((__version__, platform.python_version()), 1.0)
        yield build


def _fill(
    metric: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram
) -> None:
    """Add a histogram; Prometheus wants each bucket to hold the smaller ones."""
    names = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(names, accumulate(histogram.counts), strict=True))
    metric.add_metric(labels, buckets, histogram.total)
