"""What came from the network leaves every view printable and bounded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from checks.observation import Binding, Cause, Loss, State
from checks.options.answers import Answer
from checks.registrations.readings import (
    Bindings,
    Expected,
    Gone,
    ListEnd,
    Outbound,
    Outbounds,
)
from checks.registrations.roster import AOR_LIMIT
from sipwatch.answers.retelling import retold
from sipwatch.answers.standings import of_subject
from sipwatch.answers.status import status
from sipwatch.views import (
    accounts,
    certificates,
    extensions,
    grid,
    incidents,
    overview,
    registrars,
    registrations,
    schedules,
    silences,
    sites,
    targets,
)
from sipwatch.views.lens import Lens
from tests.sipwatch.watching import START, Watching

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "lines": "a\r\nSubject: b\n\n<b>",
    "ten kB": "x" * 10_240,
    "bidi": "‮1001⁦‭",
    "NUL": "a\x00b",
    "half": "\ud800",
}
LONGEST = 700  # characters of one value: a key of a long AOR


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
async def hostile(request: pytest.FixtureRequest) -> AsyncIterator[Watching]:
    text, site = request.param, Watching()
    judge = site.registrar("hq")
    aors = [f"10{text}"[:AOR_LIMIT], "1002"]
    rows = [
        Binding(
            aor, f"sip:{text}@192.0.2.7", START + 9000, 9000, True, text,
            f"{text}:5060", 0.1, path=text,
        )
        for aor in aors
    ]  # fmt: skip
    lost = Gone("1002", rows[1].contact, START, Loss.EXPIRED, None, text)
    expected = Expected([(aor, text) for aor in aors])
    for reading in (expected, Bindings(rows), ListEnd(START), lost):
        site.observe(*judge.apply("hq:5038", reading, START))
    later = START + 200
    for reading in (expected, Bindings(rows[:1]), ListEnd(later)):
        site.observe(*judge.apply("hq:5038", reading, later))
    why = Outbound(text, State.REJECTED, START, text, text, Cause.FORBIDDEN, text)
    site.observe(*judge.apply("hq:5038", Outbounds([why]), START))
    trunk = site.target("twilio", "203.0.113.9")
    options = site.options
    for row_number in options.judge.members(trunk):
        answer = Answer(row_number, 0, 480, text)
        options.judge.answered(
            row_number, answer, options.rows.address[row_number], START
        )
    site.until(START + 1000)
    yield site
    site.close()


class NoRows:
    """A store that has nothing."""

    async def history(self, key: str) -> list[Any]:
        return []

    async def trail(self, key: str) -> list[Any]:
        return []


async def views(site: Watching) -> Any:
    """Everything that the views make."""
    lens = Lens(site)  # type: ignore[arg-type]
    keys = [e.subject.key for e in site.judges["hq"].extensions.values()]
    return {
        "status": await status(site),
        "overview": overview.overview(site),
        "extensions": await extensions.listed(site),
        "one extension": [extensions.one(site, key) for key in keys],
        "finding": [site.findings.shown(key) for key in keys],
        "explain": [await of_subject(site, NoRows(), key) for key in keys],
        "history": [await retold(site, NoRows(), key) for key in keys],
        "grid": list(grid.cells(site, registrar="hq")),
        "targets": await targets.listed(site),
        "one target": targets.one(site, "twilio"),
        "registrars": registrars.listed(site),
        "registrations": registrations.listed(site),
        "accounts": accounts.listed(site),
        "certificates": certificates.listed(site),
        "sites": await sites.listed(site),
        "schedules": schedules.both(site),
        "silences": silences.listed(site),
        "incidents": [incidents.row(lens, one) for one in site.alarms.incidents],
    }


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a value, and where it is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield f"{path}/{key}", str(key)
            yield from texts(one, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from texts(one, f"{path}/{number}")


async def test_every_text_of_every_view_is_printable_and_bounded(
    hostile: Watching,
) -> None:
    made = await views(hostile)
    assert len(made["one extension"]) == 2
    assert made["incidents"]
    assert json.dumps(made["one extension"]).count("unregistered") >= 1
    assert len(made["registrations"]["items"]) == 1
    wrong = {
        path: text[:80]
        for path, text in texts(made)
        if not text.isprintable() or len(text) > LONGEST
    }
    assert wrong == {}
    json.dumps(made).encode()


async def test_whoever_has_a_hostile_name_is_found_by_the_key_that_is_shown(
    hostile: Watching,
) -> None:
    for row in (await extensions.listed(hostile))["items"]:
        assert extensions.one(hostile, row["key"])["key"] == row["key"]
