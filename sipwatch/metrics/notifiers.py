"""Whether people would be told, as metrics: notifiers and the heartbeat."""

from __future__ import annotations

from collections.abc import Iterator

from sipwatch.metrics.exposition import Family, label
from sipwatch.sources import Sources


def families(sources: Sources) -> Iterator[Family]:
    """Two of each notifier, and those of the heartbeat where there is one."""
    couriers = sources.couriers
    to_wall = sources.clock.to_wall
    yield Family(
        "sipwatch_notifier_last_success_timestamp_seconds",
        "gauge",
        "When a notifier last took something, a self-test too; since the start.",
        (
            "sipwatch_notifier_last_success_timestamp_seconds"
            f'{{notifier="{label(name)}"}} {to_wall(courier.accepted_at):.3f}\n'
            for name, courier in list(couriers.items())
            if courier.accepted_at is not None
        ),
    )
    yield Family(
        "sipwatch_notifier_up",
        "gauge",
        "0 for a notifier that is known to fail.",
        (
            f'sipwatch_notifier_up{{notifier="{label(name)}"}}'
            f" {int(not sources.alarms.failing(name))}\n"
            for name in list(couriers)
        ),
    )
    if sources.heartbeat.settings is not None:
        yield from _of_heartbeat(sources)


def _of_heartbeat(sources: Sources) -> Iterator[Family]:
    beat = sources.heartbeat
    yield Family(
        "sipwatch_heartbeat_beats_total",
        "counter",
        "Beats by outcome; held: not sent, since not all is well.",
        (
            f'sipwatch_heartbeat_beats_total{{outcome="{outcome}"}} {count}\n'
            for outcome, count in beat.beats.items()
        ),
    )
    if beat.succeeded_at is not None:
        at = sources.clock.to_wall(beat.succeeded_at)
        name = "sipwatch_heartbeat_last_success_timestamp_seconds"
        yield Family(name, "gauge", "When it last arrived.", (f"{name} {at:.3f}\n",))
