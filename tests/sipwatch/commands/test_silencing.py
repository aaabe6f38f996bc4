"""The silences as people read and write them at a terminal."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sipwatch.commands import silencing

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 3, 7, 15, 30, tzinfo=PARIS)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("16:00", "2026-03-07T16:00:00+01:00"),
        ("9:05", "2026-03-08T09:05:00+01:00"),  # the next one
        ("2026-03-09T20:00:00+02:00", "2026-03-09T20:00:00+02:00"),
    ],
)
def test_a_time_is_the_next_of_the_clock_or_a_date(written: str, moment: str) -> None:
    assert silencing._moment(written, NOW) == moment


def test_a_local_time_gets_the_zone_of_the_machine() -> None:
    found = datetime.fromisoformat(silencing._moment("2026-03-09 20:00", NOW))
    assert found == datetime(2026, 3, 9, 20).astimezone()


@pytest.mark.parametrize("written", ["soon", "25:00", "2026-02-30 20:00", ""])
def test_what_is_no_time_is_said(written: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        silencing._moment(written, NOW)


def silence(**changed: Any) -> dict[str, Any]:
    return {
        "id": "1a2b3c4d",
        "state": "active",
        "matchers": ["site=lyon", "extension=~20*"],
        "author": "Anna",
        "reason": "the switch is replaced",
        "starts": "2025-03-02T10:00:00Z",
        "ends": "2025-03-02T12:00:00Z",
        "incidents": 0,
    } | changed


def printed(*silences: dict[str, Any], width: int = 200, **more: Any) -> list[str]:
    answer = {"silences": list(silences), "maintenance": [], **more}
    return list(silencing.lines(answer, width, PARIS))


def test_a_silence_is_a_line_with_what_until_when_who_and_why() -> None:
    assert printed(silence()) == [
        "1a2b3c4d  active  site=lyon, extension=~20*; 02 Mar 2025 11:00 to 02 Mar 2025 "
        "13:00; Anna: the switch is replaced"
    ]


def test_it_says_how_many_incidents_it_is_about() -> None:
    assert printed(silence(incidents=1))[0].endswith("replaced (1 open incident)")
    assert printed(silence(incidents=7))[0].endswith("replaced (7 open incidents)")


def test_maintenance_is_a_silence_of_the_configuration() -> None:
    window = {"name": "patches", "until": "2025-03-02T12:00:00Z", "reason": "updates"}
    assert printed(maintenance=[window]) == [
        "          active  maintenance patches until 02 Mar 2025 13:00: updates"
    ]


def test_nothing_is_said_to_be_nothing() -> None:
    assert printed() == ["nothing is silenced"]


def test_what_others_wrote_cannot_move_the_cursor() -> None:
    assert "\x1b" not in printed(silence(author="\x1b[2J", reason="\x1b[31m"))[0]


def test_it_fits_a_terminal() -> None:
    assert max(map(len, printed(silence(), width=80))) <= 80


def test_the_user_is_who_became_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    assert silencing.user() == "anna"


@pytest.mark.parametrize(
    ("subjects", "said"),
    [(0, ["it fits nothing that is watched now"]), (1, []), (4000, [])],
)
def test_one_that_fits_nothing_says_so_when_it_is_made(
    subjects: int, said: list[str]
) -> None:
    made = silence(subjects=subjects)
    assert list(silencing._added(made, 80))[1:] == said
