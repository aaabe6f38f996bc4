"""What `sipwatch status` prints of a daemon's answer, and when there is none."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sipwatch import remote, terminal

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
    return list(remote._lines(shown, width))


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
        "hq        readable    211 registered, 1 unregistered",
        "targets   4 up",
    ]


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
        "102 [critical] trunk acme-twilio does not answer OPTIONS since 10:02 "
        "(timeout, 4",
        "               sends to 54.172.60.0:5060) (night shift is on it)",
        "  7 [warning]  1001 Reception (Lyon) unregistered since 10:02 - hq",
        "and 10 more",
        "",
        "a-registrar-in-lyon  unreadable  40 unknown",
        f"{edge}since 10:02:14: nothing listens at 10.0.0.7:5038 (TCP): is",
        f"{edge}Asterisk running, and does manager.conf say enabled = yes?",
        "hq                   readable    211 registered, 1 unregistered",
        f"{edge}cannot be read: b:5038: timeout",
        "targets              none",
        "outbox               3 notifications wait, the oldest since 10:02:14",
    ]


def test_a_long_name_has_a_line_of_its_own() -> None:
    names = ["hq", "the-registrar-of-the-branch-in-lyon"]
    assert printed(answer(registrars=[registrar(name) for name in names]))[4:] == [
        "hq        readable    211 registered, 1 unregistered",
        "the-registrar-of-the-branch-in-lyon",
        "          readable    211 registered, 1 unregistered",
        "targets   none",
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
        "          certificate of twilio at 54.172.60.1:5061 over WSS: expired",
        "          certificate of twilio at 54.172.60.1:5061 over TLS: 13 days",
    ]


def test_without_a_terminal_lines_are_whole() -> None:
    shown = answer(incidents=[incident("x " * 120)])
    assert max(map(len, printed(shown, terminal.WHOLE))) > 240


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


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["- short"]),
        ("", ["-"]),
        ("one two three", ["- one two", "  three"]),
        ("x" * 30, ["- " + "x" * 30]),
        ("a " + "x" * 30 + " b", ["- a", "  " + "x" * 30, "  b"]),
    ],
)
def test_words_are_wrapped_whole(text: str, lines: list[str]) -> None:
    assert list(terminal.wrapped("- ", text, 10)) == lines


# --- asking ---------------------------------------------------------------------------


def whole(request: bytes) -> bool:
    """Whether a request has come with its body."""
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@contextmanager
def daemon(path: Path, reply: bytes) -> Iterator[str]:
    """A socket that answers one request with these octets."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                request = b""
                while not whole(request):
                    request += connection.recv(65536)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(path)
        thread.join()


def http(status: str, body: str) -> bytes:
    length = len(body.encode())
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}".encode()


def test_many_infos_of_one_rule_are_one_line() -> None:
    infos = [
        {**incident(f"100{n} - hq", "info"), "rule": "RegistrationPolicy"}
        for n in range(6)
    ]
    late = {**incident("1007 overdue - hq", "info"), "rule": "RefreshOverdue"}
    bad = incident("1009 unregistered since 10:02 - hq")
    assert printed(answer(incidents=[bad, *infos, late], incidents_open=8))[2:5] == [
        "7 [warning]  1009 unregistered since 10:02 - hq",
        "7 [info]     1007 overdue - hq",
        "  [info]     RegistrationPolicy: 6 of them (--json names each)",
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
        assert remote.status(path, as_json=False) == status
    assert "sipwatch 1.0" in capsys.readouterr().out


def test_json_is_the_answer_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with daemon(tmp_path / "s", http("200 OK", json.dumps(answer()))) as path:
        assert remote.status(path, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == answer()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "does not answer"),
        (b"SSH-2.0-x\r\n", "does not answer"),
        (http("200 OK", "{half"), "is not sipwatch"),
        (http("503 No", '{"detail": "busy \\u001b"}'), "answered 503: busy �"),
        (http("500 No", "oh"), "answered 500: oh"),
        (http("404 No", '{"detail": "Not Found"}'), "answered 404: Not Found"),
    ],
)
def test_what_is_no_answer_is_one_line_and_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reply: bytes, why: str
) -> None:
    with daemon(tmp_path / "s", reply) as path:
        assert remote.status(path, as_json=False) == 3
    captured = capsys.readouterr()
    assert why in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_no_daemon_is_said_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "api.sock"
    assert remote.status(str(path), as_json=False) == 3
    expected = f"no daemon at {path}: is sipwatch running?\n"
    assert capsys.readouterr().err == expected
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert remote.test_notify(str(path), (), as_json=False) == 3
    expected = f"the daemon at {path} does not answer: Connection refused\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("told", "status", "out"),
    [
        ({"oncall": ""}, 0, "oncall  accepted\n"),
        ({"oncall": "", "b": "550 no"}, 2, "oncall  accepted\nb       550 no\n"),
        ({}, 2, "no notifiers are configured\n"),
    ],
)
def test_a_test_tells_of_each_notifier(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    told: dict[str, str],
    status: int,
    out: str,
) -> None:
    with daemon(tmp_path / "s", http("200 OK", json.dumps(told))) as path:
        assert remote.test_notify(path, (), as_json=False) == status
    assert capsys.readouterr().out == out
