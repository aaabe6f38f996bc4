"""Long JSON answers, decoded a slice at a time.

A decoder holds the interpreter's lock, so that in a thread it would stall the loop as
well; it takes 2 ms for a megabyte. So the rows of the tables are cut out of the answer
by what stands around them, and are decoded some at a time. What is looked for holds
quotes: inside of a JSON string each of those has a backslash before it, so that nothing
that a phone sends can be mistaken for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BATCH = 64 * 1024  # bytes of rows decoded in one go, some 0.3 ms


class Marks(NamedTuple):
    """What stands around the rows of a table."""

    opens: re.Pattern[bytes]  # ends where the first row begins
    closes: re.Pattern[bytes]  # begins where the last row ends
    next: re.Pattern[bytes]  # begins where any other row ends, with a comma


class Cut:
    """An answer whose tables are cut out row by row."""

    def __init__(self, body: bytes, marks: Marks) -> None:
        self.rest = bytearray()  # the answer, its tables empty: whole after `rows`
        self._body = body
        self._marks = marks

    @property
    def is_list(self) -> bool:
        """Whether there is a table at all; else `rest` is all of the answer."""
        return self._marks.opens.search(self._body) is not None

    def rows(self) -> Iterator[bytes]:
        """The rows of all tables as JSON arrays of some at a time."""
        body, marks, at = self._body, self._marks, 0
        while opens := marks.opens.search(body, at):
            self.rest += body[at : opens.end()]
            at = opens.end()
            while (stop := self._stop(at)) is not None:
                yield b"[%b]" % body[at:stop]
                at = stop + 1
            closes = marks.closes.search(body, at)
            if closes is None:
                break
            if closes.start() > at:
                yield b"[%b]" % body[at : closes.start()]
            at = closes.start()
        self.rest += body[at:]

    def _stop(self, at: int) -> int | None:
        """Where some rows end that are not the last of their table."""
        found = self._marks.next.search(self._body, at + BATCH)
        if found is None or self._marks.closes.search(self._body, at, found.start()):
            return None
        return found.start()
