"""One rendering for all who ask at once."""

from __future__ import annotations

import asyncio

import pytest

from sipwatch.web.pages import shared
from sipwatch.web.pages.shared import KEPT, Shared
from tests.servers import eventually


class Maker:
    """Counts, and is as slow as wanted."""

    def __init__(self) -> None:
        self.made = 0
        self.goes = asyncio.Event()
        self.goes.set()

    async def __call__(self) -> bytes:
        self.made += 1
        number = self.made
        await self.goes.wait()
        return b"%d" % number


async def test_all_who_ask_at_once_are_given_the_same() -> None:
    one, make = Shared(), Maker()
    make.goes.clear()
    asked = [asyncio.create_task(one.of("head", "a-1", make)) for _ in range(200)]
    await asyncio.sleep(0)
    asked[0].cancel()  # who asked first is gone
    make.goes.set()
    assert await asyncio.gather(*asked[1:]) == [b"1"] * 199
    assert await one.of("head", "a-1", make) == b"1"


async def test_what_was_told_makes_another_and_each_name_has_its_own() -> None:
    one, make = Shared(), Maker()
    asked = [
        ("head", "1"),
        ("aside", "1"),
        ("head", "2"),
        ("head", "2"),
        ("aside", "2"),
    ]
    assert [await one.of(*each, make) for each in asked] == [
        *(b"1", b"2", b"3", b"3", b"4")
    ]


async def test_none_stands_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FRESH", 0.01)
    one, make = Shared(), Maker()
    assert await one.of("head", "1", make) == b"1"
    await eventually(lambda: not one._known, 10, "it to be let go")
    assert await one.of("head", "1", make) == b"2"


async def test_what_failed_fails_for_all_and_is_tried_again() -> None:
    one, make = Shared(), Maker()

    async def fail() -> bytes:
        raise ValueError("no")

    several = [one.of("head", "1", fail) for _ in range(3)]
    found = await asyncio.gather(*several, return_exceptions=True)
    assert [str(each) for each in found] == ["no"] * 3
    assert await one.of("head", "1", make) == b"1"


async def test_there_are_never_many(monkeypatch: pytest.MonkeyPatch) -> None:
    one, make = Shared(), Maker()
    for n in range(3 * KEPT):
        await one.of(n, "1", make)
    assert len(one._known) == KEPT
    monkeypatch.setattr(shared, "LONGEST", 0)
    assert await one.of("large", "1", make) == b"97"
    assert "large" not in one._known
