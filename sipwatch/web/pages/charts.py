"""The charts of one subject: its states and its RTT over a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sipwatch.web.api.daemon import Daemon
from sipwatch.web.pages.words import Clockwork


@dataclass(frozen=True, slots=True)
class Chart:
    """SVG, empty where there is nothing to draw."""

    rtt: Markup
    states: Markup


async def charts_of(
    daemon: Daemon, key: str, past: list[dict[str, Any]], now: Clockwork
) -> Chart:
    """A day of it."""
    return Chart(Markup(), Markup())
