"""What happened of an incident, in order: seen, held, opened, told, taken, over."""

from __future__ import annotations

from typing import Any, NamedTuple

from sipwatch.views.incidents import OneIncident
from sipwatch.web.pages.words import mark, words

LONGEST = 200  # lines of it, the newest


class Entry(NamedTuple):
    """One line: when, the class of its mark or nothing, and the words."""

    at: str
    look: str
    text: str


def timeline(one: OneIncident) -> list[Entry]:
    """By all that is known of it."""
    i = one["incident"]
    found = [Entry(o["at"], *_seen(o)) for o in one["observations"]]
    found += [
        Entry(fact["at"], "", fact["text"]) for fact in i["evidence"] if fact["at"]
    ]
    held = [s for s in one["suppressed"] if s["what"] != "acknowledged"]  # told below
    found += [Entry(s["at"], "paused", _held(s)) for s in held]
    found.append(Entry(i["opened_at"], i["severity"], f"incident {i['id']} opens"))
    found += [Entry(a["at"], *_told(a)) for a in one["attempts"]]
    if i["acknowledged_at"]:
        note = f": {i['note']}" if i["note"] else ""
        taken = f"{i['acknowledged_by']} takes it{note}"
        found.append(Entry(i["acknowledged_at"], "info", taken))
    if i["resolved_at"]:
        why = f": {i['closed']}" if i["closed"] else ""
        found.append(Entry(i["resolved_at"], "good", f"the incident is over{why}"))
    found.sort(key=lambda entry: entry.at)
    return list(dict.fromkeys(found))[-LONGEST:]


def _seen(o: dict[str, Any]) -> tuple[str, str]:
    state, why = o["state"], o["why"]
    if not state:
        return "", why
    said = ", ".join(map(words, filter(None, (state, o["loss"], o["cause"]))))
    return mark(state), f"{said}: {why}" if why else said


def _held(s: dict[str, Any]) -> str:
    rule = f"{s['rule']}: " if s["rule"] else ""
    return f"{rule}{s['why']}"


def _told(a: dict[str, Any]) -> tuple[str, str]:
    said = f"{a['notifier']} is told that it is {a['telling']}"
    if a["outcome"] == "accepted":
        return "good", said
    return "bad", f"{said}: {a['outcome']}, {a['error']}"
