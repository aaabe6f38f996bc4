"""The figures of the capture service: believed as far as they make sense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from checks.observation import Observation
from sipwatch.clock import Clock
from sipwatch.keeping.passing import Passing
from sipwatch.keeping.rate import WINDOW

FIGURES: dict[str, Any] = {
    "received": 90,
    "dropped": 2,
    "responses": [["INVITE", "200", 30], ["INVITE", "480", 10], ["other", "4xx", 1]],
    "reasons": [["Q.850", "20", 7], ["SIP", "200", 2], ["other", "other", 1]],
}


class Service:
    """Answers with what it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.figures: Any = FIGURES

    async def open(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._answer, self.path)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readline()
        writer.write(json.dumps(self.figures).encode() + b"\n")
        writer.close()


class Watched:
    """What is looked at, its clock, and what it observed."""

    def __init__(self, path: str) -> None:
        self.now = 1_700_000_000.0
        self.observed: list[Observation] = []
        clock = Clock(lambda: self.now, lambda: self.now)
        self.passing = Passing(clock, self.observed.append, lambda: path)

    @property
    def figure(self) -> float | None:
        return self.observed[-1].figures.unavailable


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(tmp_path / "capture.sock")
    async with await made.open():
        yield made


async def test_what_it_says_is_there_for_the_metrics(service: Service) -> None:
    watched = Watched(service.path)
    await watched.passing.look()

    passing = watched.passing
    assert (passing.up, passing.packets, passing.dropped) == (True, 90, 2)
    assert passing.responses == {
        ("INVITE", "200"): 30,
        ("INVITE", "480"): 10,
        ("other", "4xx"): 1,
    }
    assert passing.reasons[("Q.850", "20")] == 7
    assert watched.figure == 0.0  # a first look is only a beginning


async def test_a_rise_is_observed_and_its_end(service: Service) -> None:
    watched = Watched(service.path)
    await watched.passing.look()
    rows = [["INVITE", "200", 40], ["INVITE", "480", 30]]
    service.figures = FIGURES | {"responses": rows}
    watched.now += 15
    await watched.passing.look()

    assert watched.figure == pytest.approx(20 / 30)
    assert watched.observed[-1].detail.startswith("20 of 30 calls of the last 5 min")
    watched.now += WINDOW + 1
    await watched.passing.look()
    assert (watched.figure, watched.observed[-1].detail) == (0.0, "")


async def test_without_a_service_nothing_is_observed(tmp_path: Path) -> None:
    watched = Watched(str(tmp_path / "none.sock"))
    await watched.passing.look()

    assert (watched.passing.up, watched.observed) == (False, [])


async def test_a_rise_ends_once_nobody_looks_any_more(tmp_path: Path) -> None:
    service = Service(tmp_path / "capture.sock")
    async with await service.open():
        watched = Watched(service.path)
        await watched.passing.look()
        rows = [["INVITE", "200", 40], ["INVITE", "480", 30]]
        service.figures = FIGURES | {"responses": rows}
        watched.now += 15
        await watched.passing.look()
    (tmp_path / "capture.sock").unlink(missing_ok=True)
    count = len(watched.observed)

    watched.now += 15
    await watched.passing.look()
    assert len(watched.observed) == count  # it may be restarting
    watched.now += WINDOW
    await watched.passing.look()
    await watched.passing.look()
    assert len(watched.observed) == count + 1
    assert watched.figure == 0.0


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        FIGURES | {"responses": {}},
        FIGURES | {"responses": [["INVITE", "480"]]},
        FIGURES | {"responses": [["INVITE", "480", -1]]},
        FIGURES | {"responses": [["INVITE", "480", True]]},
        FIGURES | {"responses": [['INVITE"} 1', "480", 1]]},
        FIGURES | {"responses": [["INVITE", "10.20.0.31", 1]]},
        FIGURES | {"reasons": [["Q.850", "9999", 1]]},
        FIGURES | {"reasons": [["X.25", "20", 1]]},
        FIGURES | {"received": "many"},
    ],
)
async def test_nonsense_is_no_figure(service: Service, said: Any) -> None:
    service.figures = said
    watched = Watched(service.path)
    await watched.passing.look()

    assert (watched.passing.up, watched.observed) == (False, [])
