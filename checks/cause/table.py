"""From evidence to cause, confidence and next step. A pure table.

The rows are tried in their order, the first that fits speaks. What somebody says who
must know goes first (the PBX, words of the answer, Retry-After), then whether there is
a binding at all, then whether who is bound can be reached, then who has answered.
"""

from __future__ import annotations

from checks.cause.answered import ANSWERED
from checks.cause.bound import BOUND
from checks.cause.evidence import Evidence, Finding
from checks.cause.lines import lines_of, words_of
from checks.cause.row import Row
from checks.observation import plain

TABLE: tuple[Row, ...] = (*BOUND, *ANSWERED)
CAUSES = frozenset(row.cause for row in TABLE if row.cause is not None)


def classify(evidence: Evidence) -> Finding:
    """The first row that fits, put into words."""
    row = next(row for row in TABLE if row.fits(evidence))
    words = words_of(evidence)
    return Finding(
        row.cause,
        row.confidence,
        plain(" ".join(row.sentence.format_map(words).split())),
        lines_of(evidence),
        tuple(plain(step.format_map(words)) for step in row.steps),
    )
