"""Does /metrics of 100,000 extensions cost little, and leave the loop alone?

The yardstick is prometheus-client in the same run: a gauge child for each of the same
samples, rendered by itself. What counts is CPU time of the plain text; both with gzip
are shown beside it.

python -m bench.metrics 100000
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bench.stalls import MeteredLoop
from sipwatch.metrics.scrape import exposition
from tests.sipwatch.watching import Watching

EXTENSIONS = 100_000
RATIO = 15.0  # times cheaper than the yardstick
MOST = 0.010  # s of CPU for which the loop may not look at its sockets
ROUNDS = 5  # of which the median counts
SERIES = ("sipwatch_extension_registered", "sipwatch_extension_rtt_seconds")

Values = Mapping[str, Mapping[tuple[str, str], float]]


async def scrape(site: Watching, *, gzip: bool, keep: bool = False) -> bytes:
    """All metrics once; the pieces go as they come, as to a socket, unless kept."""
    slices = exposition(site).render(gzip=gzip)
    assert slices is not None
    kept = [piece async for piece in slices if keep]
    return b"".join(kept)


def values(text: str) -> Values:
    """The samples of the extensions."""
    return {
        family.name: {
            (s.labels["registrar"], s.labels["extension"]): s.value
            for s in family.samples
        }
        for family in text_string_to_metric_families(text)
        if family.name in SERIES
    }


def yardstick(samples: Values) -> CollectorRegistry:
    """The same samples as children of prometheus-client's gauges."""
    registry = CollectorRegistry()
    for name, several in samples.items():
        gauge = Gauge(name, "The same.", ["registrar", "extension"], registry=registry)
        for labels, value in several.items():
            gauge.labels(*labels).set(value)
    return registry


def cpu(work: Callable[[], object]) -> float:
    """The median of some rounds, s."""
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took)


def main(number: int) -> int:
    """Measure; 1 where it costs too much or holds up the loop."""
    with asyncio.Runner(loop_factory=MeteredLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, MeteredLoop)
        site = runner.run(_site(number))
        text = runner.run(scrape(site, gzip=False, keep=True)).decode()
        registry = yardstick(values(text))
        gc.collect()
        gc.freeze()  # as the daemon does
        loop.forget()
        plain = cpu(lambda: runner.run(scrape(site, gzip=False)))
        packed = cpu(lambda: runner.run(scrape(site, gzip=True)))
        stall = loop.worst
        site.close()
    theirs = cpu(lambda: generate_latest(registry))
    theirs_packed = cpu(lambda: zlib.compress(generate_latest(registry), 1))
    print(f"  {number:,d} extensions, {len(text) / 1e6:.1f} MB")
    for what, ours, other, bound in (
        ("plain", plain, theirs, f" (at most 1/{RATIO:g})"),
        ("gzip", packed, theirs_packed, ""),
    ):
        print(
            f"  {what:6} {1000 * ours:7.0f} ms CPU   prometheus-client"
            f" {1000 * other:7.0f} ms   1/{other / ours:.1f}{bound}"
        )
    print(f"  longest stall of the loop {stall} (at most {1000 * MOST:g} ms CPU)")
    return 0 if theirs / plain >= RATIO and stall.cpu <= MOST else 1


async def _site(number: int) -> Watching:
    site = Watching()
    aors = {f"{100_000 + n}@pbx.example.com": n % 10 != 0 for n in range(number)}
    site.registrar("hq", aors, rtt=0.0123)
    return site


if __name__ == "__main__":
    sys.exit(main(*[int(word) for word in sys.argv[1:]] or [EXTENSIONS]))
