"""`sipwatch incidents`: the open ones, or those that were, as a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alerting.notification.wording import span
from checks.observation import plain
from checks.settings import duration
from sipwatch.commands.looking import styled
from sipwatch.commands.remote import ask, tell
from sipwatch.commands.terminal import console, local, show


def run(socket: str, filters: dict[str, Any], since: str, *, as_json: bool) -> int:
    """Print the incidents that pass all filters, the newest first; 0."""
    wanted = {name: str(value) for name, value in filters.items() if value}
    try:
        if since:
            wanted["since"] = _before(since)
    except ValueError as wrong:
        print(f"--since: {wrong}", file=sys.stderr)
        return 3
    return tell(
        lambda: ask(socket, "GET", f"/api/v1/incidents?{urlencode(wanted)}"),
        lambda answer: show(page(answer, filters["state"]), console()),
        as_json=as_json,
    )


def _before(since: str) -> str:
    """So long ago, as the API wants it."""
    moment = datetime.now(UTC) - timedelta(seconds=duration(since))
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def page(answer: dict[str, Any], state: str) -> RenderableType:
    """The table, and what is not in it. All its text is plain, and never markup."""
    items = answer["items"]
    if not items:
        what = "" if state == "all" else f"{state} "
        return Text(f"no {what}incident")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("no", justify="right", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("opened", no_wrap=True)
    table.add_column("lasted", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for one in items:
        table.add_row(
            str(one["id"]),
            styled(one["severity"]),
            local(one["opened_at"]),
            _lasted(one),
            Group(*_said(one)),
        )
    if (more := answer["total"] - len(items)) <= 0:
        return table
    return Group(table, Text(f"and {more} more: --limit, --since, or the API"))


def _lasted(one: dict[str, Any]) -> Text:
    if one["resolved_at"] is None and one["ended_at"] is None:
        return Text("open", style="bold")
    end = datetime.fromisoformat(one["ended_at"] or one["resolved_at"])
    seconds = (end - datetime.fromisoformat(one["since"])).total_seconds()
    return Text(span(max(0.0, seconds)))


def _said(one: dict[str, Any]) -> Iterator[Text]:
    yield Text(plain(one["text"]))
    if over := one.get("over_at"):
        yield Text(f"well again, over at {local(over)} if that stays so", style="dim")
    if one["acknowledged_by"]:
        at = f" since {local(one['acknowledged_at'])}" if one["acknowledged_at"] else ""
        note = f": {plain(one['note'])}" if one["note"] else ""
        yield Text(f"{plain(one['acknowledged_by'])} is on it{at}{note}", style="dim")
    if one["muted_by"]:
        yield Text(f"not told: {plain(one['muted_by'])}", style="dim")
    if one["part_of"] is not None:
        yield Text(f"part of {one['part_of']}", style="dim")
