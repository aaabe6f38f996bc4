"""Prometheus' text format (0.0.4), written in slices that never hold up the loop.

prometheus-client renders a child per label set in 10 us and all in one go; with
100,000 extensions that is seconds of a stalled loop. A subject's series are written
here from the arrays that the checks keep anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from checks.observation import plain

SLICE = 0.003  # s of work before the loop gets its turn
RENDERINGS = 2  # at once; a third scraper is told to come again
PATIENCE = 60.0  # s after which a rendering that a slow reader holds up is not counted
GZIP_LEVEL = 1  # series compress 20-fold even so
ROWS = 256  # of one piece: at most 0.5 ms of work
LABEL_LIMIT = 256  # characters; a name that one can say is far shorter


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, type and help, and its samples in pieces of whole lines.

    Between two pieces the loop may get its turn; an empty piece is only that. A piece
    is the work of well under a millisecond.
    """

    name: str
    type: str
    help: str
    pieces: Iterable[str]

    def head(self) -> str:
        """HELP and TYPE."""
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.type}\n"


def labels(values: Sequence[str]) -> Sequence[str]:
    """Label values, escaped: all at once where none needs it, as is the rule."""
    joined = "".join(values)
    harmless = joined.isprintable() and '"' not in joined and "\\" not in joined
    if harmless and max(map(len, values), default=0) <= LABEL_LIMIT:
        return values
    return [label(value) for value in values]


def label(value: str) -> str:
    """A label value, escaped and bounded; different ones stay different."""
    if len(value) > LABEL_LIMIT or not value.isprintable():
        mark = hashlib.blake2s(value.encode("utf-8", "surrogatepass"), digest_size=6)
        value = f"{plain(value, LABEL_LIMIT - 16)}~{mark.hexdigest()}"
    return value.replace("\\", r"\\").replace('"', r"\"")


def alike(head: str, names: Sequence[str], end: str) -> str:
    """Samples that differ only in what stands between."""
    return head + (end + head).join(names) + end if names else ""


class Exposition:
    """All metrics of the daemon, rendered on request."""

    def __init__(
        self,
        aggregates: Callable[[], bytes],
        families: Callable[[], Iterable[Family]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`families` is called for each rendering: what it gives is a snapshot."""
        self._aggregates = aggregates
        self._families = families
        self._clock = clock
        self._under_way: dict[object, float] = {}

    def render(self, *, gzip: bool) -> AsyncIterator[bytes] | None:
        """The text in pieces; None while RENDERINGS are under way."""
        now = self._clock()
        for token, began in list(self._under_way.items()):
            if now - began > PATIENCE:
                del self._under_way[token]
        if len(self._under_way) >= RENDERINGS:
            return None
        token = object()
        self._under_way[token] = now
        return self._render(token, gzip)

    async def _render(self, token: object, gzip: bool) -> AsyncIterator[bytes]:
        press = zlib.compressobj(GZIP_LEVEL, wbits=31) if gzip else None
        try:
            begun, made = time.perf_counter(), list[bytes]()
            for piece in self._pieces():
                data = press.compress(piece) if press else piece
                if data:
                    made.append(data)
                if time.perf_counter() - begun < SLICE:
                    continue
                if made:
                    yield b"".join(made)
                await asyncio.sleep(0)  # who reads fast does not suspend us
                begun, made = time.perf_counter(), []
            if press:
                made.append(press.flush())
            yield b"".join(made)
        finally:
            self._under_way.pop(token, None)

    def _pieces(self) -> Iterator[bytes]:
        yield self._aggregates()
        for family in self._families():
            told = False
            for piece in family.pieces:
                if piece and not told:  # the head comes with samples, or not at all
                    told = True
                    piece = family.head() + piece
                # Labels are printable, so nothing in them cannot be encoded.
                yield piece.encode()
