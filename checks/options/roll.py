"""Who is asked: targets, or what a judge wants asked, by number, each with its rows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from checks.options.rows import UNKNOWN, Rows
from checks.options.targets import Settings

NO_ROW, MANY = -1, -2

Who = TypeVar("Who")


class Roll(Generic[Who]):
    """All that are asked, in use or free; a number is given out again by `add`."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.subjects: list[Who | None] = []
        self.uris: list[str] = []
        self.settings: list[Settings | None] = []
        self.row_of = array("l")  # its only row, or one of NO_ROW and MANY
        self.state = array("B")
        self.since = array("d")
        self._many: dict[int, tuple[int, ...]] = {}
        self._free: list[int] = []

    def enroll(self, subject: Who, uri: str, settings: Settings) -> int:
        """A new one without rows; its number."""
        if self._free:
            index = self._free.pop()
        else:
            index = len(self.subjects)
            self.subjects.append(None)
            self.uris.append("")
            self.settings.append(None)
            self.row_of.append(NO_ROW)
            self.state.append(UNKNOWN)
            self.since.append(0.0)
        self.subjects[index], self.uris[index] = subject, uri
        self.settings[index] = settings
        self.row_of[index] = NO_ROW
        self.state[index], self.since[index] = UNKNOWN, 0.0
        return index

    def remove(self, index: int) -> Who | None:
        """Forget one whose rows have been dropped."""
        subject, self.subjects[index] = self.subjects[index], None
        self.row_of[index] = NO_ROW
        self.state[index] = UNKNOWN
        self._free.append(index)
        return subject

    def assign(self, index: int, rows: Sequence[int], at: float = 0.0) -> None:
        """These are its rows from now on, `at` being UTC s for who counts by it."""
        self._many.pop(index, None)
        if len(rows) > 1:
            self._many[index] = tuple(rows)
        self.row_of[index] = MANY if len(rows) > 1 else rows[0] if rows else NO_ROW

    def leaves(self, row: int) -> None:
        """A row is dropped."""

    def members(self, index: int) -> tuple[int, ...]:
        """Its rows."""
        row = self.row_of[index]
        if row >= 0:
            return (row,)
        return self._many[index] if row == MANY else ()

    def __iter__(self) -> Iterator[int]:
        return (i for i, subject in enumerate(self.subjects) if subject is not None)

    def __len__(self) -> int:
        return len(self.subjects) - len(self._free)

    @property
    def unjudged(self) -> int:
        """How many have not been judged yet."""
        return self.state.tobytes().count(UNKNOWN) - len(self._free)
