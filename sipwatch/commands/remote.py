"""What the command line asks of the running daemon, over its Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from checks.observation import plain

TIMEOUT = 90.0  # s; a test notification may take a mail server's patience
BODY = 64 * 1024 * 1024  # bytes of an answer


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float = TIMEOUT) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class NoAnswerError(Exception):
    """The daemon did not answer, or not this, in one sentence."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status  # of HTTP; 0: there was no answer


@contextlib.contextmanager
def _conversation(path: str, patience: float = TIMEOUT) -> Iterator[_Connection]:
    """A connection to the socket at `path`; what hinders it is one sentence."""
    connection = _Connection(path, patience)
    try:
        yield connection
    except FileNotFoundError:
        raise NoAnswerError(f"no daemon at {path}: is sipwatch running?") from None
    except PermissionError:
        why = f"not allowed to open {path}: be root, or in the group sipwatch"
        raise NoAnswerError(why) from None
    except (OSError, http.client.HTTPException) as e:
        why = plain(str((isinstance(e, OSError) and e.strerror) or e).strip())
        raise NoAnswerError(f"the daemon at {path} does not answer: {why}") from None
    finally:
        connection.close()


def ask(
    path: str, method: str, url: str, body: Any = None, patience: float = TIMEOUT
) -> Any:
    """One request over the socket at `path`; the decoded JSON answer. A pause of more
    than `patience` seconds is no answer."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    content = json.dumps(body) if body is not None else None
    with _conversation(path, patience) as connection:
        connection.request(method, url, content, headers)
        response = connection.getresponse()
        text = response.read(BODY)
    if response.status != 200:
        raise NoAnswerError(_refusal(response.status, text))
    return _decoded(path, text)


def _well(answer: Any) -> int:
    return 0


def tell(
    get: Callable[[], Any],
    say: Callable[[Any], None],
    judge: Callable[[Any], int] = _well,
    *,
    as_json: bool,
) -> int:
    """Get an answer and print it; the exit status that it comes to, 3 without one."""
    try:
        answer = get()
    except NoAnswerError as e:
        print(e, file=sys.stderr)
        return 3
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        say(answer)
    return judge(answer)


def fetched(path: str, url: str) -> str:
    """An answer that is a text for people."""
    with _conversation(path) as connection:
        connection.request("GET", url)
        response = connection.getresponse()
        text = response.read(BODY)
    if response.status != 200:
        raise NoAnswerError(_refusal(response.status, text))
    return text.decode("utf-8", "replace")


def lines(path: str, method: str, url: str) -> Iterator[Any]:
    """One request whose answer comes line by line, each a JSON text."""
    with _conversation(path) as connection:
        connection.request(method, url)
        response = connection.getresponse()
        if response.status != 200:
            why = _refusal(response.status, response.read(BODY))
            raise NoAnswerError(why, response.status)
        while line := response.readline(BODY):
            yield _decoded(path, line)


def _decoded(path: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise NoAnswerError(f"what answers at {path} is not sipwatch") from None


def _refusal(status: int, body: bytes) -> str:
    """What the daemon says of a request; with its status, where that is not enough."""
    try:
        detail = json.loads(body).get("detail", "")
    except (ValueError, AttributeError):
        detail = None
    # "Not Found" alone is what a daemon says of a path that it does not know.
    theirs = http.client.responses.get(status)
    if isinstance(detail, str) and 400 <= status < 500 and detail not in ("", theirs):
        return plain(detail)
    said = body[:200].decode(errors="replace") if detail is None else str(detail)
    return f"the daemon answered {status}: {plain(said.strip())}"
