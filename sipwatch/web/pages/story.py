"""What is known of an extension's last exchange where no packets of it are kept: who
said what to whom, by what the registrar tells of its bindings and of how they ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sipwatch.web.pages.ladder import Ladder, Message
from sipwatch.web.pages.words import Clockwork, milliseconds

PHONE, SELF = "phone", "sipwatch"
ENDED = "the registration ends"
SHOWN = 4  # contacts of one extension

# What evidence says -> who says it to whom, and how it looks.
_SAID = (
    (re.compile(r"our OPTIONS"), "sipwatch", "phone", "bad"),
    (re.compile(r"the PBX's OPTIONS"), "registrar", "phone", "bad"),
    (re.compile(r"no binding"), "registrar", "sipwatch", "warn"),
    (re.compile(r"seen with|\bread\b|still registered"), "registrar", "sipwatch", ""),
    (re.compile(r"refresh|REGISTER|granted", re.I), "phone", "registrar", "good"),
    (re.compile(r"\bend\b|expire|removed|gone"), "registrar", "phone", "bad"),
)


def of_extension(
    registrar: str, bindings: Sequence[Any], facts: Iterable[Any], now: Clockwork
) -> Ladder | None:
    """By its live bindings, and the evidence of its loss; None where neither is."""
    ends = {"phone": PHONE, "registrar": registrar, "sipwatch": SELF}
    messages = [*_bound(ends, bindings[:SHOWN], now), *_told(ends, facts, now)]
    if not messages:
        return None
    return Ladder((PHONE, registrar, SELF), tuple(messages))


def _bound(
    ends: dict[str, str], bindings: Iterable[Any], now: Clockwork
) -> Iterator[Message]:
    for one in bindings:
        where = ", ".join(filter(None, (one["address"], one["user_agent"])))
        granted = f", {one['granted']} s granted" if one["granted"] else ""
        yield Message(
            now.clock(one["refreshed_at"]), ends["phone"], ends["registrar"],
            one["transport"], "", f"REGISTER{granted}", where, "good",
        )  # fmt: skip
        if one["reachable"] is not None:
            took = milliseconds(one["rtt"])
            said = f"OPTIONS answered {f'in {took}' if took else ''}".rstrip()
            look = "good" if one["reachable"] else "bad"
            yield Message(
                "", ends["registrar"], ends["phone"], one["transport"], "",
                said if one["reachable"] else "OPTIONS unanswered", "", look,
            )  # fmt: skip


def _told(
    ends: dict[str, str], facts: Iterable[Any], now: Clockwork
) -> Iterator[Message]:
    for fact in facts:
        for pattern, sender, receiver, look in _SAID:
            if pattern.search(fact["text"]):
                yield Message(
                    now.clock(fact["at"]), ends[sender], ends[receiver], "", "",
                    ENDED if fact["text"] == "end" else fact["text"], "", look,
                )  # fmt: skip
                break
