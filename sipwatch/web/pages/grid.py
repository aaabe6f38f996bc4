"""The grid: a mark for each extension, written straight into the answer.

A template would take 20 times as long for each cell; here a slice of 500 is some 1 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from urllib.parse import quote

from sipwatch.views.grid import LETTERS, Cell

CHIPS = 240  # extensions on a page whose names are read; of more only marks are shown
# Letter -> what a screen reader says; `?` is no name of a class.
SAID = {letter: state.replace("_", " ") for state, letter in LETTERS.items()}
CLASSES = {letter: "q" if letter == "?" else letter for letter in SAID}

Clock = Callable[[float], str]


def written(
    registrar: str, cells: Iterable[Cell], clock: Clock, *, named: bool
) -> Iterator[str]:
    """The cells of a registrar as HTML; `named` ones show what they stand for."""
    key = escape(f"extension:{registrar}/", quote=True)
    path = escape("/e/" + quote(f"extension:{registrar}/", safe="/:@"), quote=True)
    for name, letter, since, _, title in cells:
        shown = escape(f"{_short(name)} {title}".rstrip(), quote=True)
        when = f" since {clock(since)}" if since else ""
        inside = f"<span>{escape(_short(name))}</span>" if named else ""
        yield (
            f'<a class="c {CLASSES[letter]}" id="{key}{escape(name, quote=True)}"'
            f' href="{path}{quote(name, safe="/:@")}"'
            f' title="{shown}: {SAID[letter]}{when}"'
            f' aria-label="{shown}: {SAID[letter]}">{inside}</a>'
        )


def _short(name: str) -> str:
    """The user of an AOR: all of a registrar's share the domain, as a rule."""
    return name.partition("@")[0] or name
