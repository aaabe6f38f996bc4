"""Events that wait until a list has ended, in a third of the room of messages.

Thousands come while a list does: of each only the values are kept, in one string, and
the names are those of the one before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from checks.registrars.ami import Message

Names = tuple[str, ...]
BREAK = "\r\n"  # ends a line: no value has it


class Aside:
    """Events in order, each made again when it is looked at."""

    def __init__(self) -> None:
        self._kept: deque[Names | str] = deque()  # names, and values under them
        self._shapes: dict[Names, Names] = {}  # each once
        self._names: Names = ()
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Message]:
        names: Names = ()
        for one in self._kept:
            if isinstance(one, tuple):
                names = one
            else:
                yield _message(names, one)

    def add(self, message: Message) -> None:
        """One more has come."""
        names = tuple(message)
        if names != self._names or not self._number:
            self._names = self._shapes.setdefault(names, names)
            self._kept.append(self._names)
        self._kept.append(BREAK.join(message.values()))
        self._number += 1

    def drain(self) -> Iterator[Message]:
        """All of them; what has been read takes no room any more."""
        names: Names = ()
        while self._kept:
            one = self._kept.popleft()
            if isinstance(one, tuple):
                names = one
            else:
                self._number -= 1
                yield _message(names, one)


def _message(names: Names, values: str) -> Message:
    return dict(zip(names, values.split(BREAK), strict=True))
