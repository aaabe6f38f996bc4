"""What all pages show of the daemon."""

from __future__ import annotations

from typing import Any

from sipwatch.config.settings import local_zone
from sipwatch.sources import Sources
from sipwatch.views.overview import overview
from sipwatch.web.pages.head import head_of
from sipwatch.web.pages.words import Clockwork


def clockwork(daemon: Sources) -> Clockwork:
    """The clock of one rendering."""
    return Clockwork(daemon.clock.to_wall(daemon.clock.now()), local_zone())


def common(daemon: Sources) -> dict[str, Any]:
    """What all templates are given."""
    now = clockwork(daemon)
    return {"now": now, "head": head_of(overview(daemon), now), "told": None}
