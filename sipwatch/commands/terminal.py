"""How wide the reader's terminal is, and text that fits it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WHOLE = sys.maxsize  # no terminal: lines are for programs, and stay whole
USUAL = 80  # columns of a terminal that does not know
WIDEST = 100_000  # columns that rich is told of where lines stay whole


def columns() -> int:
    """Columns of standard output."""
    if not sys.stdout.isatty():
        return WHOLE
    return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL


def wrapped(first: str, text: str, width: int) -> Iterator[str]:
    """A text behind its first words; what does not fit goes on below, indented."""
    edge, line, begun = " " * len(first), first, False
    for word in text.split(" "):
        if begun and len(line) + len(word) > width:
            yield line.rstrip()
            line = edge
        line, begun = f"{line}{word} ", True
    yield line.rstrip()


def console() -> Console:
    """Standard output for tables: coloured on a terminal alone, where NO_COLOR is not
    set. Nothing that is printed is markup."""
    from rich.console import Console  # dear to import, and few commands need it

    return Console(width=min(columns(), WIDEST), highlight=False, markup=False)


def show(seen: RenderableType, out: Console) -> None:
    """Print a table; into a file or a pipe without the blanks that fill its cells."""
    if out.is_terminal:
        out.print(seen)
        return
    with out.capture() as captured:
        out.print(seen)
    lines = captured.get().splitlines()
    out.file.write("".join(f"{line.rstrip()}\n" for line in lines))


def local(at: str | None, zone: tzinfo | None = None) -> str:
    """A moment of an answer as the reader's clock tells it; of another day with it."""
    if at is None:
        return "?"
    moment = datetime.fromisoformat(at).astimezone(zone)
    today = datetime.now(UTC).astimezone(zone).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%d %b %H:%M")
