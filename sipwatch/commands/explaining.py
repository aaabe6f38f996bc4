"""`sipwatch explain`: why there is an alarm, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import urlencode

from checks.observation import plain
from checks.settings import written_duration
from sipwatch.commands.remote import NoAnswerError, ask, tell
from sipwatch.commands.terminal import columns, wrapped

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
LABEL = 13  # characters of "observations "
LINES = 40  # of one part; `--json` has all

# What a row of the outbox, or an attempt, was about.
_STEPS = ((1, " (reminder)"), (0, ""), (-(10**6) + 1, " (step of the ladder)"))
_SAYS = {
    "nothing": "",
    "firing": "that it fires",
    "worse": "that it is worse",
    "resolved": "that it is over",
}
_ENDED = {"transient": "refused for now", "permanent": "refused for good"}


def run(socket: str, what: str, registrar: str, *, as_json: bool) -> int:
    """Explain an incident by its number, else a subject; 3 where nothing is known."""
    return tell(
        lambda: _asked(socket, what, registrar),
        lambda answer: print("\n".join(lines(answer, columns()))),
        as_json=as_json,
    )


def _asked(socket: str, what: str, registrar: str) -> Any:
    """A number is that of an incident, as mails have it; where there is none of it,
    that of an extension."""
    query = urlencode({"subject": what, "registrar": registrar})
    if not (what.isascii() and what.isdigit()) or registrar:
        return ask(socket, "GET", f"/api/v1/explain?{query}")
    try:
        return ask(socket, "GET", f"/api/v1/incidents/{what}/explain")
    except NoAnswerError as no_incident:
        try:
            return ask(socket, "GET", f"/api/v1/explain?{query}")
        except NoAnswerError:
            raise no_incident from None


def lines(
    answer: dict[str, Any], width: int, zone: tzinfo | None = None
) -> Iterator[str]:
    """The answer as text; times are of the zone, or of this machine's."""
    told = _Page(width, zone)
    yield from told.incident(answer) if "incident" in answer else told.subject(answer)


class _Page:
    """Parts, each with its label and as many lines as it needs."""

    def __init__(self, width: int, zone: tzinfo | None) -> None:
        self._width, self._zone = width, zone

    def incident(self, answer: dict[str, Any]) -> Iterator[str]:
        """Of an incident: what it is, its rule, why it opened, who was told."""
        incident = answer["incident"]
        yield from self._wrapped(f"incident {incident['id']}: ", incident["text"])
        yield from self._wrapped("", self._stands(incident))
        yield ""
        yield from self._part("rule", self._rule(answer["rule"]))
        yield from self._part("observations", map(self._seen, answer["observations"]))
        yield from self._part("evidence", map(self._fact, incident["evidence"]))
        yield from self._part("packets", [_packets(answer["packets"], incident["id"])])
        yield from self._part("considered", self._considered(answer["considered"]))
        noted = map(self._noted, answer["suppressed"])
        yield from self._part("suppressed", noted, "nothing")
        yield from self._part("routes", map(_route, answer["routes"]))
        rows = map(self._delivery, answer["deliveries"])
        yield from self._part("outbox", rows, "nobody is to be told")
        tries = map(self._attempt, answer["attempts"])
        yield from self._part("attempts", tries, "none")

    def subject(self, answer: dict[str, Any]) -> Iterator[str]:
        """Of a subject: why there is no alarm of it, rule by rule."""
        title = f" {plain(answer['title'])}" if answer["title"] else ""
        head = f"{plain(answer['subject'])}{title}"
        if answer["state"]:
            since = self._local(answer["since"])
            head += f": {_word(answer['state'])} since {since}"
        yield from self._wrapped("", head)
        yield ""
        yield from self._part("why", map(self._sentence, answer["why"]))
        yield from self._part("last seen", filter(None, [plain(answer["last_seen"])]))
        yield from self._part("detail", filter(None, [plain(answer["detail"])]))
        for rule in answer["rules"]:
            if rule["considered"]:
                yield from self._part(rule["state"], self._rule(rule))
                yield from self._part(
                    "considered", self._considered(rule["considered"])
                )
        quiet = [r["name"] for r in answer["rules"] if not r["considered"]]
        yield from self._part("not matching", filter(None, [", ".join(quiet)]))
        yield from self._part("seen through", map(self._above, answer["above"]))
        yield from self._part("observations", map(self._seen, answer["observations"]))
        yield from self._part("evidence", map(self._fact, answer["evidence"]))
        noted = map(self._noted, answer["suppressed"])
        yield from self._part("suppressed", noted, "nothing")

    # Parts

    def _part(self, label: str, texts: Iterable[str], none: str = "") -> Iterator[str]:
        """A label and its lines, the last of many; none where there is nothing."""
        found = list(texts) or ([none] if none else [])
        if len(found) > LINES:
            left = len(found) - LINES
            found = [f"{left} more before these (--json has them)", *found[-LINES:]]
        for text in found:
            yield from self._wrapped(f"{label:<{LABEL}}", text)
            label = ""

    def _wrapped(self, first: str, text: str) -> Iterator[str]:
        return wrapped(first, text, self._width)

    def _stands(self, incident: dict[str, Any]) -> str:
        said = f"{incident['severity']}, since {self._local(incident['since'])}"
        said += f", opened {self._local(incident['opened_at'])}"
        if incident["resolved_at"]:
            said += f", over since {self._local(incident['ended_at'])}"
            if incident["closed"]:
                said += f" ({plain(incident['closed'])})"
        elif incident.get("over_at"):
            over = self._local(incident["over_at"])
            said += f", well again, over at {over} if that stays so"
        if incident["acknowledged_by"]:
            said += f", taken by {plain(incident['acknowledged_by'])}"
            said += f": {plain(incident['note'])}" if incident["note"] else ""
        if incident["part_of"]:
            said += f", part of incident {incident['part_of']}"
        if incident["muted_by"]:
            said += f"; not told now: {plain(incident['muted_by'])}"
        return said

    def _rule(self, rule: dict[str, Any]) -> Iterator[str]:
        if not rule["in_force"]:
            yield f"{plain(rule['name'])}, which is in force no more"
            return
        yield f"{plain(rule['name'])} on {', '.join(rule['on'])}"
        yield from map(plain, rule["grades"])
        yield plain("; ".join(rule["settings"]))

    def _considered(self, found: dict[str, Any] | None) -> Iterator[str]:
        """The latest of these moments, and the rule's `for`, is when it is due."""
        if found is None:
            yield "not written down: it opened before this was kept"
            return
        for term in found["terms"]:
            if term["at"]:
                yield f"{self._local(term['at'])} {term['words']}"
        after = f"{written_duration(found['for'])} after " if found["for"] else ""
        yield f"{self._local(found['due'])} it is due: {after}the latest of these"
        yield from map(self._above, found["above"])

    def _above(self, one: dict[str, Any]) -> str:
        name = plain(one["subject"])
        if not one["state"]:
            return f"{name}: is not watched by itself, so it hides nothing"
        said = f"{name}: {_word(one['state'])}"
        if one["asked_at"]:
            said += f", asked {self._local(one['asked_at'])}"
        if one["well_at"]:
            said += f", seen well {self._local(one['well_at'])}"
        return said

    def _seen(self, one: dict[str, Any]) -> str:
        state = _word(one["state"]) if one["state"] else ""
        why = plain(one["why"]) or (one["cause"] or one["loss"] or "")
        return " ".join(filter(None, (self._local(one["at"]), state, why)))

    def _fact(self, fact: dict[str, Any]) -> str:
        when = f"{self._local(fact['at'])} " if fact["at"] else ""
        return when + plain(fact["text"])

    def _noted(self, one: dict[str, Any]) -> str:
        rule = f"{plain(one['rule'])} " if one["rule"] else ""
        what = "" if one["what"] == "suppressed" else one["what"]
        said = f"{rule}{what}".strip()
        return f"{self._local(one['at'])} {said}{': ' * bool(said)}{plain(one['why'])}"

    def _sentence(self, text: str) -> str:
        """A sentence in which moments are told as the rest of the page tells them."""
        words = (self._moment(word) for word in plain(text).split(" "))
        return " ".join(words)

    def _moment(self, word: str) -> str:
        bare = word.rstrip(",:")
        if not _MOMENT.fullmatch(bare):
            return word
        return self._local(bare) + word[len(bare) :]

    def _delivery(self, row: dict[str, Any]) -> str:
        said = f"{plain(row['notifier'])}{_whose(row['step'])}"
        if not row["step"]:  # what a reminder has told is said by the row that it is of
            said += f" knows {_SAYS[row['told']] or 'nothing'}"
        if row["wanted"] != row["told"]:
            said += "" if row["step"] else ","
            wanted = _SAYS[row["wanted"]]
            said += f" is to hear {wanted}" if wanted else " is not to be told"
            if row["not_before"] and not row["dead"]:
                said += f", not before {self._local(row['not_before'])}"
        said += ", given up" if row["dead"] else ""
        said += f", attempt {row['attempts']}" if row["attempts"] else ""
        said += f", batch {plain(row['batch'])}" if row["batch"] else ""
        return said + (f": {plain(row['error'])}" if row["error"] else "")

    def _attempt(self, one: dict[str, Any]) -> str:
        said = f"{self._local(one['begun'])} {plain(one['notifier'])}"
        said += f"{_whose(one['step'])}: {_SAYS[one['telling']] or 'nothing'}, "
        said += _ENDED.get(one["outcome"], plain(one["outcome"])) or "under way"
        if one["attempts"] > 1:
            said += f" after {one['attempts']} attempts at {self._local(one['at'])}"
        said += f", batch {plain(one['batch'])}"
        return said + (f": {plain(one['error'])}" if one["error"] else "")

    def _local(self, at: str) -> str:
        moment = datetime.fromisoformat(at).astimezone(self._zone)
        today = datetime.now(UTC).astimezone(self._zone).date()
        return moment.strftime(
            "%H:%M:%S" if moment.date() == today else "%d %b %Y %H:%M:%S"
        )


def _packets(kept: dict[str, Any], incident: int) -> str:
    """6 messages, 4096 octets, SHA-256 0a1b2c3d4e5f: sipwatch evidence 4711."""
    if kept["file"] is None:
        return f"none: {plain(kept['why'])}"
    plural = "" if kept["messages"] == 1 else "s"
    said = f"{kept['messages']} message{plural}, {kept['size']} octets"
    return f"{said}, SHA-256 {plain(kept['sha256'])}: sipwatch evidence {incident}"


def _route(route: dict[str, Any]) -> str:
    number = f"{route['number']}: " if route["number"] else ""
    told = ", ".join(map(plain, route["notify"]))
    said = f"{number}{plain(route['match'])}"
    if not route["taken"]:
        return f"{said}: not taken, {plain(route['why'])}"
    said += f" -> {told or 'nobody'}"
    for step in route["escalate"]:
        said += f", after {step['after']} {', '.join(map(plain, step['notify']))}"
    return said + (f" (waits: {plain(route['waits'])})" if route["waits"] else "")


def _whose(step: int) -> str:
    return next((word for least, word in _STEPS if step >= least), " (stand-in)")


def _word(state: str) -> str:
    return plain(state.replace("_", " "))
