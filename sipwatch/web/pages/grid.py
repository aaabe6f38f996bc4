"""The grid: a mark for each extension, written straight into the answer.

A template would take 20 times as long for each cell; here a slice of 500 is some 1 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from urllib.parse import quote

from sipwatch.views.grid import LETTERS, Cell

CHIPS = 240  # extensions on a page whose names are read; of more only marks are shown
# Letter -> what a screen reader says; `?` is no name of a class.
SAID = {letter: state.replace("_", " ") for state, letter in LETTERS.items()}
CLASSES = {letter: "q" if letter == "?" else letter for letter in SAID}

# What needs neither escaping nor quoting: nearly every name.
_PLAIN = re.compile(r"[A-Za-z0-9_.@+ -]*", re.ASCII)
TOLD = "ux"  # of whom the time is of interest: to word it takes longer than the rest

Clock = Callable[[float], str]


def written(
    registrar: str, cells: Iterable[Cell], clock: Clock, *, named: bool
) -> Iterator[str]:
    """The cells of a registrar as HTML; `named` ones show what they stand for."""
    key = escape(f"extension:{registrar}/", quote=True)
    path = escape("/e/" + quote(f"extension:{registrar}/", safe="/:@"), quote=True)
    for name, letter, since, _, title in cells:
        user = name.partition("@")[0] or name
        said = f"{user} {title}" if title else user
        id, link = name, name
        if not _PLAIN.fullmatch(said) or not _PLAIN.fullmatch(name) or " " in name:
            said, user = escape(said), escape(user)
            id, link = escape(name), quote(name, safe="/:@")
        said = f"{said}: {SAID[letter]}"
        label = f' aria-label="{said}"><span>{user}</span>' if named else ">"
        if since and letter in TOLD:
            said = f"{said} since {clock(since)}"
        yield (
            f'<a class="c {CLASSES[letter]}" id="{key}{id}" href="{path}{link}"'
            f' title="{said}"{label}</a>'
        )
