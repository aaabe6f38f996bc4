"""The line of places above the grids."""

from __future__ import annotations

import pytest

from sipwatch.web.pages.overview import Place
from sipwatch.web.pages.shell import environment


def place(state: str, **counts: int) -> Place:
    return Place("hq", "registrar", counts, state, "")


@pytest.mark.parametrize(
    ("one", "mark"),
    [
        (place("readable", registered=2), "good"),
        (place("readable", registered=2, unregistered=1), "bad"),
        (place("readable", never_registered=3), "good"),
        # A PBX that could not be read yet has none of its extensions.
        (place("unreadable", unknown=0), "bad"),
        (place("readable", registered=0), "good"),
        (place("", never_registered=1), "good"),
    ],
)
def test_a_place_is_as_its_worst_or_as_its_registrar(one: Place, mark: str) -> None:
    other = Place("lyon", "registrar", {"unknown": 1}, "", "")
    html = environment().get_template("strip.html").render(places=[one, other])
    assert (
        f'<span class="mark {mark}" aria-hidden="true"></span>'
        in (html.partition("</a>")[0])
    )
