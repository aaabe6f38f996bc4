"""The grid of extensions: thousands of cells in compact rows, in slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from checks.observation import plain
from checks.registrations.judge import Judge
from sipwatch.sources import Sources, sliced
from sipwatch.views.extensions import effective
from sipwatch.views.lens import NAME, Lens, site_of, sorted_slowly

SLICE = 500  # cells in one turn of the loop: some 2 ms

LETTERS = {
    "registered": "r",
    "unreachable": "x",
    "unregistered": "u",
    "never_registered": "n",
    "unknown": "?",
}


class Cell(NamedTuple):
    """One extension; as JSON an array."""

    name: str  # the AOR: its key is extension:<registrar>/<name>
    state: str  # a letter of LETTERS
    since: int  # UTC s by the wall clock; 0: not known
    incident: int  # 0: none
    title: str


def cells(
    sources: Sources, *, registrar: str = "", site: str | None = None
) -> Iterator[tuple[str, list[Cell]]]:
    """The cells of a registrar, or of a site ("": of none), by AOR, in slices of one
    registrar: the loop should have a turn between any two."""
    lens = Lens(sources)
    for judge in list(sources.judges.values()):
        if registrar not in ("", judge.name):
            continue
        for names in sliced(sorted_slowly(list(judge.extensions)), SLICE):
            yield judge.name, _cells(lens, judge, names, site)


def _cells(lens: Lens, judge: Judge, names: list[str], site: str | None) -> list[Cell]:
    made, ahead = [], lens.sources.clock.skew
    for name in names:
        e = judge.extensions.get(name)
        if e is None or (site is not None and site_of(e.subject) != site):
            continue  # it went meanwhile
        letter = LETTERS[effective(lens, judge, e)]
        since = int(e.since + ahead) if e.since else 0
        incident = lens.incident(e.subject) or 0
        title = plain(e.subject.title, NAME)
        made.append(Cell(plain(name, NAME), letter, since, incident, title))
    return made
