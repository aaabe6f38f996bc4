"""`sipwatch status`: what the daemon sees, as a table; once, or again and again."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from checks.observation import plain
from sipwatch.commands.remote import NoAnswerError, ask, tell
from sipwatch.commands.terminal import console, local, show

FEW = 5  # infos of one rule that are shown one by one
CERTIFICATES = 5  # shown; `--json` has more, the metrics all
RELOAD_SHOWN = 600  # characters of what the last reload did
EVERY = 2.0  # s between two looks of --watch

STYLES = {
    "critical": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "readable": "green",
    "unreadable": "bold red",
    "ok": "green",
    "rejected": "bold red",
    "failing": "bold red",
    "unknown": "dim",
}
# The state of an extension, and what heads its column.
_COUNTED = {
    "registered": "registered",
    "unreachable": "unreachable",
    "unregistered": "unregistered",
    "never_registered": "never",
    "unknown": "unknown",
}

Asked = Callable[[], dict[str, Any]]


def run(socket: str, *, as_json: bool) -> int:
    """Print what the daemon sees; 0 when all is well, 1 with open incidents that are
    more than an info."""
    return tell(
        lambda: ask(socket, "GET", "/api/v1/status"),
        lambda answer: show(page(answer), console()),
        _judged,
        as_json=as_json,
    )


def _judged(answer: dict[str, Any]) -> int:
    return 1 if any(i["severity"] != "info" for i in answer["incidents"]) else 0


def watch(socket: str, every: float = EVERY) -> int:
    """Show it on the whole terminal and keep it up to date, until Ctrl-C."""
    if not sys.stdout.isatty():
        print("--watch needs a terminal: use --json in a script", file=sys.stderr)
        return 3
    asked: Asked = lambda: ask(socket, "GET", "/api/v1/status")  # noqa: E731
    shown = console()
    try:
        last = asked()
    except NoAnswerError as e:
        print(e, file=sys.stderr)
        return 3
    try:
        with Live(
            fitting(page(last), shown), console=shown, screen=True, auto_refresh=False
        ) as live:
            for seen in looks(asked, last, time.sleep, every):
                live.update(fitting(seen, shown), refresh=True)
    except KeyboardInterrupt:
        pass
    return 0


def looks(
    asked: Asked, last: dict[str, Any], sleep: Callable[[float], None], every: float
) -> Iterator[RenderableType]:
    """One page after the other; without an answer the last one, which says so."""
    since = ""
    while True:
        sleep(every)
        try:
            last, since = asked(), ""
            yield page(last)
        except NoAnswerError as e:
            since = since or f"{datetime.now(UTC).astimezone():%H:%M:%S}"
            why = Text(f"no answer since {since}: {e}", style="bold red")
            yield Group(why, page(last))


def fitting(seen: RenderableType, shown: Console) -> RenderableType:
    """What of a page fits the terminal; the rest is told of in its last line."""
    rows, room = shown.render_lines(seen, pad=False), shown.size.height
    if len(rows) <= room:
        return seen
    more = f"and {len(rows) - room + 1} lines more: make the window taller"
    return Group(SegmentLines(rows[: room - 1], new_lines=True), Text(more, "dim"))


# --- the page -------------------------------------------------------------------------


def page(answer: dict[str, Any]) -> Group:
    """The whole answer: the incidents first, then where the phones are, then the rest.

    All its text came from the network, or may have: it is plain, and never markup.
    """
    ready = "ready" if answer["ready"] else "starting: the first pass is under way"
    since = local(answer["since"])
    parts: list[RenderableType] = [
        Text(f"sipwatch {answer['version']}, up since {since}, {ready}"),
        Text(),
        *_incidents(answer),
    ]
    if registrars := answer["registrars"]:
        parts += [Text(), _registrars(registrars)]
    parts += [Text(), _grid(_rest(answer))]
    return Group(*parts)


def _grid(rows: Iterable[tuple[str, str, str]]) -> Table:
    """Name, text and style of the text; a long text goes on below itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, said, style in rows:
        table.add_row(Text(name), Text(said, style=style))
    return table


def _incidents(answer: dict[str, Any]) -> Iterator[RenderableType]:
    """Each with its number, which `ack` and `explain` ask for."""
    incidents = answer["incidents"]
    if not incidents:
        yield Text("no open incident", style="green")
        return
    infos = Counter(i.get("rule", "") for i in incidents if i["severity"] == "info")
    many = {rule: count for rule, count in infos.items() if count > FEW}
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in incidents:
        if one["severity"] == "info" and one.get("rule") in many:
            continue
        table.add_row(str(one["id"]), styled(one["severity"]), _said(one))
    for rule, count in many.items():
        said = f"{plain(rule)}: {count} of them (--json names each)"
        table.add_row("", styled("info"), Text(said))
    yield table
    if (more := answer.get("incidents_open", 0) - len(incidents)) > 0:
        yield Text(f"and {more} more: sipwatch incidents")


def _said(incident: dict[str, Any]) -> Text:
    said = plain(incident["text"])
    if over := incident.get("over_at"):
        said += f" (well again, over at {local(over)} if that stays so)"
    if by := plain(incident["acknowledged_by"]):
        said += f" ({by} is on it)"
    if muted := plain(incident.get("muted_by", "")):
        said += f" (not told: {muted})"
    return Text(said)


def styled(word: str) -> Text:
    """A word of the closed sets, in its colour."""
    return Text(plain(word).replace("_", " "), style=STYLES.get(word, ""))


def _registrars(registrars: list[dict[str, Any]]) -> Group:
    """How many extensions of each are in which state; why one cannot be read below."""
    there = [s for s in _COUNTED if any(r["extensions"].get(s) for r in registrars)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("registrar", overflow="fold")
    table.add_column("state", no_wrap=True)
    for state in there:
        table.add_column(_COUNTED[state], justify="right", no_wrap=True)
    for one in registrars:
        counts = [one["extensions"].get(state, 0) for state in there]
        numbers = [Text(str(n), style="" if n else "dim") for n in counts]
        table.add_row(Text(plain(one["name"])), styled(one["state"]), *numbers)
    notes = list(_notes(registrars))
    return Group(table, *([_grid(notes)] if notes else []))


def _notes(registrars: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for one in registrars:
        name, why = plain(one["name"]), plain(one["detail"])
        if one["state"] != "readable":
            said = f"{one['state']} since {local(one['since'])}: {why}"
            yield name, said.removesuffix(": "), STYLES.get(one["state"], "")
        elif why:
            yield name, f"cannot be read: {why}", STYLES["warning"]


# --- the rest, a line each ------------------------------------------------------------


def _rest(answer: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for account in answer.get("accounts", ()):
        yield from _account(account)
    targets = ", ".join(f"{n} {s}" for s, n in answer["targets"].items() if n)
    yield "targets", targets or "none", ""
    for certificate in answer.get("certificates", ())[:CERTIFICATES]:
        yield "", _end(certificate), ""
    if reload := answer.get("reload"):
        yield from _reload(reload)
    if pending := answer["outbox"]["pending"]:
        since = local(answer["outbox"]["oldest"])
        plural = "notification waits" if pending == 1 else "notifications wait"
        yield "outbox", f"{pending} {plural}, the oldest since {since}", "yellow"
    for notifier in answer.get("notifiers", ()):
        if notifier["state"] == "failing":
            said = f"failing since {local(notifier['since'])}: "
            yield notifier["name"], said + plain(notifier["detail"]), "bold red"
    yield from _hours(answer)
    if (twilio := answer.get("twilio")) and twilio["state"] == "unreadable":
        said = f"its alerts cannot be read: {plain(twilio['detail'])}"
        yield "twilio", said, "yellow"
    if (heartbeat := answer.get("heartbeat")) and heartbeat["state"] != "beating":
        said = f"{heartbeat['state']}: {plain(heartbeat['detail'])}"
        yield "heartbeat", said.rstrip(": "), ""


def _account(account: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    name, state = plain(account["name"]), account["state"]
    tested = local(account["tested_at"]) if "tested_at" in account else "soon"
    said = f"{state}, account {plain(account['aor'])}, tested {tested}"
    yield name, said, STYLES.get(state, "") if state != "ok" else ""
    if account["cause"] is not None:
        yield "", f"since {local(account['since'])}: {plain(account['detail'])}", ""
        yield "", f"next step: {plain(account['next_step'])}", ""


def _hours(answer: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Our own network where it is not well, and what holds alarms back now."""
    vantage = answer.get("vantage")
    if vantage and vantage["state"] != "up":
        silent = [one for one in vantage["targets"] if not one["answers"]]
        said = f"{vantage['state']} since {local(vantage['since'])}"
        named = ", ".join(f"{plain(o['name'])} {plain(o['detail'])}" for o in silent)
        yield "network", f"{said}: {named}" if named else said, "bold red"
    if count := answer.get("silences", 0):
        plural = "" if count == 1 else "s"
        said = f"{count} silence{plural} in force (sipwatch silence list)"
        yield "muted", said, ""
    for window in answer.get("maintenance", ()):
        until = local(window["until"])
        yield "muted", f"maintenance {plain(window['name'])} until {until}", ""
    for one in answer.get("schedules", ()):
        state = "open" if one["open"] else "closed"
        until = f" until {local(one['until'])}" if one["until"] else ""
        yield "schedule", f"{plain(one['name'])} is {state}{until}", ""


def _end(certificate: dict[str, Any]) -> str:
    ends = datetime.fromisoformat(certificate["not_after"])
    days = (ends - datetime.now(UTC)).days
    left = f"{days} days" if days >= 0 else "expired"
    whose = plain(certificate["target"]).removeprefix("target:")
    where = f"{certificate['address']} over {certificate['transport'].upper()}"
    return f"certificate of {whose} at {where}: {left}"


def _reload(reload: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if refused := reload.get("refused"):
        said = f"{local(refused['at'])}: refused, the one before stays in force: "
        said += plain(refused["text"])
        yield "reload", plain(said, RELOAD_SHOWN), STYLES["warning"]
    if reload["at"] is None:
        return
    told = [f"{one['subject']} {one['state']}" for one in reload["tested"]]
    told += [f"{subject} not asked yet" for subject in reload["waiting"]]
    more = f"; {', '.join(told)}" if told else ""
    said = f"{local(reload['at'])}: {reload['summary']}{more}"
    yield "reload", plain(said, RELOAD_SHOWN), ""
