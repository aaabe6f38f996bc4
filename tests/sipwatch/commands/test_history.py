"""What `sipwatch history` prints, and when there is nothing to print."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sipwatch.commands import history, terminal
from tests.sipwatch.commands.test_remote import daemon, http

PARIS = ZoneInfo("Europe/Paris")


def row(at: str, *changes: tuple[str, str | None, str | None], **more: Any) -> Any:
    return {
        "at": f"{at}.000Z",
        "changes": [dict(zip(("what", "from", "to"), c, strict=True)) for c in changes],
        "why": "",
        **more,
    }


def answer(*rows: Any, **more: Any) -> dict[str, Any]:
    return {
        "subject": "extension:hq/1001",
        "kind": "extension",
        "name": "1001",
        "title": "Reception",
        "scope": "hq",
        "watched": True,
        "refresh": None,
        "rows": list(rows),
        **more,
    }


def printed(shown: dict[str, Any], width: int = 80) -> list[str]:
    return list(history.lines(shown, width, PARIS))


def this_year() -> int:
    return datetime.now(UTC).year


def test_a_history_is_read_at_80_columns() -> None:
    year = this_year()
    shown = answer(
        row(
            "2019-03-01T07:00:00",
            ("state", None, "registered"),
            ("contact", None, "sip:1001@10.20.0.31:5060;transport=udp"),
            ("address", None, "10.20.0.31:5060"),
            ("user_agent", None, "Yealink SIP-T46U 108.86.0.75"),
        ),
        row(
            f"{year}-03-02T09:02:14",
            ("state", "registered", "unregistered"),
            why="its registration expired after the 60 s granted: the phone did not"
            " refresh it",
        ),
        row(
            f"{year}-07-02T08:16:01",
            ("state", "unregistered", "registered"),
            ("address", "10.20.0.31:5060", "10.20.0.44:5060"),
            ("contact", "sip:1001@10.9.0.7", None),
        ),
        refresh={"first": 0.48, "median": 0.5, "last": 0.525},
    )
    lines = printed(shown)
    assert max(map(len, lines)) <= 80
    assert lines == [
        "extension 1001 Reception - hq",
        "01 Mar 2019 08:00  state       registered",
        "                   contact     sip:1001@10.20.0.31:5060;transport=udp",
        "                   address     10.20.0.31:5060",
        "                   user agent  Yealink SIP-T46U 108.86.0.75",
        "02 Mar 10:02:14    state       registered -> unregistered",
        f"{'':19}why         its registration expired after the 60 s granted:",
        f"{'':31}the phone did not refresh it",
        "02 Jul 10:16:01    state       unregistered -> registered",
        "                   address     10.20.0.31:5060 -> 10.20.0.44:5060",
        "                   contact     sip:1001@10.9.0.7 is gone",
        "",
        "it refreshes at 50 % of its Expires (48 to 52 %)",
    ]


def test_a_long_contact_is_cut_at_a_terminal_and_whole_without() -> None:
    uri = "sip:1001@10.20.0.31:5060;" + "x" * 90
    shown = answer(row("2019-03-01T07:00:00", ("contact", uri, f"{uri}y")))
    assert max(map(len, printed(shown))) <= 80
    assert f"{uri} -> {uri}y" in "\n".join(printed(shown, terminal.WHOLE))


def test_states_are_told_in_words_and_texts_are_not_changed() -> None:
    shown = answer(
        row(
            "2019-03-01T07:00:00",
            ("state", "never_registered", "registered"),
            ("user_agent", "a_b 1", "a_c 1"),
        )
    )
    assert [line[31:] for line in printed(shown)[1:]] == [
        "never registered -> registered",
        "a_b 1 -> a_c 1",
    ]


@pytest.mark.parametrize(
    ("more", "first"),
    [
        ({}, "extension 1001 Reception - hq"),
        ({"title": "", "watched": False}, "extension 1001 - hq (no longer watched)"),
        (
            {"kind": "registrar", "name": "hq", "title": ""},
            "registrar hq",
        ),
    ],
)
def test_the_first_line_says_of_whom(more: dict[str, Any], first: str) -> None:
    assert printed(answer(**more)) == [
        first,
        "nothing of it has changed since it is watched",
    ]


def test_what_came_from_the_network_cannot_move_the_cursor() -> None:
    evil = "\x1b[2J"
    shown = answer(
        row("2019-03-01T07:00:00", ("contact", evil, evil), why=evil), title=evil
    )
    assert all(line.isprintable() for line in printed(shown))


def test_it_asks_the_daemon_by_name_and_registrar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(tmp_path / "s", http("200 OK", json.dumps(answer()))) as path:
        assert history.run(path, "1001", "hq", as_json=False) == 0
    assert capsys.readouterr().out.startswith("extension 1001 Reception - hq\n")
    with daemon(tmp_path / "t", http("200 OK", json.dumps(answer()))) as path:
        assert history.run(path, "1001", "", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == answer()


def test_where_nothing_is_known_that_is_one_line_and_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = http("404 Not Found", '{"detail": "nothing is known of 1009"}')
    with daemon(tmp_path / "s", reply) as path:
        assert history.run(path, "1009", "", as_json=False) == 3
    assert capsys.readouterr().err == ("nothing is known of 1009\n")
