"""`sipwatch audit`: how phones register, by kind, and what is outside the policy."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from checks.observation import plain
from sipwatch.commands.remote import ask, tell
from sipwatch.commands.terminal import columns

WIDEST = 120  # columns: no verdict is longer
CELL = 40  # characters of a word that came from the network


def run(socket: str, registrar: str, *, as_json: bool) -> int:
    """Print the table; 0 where nothing is outside the policy, 1 where something is, 3
    where the daemon does not answer."""
    query = f"?registrar={quote(registrar)}" if registrar else ""
    return tell(
        lambda: ask(socket, "GET", f"/api/v1/audit{query}"),
        lambda answer: show(answer, _console()),
        _judged,
        as_json=as_json,
    )


def _console() -> Console:
    return Console(width=min(columns(), WIDEST), highlight=False)


def _judged(answer: dict[str, Any]) -> int:
    kinds = [kind for found in answer["registrars"] for kind in found["kinds"]]
    return 1 if any(kind["outside"] for kind in kinds) else 0


def show(answer: dict[str, Any], console: Console) -> None:
    """All registrars, one table each."""
    if not answer["registrars"]:
        console.print("no registrars are configured")
    for n, registrar in enumerate(answer["registrars"]):
        if n:
            console.print()
        _show_one(registrar, console)


def _show_one(registrar: dict[str, Any], console: Console) -> None:
    console.print(Text(f"{plain(registrar['name'])}: {_wanted(registrar['expiry'])}"))
    if registrar["state"] != "readable":
        console.print(f"it is {registrar['state']}: this is what was read last")
    kinds = registrar["kinds"]
    if not kinds:
        console.print("no registrations")
        return
    console.print(_table(kinds))
    every = sum(kind["registrations"] for kind in kinds)
    outside = sum(kind["registrations"] for kind in kinds if kind["outside"])
    if outside:
        console.print(f"{outside} of {every} are outside the policy")


def _wanted(expiry: dict[str, dict[str, float]]) -> str:
    udp, streams = (
        f"{bounds['least']:g}-{bounds['most']:g} s"
        for bounds in (expiry["UDP"], expiry["TCP"])
    )
    wanted = udp if udp == streams else f"{udp} (UDP), {streams} (TCP, TLS, WS)"
    return f"wanted {wanted}, refreshed near half"


def _table(kinds: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in ("phones", "vendor", "over", "granted", "refreshed", "overdue"):
        number = name in ("phones", "overdue")
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    table.add_column("verdict")
    for kind in kinds:
        style = "yellow" if kind["outside"] else ""
        table.add_row(
            str(kind["registrations"]),
            Text(plain(kind["vendor"], CELL)),
            Text(plain(kind["transport"], CELL)),
            _granted(kind["granted"]),
            _refreshed(kind["refresh"]),
            str(kind["overdue"] or "-"),
            Text(kind["verdict"], style=style),
        )
    return table


def _granted(granted: dict[str, Any] | None) -> str:
    if granted is None:
        return "?"
    least, most = f"{granted['least']:.0f}", f"{granted['most']:.0f}"
    seconds = f"{most} s" if least == most else f"{least}-{most} s"
    return seconds if granted["exact"] else f">= {seconds}"


def _refreshed(refresh: dict[str, float] | None) -> str:
    if refresh is None:
        return "?"
    first, median, last = (
        f"{100 * refresh[name]:.0f}" for name in ("first", "median", "last")
    )
    return f"{median} %" if first == last else f"{median} % ({first}-{last})"
