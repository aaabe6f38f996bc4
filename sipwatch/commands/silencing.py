"""`sipwatch silence` and `sipwatch ack`: what people do to alarms, by the daemon."""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import quote

from checks.observation import plain
from sipwatch.commands.remote import NoAnswerError, ask, tell
from sipwatch.commands.terminal import columns, wrapped

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def add(
    socket: str,
    matchers: Sequence[str],
    *,
    reason: str,
    author: str,
    starts: str,
    ends: str,
    lasts: str,
    as_json: bool,
) -> int:
    """Silence what fits all matchers; 0 when it is stored."""
    try:
        begin, end = (_moment(text) if text else "" for text in (starts, ends))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 3
    wanted = {
        "matchers": list(matchers),
        "author": author or user(),
        "reason": reason,
        "starts": begin,
        "ends": end,
        "lasts": lasts,
    }
    return _asked(socket, "POST", "/api/v1/silences", wanted, _added, as_json=as_json)


def remove(socket: str, ids: Sequence[str], *, as_json: bool) -> int:
    """End silences now."""
    urls = [f"/api/v1/silences/{quote(id, safe='')}" for id in ids]
    return _each(socket, "DELETE", urls, None, _removed, as_json=as_json)


def show(socket: str, *, ended: bool, as_json: bool) -> int:
    """List the silences, with `ended` those that were."""
    url = f"/api/v1/silences?ended={str(ended).lower()}"
    return _asked(socket, "GET", url, None, lines, as_json=as_json)


def acknowledge(
    socket: str, incidents: Sequence[int], *, by: str, note: str, as_json: bool
) -> int:
    """Take open incidents; 0 when it is stored of all."""
    urls = [f"/api/v1/incidents/{id}/acknowledge" for id in incidents]
    taken = {"by": by or user(), "note": note}
    return _each(socket, "POST", urls, taken, _taken, as_json=as_json)


def user() -> str:
    """Who sits at the terminal, behind sudo as well."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # an id without a name
        return f"uid {os.getuid()}"


Say = Callable[[Any, int], Iterator[str]]


def _asked(
    socket: str, method: str, url: str, body: Any, say: Say, *, as_json: bool
) -> int:
    return tell(
        lambda: ask(socket, method, url, body),
        lambda answer: print("\n".join(say(answer, columns()))),
        as_json=as_json,
    )


def _each(
    socket: str, method: str, urls: Sequence[str], body: Any, say: Say, *, as_json: bool
) -> int:
    """One request for each; the JSON of all is one list."""
    answers = []
    for url in urls:
        try:
            answers.append(ask(socket, method, url, body))
        except NoAnswerError as e:
            print(e, file=sys.stderr)
    if as_json:
        print(json.dumps(answers, indent=2))
    else:
        for answer in answers:
            print("\n".join(say(answer, columns())))
    return 0 if len(answers) == len(urls) else 3


# --- in words -------------------------------------------------------------------------


def lines(
    answer: dict[str, Any], width: int, zone: tzinfo | None = None
) -> Iterator[str]:
    """All silences as text; times are of the zone, or of this machine's."""
    for one in answer["silences"]:
        head = f"{one['id']}  {one['state']:<6}  "
        what = ", ".join(plain(matcher) for matcher in one["matchers"])
        until = f"{_local(one['starts'], zone)} to {_local(one['ends'], zone)}"
        said = f"{what}; {until}; {plain(one['author'])}: {plain(one['reason'])}"
        if one["incidents"]:
            plural = "" if one["incidents"] == 1 else "s"
            said += f" ({one['incidents']} open incident{plural})"
        yield from wrapped(head, said, width)
    for window in answer["maintenance"]:
        head, why = f"{'':<8}  active  ", plain(window["reason"])
        said = f"maintenance {plain(window['name'])} until "
        said += _local(window["until"], zone) + (f": {why}" if why else "")
        yield from wrapped(head, said, width)
    if not (answer["silences"] or answer["maintenance"]):
        yield "nothing is silenced"


def _added(one: dict[str, Any], width: int) -> Iterator[str]:
    when = "" if one["state"] == "active" else f"from {_local(one['starts'])} "
    until = f"{when}until {_local(one['ends'])}"
    yield f"silence {one['id']} is {one['state']} {until}"
    if one["incidents"]:
        yield f"open incidents that it is about: {one['incidents']}"
    if not one.get("subjects", 1):
        yield "it fits nothing that is watched now"


def _removed(one: dict[str, Any], width: int) -> Iterator[str]:
    yield f"silence {one['id']} is over: what it held is told now, if it is still so"


def _taken(one: dict[str, Any], width: int) -> Iterator[str]:
    whose = plain(one["acknowledged_by"])
    subject, rule = plain(one["subject"]), plain(one["rule"])
    yield from wrapped(
        f"incident {one['id']}: ", f"{rule} of {subject} is taken by {whose}", width
    )


# --- times ----------------------------------------------------------------------------


def _moment(written: str, now: datetime | None = None) -> str:
    """ISO 8601 of "14:00" (the next one), "2026-03-07 20:00", or of itself."""
    now = datetime.now(UTC).astimezone() if now is None else now
    if clock := _CLOCK.fullmatch(written.strip()):
        at = now.replace(
            hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0
        )
        return (at if at > now else at + timedelta(days=1)).isoformat()
    try:
        at = datetime.fromisoformat(written.strip())
    except ValueError:
        text = f'{written} is not a time (write 14:00, or "2026-03-07 20:00")'
        raise ValueError(text) from None
    return (at if at.tzinfo else at.astimezone()).isoformat()


def _local(at: str, zone: tzinfo | None = None) -> str:
    moment = datetime.fromisoformat(at).astimezone(zone)
    today = datetime.now(UTC).astimezone(zone).date()
    if moment.date() == today:
        return f"{moment:%H:%M}"
    this_year = moment.year == today.year
    return f"{moment:%d %b %H:%M}" if this_year else f"{moment:%d %b %Y %H:%M}"
