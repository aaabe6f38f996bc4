"""Extensions as they are shown."""

from __future__ import annotations

import asyncio

from checks.observation import Cause
from sipwatch.views import extensions, grid
from tests.sipwatch.watching import START, Watching


async def test_an_extension_in_short(site: Watching) -> None:
    site.registrar("hq", {"1001": True})
    assert await extensions.listed(site) == {
        "items": [
            {
                "key": "extension:hq/1001",
                "registrar": "hq",
                "name": "1001",
                "title": "Title 1001",
                "site": "",
                "state": "registered",
                "since": "2026-09-21T14:13:20.000Z",
                "cause": None,
                "loss": None,
                "contacts": 1,
                "incident": None,
                "paused": None,
                "required": False,
            }
        ],
        "next": None,
        "total": 1,
    }


async def test_a_long_list_gives_the_loop_a_turn_now_and_then(site: Watching) -> None:
    site.registrar("hq", {str(number): True for number in range(10_000, 14_000)})
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    page = await extensions.listed(site, search="phone", limit=1000)
    counting.cancel()
    assert (page["total"], len(page["items"])) == (4000, 1000)
    assert turns >= 4000 / extensions.SLICE + 1000 / extensions.MADE


async def test_blind_is_not_down(site: Watching) -> None:
    judge = site.registrar("hq", {"1001": True, "1002": False})
    site.observe(*judge.lost("hq:5038", Cause.TIMEOUT, "no answer", START + 5))
    page = await extensions.listed(site, state="unknown")
    assert [row["state"] for row in page["items"]] == ["unknown", "unknown"]
    assert (await extensions.listed(site, state="registered"))["total"] == 0


async def test_the_grid_is_in_order_and_has_the_incidents(site: Watching) -> None:
    judge = site.registrar("hq", {str(n): n != 7 for n in range(9, 4, -1)})
    site.now = START + 200
    site.read(judge, {str(n): n not in (6, 7) for n in range(9, 4, -1)})
    site.now = START + 400
    site.read(judge, {str(n): n not in (6, 7) for n in range(9, 4, -1)})
    site.until(START + 600)
    found = [cell for _, cells in grid.cells(site, registrar="hq") for cell in cells]
    numbers = {one.subject.name: one.id for one in site.alarms.incidents}
    assert [(c.name, c.state, c.incident) for c in found] == [
        ("5", "r", 0),
        ("6", "u", numbers["6"]),
        ("7", "n", 0),
        ("8", "r", 0),
        ("9", "r", 0),
    ]
