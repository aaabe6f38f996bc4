"""Cells of the grid."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from sipwatch.views.grid import Cell
from sipwatch.web.pages.grid import written
from tests.sipwatch.pages.hostile import STRINGS


def clock(at: float) -> str:
    return f"at {at:g}"


def test_a_cell_is_a_link_with_a_state_by_shape_and_word() -> None:
    cells = [
        Cell("1001@example.com", "r", 0, 0, "Reception"),
        Cell("1002", "u", 90, 7, ""),
        Cell("1003", "?", 0, 0, "Door"),
    ]
    assert list(written("hq", cells, clock, named=True)) == [
        '<a class="c r" id="extension:hq/1001@example.com"'
        ' href="/e/extension:hq/1001@example.com"'
        ' title="1001 Reception: registered"'
        ' aria-label="1001 Reception: registered"><span>1001</span></a>',
        '<a class="c u" id="extension:hq/1002" href="/e/extension:hq/1002"'
        ' title="1002: unregistered since at 90"'
        ' aria-label="1002: unregistered"><span>1002</span></a>',
        '<a class="c q" id="extension:hq/1003" href="/e/extension:hq/1003"'
        ' title="1003 Door: unknown" aria-label="1003 Door: unknown">'
        "<span>1003</span></a>",
    ]
    assert list(written("hq", cells[1:2], clock, named=False)) == [
        '<a class="c u" id="extension:hq/1002" href="/e/extension:hq/1002"'
        ' title="1002: unregistered since at 90"></a>'
    ]


class Elements(HTMLParser):
    """Which elements there are, and with which attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))


@pytest.mark.parametrize("called", STRINGS)
def test_no_name_makes_another_element(called: str) -> None:
    parser = Elements()
    cells = [Cell(called, "r", 0, 0, called)]
    parser.feed("".join(written(called, cells, clock, named=True)))
    assert parser.found == [
        ("a", ["class", "id", "href", "title", "aria-label"]),
        ("span", []),
    ]
