"""What `sipwatch incidents` prints, and what it asks for."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from rich.console import Console

from sipwatch.commands import listing
from sipwatch.commands.terminal import local, show
from tests.sipwatch.commands.test_remote import daemon, http

OPENED = datetime(2026, 3, 1, 10, 2, 14, tzinfo=UTC)


def at(minutes: float) -> str:
    return (OPENED + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def incident(id: int = 7, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "text": "1001 Reception (Lyon) unregistered since 10:02 - hq",
        "severity": "warning",
        "since": at(0),
        "opened_at": at(2),
        "ended_at": None,
        "resolved_at": None,
        "acknowledged_by": "",
        "acknowledged_at": None,
        "note": "",
        "muted_by": "",
        "part_of": None,
        **more,
    }


def printed(items: list[dict[str, Any]], total: int = 0, state: str = "open") -> str:
    out = io.StringIO()
    answer = {"items": items, "next": None, "total": total or len(items)}
    show(listing.page(answer, state), Console(file=out, width=80, highlight=False))
    return out.getvalue()


def test_nothing_is_said_in_the_words_of_what_was_asked() -> None:
    assert printed([]) == "no open incident\n"
    assert printed([], state="resolved") == "no resolved incident\n"
    assert printed([], state="all") == "no incident\n"


def test_each_tells_its_number_and_who_is_on_it() -> None:
    taken = incident(
        102,
        severity="critical",
        text="trunk acme-twilio does not answer OPTIONS since 10:02 (timeout, 4 sends)",
        acknowledged_by="night shift",
        acknowledged_at=at(5),
        note="called them",
    )
    over = incident(ended_at=at(125), resolved_at=at(126), muted_by="silence 3")
    part = incident(6, part_of=102)
    when, taken_at = local(at(2)), local(at(5))
    edge = " " * (28 + len(when))
    assert printed([taken, over, part], total=9) == (
        f" no  severity  {'opened':<{len(when)}}     lasted  what\n"
        f"102  critical  {when}       open  trunk acme-twilio does not answer\n"
        f"{edge}OPTIONS since 10:02 (timeout, 4 sends)\n"
        f"{edge}night shift is on it since {taken_at}:\n"
        f"{edge}called them\n"
        f"  7  warning   {when}  2 h 5 min  1001 Reception (Lyon) unregistered since\n"
        f"{edge}10:02 - hq\n"
        f"{edge}not told: silence 3\n"
        f"  6  warning   {when}       open  1001 Reception (Lyon) unregistered since\n"
        f"{edge}10:02 - hq\n"
        f"{edge}part of 102\n"
        "and 6 more: --limit, --since, or the API\n"
    )


def test_one_that_is_well_again_says_when_it_is_over() -> None:
    said = " ".join(printed([incident(over_at=at(3))]).split())
    assert f"well again, over at {local(at(3))} if that stays so" in said


def test_what_came_from_the_network_is_no_markup_and_moves_no_cursor() -> None:
    hostile = incident(
        text="[red]\x1b[2Jevil[/red]", note="[/]", acknowledged_by="\x07"
    )
    lines = printed([hostile]).splitlines()
    assert all(line.isprintable() for line in lines)
    assert "[red]�[2Jevil[/red]" in lines[1]


@time_machine.travel(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), tick=False)
def test_filters_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = http("200 OK", json.dumps({"items": [], "next": None, "total": 0}))
    heard: list[bytes] = []
    filters = {"state": "all", "rule": "OptionsFailing", "site": None, "limit": 50}
    with daemon(tmp_path / "s", reply, heard) as path:
        assert listing.run(path, filters, "24h", as_json=True) == 0
    url = urlsplit(heard[0].split()[1].decode())
    assert url.path == "/api/v1/incidents"
    assert parse_qs(url.query) == {
        "state": ["all"],
        "rule": ["OptionsFailing"],
        "limit": ["50"],
        "since": ["2026-02-28T12:00:00Z"],
    }
    assert json.loads(capsys.readouterr().out)["items"] == []


def test_a_wrong_length_of_time_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing.run("nowhere", {"state": "open"}, "24", as_json=False) == 3
    assert capsys.readouterr().err == "--since: 24 is not a duration (write 24s)\n"
