"""Points of RTT and loss: few octets, nothing lost, and read back as they were."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerting.store.database import Store
from alerting.store.points import (
    HOUR,
    LARGEST,
    MINUTE,
    QUARTER,
    VERSION,
    Point,
    joined,
    merged,
    packed,
    record,
    unpacked,
)
from alerting.store.reader import Reader, ReaderError
from alerting.store.rows import (
    Charted,
    DropCharted,
    DropMinutes,
    DropQuarters,
    MinutesRow,
    Note,
    QuartersRow,
)

NUMBER = 497_222  # an hour of 2026
AT = NUMBER * HOUR
# Times that a half-precision float of ms keeps exactly.
ANSWERED = Point(AT, 1, 0, 0.021, 0.021, 0.021)
SILENT = Point(AT + 60, 3, 3, None, None, None)
SEVERAL = Point(AT + 120, 12, 2, 0.0005, 0.00075, 0.25)
LAST = Point(AT + 59 * 60, 1, 0, 3.0, 3.0, 3.0)
ALL = [ANSWERED, SILENT, SEVERAL, LAST]


@pytest.mark.parametrize(
    ("point", "octets"),
    [
        (ANSWERED, "00 404d"),
        (SILENT, "41 0300"),
        (SEVERAL, "82 0c00 0200 0038 003a d05b"),
        (LAST, "3b dc69"),
    ],
    ids=["answered", "silent", "several", "last"],
)
def test_a_point_has_a_form_of_its_own(point: Point, octets: str) -> None:
    assert record(point).hex(" ") == bytes.fromhex(octets).hex(" ")
    assert list(unpacked(bytes([VERSION]) + record(point), NUMBER)) == [point]


def test_an_hour_is_read_as_it_was_written() -> None:
    blob = packed(ALL)
    assert len(blob) == 1 + 3 + 3 + 11 + 3
    assert list(unpacked(blob, NUMBER)) == ALL
    assert list(unpacked(packed([]), NUMBER)) == []


def test_the_longest_hour_is_as_long_as_it_is_said() -> None:
    every = [SEVERAL._replace(at=AT + n * MINUTE) for n in range(60)]
    assert len(packed(every)) == LARGEST


@pytest.mark.parametrize("rtt", [0.00001, 0.0123, 0.1999, 1.7, 59.9])
def test_a_time_is_kept_to_a_thousandth(rtt: float) -> None:
    (found,) = unpacked(packed([Point(AT, 1, 0, rtt, rtt, rtt)]), NUMBER)
    assert found.rtt_mean == pytest.approx(rtt, rel=0.001)


def test_what_is_too_much_is_the_most_there_is_room_for() -> None:
    (found,) = unpacked(packed([Point(AT, 70_000, 1, 90.0, 90.0, 90.0)]), NUMBER)
    assert found == Point(AT, 65_535, 1, 65.504, 65.504, 65.504)


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (b"", "points of version none"),
        (b"\x02\x00\x00\x00", "points of version 02"),
        (b"\x01\x00\x40", "points that cannot be read at octet 1"),
        (b"\x01\x00\x40\x4d\xc0", "points that cannot be read at octet 4"),
        (b"\x01\x3c\x40\x4d", "points that cannot be read at octet 1"),
    ],
    ids=["empty", "later", "cut", "form", "minute"],
)
def test_what_cannot_be_read_is_told(blob: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        list(unpacked(blob, NUMBER))


def test_points_of_one_time_are_one_with_all_that_was_asked() -> None:
    a = Point(AT, 4, 1, 0.01, 0.02, 0.03)
    b = Point(AT, 1, 0, 0.06, 0.06, 0.06)
    assert merged([a, b]) == Point(AT, 5, 1, 0.01, pytest.approx(0.03), 0.06)
    assert merged([SILENT, a]) == Point(AT + 60, 7, 4, 0.01, pytest.approx(0.02), 0.03)
    assert merged([SILENT, SILENT]) == Point(AT + 60, 6, 6, None, None, None)
    assert merged([a]) == a


def test_minutes_become_quarters() -> None:
    minutes = [Point(AT + n * MINUTE, 1, 0, 0.02, 0.02, 0.02) for n in range(20)]
    minutes[3] = Point(AT + 180, 1, 1, None, None, None)
    minutes[4] = Point(AT + 240, 1, 0, 0.5, 0.5, 0.5)
    (first, second) = joined(reversed(minutes), QUARTER)
    assert first == Point(AT, 15, 1, 0.02, pytest.approx((13 * 0.02 + 0.5) / 14), 0.5)
    assert second == Point(AT + QUARTER, 5, 0, 0.02, pytest.approx(0.02), 0.02)


# --- in the store ---------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "sipwatch.db") as opened:
        yield opened


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.path)
    yield reader
    reader.close()


def note(store: Store, *notes: Note) -> None:
    """Note, and wait until it is there."""
    told = threading.Event()
    store.note(notes, lambda error: told.set())
    assert told.wait(10)


TRUNK, OTHER = "target:twilio", "target:other"
COARSE = [Point(AT - HOUR, 15, 1, 0.02, 0.0205, 0.5)]


async def test_hours_come_back_by_subject_and_time(
    store: Store, reader: Reader
) -> None:
    note(
        store,
        QuartersRow(NUMBER - 1, TRUNK, packed(COARSE)),
        MinutesRow(NUMBER, TRUNK, packed(ALL)),
        MinutesRow(NUMBER, OTHER, packed([SILENT])),
        Charted(TRUNK, NUMBER),
        Charted(OTHER, NUMBER),
    )
    found = await reader.points([TRUNK, OTHER, "target:none"], AT - HOUR, AT + HOUR)
    assert [p.at for p in found[TRUNK]] == [AT - HOUR, *(p.at for p in ALL)]
    assert found[TRUNK][1:] == ALL
    assert found[OTHER] == [SILENT]
    assert set(found) == {TRUNK, OTHER}
    inside = await reader.points([TRUNK], AT + 60, AT + 120)
    assert inside == {TRUNK: [SILENT]}
    assert await reader.minutes(NUMBER) == {
        TRUNK: packed(ALL),
        OTHER: packed([SILENT]),
    }
    assert await reader.quarters(NUMBER - 1) == {TRUNK: packed(COARSE)}
    assert await reader.oldest_points() == (NUMBER, NUMBER - 1)


async def test_a_later_hour_replaces_the_same_hour(
    store: Store, reader: Reader
) -> None:
    note(store, Charted(TRUNK, NUMBER), MinutesRow(NUMBER, TRUNK, packed(ALL[:1])))
    note(store, Charted(TRUNK, NUMBER - 9), MinutesRow(NUMBER, TRUNK, packed(ALL)))
    assert await reader.points([TRUNK], AT, AT + HOUR) == {TRUNK: ALL}
    note(store, DropCharted(NUMBER))  # it has one of that hour
    assert await reader.points([TRUNK], AT, AT + HOUR) == {TRUNK: ALL}


async def test_what_is_dropped_is_gone(store: Store, reader: Reader) -> None:
    note(
        store,
        Charted(TRUNK, NUMBER),
        Charted(OTHER, NUMBER),
        *(MinutesRow(NUMBER, key, packed(ALL)) for key in (TRUNK, OTHER)),
        *(QuartersRow(NUMBER - 1, key, packed(COARSE)) for key in (TRUNK, OTHER)),
    )
    note(store, DropMinutes(NUMBER, TRUNK), DropQuarters(NUMBER - 1))
    assert await reader.minutes(NUMBER) == {OTHER: packed(ALL)}
    assert await reader.oldest_points() == (NUMBER, None)
    note(store, DropCharted(NUMBER + 1))
    assert await reader.points([TRUNK], AT, AT + HOUR) == {}


async def test_damaged_points_are_told_as_such(store: Store, reader: Reader) -> None:
    note(store, Charted(TRUNK, NUMBER), MinutesRow(NUMBER, TRUNK, b"\x09"))
    with pytest.raises(ReaderError, match="points of version 09"):
        await reader.points([TRUNK], AT, AT + HOUR)


def pages(path: str) -> int:
    """Octets of the file, without what waits in its log."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_count").fetchone()[0] * 4096
    connection.close()
    return int(size)


def test_two_thousand_subjects_take_no_more_than_is_said(tmp_path: Path) -> None:
    """README: 12 MB of minutes and 100 MB of quarters for 2,000 subjects."""
    usual = [Point(AT + n * MINUTE, 1, 0, 0.02, 0.02, 0.02) for n in range(60)]
    quarter = [Point(AT + n * QUARTER, 15, 1, 0.02, 0.02, 0.5) for n in range(4)]
    keys = [f"target:trunk-{n:04}" for n in range(200)]
    sizes = []
    for make, points, hours in (
        (MinutesRow, usual, 24),
        (QuartersRow, quarter, 24),
    ):
        with Store.open(tmp_path / f"{make.__name__}.db") as store:
            empty = pages(store.path)
            note(store, *(Charted(key, NUMBER) for key in keys))
            for hour in range(NUMBER, NUMBER + hours):
                note(store, *(make(hour, key, packed(points)) for key in keys))
            sizes.append((pages(store.path) - empty) / (len(keys) * hours))
    minutes, quarters = sizes
    assert minutes * 2000 * 24 < 12e6
    assert quarters * 2000 * 24 * 29 < 100e6
