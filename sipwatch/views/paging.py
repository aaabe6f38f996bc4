"""Lists by the page: so many rows after a cursor, and how many there are in all.

A cursor is where in its order the last row of a page stood, not a number of rows: what
comes and goes between two pages moves none of the others.
"""

from __future__ import annotations

import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Generic, TypeVar

from typing_extensions import TypedDict

LIMIT = 100  # rows of a page where nobody says otherwise
MOST = 1000  # rows of a page: some 10 ms to make
LONGEST = 2048  # characters of a cursor: a place is a key, of an AOR at most

Row = TypeVar("Row")
Found = TypeVar("Found")


class Page(TypedDict, Generic[Row]):
    """Some rows of a list."""

    items: list[Row]
    next: str | None  # the cursor of the next page; None: this is the last
    total: int  # rows of all pages


class Paging(Generic[Found]):
    """Takes what is found in any order and in slices; keeps one page of it."""

    def __init__(self, limit: int = LIMIT, cursor: str | None = None) -> None:
        """ValueError for a limit or cursor that is none."""
        if not 1 <= limit <= MOST:
            raise ValueError(f"limit: {limit} is not within 1 to {MOST}")
        self._limit, self._after = limit, place_of(cursor) if cursor else ""
        self._first: list[tuple[str, Found]] = []
        self.total = 0

    def take(self, found: Sequence[tuple[str, Found]]) -> None:
        """Some more, each with its place: what its list is ordered by, not empty."""
        self.total += len(found)
        later = (one for one in found if one[0] > self._after)
        both = chain(self._first, later)
        # One beyond the page tells whether another one follows.
        self._first = heapq.nsmallest(self._limit + 1, both, key=lambda one: one[0])

    @property
    def found(self) -> list[Found]:
        """What is on this page, in order."""
        return [one for _, one in self._first[: self._limit]]

    @property
    def next(self) -> str | None:
        """The cursor of the next page."""
        if len(self._first) <= self._limit:
            return None
        return cursor_of(self._first[self._limit - 1][0])

    def page(self, items: list[Row]) -> Page[Row]:
        """The page, with the rows that were made of what was found."""
        return {"items": items, "next": self.next, "total": self.total}


def cut(
    rows: Iterable[Row],
    limit: int = LIMIT,
    cursor: str | None = None,
    *,
    by: Callable[[Any], str] = lambda row: str(row["key"]),
) -> Page[Row]:
    """A page of a list that is short enough to be made as a whole; ValueError."""
    paging = Paging[Row](limit, cursor)
    paging.take([(by(row), row) for row in rows])
    return paging.page(paging.found)


def cursor_of(place: str) -> str:
    """A place in its list, as nobody is tempted to make one up."""
    written = urlsafe_b64encode(place.encode("utf-8", "surrogatepass"))
    return written.decode("ascii").rstrip("=")


def place_of(cursor: str) -> str:
    """The place that a cursor stands for; ValueError with a sentence."""
    try:
        if len(cursor) > LONGEST:
            raise ValueError
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = urlsafe_b64decode(padded).decode("utf-8", "surrogatepass")
        if cursor_of(place) != cursor:  # what is not of the alphabet is left out
            raise ValueError
    except ValueError:
        text = "cursor: this is none of ours (take it from `next` of the page before)"
        raise ValueError(text) from None
    return place
