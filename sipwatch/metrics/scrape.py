"""What Prometheus reads: aggregates by prometheus-client, the rest as it is counted."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest

from sipwatch.metrics import (
    accounts,
    alarms,
    capture,
    notifiers,
    registrations,
    subjects,
    twilio,
)
from sipwatch.metrics.aggregates import Aggregates
from sipwatch.metrics.counts import Sources
from sipwatch.metrics.exposition import Exposition, Family


def exposition(sources: Sources) -> Exposition:
    """All metrics of the daemon, rendered on request."""
    registry = CollectorRegistry()
    registry.register(Aggregates(sources))
    ProcessCollector(registry=registry)
    return Exposition(lambda: generate_latest(registry), lambda: families(sources))


def families(sources: Sources) -> Iterator[Family]:
    """What is told of subjects, and what takes a walk over many rows to count."""
    yield from subjects.families(sources)
    yield from registrations.families(sources)
    yield from accounts.families(sources)
    yield from twilio.families(sources)
    yield from notifiers.families(sources)
    yield from capture.families(sources)
    yield from alarms.families(sources)
