"""How wide the reader's terminal is, and text that fits it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

WHOLE = sys.maxsize  # no terminal: lines are for programs, and stay whole
USUAL = 80  # columns of a terminal that does not know


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
