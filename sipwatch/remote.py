"""What the command line asks of the running daemon, over its Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from checks.observation import plain
from sipwatch.terminal import columns, wrapped

TIMEOUT = 90.0  # s; a test notification may take a mail server's patience
SHORTEST, LONGEST = 8, 20  # characters of the column of names
FEW = 5  # infos of one rule that are shown one by one
CERTIFICATES = 5  # shown; `--json` has more, the metrics all
RELOAD_SHOWN = 600  # characters of what the last reload did
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


@contextlib.contextmanager
def _conversation(path: str) -> Iterator[_Connection]:
    """A connection to the socket at `path`; what hinders it is one sentence."""
    connection = _Connection(path)
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


def ask(path: str, method: str, url: str, body: Any = None) -> Any:
    """One request over the socket at `path`; the decoded JSON answer."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    content = json.dumps(body) if body is not None else None
    with _conversation(path) as connection:
        connection.request(method, url, content, headers)
        response = connection.getresponse()
        text = response.read(BODY)
    if response.status != 200:
        raise NoAnswerError(_refusal(response.status, text))
    return _decoded(path, text)


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
            raise NoAnswerError(_refusal(response.status, response.read(BODY)))
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


def status(path: str, *, as_json: bool) -> int:
    """Print what the daemon sees; 0 when all is well, 1 with open incidents that are
    more than an info."""
    try:
        answer = ask(path, "GET", "/api/v1/status")
    except NoAnswerError as e:
        print(e, file=sys.stderr)
        return 3
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(_lines(answer, columns())))
    return 1 if any(i["severity"] != "info" for i in answer["incidents"]) else 0


def _lines(answer: dict[str, Any], width: int) -> Iterator[str]:
    ready = "ready" if answer["ready"] else "starting: the first pass is under way"
    yield f"sipwatch {answer['version']}, up since {_local(answer['since'])}, {ready}"
    yield ""
    yield from _incidents(answer, width)
    yield ""
    registrars = answer["registrars"]
    named = [*registrars, *answer.get("accounts", ())]
    lengths = [len(plain(one["name"])) for one in named]
    column = max([SHORTEST, *(n for n in lengths if n <= LONGEST)]) + 2
    for registrar in registrars:
        yield from _registrar(registrar, column, width)
    for account in answer.get("accounts", ()):
        yield from _account(account, column, width)
    targets = ", ".join(f"{n} {s}" for s, n in answer["targets"].items() if n)
    yield from wrapped("targets".ljust(column), targets or "none", width)
    for certificate in answer.get("certificates", ())[:CERTIFICATES]:
        yield from wrapped(" " * column, _end(certificate), width)
    if reload := answer.get("reload"):
        yield from wrapped("reload".ljust(column), _reload(reload), width)
    if pending := answer["outbox"]["pending"]:
        since = _local(answer["outbox"]["oldest"])
        plural = "notification waits" if pending == 1 else "notifications wait"
        yield f"{'outbox':<{column}}{pending} {plural}, the oldest since {since}"
    for notifier in answer.get("notifiers", ()):
        if notifier["state"] == "failing":
            said = f"failing since {_local(notifier['since'])}: "
            said += plain(notifier["detail"])
            yield from wrapped(notifier["name"].ljust(column), said, width)
    yield from _hours(answer, column, width)
    if (twilio := answer.get("twilio")) and twilio["state"] == "unreadable":
        said = f"its alerts cannot be read: {plain(twilio['detail'])}"
        yield from wrapped("twilio".ljust(column), said, width)
    if (heartbeat := answer.get("heartbeat")) and heartbeat["state"] != "beating":
        said = f"{heartbeat['state']}: {plain(heartbeat['detail'])}"
        yield from wrapped("heartbeat".ljust(column), said.rstrip(": "), width)


def _hours(answer: dict[str, Any], column: int, width: int) -> Iterator[str]:
    """Our own network where it is not well, and what holds alarms back now."""
    vantage = answer.get("vantage")
    if vantage and vantage["state"] != "up":
        silent = [one for one in vantage["targets"] if not one["answers"]]
        said = f"{vantage['state']} since {_local(vantage['since'])}"
        named = ", ".join(f"{plain(o['name'])} {plain(o['detail'])}" for o in silent)
        line = f"{said}: {named}" if named else said
        yield from wrapped("network".ljust(column), line, width)
    if count := answer.get("silences", 0):
        plural = "" if count == 1 else "s"
        said = f"{count} silence{plural} in force (sipwatch silence list)"
        yield from wrapped("muted".ljust(column), said, width)
    for window in answer.get("maintenance", ()):
        said = f"maintenance {plain(window['name'])} until {_local(window['until'])}"
        yield from wrapped("muted".ljust(column), said, width)
    for one in answer.get("schedules", ()):
        state = "open" if one["open"] else "closed"
        until = f" until {_local(one['until'])}" if one["until"] else ""
        said = f"{plain(one['name'])} is {state}{until}"
        yield from wrapped("schedule".ljust(column), said, width)


def _incidents(answer: dict[str, Any], width: int) -> Iterator[str]:
    """Each with its number, which `ack` and `explain` ask for."""
    incidents = answer["incidents"]
    if not incidents:
        yield "no open incident"
    infos = Counter(i.get("rule", "") for i in incidents if i["severity"] == "info")
    many = {rule: count for rule, count in infos.items() if count > FEW}
    digits = max([len(str(incident["id"])) for incident in incidents], default=0)
    edge = digits + len(" [critical] ")
    for incident in incidents:
        if incident["severity"] == "info" and incident.get("rule") in many:
            continue
        by = plain(incident["acknowledged_by"])
        taken = f" ({by} is on it)" if by else ""
        if muted := plain(incident.get("muted_by", "")):
            taken += f" (not told: {muted})"
        first = f"{incident['id']:>{digits}} [{incident['severity']}]".ljust(edge)
        yield from wrapped(first, plain(incident["text"]) + taken, width)
    for rule, count in many.items():
        first = f"{'':{digits}} [info]".ljust(edge)
        yield f"{first}{plain(rule)}: {count} of them (--json names each)"
    if (more := answer.get("incidents_open", 0) - len(incidents)) > 0:
        yield f"and {more} more"


def _named(one: dict[str, Any], said: str, column: int, width: int) -> Iterator[str]:
    """Name, state, and what is said of it; a long name has a line of its own."""
    name = plain(one["name"])
    if len(name) + 2 > column:
        yield name
        name = ""
    yield from wrapped(f"{name:<{column}}{one['state']:<12}", said, width)


def _registrar(registrar: dict[str, Any], column: int, width: int) -> Iterator[str]:
    extensions = registrar["extensions"].items()
    counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in extensions if n)
    yield from _named(registrar, counts or "no extensions seen", column, width)
    edge = " " * column
    if registrar["state"] != "readable":
        since = _local(registrar["since"])
        why = f"since {since}: {plain(registrar['detail'])}"
        yield from wrapped(edge, why.removesuffix(": "), width)
    elif registrar["detail"]:
        yield from wrapped(edge, f"cannot be read: {plain(registrar['detail'])}", width)


def _end(certificate: dict[str, Any]) -> str:
    ends = datetime.fromisoformat(certificate["not_after"])
    days = (ends - datetime.now(UTC)).days
    left = f"{days} days" if days >= 0 else "expired"
    whose = plain(certificate["target"]).removeprefix("target:")
    where = f"{certificate['address']} over {certificate['transport'].upper()}"
    return f"certificate of {whose} at {where}: {left}"


def _account(account: dict[str, Any], column: int, width: int) -> Iterator[str]:
    said = f"account {account['aor']}, tested "
    said += _local(account["tested_at"]) if "tested_at" in account else "soon"
    yield from _named(account, said, column, width)
    if account["cause"] is not None:
        edge = " " * column
        since = _local(account["since"])
        yield from wrapped(edge, f"since {since}: {plain(account['detail'])}", width)
        yield from wrapped(f"{edge}next step: ", plain(account["next_step"]), width)


def _reload(reload: dict[str, Any]) -> str:
    told = [f"{one['subject']} {one['state']}" for one in reload["tested"]]
    told += [f"{subject} not asked yet" for subject in reload["waiting"]]
    more = f"; {', '.join(told)}" if told else ""
    return plain(f"{_local(reload['at'])}: {reload['summary']}{more}", RELOAD_SHOWN)


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
        column = max(map(len, answer), default=0) + 2
        for name, error in answer.items():
            said = plain(error) or "accepted"
            print("\n".join(wrapped(name.ljust(column), said, columns())))
        if not answer:
            print("no notifiers are configured")
    return 2 if any(answer.values()) or not answer else 0
