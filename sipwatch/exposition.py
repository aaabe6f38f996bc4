"""Prometheus' text format (0.0.4), written in slices that never hold up the loop.

prometheus-client renders a child per label set in 10 us and all in one go; with
100,000 extensions that is seconds of a stalled loop. A subject's series are written
here from the arrays that the checks keep anyway.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

SLICE = 0.004  # s of work before the loop gets its turn
LINES = 256  # between two looks at the time
RENDERINGS = 2  # at once; a third scraper is told to come again
GZIP_LEVEL = 1  # series compress 50-fold even so


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, type and help, and its samples as finished lines."""

    name: str
    type: str
    help: str
    samples: Callable[[], Iterable[str]]  # each ends with a newline

    def head(self) -> str:
        """HELP and TYPE."""
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.type}\n"


def label(value: str) -> str:
    """A label value, escaped."""
    if '"' in value or "\\" in value or "\n" in value:
        value = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


class Exposition:
    """All metrics of the daemon, rendered on request."""

    def __init__(
        self, aggregates: Callable[[], bytes], families: Iterable[Family]
    ) -> None:
        self._aggregates = aggregates
        self._families = tuple(families)
        self._under_way = 0

    def render(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """The text in pieces; None while RENDERINGS are under way."""
        if self._under_way >= RENDERINGS:
            return None
        return self._render(gzip)

    async def _render(self, gzip: bool) -> AsyncIterator[bytes]:
        self._under_way += 1
        press = zlib.compressobj(GZIP_LEVEL, wbits=31) if gzip else None
        try:
            async for piece in self._pieces():
                data = press.compress(piece) if press else piece
                if data:
                    yield data
                await asyncio.sleep(0)
            if press:
                yield press.flush()
        finally:
            self._under_way -= 1

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._aggregates()
        for family in self._families:
            lines = [family.head()]  # told with the first sample, or not at all
            begun = time.perf_counter()
            for line in family.samples():
                lines.append(line)
                if len(lines) % LINES == 0 and time.perf_counter() - begun > SLICE:
                    yield "".join(lines).encode()
                    lines, begun = [], time.perf_counter()
            if len(lines) > 1 or (lines and not lines[0].startswith("#")):
                yield "".join(lines).encode()
