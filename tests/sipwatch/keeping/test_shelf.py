"""The folder of evidence: what is kept, how long, and a disk that is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sipwatch.capture.export import Exported
from sipwatch.keeping import shelf as shelves
from sipwatch.keeping.shelf import CAPTURE, Kept, Shelf

DAY = 86_400.0
NOW = 1_700_000_000.0


def exported(size: int = 1000, text: str = "ladder") -> Exported:
    return Exported(b"\x0a" * size, text, 4, 4, ("TLS is in it",))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "evidence", 30 * DAY, 10_000)


def put(shelf: Shelf, incident: int, at: float = NOW, size: int = 1000) -> Kept:
    kept = shelf.put(incident, "extension:hq/1001", at, CAPTURE, exported(size))
    for path in shelf.folder.glob(f"{incident}.*"):
        os.utime(path, (at, at))
    return kept


def test_what_is_put_is_there_after_a_restart(shelf: Shelf) -> None:
    kept = put(shelf, 7)

    assert shelf.load() == {7: kept}
    assert shelf.file(kept) == exported().pcapng
    assert shelf.text(kept) == "ladder"
    assert (kept.sha256, kept.size, kept.notes) == (
        exported().sha256,
        1000,
        ("TLS is in it",),
    )


def test_nobody_else_may_read_it(shelf: Shelf) -> None:
    put(shelf, 7)

    assert shelf.folder.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in shelf.folder.iterdir()} == {0o600}


def test_a_recurrence_takes_the_place_of_what_there_was(shelf: Shelf) -> None:
    put(shelf, 7)
    again = put(shelf, 7, NOW + 5, size=10)

    assert shelf.load() == {7: again}
    assert len(shelf.file(again)) == 10


def test_the_oldest_go_first_where_there_is_no_room(shelf: Shelf) -> None:
    for n in range(1, 30):
        put(shelf, n, NOW + n)

    assert sorted(shelf.load()) == list(range(22, 30))
    assert sum(path.stat().st_size for path in shelf.folder.iterdir()) <= 10_000


def test_what_is_old_goes_by_night(shelf: Shelf) -> None:
    put(shelf, 1, NOW - 31 * DAY)
    put(shelf, 2, NOW - 29 * DAY)
    (shelf.folder / "3.pcapng").write_bytes(b"cut off by a crash")
    (shelf.folder / "notes.txt").write_text("somebody's own")

    shelf.tidy(NOW)

    assert sorted(shelf.load()) == [2]
    assert sorted(path.name for path in shelf.folder.iterdir()) == [
        *("2.json", "2.pcapng", "2.txt", "notes.txt")
    ]


@pytest.mark.parametrize(
    "label",
    ["", "[]", "{}", '{"incident": 8}', "x" * 70_000, '{"incident": "7", "at": 0}'],
)
def test_a_label_that_is_broken_is_passed_over(shelf: Shelf, label: str) -> None:
    kept = put(shelf, 6)
    put(shelf, 7)
    (shelf.folder / "7.json").write_text(label)

    assert shelf.load() == {6: kept}


def test_a_full_disk_leaves_nothing_half(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = put(shelf, 6)
    opened = shelves._private

    def full(path: str, flags: int) -> int:
        if path.endswith(".txt"):
            raise OSError(28, "No space left on device")
        return opened(path, flags)

    monkeypatch.setattr(shelves, "_private", full)
    with pytest.raises(OSError, match="No space left"):
        put(shelf, 7)

    assert shelf.load() == {6: kept}
    assert not list(shelf.folder.glob("7.*"))


def test_a_folder_that_cannot_be_is_an_error_and_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shelf = Shelf(tmp_path / "file" / "evidence", DAY, 10_000)

    assert shelf.load() == {}
    shelf.tidy(NOW)
    with pytest.raises(OSError, match="Not a directory"):
        put(shelf, 1)
