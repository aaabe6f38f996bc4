"""Long JSON answers, decoded a slice at a time.

A decoder holds the interpreter's lock, so that in a thread it would stall the loop as
well; it takes 2 ms for a megabyte. So the tables are cut out of the answer by what
stands around their rows, and their rows are decoded some at a time. What is looked for
holds quotes: inside of a JSON string each of those has a backslash before it, so that
nothing that a phone sends can be mistaken for it.
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


class Cut(NamedTuple):
    """An answer and the rows that were cut out of it."""

    rest: bytes  # the answer, its tables empty
    body: bytes
    tables: list[tuple[int, int]]  # where their rows were

    def rows(self, marks: Marks) -> Iterator[bytes]:
        """The rows of all tables as JSON arrays of some at a time."""
        for at, end in self.tables:
            while at < end:
                found = marks.next.search(self.body, min(at + BATCH, end), end)
                stop = found.start() if found else end
                yield b"[%b]" % self.body[at:stop]
                at = stop + 1


def cut(body: bytes, marks: Marks) -> Cut:
    """Cut the tables out; of an answer that is otherwise nothing is."""
    rest, tables, at = bytearray(), [], 0
    while opens := marks.opens.search(body, at):
        closes = marks.closes.search(body, opens.end())
        if closes is None:
            break
        rest += body[at : opens.end()]
        tables.append((opens.end(), closes.start()))
        at = closes.start()
    rest += body[at:]
    return Cut(bytes(rest), body, tables)
