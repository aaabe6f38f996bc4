"""`sipwatch history`: what changed of an extension, a target or a registration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import urlencode

from checks.observation import plain
from sipwatch.commands.remote import ask, tell
from sipwatch.commands.terminal import columns, wrapped

WHEN = 19  # characters of "02 Mar 2025 10:02  "
WHAT = 12  # characters of "user agent  "
NARROW = 20  # characters that a value has at the least


def run(socket: str, subject: str, registrar: str, *, as_json: bool) -> int:
    """Print the history, the latest last; 3 where there is none to be had."""
    query = urlencode({"subject": subject, "registrar": registrar})
    return tell(
        lambda: ask(socket, "GET", f"/api/v1/history?{query}"),
        lambda answer: print("\n".join(lines(answer, columns()))),
        as_json=as_json,
    )


def lines(
    answer: dict[str, Any], width: int, zone: tzinfo | None = None
) -> Iterator[str]:
    """The history as text; times are of the zone, or of this machine's."""
    rows = answer["rows"]
    yield _head(answer)
    if not rows:
        yield "nothing of it has changed since it is watched"
    for row in rows:
        yield from _row(row, width, zone)
    if (refresh := answer["refresh"]) is not None:
        first, median, last = (
            f"{100 * refresh[name]:.0f}" for name in ("first", "median", "last")
        )
        spread = "" if first == last else f" ({first} to {last} %)"
        yield ""
        yield f"it refreshes at {median} % of its Expires{spread}"


def _head(answer: dict[str, Any]) -> str:
    name, title = plain(answer["name"]), plain(answer["title"])
    said = f"{answer['kind']} {name}"
    if title:
        said += f" {title}"
    if answer["scope"] != answer["name"]:
        said += f" - {plain(answer['scope'])}"
    return said if answer["watched"] else f"{said} (no longer watched)"


def _row(row: dict[str, Any], width: int, zone: tzinfo | None) -> Iterator[str]:
    """When, then a line for each thing that changed; none where nothing shows."""
    said = [
        (change["what"].replace("_", " "), _change(change, width))
        for change in row["changes"]
    ]
    if row["why"]:
        said.append(("why", plain(row["why"])))
    when = _local(row["at"], zone)
    for what, text in said:
        yield from wrapped(f"{when:<{WHEN}}{what:<{WHAT}}", text, width)
        when = ""


def _change(change: dict[str, Any], width: int) -> str:
    most = max(NARROW, width - WHEN - WHAT)
    old, new = (_word(change[end], most) for end in ("from", "to"))
    if old and new:
        return f"{old} -> {new}"
    return new if new else f"{old} is gone"


def _word(value: str | None, most: int) -> str:
    """A URI or a state; at a terminal it does not break its line."""
    if value is None:
        return ""
    if value.replace("_", "").isalpha():
        value = value.replace("_", " ")
    return plain(value, most)


def _local(at: str, zone: tzinfo | None) -> str:
    moment = datetime.fromisoformat(at).astimezone(zone)
    this_year = moment.year == datetime.now(UTC).astimezone(zone).year
    return moment.strftime("%d %b %H:%M:%S" if this_year else "%d %b %Y %H:%M")
