"""The small charts of the first page: a day of each trunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from sipwatch.web.api.daemon import Daemon


@dataclass
class Sparks:
    """By key of the target."""

    charts: dict[str, Markup] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)  # shares of all questions


async def sparks(daemon: Daemon, keys: Sequence[str]) -> Sparks:
    """A day of these."""
    return Sparks()
