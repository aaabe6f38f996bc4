"""How the command line asks the daemon, and what it says where there is none."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipwatch.commands import looking, testing


def whole(request: bytes) -> bool:
    """Whether a request has come with its body."""
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


@contextmanager
def daemon(path: Path, reply: bytes, heard: list[bytes] | None = None) -> Iterator[str]:
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
                if heard is not None:
                    heard.append(request)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(path)
        thread.join()


def http(status: str, body: str) -> bytes:
    length = len(body.encode())
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}".encode()


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
        assert looking.run(path, as_json=False) == 3
    captured = capsys.readouterr()
    assert why in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_no_daemon_is_said_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "api.sock"
    assert looking.run(str(path), as_json=False) == 3
    expected = f"no daemon at {path}: is sipwatch running?\n"
    assert capsys.readouterr().err == expected
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert testing.notifiers(str(path), (), as_json=False) == 3
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
        assert testing.notifiers(path, (), as_json=False) == status
    assert capsys.readouterr().out == out
