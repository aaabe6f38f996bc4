"""What somebody who knows more says of an incident: instead of what its cause says."""

from __future__ import annotations

from typing import NamedTuple

from alerting.incident import Incident
from checks.observation import EVIDENCE_LINES, Fact

STEPS = 2  # of those to take, that a mail names


class Explained(NamedTuple):
    """Why, what shows it beside what the incident holds, and what to do."""

    why: str
    steps: tuple[str, ...] = ()
    evidence: tuple[Fact, ...] = ()


def unexplained(incident: Incident) -> Explained | None:
    """The answer where nobody knows more."""
    return None


def with_evidence(own: tuple[Fact, ...], more: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """What an incident holds, and as much again of what it lacks."""
    return (*own, *[fact for fact in more if fact not in own][:EVIDENCE_LINES])
