"""What is few by nature, as prometheus-client has it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from checks.cause import CAUSES
from checks.observation import State
from checks.options.inbox import BUCKETS
from checks.options.rows import ASKED_FOR, ROLES
from sipwatch import __version__
from sipwatch.metrics.alarms import possible
from sipwatch.metrics.counts import Histogram, Sources
from sipwatch.sources import Sight


class Aggregates(Collector):
    """Registrars, rules, notifiers, sipwatch itself."""

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
        for rule, severity in possible(self._sources):
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
