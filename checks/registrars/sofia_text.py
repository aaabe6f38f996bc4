"""What FreeSWITCH prints of itself, read line by line as it comes.

`sofia xmlstatus` declares XML and prints it with a format: an element a line, and most
values as phones sent them. A Call-ID may hold `<` (RFC 3261 25.1) and a user `&`: one
such phone and the whole is no XML. So it is read as what it is. Values have no line
ends, so that no phone can forge an element; entities are replaced only where they are
made, and a document type, which FreeSWITCH never prints, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from checks.observation import plain
from checks.registrars.esl import RefusedError, text

LINE_LIMIT = 64 * 1024  # bytes of one line: no SIP message is longer
FEED = 32 * 1024  # bytes read in one turn of the loop: 50 rows, some 1 ms
DEPTH = 8  # elements within each other; FreeSWITCH prints three

# What switch_amp_encode makes; `&` is the last, so that nothing is replaced twice.
ENTITIES = (
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", '"'),
    ("&apos;", "'"),
    ("&amp;", "&"),
)

# A line that is an element with its text, a tag, or what begins with <! or <?.
_LINE = re.compile(
    r"^[ \t]*<(?:([\w-]+)>(.*)</\1>|(/?[\w-]+)>|([!?].*))[ \t\r]*$",
    re.MULTILINE | re.ASCII,
)

Element = tuple[str, dict[str, str]]  # its name, and its children by theirs


class Lines:
    """Bytes in pieces to whole lines, in Latin-1 so that each byte is kept."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> str:
        """The lines that these bytes complete, with their ends."""
        whole, end, self._rest = (self._rest + piece).rpartition(b"\n")
        if len(self._rest) > LINE_LIMIT:
            raise ValueError(f"a line of over {LINE_LIMIT} bytes")
        return (whole + end).decode("latin-1")

    def close(self) -> str:
        """The line that nothing ended."""
        return self._rest.decode("latin-1")


class Document:
    """A document with elements of interest, one after the other.

    Raises RefusedError where there are words in its place, ValueError on what
    FreeSWITCH does not print.
    """

    def __init__(self, root: str, wanted: Collection[str]) -> None:
        self._root = root
        self._wanted = wanted
        self._lines = Lines()
        self._open: list[str] = []
        self._row: dict[str, str] | None = None  # children of the one that is open
        self._begun = self._ended = False

    def feed(self, piece: bytes) -> list[Element]:
        """The elements that are complete by now."""
        return self._read(self._lines.feed(piece))

    def close(self) -> None:
        """Nothing more comes: ValueError unless it is whole."""
        self._read(self._lines.close())
        if not self._ended:
            raise ValueError(f"it ends before </{self._root}>")

    def _read(self, lines: str) -> list[Element]:
        found: list[Element] = []
        if not self._begun:
            lines = self._begin(lines.lstrip())
        for name, value, tag, other in _LINE.findall(lines):
            if name:
                if self._row is not None:
                    self._row.setdefault(name, value)
            elif tag:
                self._tag(tag, found)
            elif other.startswith("!"):
                raise ValueError("a document type or a comment, where none belongs")
            # Else it is text between elements: " (retry: 3s)".
        return found

    def _begin(self, lines: str) -> str:
        first, _, rest = lines.partition("\n")
        if first and not first.startswith("<?xml"):
            raise RefusedError(plain(first, 100))
        self._begun = bool(first)
        return rest

    def _tag(self, name: str, found: list[Element]) -> None:
        if self._ended:
            raise ValueError(f"it goes on after </{self._root}>")
        if name.startswith("/"):
            self._end(name[1:], found)
            return
        if len(self._open) >= DEPTH or (not self._open and name != self._root):
            raise ValueError(f"it has <{plain(name, 40)}> where none belongs")
        self._open.append(name)
        if name in self._wanted and len(self._open) > 1:
            self._row = {}

    def _end(self, name: str, found: list[Element]) -> None:
        if not self._open or self._open.pop() != name:
            raise ValueError(f"it has </{plain(name, 40)}> where none belongs")
        if self._row is not None and name in self._wanted:
            found.append((name, self._row))
            self._row = None
        self._ended = not self._open


def unescaped(value: str) -> str:
    """A value without the five entities that FreeSWITCH makes."""
    if "&" not in value:
        return value
    for entity, character in ENTITIES:
        value = value.replace(entity, character)
    return value


def readable(value: str) -> str:
    """A value as it was meant: read as Latin-1, it was mostly written in UTF-8."""
    return value if value.isascii() else text(value.encode("latin-1"))


def slices(piece: bytes) -> Iterator[bytes]:
    """What takes too long at once, in slices."""
    for at in range(0, len(piece), FEED):
        yield piece[at : at + FEED]
