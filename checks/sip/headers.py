"""Header fields: names, compact forms, lists; read lazily, kept in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from checks.sip.params import split

# RFC 3261 20, and the extensions that registered a compact form with IANA.
COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

# Fields whose grammar is a comma list (RFC 3261 7.3.1); in all others a comma is text.
LISTS = frozenset(
    """accept accept-contact accept-encoding accept-language alert-info allow
    allow-events call-info contact content-encoding content-language diversion
    error-info history-info in-reply-to p-asserted-identity p-associated-uri path
    proxy-require reason record-route reject-contact require route security-client
    security-server security-verify service-route supported unsupported via
    warning""".split()  # noqa: SIM905
)

# Fields that may stand once (RFC 3261 20 and 7.3.1).
SINGLE = frozenset(
    """call-id content-disposition content-length content-type cseq date event expires
    from max-forwards mime-version min-expires organization priority reply-to
    retry-after server subject timestamp to user-agent""".split()  # noqa: SIM905
)

# Names whose written form is no mere capitalising.
_WRITTEN = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "mime-version": "MIME-Version",
    "www-authenticate": "WWW-Authenticate",
}
_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_FOLD = re.compile(r"\r?\n[ \t]+")  # no leading spaces: linear on any input


def canonical(name: str) -> str:
    """The long name in small letters."""
    name = name.lower()
    return COMPACT.get(name, name) if len(name) == 1 else name


def written(name: str) -> str:
    """The name as one writes it: `call-id` is Call-ID."""
    name = canonical(name)
    return _WRITTEN.get(name) or name.title()


class Headers:
    """The header fields of a message, in order; names compare without case."""

    __slots__ = ("_index", "_rows", "_text")

    def __init__(self, rows: Iterable[tuple[str, str]] = ()) -> None:
        self._rows: list[tuple[str, str]] | None = []
        self._index: dict[str, list[str]] | None = None
        self._text = ""
        for name, value in rows:
            self.add(name, value)

    @classmethod
    def received(cls, text: str) -> Headers:
        """Headers from the wire; the text is taken apart when first asked for."""
        headers = cls()
        headers._rows = None
        headers._text = text
        return headers

    @property
    def text(self) -> str:
        """The section as it was received; empty for one that was built."""
        return self._text

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each field, names as written, values unfolded."""
        if self._rows is None:
            self._rows = list(_rows(self._text))
        return self._rows

    def get(self, name: str) -> str | None:
        """The first value of a field, None where it is missing."""
        values = self._by_name().get(canonical(name))
        return values[0] if values else None

    def lines(self, name: str) -> list[str]:
        """The value of each line of a field, lists not taken apart."""
        return list(self._by_name().get(canonical(name), ()))

    def all(self, name: str) -> list[str]:
        """Every value of a field; comma lists are split where its grammar has them."""
        name = canonical(name)
        values = self._by_name().get(name, [])
        if name not in LISTS:
            return list(values)
        return [part for value in values for part in split(value, ",") if part]

    def add(self, name: str, value: str, *, first: bool = False) -> None:
        """Write one more field, at the end or at the top; ValueError on a line end."""
        if not _NAME.fullmatch(name) or "\r" in value or "\n" in value:
            raise ValueError(f"{name}: {value!r} cannot be a header field")
        self.rows.insert(0 if first else len(self.rows), (name, value))
        self._index = None

    def set(self, name: str, value: str) -> None:
        """Write a field in the place of all that have its name."""
        self.remove(name)
        self.add(name, value)

    def remove(self, name: str) -> None:
        """Drop every field of that name."""
        name = canonical(name)
        self._rows = [row for row in self.rows if canonical(row[0]) != name]
        self._index = None

    def copy(self) -> Headers:
        """The same fields, to be changed apart."""
        headers = Headers()
        headers._rows = list(self.rows)
        return headers

    def __contains__(self, name: str) -> bool:
        return canonical(name) in self._by_name()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and other.rows == self.rows

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in self.rows)

    def _by_name(self) -> dict[str, list[str]]:
        if self._index is None:
            self._index = {}
            for name, value in self.rows:
                self._index.setdefault(canonical(name), []).append(value)
        return self._index


def _rows(text: str) -> Iterator[tuple[str, str]]:
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)  # RFC 3261 7.3.1: a fold is one space
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()
