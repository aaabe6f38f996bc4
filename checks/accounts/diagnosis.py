"""What the outcome of a REGISTER means: one sentence, and the next step."""

from __future__ import annotations

from typing import NamedTuple

from checks.accounts import twilio
from checks.accounts.evidence import Seen
from checks.accounts.table import TABLE
from checks.observation import Cause, State, plain


class Diagnosis(NamedTuple):
    """What is wrong, and what to do."""

    state: State
    cause: Cause | None
    sentence: str
    step: str


def diagnose(seen: Seen) -> Diagnosis:
    """The first row that fits, put into words."""
    row = next(row for row in TABLE if row.fits(seen))
    words = _words(seen)
    sentence = plain(" ".join(row.sentence.format_map(words).split()))
    step = plain(row.step.format_map(words))
    return Diagnosis(row.state, row.cause or seen.cause, sentence, step)


def _words(seen: Seen) -> dict[str, object]:
    name = twilio.check(seen.host)
    wait = seen.retry_after
    return {
        **{one: getattr(seen, one) for one in Seen.__slots__},
        "detail": seen.detail.removeprefix(f"{seen.place}: "),
        "others": ", ".join(seen.others[:3]),
        "left": ", ".join(seen.left[:3]),
        "answering": " and ".join(seen.answering),
        "answers": "answer" if len(seen.answering) > 1 else "answers",
        "transport": seen.port.partition(" ")[0].lower(),
        "other": seen.answering[0].partition(" ")[0].lower() if seen.answering else "",
        "how": "blocked" if seen.cause is Cause.TIMEOUT else "closed",
        "by": f" ({seen.agent})" if seen.agent else "",
        "digest": f"realm {seen.realm}, {seen.algorithm}",
        "warned": f": {seen.warning}" if seen.warning else "",
        "problem": name.problem if name else "",
        "meant": name.meant if name else "",
        "wait": "" if wait is None else f", and wants to be left alone for {wait} s",
        "n": "no binding" if not seen.bindings else _plural(seen.bindings, "binding"),
    }


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
