"""What `sipwatch status` prints of a daemon's answer."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sipwatch.commands import looking
from sipwatch.commands.remote import NoAnswerError
from sipwatch.commands.terminal import WIDEST, local, show
from tests.sipwatch.commands.test_remote import daemon, http

TODAY = datetime.now().astimezone().replace(hour=10, minute=2, second=14)


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def answer(**more: Any) -> dict[str, Any]:
    return {
        "version": "1.0",
        "ready": True,
        "since": iso(TODAY),
        "registrars": [],
        "targets": {"up": 0, "degraded": 0, "down": 0, "unknown": 0},
        "incidents": [],
        "incidents_open": 0,
        "outbox": {"pending": 0, "oldest": None},
        **more,
    }


def registrar(name: str = "hq", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "asterisk",
        "state": "readable",
        "cause": None,
        "since": iso(TODAY),
        "detail": "",
        "extensions": {"registered": 211, "unreachable": 0, "unregistered": 1},
        **more,
    }


def incident(
    text: str, severity: str = "warning", by: str = "", id: int = 7
) -> dict[str, Any]:
    return {"id": id, "severity": severity, "text": text, "acknowledged_by": by}


def printed(shown: dict[str, Any], width: int = 80) -> list[str]:
    out = io.StringIO()
    show(looking.page(shown), Console(file=out, width=width, highlight=False))
    return out.getvalue().splitlines()


# --- what is printed ------------------------------------------------------------------


def test_all_is_well() -> None:
    shown = answer(
        registrars=[registrar()], targets={"up": 4, "degraded": 0, "down": 0}
    )
    assert printed(shown) == [
        "sipwatch 1.0, up since 10:02:14, ready",
        "",
        "no open incident",
        "",
        "registrar  state     registered  unregistered",
        "hq         readable         211             1",
        "",
        "targets  4 up",
    ]


def test_an_incident_whose_subject_is_well_again_says_when_it_is_over() -> None:
    over = incident("1001 unregistered since 10:02 - hq") | {"over_at": iso(TODAY)}
    shown = answer(registrars=[registrar()], incidents=[over], incidents_open=1)
    (line,) = [one for one in printed(shown, 200) if "1001" in one]
    assert line.rstrip().endswith(
        "1001 unregistered since 10:02 - hq"
        f" (well again, over at {local(iso(TODAY))} if that stays so)"
    )


def test_trouble_fits_80_columns() -> None:
    shown = answer(
        ready=False,
        registrars=[
            registrar(
                "a-registrar-in-lyon",
                state="unreadable",
                detail="nothing listens at 10.0.0.7:5038 (TCP): is Asterisk running, "
                "and does manager.conf say enabled = yes?",
                extensions={"unknown": 40},
            ),
            registrar(detail="b:5038: timeout"),
        ],
        incidents=[
            incident(
                "trunk acme-twilio does not answer OPTIONS since 10:02 (timeout, 4 "
                "sends to 54.172.60.0:5060)",
                "critical",
                by="night shift",
                id=102,
            ),
            incident("1001 Reception (Lyon) unregistered since 10:02 - hq"),
        ],
        incidents_open=12,
        outbox={"pending": 3, "oldest": iso(TODAY)},
    )
    lines = printed(shown)
    assert max(map(len, lines)) <= 80
    edge = " " * 21
    assert lines == [
        "sipwatch 1.0, up since 10:02:14, starting: the first pass is under way",
        "",
        "102  critical  trunk acme-twilio does not answer OPTIONS since 10:02 "
        "(timeout, 4",
        "               sends to 54.172.60.0:5060) (night shift is on it)",
        "  7  warning   1001 Reception (Lyon) unregistered since 10:02 - hq",
        "and 10 more: sipwatch incidents",
        "",
        "registrar            state       registered  unregistered  unknown",
        "a-registrar-in-lyon  unreadable           0             0       40",
        "hq                   readable           211             1        0",
        "a-registrar-in-lyon  unreadable since 10:02:14: nothing listens at 10.0.0.7:"
        "5038",
        f"{edge}(TCP): is Asterisk running, and does manager.conf say",
        f"{edge}enabled = yes?",
        "hq                   cannot be read: b:5038: timeout",
        "",
        "targets  none",
        "outbox   3 notifications wait, the oldest since 10:02:14",
    ]


@pytest.mark.parametrize(
    ("at", "more"),
    [
        (None, []),
        (iso(TODAY), ["reload   10:02:14: added targets.two; target:two up"]),
    ],
)
def test_a_refused_reload_is_told_beside_the_one_in_force(at, more) -> None:
    refused = {"at": iso(TODAY), "text": "sipwatch.yaml:3:1: targest: unknown key"}
    reload = {
        "at": at,
        "summary": "added targets.two",
        "refused": refused,
        "tested": [{"subject": "target:two", "state": "up"}],
        "waiting": [],
    }
    lines = printed(answer(reload=reload))
    assert lines[lines.index("targets  none") + 1 :] == [
        "reload   10:02:14: refused, the one before stays in force: sipwatch.yaml:3:1:",
        "         targest: unknown key",
        *more,
    ]


def test_a_long_name_leaves_room_for_the_numbers() -> None:
    names = ["hq", "the-registrar-of-the-branch-in-lyon" * 3]
    lines = printed(answer(registrars=[registrar(name) for name in names]))
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines[5:7]] == [
        ["hq", "readable", "211", "1"],
        [names[1][:44], "readable", "211", "1"],
    ]


def test_certificates_are_told_by_address_with_their_days() -> None:
    ends = datetime.now(UTC) + timedelta(days=13.5)
    shown = answer(
        certificates=[
            {
                "target": "target:twilio",
                "address": "54.172.60.1:5061",
                "transport": transport,
                "not_after": (ends - before).isoformat(),
            }
            for transport, before in (
                ("wss", timedelta(days=14)),
                ("tls", timedelta(0)),
            )
        ]
    )
    assert printed(shown)[-2:] == [
        "         certificate of twilio at 54.172.60.1:5061 over WSS: expired",
        "         certificate of twilio at 54.172.60.1:5061 over TLS: 13 days",
    ]


def test_without_a_terminal_lines_are_whole() -> None:
    shown = answer(incidents=[incident("x " * 120)])
    assert max(map(len, printed(shown, WIDEST))) > 240


def test_what_came_from_the_network_cannot_move_the_cursor() -> None:
    shown = answer(
        incidents=[incident("evil \x1b[2J", by="\x07me")],
        registrars=[registrar(detail="\x1b]0;title\x07")],
    )
    assert all(line.isprintable() for line in printed(shown))


def test_another_day_is_told_with_its_date() -> None:
    earlier = TODAY - timedelta(days=40)
    first = printed(answer(since=iso(earlier)))[0]
    assert f"up since {earlier:%d %b %H:%M}" in first


def test_many_infos_of_one_rule_are_one_line() -> None:
    infos = [
        {**incident(f"100{n} - hq", "info"), "rule": "RegistrationPolicy"}
        for n in range(6)
    ]
    late = {**incident("1007 overdue - hq", "info"), "rule": "RefreshOverdue"}
    bad = incident("1009 unregistered since 10:02 - hq")
    assert printed(answer(incidents=[bad, *infos, late], incidents_open=8))[2:5] == [
        "7  warning  1009 unregistered since 10:02 - hq",
        "7  info     1007 overdue - hq",
        "   info     RegistrationPolicy: 6 of them (--json names each)",
    ]


@pytest.mark.parametrize(
    ("open_", "status"),
    [([], 0), ([incident("bad")], 1), ([incident("not so bad", "info")], 0)],
)
def test_the_exit_status_tells_whether_something_is_open(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    open_: list[dict[str, Any]],
    status: int,
) -> None:
    reply = http("200 OK", json.dumps(answer(incidents=open_)))
    with daemon(tmp_path / "s", reply) as path:
        assert looking.run(path, as_json=False) == status
    assert "sipwatch 1.0" in capsys.readouterr().out


def test_json_is_the_answer_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(tmp_path / "s", http("200 OK", json.dumps(answer()))) as path:
        assert looking.run(path, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == answer()


# --- again and again ------------------------------------------------------------------


def test_a_watch_shows_the_last_answer_while_there_is_none() -> None:
    answers = iter([answer(version="2"), None, None, answer(version="3")])

    def asked() -> dict[str, Any]:
        if (found := next(answers)) is None:
            raise NoAnswerError("no daemon at s: is sipwatch running?")
        return found

    slept: list[float] = []
    seen = looking.looks(asked, answer(version="1"), slept.append, 2.0)
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False)
    for _ in range(4):
        console.print(next(seen))
    heads = [line for line in out.getvalue().splitlines() if "sipwatch" in line]
    assert slept == [2.0] * 4
    assert [re.sub(r"\d\d:\d\d:\d\d", "T", line.rstrip()) for line in heads] == [
        "sipwatch 2, up since T, ready",
        "no answer since T: no daemon at s: is sipwatch running?",
        "sipwatch 2, up since T, ready",
        "no answer since T: no daemon at s: is sipwatch running?",
        "sipwatch 2, up since T, ready",
        "sipwatch 3, up since T, ready",
    ]


def test_a_watch_tells_what_the_terminal_has_no_room_for() -> None:
    many = [incident(f"100{n} unregistered", id=n) for n in range(30)]
    out = io.StringIO()
    console = Console(file=out, width=80, height=10, highlight=False)
    console.print(looking.fitting(looking.page(answer(incidents=many)), console))
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[8].startswith(" 6  warning  1006")
    assert lines[9] == "and 25 lines more: make the window taller"


def test_a_watch_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert looking.watch("nowhere") == 3
    expected = "--watch needs a terminal: use --json in a script\n"
    assert capsys.readouterr().err == expected
