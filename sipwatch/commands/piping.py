"""Standard output into a pipe whose reader may stop reading: `sipwatch ... | head`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

GONE = 141  # what a shell says of who was ended by SIGPIPE: 128 + 13


class Piped:
    """A text stream that ends the program, without a word, when nobody reads it.

    Not by the signal: that would end us as well where a connection to a PBX closes,
    and would leave a phone ringing.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """As of any text stream; SystemExit where nobody reads."""
        try:
            return self._out.write(text)
        except BrokenPipeError:
            self._end()

    def flush(self) -> None:
        """As of any text stream; SystemExit where nobody reads."""
        try:
            self._out.flush()
        except BrokenPipeError:
            self._end()

    def _end(self) -> NoReturn:
        # What is left in the buffer goes nowhere, instead of failing once more.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._out.fileno())
        os.close(nowhere)
        sys.exit(GONE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


@contextmanager
def piped() -> Iterator[None]:
    """What is printed meanwhile may find no reader."""
    before = sys.stdout
    out = Piped(before)
    sys.stdout = out
    try:
        yield
    finally:
        try:
            out.flush()
        finally:
            sys.stdout = before
