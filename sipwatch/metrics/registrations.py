"""The series of registrations that PBXs keep elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from checks.observation import State
from sipwatch.metrics.exposition import Family, label
from sipwatch.sources import Sources, readable, sliced

ROWS = 256  # of one piece of the metrics: well under 1 ms


def families(sources: Sources) -> Iterator[Family]:
    """The series of registrations; what is effectively unknown has no sample."""
    yield Family(
        "sipwatch_registration_up",
        "gauge",
        "Whether a registration that the PBX keeps at another server stands.",
        _up(sources),
    )


def _up(sources: Sources) -> Iterator[str]:
    for judge in list(sources.judges.values()):
        head = f'sipwatch_registration_up{{registrar="{label(judge.name)}"'
        for part in sliced(list(judge.outgoing.registrations.values()), ROWS):
            if not readable(judge, sources.alarms):
                break
            yield "".join(
                f'{head},registration="{label(r.name)}"}} {int(r.state is State.OK)}\n'
                for r in part
                if r.state is not None
            )
