"""The series of the capture service: by method and code, both of which are few."""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.metrics.exposition import Family
from sipwatch.sources import Sources


def families(sources: Sources) -> Iterator[Family]:
    """In the order in which they are to be rendered; counts only once there are any."""
    passing = sources.passing
    yield Family(
        "sipwatch_capture_up",
        "gauge",
        "Whether the capture service answers.",
        [f"sipwatch_capture_up {int(passing.up)}\n"],
    )
    yield Family(
        "sipwatch_evidence_kept",
        "gauge",
        "Incidents whose exchange is kept.",
        [f"sipwatch_evidence_kept {len(sources.gathering.kept)}\n"],
    )
    yield Family(
        "sipwatch_evidence_missed_total",
        "counter",
        "Incidents whose exchange was not looked for: too many opened at once.",
        [f"sipwatch_evidence_missed_total {sources.gathering.missed}\n"],
    )
    if not passing.packets and not passing.up:
        return
    yield Family(
        "sipwatch_capture_packets_total",
        "counter",
        "Packets that the capture service took in.",
        [f"sipwatch_capture_packets_total {passing.packets}\n"],
    )
    yield Family(
        "sipwatch_capture_dropped_total",
        "counter",
        "Packets that its kernel had no room for.",
        [f"sipwatch_capture_dropped_total {passing.dropped}\n"],
    )
    yield Family(
        "sipwatch_passive_responses_total",
        "counter",
        "SIP responses seen on the network, by method and code.",
        _counted("sipwatch_passive_responses_total", "method", "code", sources),
    )
    yield Family(
        "sipwatch_passive_reasons_total",
        "counter",
        "Reason headers seen in them, by protocol and cause.",
        _counted("sipwatch_passive_reasons_total", "protocol", "cause", sources),
    )


def _counted(name: str, first: str, second: str, sources: Sources) -> Iterator[str]:
    """The words were compared with those that are known when they came."""
    passing = sources.passing
    counts = passing.responses if first == "method" else passing.reasons
    for (a, b), count in sorted(counts.items()):
        yield f'{name}{{{first}="{a}",{second}="{b}"}} {count}\n'
