"""The lexical ground of RFC 3261 25.1: quoted strings, lists, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

# What a parameter value may be without quotes: a token or a host (RFC 3261 25.1).
_BARE = re.compile(r"[\w\-.!%*+`'~:\[\]]+", re.ASCII)
_PIECES = {
    separator: re.compile(rf'"(?:[^"\\]|\\.)*"?|<[^>]*>?|[^"<{separator}]+', re.DOTALL)
    for separator in ",;"
}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split(text: str, separator: str) -> list[str]:
    """The parts of a list, stripped; quotes and angle brackets hide a separator."""
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator)]
    parts = [""]
    piece = _PIECES[separator]
    at = 0
    while at < len(text):
        if text[at] == separator:
            parts.append("")
            at += 1
        elif found := piece.match(text, at):
            parts[-1] += found.group()
            at = found.end()
        else:  # never reached, since every character starts a piece or separates
            raise ValueError(f"cannot be split at {at}: {text!r}")
    return [part.strip() for part in parts]


def quoted(text: str) -> str:
    """A quoted-string (RFC 3261 25.1)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(text: str) -> str:
    """What a quoted-string says; any other text as it is."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
        return _ESCAPED.sub(r"\1", text) if "\\" in text else text
    return text


class Params(Mapping[str, str | None]):
    """Parameters in their order; names compare without case, a flag's value is None.

    Of a name given twice the first counts, as the parser of a peer would read it.
    """

    __slots__ = ("_items", "_values")

    def __init__(self, items: Iterable[tuple[str, str | None]] = ()) -> None:
        self._items = tuple(items)
        self._values: dict[str, str | None] = {}
        for name, value in self._items:
            self._values.setdefault(name.lower(), value)

    @classmethod
    def parse(cls, text: str) -> Params:
        """The parameters of a header field: `;tag=a;lr`, the first `;` may lack."""
        if not text:
            return NO_PARAMS
        items: list[tuple[str, str | None]] = []
        for part in split(text, ";"):
            name, equals, value = part.partition("=")
            if name := name.rstrip():
                items.append((name, unquoted(value.lstrip()) if equals else None))
        return cls(items)

    def __getitem__(self, name: str) -> str | None:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and other._values == self._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Params({str(self)!r})"

    def __str__(self) -> str:
        return "".join(f";{name}{_assigned(value)}" for name, value in self._items)

    @property
    def written(self) -> tuple[tuple[str, str | None], ...]:
        """All of them as they were written, doubles too."""
        return self._items

    def with_(self, name: str, value: str | None) -> Params:
        """The same with one more, or with another value for one that is there."""
        kept = [item for item in self._items if item[0].lower() != name.lower()]
        return Params([*kept, (name, value)])


def _assigned(value: str | None) -> str:
    if value is None:
        return ""
    return f"={value}" if _BARE.fullmatch(value) else f"={quoted(value)}"


NO_PARAMS = Params()
