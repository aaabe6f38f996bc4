"""Lists by the page."""

from __future__ import annotations

import pytest

from sipwatch.views.paging import MOST, Paging, cursor_of, cut, place_of

ROWS = [{"key": f"{number:03}"} for number in range(10)]


def keys(page: object) -> list[str]:
    return [row["key"] for row in page["items"]]  # type: ignore[index]


def test_pages_follow_each_other_until_there_is_none() -> None:
    first = cut(reversed(ROWS), 4)
    assert keys(first) == ["000", "001", "002", "003"]
    second = cut(ROWS, 4, first["next"])
    third = cut(ROWS, 4, second["next"])
    assert keys(second) == ["004", "005", "006", "007"]
    assert keys(third) == ["008", "009"]
    assert [first["total"], third["total"], third["next"]] == [10, 10, None]


def test_a_page_that_is_just_full_is_the_last() -> None:
    assert cut(ROWS, 10)["next"] is None


def test_what_comes_and_goes_between_two_pages_moves_none_of_the_others() -> None:
    first = cut(ROWS, 4)
    changed = [{"key": "0000"}, *ROWS[2:3], *ROWS[4:]]  # one came, the last went
    assert keys(cut(changed, 4, first["next"])) == ["004", "005", "006", "007"]


def test_rows_that_come_in_slices_are_one_page() -> None:
    paging = Paging[str](3, cursor_of("b"))
    for part in ("ga", "cb", "ed", "f"):
        paging.take([(one, one) for one in part])
    assert (paging.found, paging.total) == (["c", "d", "e"], 7)
    assert place_of(paging.next or "") == "e"


@pytest.mark.parametrize("place", ["hq/1001", "a" * 600, "Zürich/ä\ud800", "\x00"])
def test_a_cursor_stands_for_any_place(place: str) -> None:
    assert place_of(cursor_of(place)) == place


@pytest.mark.parametrize(
    "cursor", ["!", "abc=", "ä", "x", "gA", "A" * 5000, "YQ==", " "]
)
def test_a_bad_cursor_is_told_in_a_sentence(cursor: str) -> None:
    with pytest.raises(ValueError, match=r"^cursor: this is none of ours"):
        cut(ROWS, 4, cursor)


@pytest.mark.parametrize("limit", [0, -1, MOST + 1])
def test_a_page_is_bounded(limit: int) -> None:
    with pytest.raises(ValueError, match=f"^limit: {limit} is not within 1 to 1000$"):
        cut(ROWS, limit)
