"""Who is asked: targets by number, each with its rows and its state."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from checks.observation import Subject
from checks.options.rows import UNKNOWN, Rows
from checks.options.targets import Target, TargetFileSettings, TargetSettings

NO_ROW, MANY = -1, -2


class Roll:
    """All targets, in use or free; a number is given out again after `remove`."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.subjects: list[Subject | None] = []
        self.uris: list[str] = []
        self.settings: list[TargetSettings | TargetFileSettings | None] = []
        self.row_of = array("l")  # its only row, or one of NO_ROW and MANY
        self.state = array("B")
        self.since = array("d")
        self._many: dict[int, tuple[int, ...]] = {}
        self._free: list[int] = []

    def add(self, target: Target) -> int:
        """A new target without rows; its number."""
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
        self.subjects[index], self.uris[index] = target.subject, target.uri
        self.settings[index] = target.settings
        self.row_of[index] = NO_ROW
        self.state[index], self.since[index] = UNKNOWN, 0.0
        return index

    def remove(self, index: int) -> Subject | None:
        """Forget a target whose rows have been dropped."""
        subject, self.subjects[index] = self.subjects[index], None
        self.row_of[index] = NO_ROW
        self.state[index] = UNKNOWN
        self._free.append(index)
        return subject

    def assign(self, index: int, rows: Sequence[int]) -> None:
        """These are the rows of a target from now on."""
        self._many.pop(index, None)
        if len(rows) > 1:
            self._many[index] = tuple(rows)
        self.row_of[index] = MANY if len(rows) > 1 else rows[0] if rows else NO_ROW

    def members(self, index: int) -> tuple[int, ...]:
        """The rows of a target."""
        row = self.row_of[index]
        if row >= 0:
            return (row,)
        return self._many[index] if row == MANY else ()

    def __iter__(self) -> Iterator[int]:
        return (i for i, subject in enumerate(self.subjects) if subject is not None)

    @property
    def unjudged(self) -> int:
        """How many targets have not been judged yet."""
        return self.state.tobytes().count(UNKNOWN) - len(self._free)
