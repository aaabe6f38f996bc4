"""What FreeSWITCH prints of itself, read line by line as it comes.

`sofia xmlstatus` declares XML and prints it with a format: an element a line, and most
values as phones sent them. A Call-ID may hold `<` (RFC 3261 25.1) and a user `&`: one
such phone and the whole is no XML. So it is read as what it is. Values have no line
ends, so that no phone can forge an element; entities are replaced only where they are
made, and a document type, which FreeSWITCH never prints, is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from checks.observation import plain
from checks.registrars.esl import RefusedError, text

LINE_LIMIT = 64 * 1024  # bytes of one line: no SIP message is longer
FEED = 32 * 1024  # bytes read in one turn of the loop: 50 rows, some 1 ms
DEPTH = 8  # elements within each other; FreeSWITCH prints three

Element = tuple[str, dict[str, str]]  # its name, and its children by theirs


class Lines:
    """Bytes in pieces to whole lines, in Latin-1 so that each byte is kept."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """The lines that these bytes complete."""
        whole, end, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest
        if len(rest) > LINE_LIMIT:
            raise ValueError(f"a line of over {LINE_LIMIT} bytes")
        return whole.decode("latin-1").split("\n") if end else []

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
        found: list[Element] = []
        for raw in self._lines.feed(piece):
            self._line(raw.strip(" \r\t"), found)
        return found

    def close(self) -> None:
        """Nothing more comes: ValueError unless it is whole."""
        if rest := self._lines.close().strip():
            self._line(rest, [])
        if not self._ended:
            raise ValueError(f"it ends before </{self._root}>")

    def _line(self, line: str, found: list[Element]) -> None:
        if not line:
            return
        if not self._begun:
            self._begin(line)
            return
        tag, _, rest = line.partition(">")
        if rest and self._row is not None:
            value, _, end = rest.rpartition("</")
            if end == tag[1:] + ">":
                self._row.setdefault(end[:-1], value)
        elif line.startswith("<!"):
            raise ValueError("a document type or a comment, where none belongs")
        elif not rest and line[0] == "<" and line[-1] == ">":
            self._tag(tag[1:], found)
        # Else it is text between elements: " (retry: 3s)".

    def _begin(self, line: str) -> None:
        if not line.startswith("<?xml"):
            raise RefusedError(plain(line, 100))
        self._begun = True

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


def readable(value: str) -> str:
    """A value as it was meant: read as Latin-1, it was mostly written in UTF-8."""
    return value if value.isascii() else text(value.encode("latin-1"))


def slices(piece: bytes) -> Iterator[bytes]:
    """What takes too long at once, in slices."""
    for at in range(0, len(piece), FEED):
        yield piece[at : at + FEED]
