"""What the API tells of a past: each row with what changed by it, and of whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from alerting.store.rows import HistoryRow
from checks.observation import Cause, Loss, Place, State
from sipwatch.answers.retelling import retold
from sipwatch.subjects import AmbiguousError, is_watched, named
from tests.sipwatch.watching import START, Watching

KEY = "extension:hq/1001"
DESK = Place("sip:1001@10.20.0.31:5060", "10.20.0.31:5060", "Yealink")
MOVED = Place("sip:1001@10.20.0.44:5060", "10.20.0.44:5060", "Yealink")
MOBILE = Place("sip:1001@10.9.0.7:9;ob", "10.9.0.7:9", "Linphone")
NEWER = DESK._replace(user_agent="Yealink 2")
NATTED = DESK._replace(address="192.0.2.7:40000")


class Kept:
    """A reader of what a test says is stored."""

    def __init__(self, *rows: HistoryRow) -> None:
        self.rows = rows

    async def history(self, key: str) -> list[HistoryRow]:
        return [row for row in self.rows if row.key == key]


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    site = Watching()
    site.registrar("hq", {"1001": True, "1002@example.com": False})
    site.registrar("lab", {"2001": True, "1003": True, "1003@example.com": True})
    yield site
    site.close()


async def told(site: Watching, name: str, *rows: HistoryRow, **more: Any) -> Any:
    return await retold(site, Kept(*rows), name, **more)  # type: ignore[arg-type]


def here(at: float, *contacts: Place) -> HistoryRow:
    return HistoryRow(KEY, at, State.REGISTERED, contacts=contacts)


LOST = HistoryRow(KEY, 9.0, State.UNREGISTERED, None, Loss.EXPIRED, "it expired")


async def test_a_row_is_told_in_full(site: Watching) -> None:
    answer = await told(site, "1001", here(1_700_000_000.25, DESK), LOST)
    assert answer == {
        "subject": KEY,
        "kind": "extension",
        "name": "1001",
        "title": "Title 1001",
        "scope": "hq",
        "watched": True,
        "refresh": None,
        "rows": [
            {
                "at": "2023-11-14T22:13:20.250Z",
                "state": "registered",
                "cause": None,
                "loss": None,
                "why": "",
                "contacts": [DESK._asdict()],
                "changes": [
                    {"what": "state", "from": None, "to": "registered"},
                    {"what": "contact", "from": None, "to": DESK.uri},
                    {"what": "address", "from": None, "to": DESK.address},
                    {"what": "user_agent", "from": None, "to": "Yealink"},
                ],
            },
            {
                "at": "1970-01-01T00:00:09.000Z",
                "state": "unregistered",
                "cause": None,
                "loss": "expired",
                "why": "it expired",
                "contacts": [],
                "changes": [
                    {"what": "state", "from": "registered", "to": "unregistered"}
                ],
            },
        ],
    }


BACK = ("state", "unregistered", "registered")


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        ([here(1, DESK), here(2, NEWER)], [("user_agent", "Yealink", "Yealink 2")]),
        (
            [here(1, DESK), here(2, NATTED)],
            [("address", DESK.address, NATTED.address)],
        ),
        (
            [here(1, DESK), here(2, MOVED)],
            [
                ("contact", DESK.uri, MOVED.uri),
                ("address", DESK.address, MOVED.address),
            ],
        ),
        (
            [here(1, DESK), here(2, DESK, MOBILE)],
            [
                ("contact", None, MOBILE.uri),
                ("address", None, MOBILE.address),
                ("user_agent", None, "Linphone"),
            ],
        ),
        ([here(1, DESK, MOBILE), here(2, DESK)], [("contact", MOBILE.uri, None)]),
        (
            [here(1, MOBILE, DESK), here(2, MOVED, MOBILE)],  # the desk phone moved
            [
                ("contact", DESK.uri, MOVED.uri),
                ("address", DESK.address, MOVED.address),
            ],
        ),
        ([here(1, DESK), LOST, here(3, DESK)], [BACK]),
        (
            [here(1, DESK), LOST, here(3, MOVED)],
            [
                BACK,
                ("contact", DESK.uri, MOVED.uri),
                ("address", DESK.address, MOVED.address),
            ],
        ),
        (  # a user agent that nobody told is no other one
            [here(1, DESK), here(2, DESK._replace(user_agent=""))],
            [],
        ),
    ],
)
async def test_what_changed_between_two_rows(
    site: Watching,
    rows: Iterable[HistoryRow],
    last: list[tuple[str, str | None, str | None]],
) -> None:
    answer = await told(site, KEY, *rows)
    changes = answer["rows"][-1]["changes"]
    assert [tuple(change.values()) for change in changes] == last


async def test_a_target_has_a_cause(site: Watching) -> None:
    site.target("twilio", "sip:203.0.113.9")
    row = HistoryRow("target:twilio", 5.0, State.DOWN, Cause.TIMEOUT, None, "silence")
    answer = await told(site, "twilio", row)
    (shown,) = answer["rows"]
    assert answer["scope"] == "twilio"
    assert (shown["state"], shown["cause"], shown["why"]) == (
        "down",
        "timeout",
        "silence",
    )


async def test_the_habit_of_a_phone_is_told(site: Watching) -> None:
    site.judges["hq"].extensions["1001"].habit = bytes((3, 110, 96, 100, 110))
    answer = await told(site, "1001")
    assert answer["refresh"] == {"first": 0.48, "median": 0.5, "last": 0.55}
    assert answer["rows"] == []


@pytest.mark.parametrize(
    ("name", "registrar", "key"),
    [
        ("1001", "", KEY),
        ("1001", "hq", KEY),
        (KEY, "", KEY),
        ("1002", "", "extension:hq/1002@example.com"),
        ("1002@example.com", "", "extension:hq/1002@example.com"),
        ("1003", "", "extension:lab/1003"),  # exactly so named
        ("hq", "", "registrar:hq"),
        ("registrar:hq", "", "registrar:hq"),
        ("1001", "lab", None),
        ("target:1001", "", None),
        ("extension:", "", None),
        ("100", "", None),
        ("", "", None),
    ],
)
async def test_who_is_meant(
    site: Watching, name: str, registrar: str, key: str | None
) -> None:
    subject = named(site, name, registrar)
    assert (subject.key if subject else None) == key


async def test_of_several_with_one_name_the_keys_are_told(site: Watching) -> None:
    site.registrar("1001", {"1001": True})
    with pytest.raises(AmbiguousError) as several:
        named(site, "1001")
    assert str(several.value) == (
        "several are named 1001: extension:hq/1001, extension:1001/1001, registrar:1001"
    )
    found = named(site, "1001", "hq")
    assert found is not None
    assert found.key == KEY


async def test_who_is_watched_no_more_has_a_past_all_the_same(site: Watching) -> None:
    row = HistoryRow("extension:hq/1999", START, State.UNREGISTERED)
    answer = await told(site, "1999", row)
    assert (answer["subject"], answer["watched"]) == (row.key, False)
    assert (answer["name"], answer["scope"]) == ("1999", "hq")
    assert (await told(site, row.key, row))["subject"] == row.key


@pytest.mark.parametrize(
    ("name", "registrar", "why"),
    [
        ("1999", "", "nothing is known of 1999"),
        ("\x1b", "", "nothing is known of �"),
        ("1001", "none", "there is no registrar none"),
        ("1001", "lab", "nothing is known of 1001"),
    ],
)
async def test_what_is_not_known_is_said(
    site: Watching, name: str, registrar: str, why: str
) -> None:
    with pytest.raises(LookupError) as unknown:
        await told(site, name, registrar=registrar)
    assert str(unknown.value) == why


@pytest.mark.parametrize(
    ("key", "watched"),
    [
        (KEY, True),
        ("extension:hq/1999", False),
        ("extension:none/1001", False),
        ("registration:hq/trunk", True),
        ("registration:hq/none", False),
        ("registrar:hq", True),
        ("target:pbx", True),
        ("target:none", False),
        ("account:none", False),
        ("vantage:here", False),
        ("nonsense", False),
    ],
)
async def test_whether_somebody_is_watched(
    site: Watching, key: str, watched: bool
) -> None:
    site.target("pbx", "sip:203.0.113.9")
    site.registers(site.judges["hq"], {"trunk": State.OK})
    assert is_watched(site, key) is watched
