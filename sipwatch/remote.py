"""What the command line asks of the running daemon, over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

TIMEOUT = 90.0  # s; a test notification may take a mail server's patience
BODY = 64 * 1024 * 1024  # bytes of an answer


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


class NoAnswerError(Exception):
    """The daemon did not answer, in one sentence."""


def ask(path: str, method: str, url: str, body: Any = None) -> Any:
    """One request over the socket at `path`; the decoded JSON answer."""
    connection = _Connection(path)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        content = json.dumps(body) if body is not None else None
        connection.request(method, url, content, headers)
        response = connection.getresponse()
        text = response.read(BODY)
    except FileNotFoundError:
        raise NoAnswerError(f"no daemon at {path}: is sipwatch running?") from None
    except PermissionError:
        why = f"not allowed to open {path}: be root, or in the group sipwatch"
        raise NoAnswerError(why) from None
    except (OSError, http.client.HTTPException) as e:
        raise NoAnswerError(f"the daemon at {path} does not answer: {e}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise NoAnswerError(f"the daemon answered {response.status}: {_told(text)}")
    return json.loads(text)


def _told(body: bytes) -> str:
    try:
        return str(json.loads(body).get("detail", ""))
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace").strip()


def status(path: str, *, as_json: bool) -> int:
    """Print what the daemon sees; 0 when all is well, 1 with open incidents."""
    try:
        answer = ask(path, "GET", "/api/v1/status")
    except NoAnswerError as e:
        print(e, file=sys.stderr)
        return 3
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(_lines(answer)))
    return 1 if answer["incidents"] else 0


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    ready = "ready" if answer["ready"] else "starting: the first pass is under way"
    yield f"sipwatch {answer['version']}, up since {_local(answer['since'])}, {ready}"
    yield ""
    yield from _incidents(answer["incidents"])
    for registrar in answer["registrars"]:
        counts = ", ".join(
            f"{n} {state.replace('_', ' ')}"
            for state, n in registrar["extensions"].items()
            if n
        )
        yield (
            f"{registrar['name']:<14} {registrar['state']:<11} "
            f"{counts or 'no extensions seen'}"
        )
        if registrar["state"] != "readable":
            yield f"{'':14} since {_local(registrar['since'])}: {registrar['detail']}"
    targets = ", ".join(f"{n} {s}" for s, n in answer["targets"].items() if n)
    yield f"{'targets':<14} {targets or 'none'}"
    pending = answer["outbox"]["pending"]
    if pending:
        since = _local(answer["outbox"]["oldest"])
        yield f"{'outbox':<14} {pending} waiting since {since}"


def _incidents(incidents: list[dict[str, Any]]) -> Iterator[str]:
    if not incidents:
        yield "no open incident"
    for incident in incidents:
        by = incident["acknowledged_by"]
        acknowledged = f" ({by} is on it)" if by else ""
        yield f"[{incident['severity']}] {incident['text']}{acknowledged}"
    yield ""


def _local(at: str | None) -> str:
    if at is None:
        return "?"
    moment = datetime.fromisoformat(at).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%d %b %H:%M")


def test_notify(path: str, notifiers: tuple[str, ...], *, as_json: bool) -> int:
    """Send a test by each notifier; 0 when all accepted it, 2 otherwise."""
    try:
        answer = ask(path, "POST", "/api/v1/test-notify", list(notifiers))
    except NoAnswerError as e:
        print(e, file=sys.stderr)
        return 3
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        for name, error in answer.items():
            print(f"{name:<14} {error or 'accepted'}")
        if not answer:
            print("no notifiers are configured")
    return 2 if any(answer.values()) or not answer else 0
