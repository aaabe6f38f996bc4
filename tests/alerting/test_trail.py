"""What explains alarms is stored: with times of the wall, bounded, and forgotten."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from alerting.incident import Above, Terms, Told
from alerting.store.database import Store
from alerting.store.reader import Reader
from alerting.store.rows import (
    AttemptRow,
    DropDelivery,
    Prune,
    PruneTrail,
    TrailRow,
    What,
    Write,
    shifted,
)
from tests.alerting.test_store import DELIVERY, INCIDENT

KEY = "extension:hq/1001"
TERMS = Terms(100.25, 120.0, 7.5, 400.5, above=(Above("registrar:hq", "up", 9.0, 8.0),))
ATTEMPT = AttemptRow(4711, "oncall", 0, "abc", Told.FIRING, 1, 230, 230, "", "")


def noted(at: float, text: str = "because") -> TrailRow:
    return TrailRow(KEY, at, What.SUPPRESSED, "ExtensionUnregistered", text)


def commit(store: Store, *writes: Write) -> None:
    done = threading.Event()
    store.write(writes, lambda error: done.set())
    assert done.wait(10)


async def test_what_explains_an_incident_is_read_as_it_was_written(
    tmp_path: Path,
) -> None:
    row = replace(INCIDENT, terms=TERMS)
    with Store.open(tmp_path / "db") as store:
        commit(store, row, DELIVERY, ATTEMPT, noted(220.5))
        reader = Reader(store.path)
        assert await reader.incident(4711) == row
        assert await reader.incident(1) is None
        assert await reader.outbox(4711) == [DELIVERY]
        assert await reader.attempts(4711) == [ATTEMPT]
        assert await reader.trail(KEY) == [noted(220.5)]
        reader.close()
        assert store.load().incidents[0].terms == TERMS


async def test_an_attempt_keeps_when_it_began_and_outlives_its_row(
    tmp_path: Path,
) -> None:
    with Store.open(tmp_path / "db") as store:
        commit(store, INCIDENT, DELIVERY, ATTEMPT)
        after_a_restart = replace(ATTEMPT, attempts=2, begun=900.0, at=900.0)
        ended = replace(after_a_restart, at=901.0, outcome="accepted")
        commit(store, ended, DropDelivery(4711, "oncall", 0))
        reader = Reader(store.path)
        assert await reader.attempts(4711) == [replace(ended, begun=230.0)]
        reader.close()


async def test_of_a_subject_the_last_fifty_and_of_an_incident_a_hundred_are_kept(
    tmp_path: Path,
) -> None:
    with Store.open(tmp_path / "db") as store:
        commit(store, INCIDENT)
        for n in range(130):
            batch = replace(ATTEMPT, batch=f"b{n}", begun=float(n), at=float(n))
            commit(store, noted(float(n)), batch)
        reader = Reader(store.path)
        assert [row.at for row in await reader.trail(KEY)] == list(range(80, 130))
        kept = [row.begun for row in await reader.attempts(4711)]
        assert kept == list(range(30, 130))
        reader.close()


async def test_it_is_forgotten_with_its_incident_or_by_its_age(tmp_path: Path) -> None:
    over = replace(INCIDENT, id=1, resolved_at=500.0)
    with Store.open(tmp_path / "db") as store:
        commit(store, over, replace(ATTEMPT, incident=1), INCIDENT)
        commit(store, noted(400.0), noted(600.0))
        commit(store, Prune(550.0), PruneTrail(550.0))
        reader = Reader(store.path)
        assert await reader.attempts(1) == []
        assert [row.at for row in await reader.trail(KEY)] == [600.0]
        reader.close()


@pytest.mark.parametrize(
    ("write", "later"),
    [
        (ATTEMPT, (240, 240)),
        (noted(5.0), (15.0,)),
        (PruneTrail(5.0), (15.0,)),
    ],
)
def test_moments_are_those_of_the_wall_clock(
    write: Write, later: tuple[float, ...]
) -> None:
    moved = shifted(write, 10.0)
    names = ("begun", "at", "before")
    assert tuple(getattr(moved, n) for n in names if hasattr(moved, n)) == later


def test_terms_are_moved_but_for_what_is_not_a_moment() -> None:
    moved = shifted(replace(INCIDENT, terms=TERMS), 10.0)
    assert moved.terms == Terms(  # type: ignore[union-attr]
        110.25, 120.0, 17.5, 410.5, above=(Above("registrar:hq", "up", 19.0, 18.0),)
    )
