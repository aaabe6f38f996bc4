"""What Twilio reported last, in words."""

from __future__ import annotations

from typing_extensions import TypedDict

from alerting.notification.twilio import words_of
from checks.observation import plain
from checks.twilio.judge import Case
from sipwatch.sources import Sources
from sipwatch.subjects import key_of
from sipwatch.views.lens import NAME, Lens


class AlertRow(TypedDict):
    """What is reported of one user, or of the account, under one code."""

    at: str  # the latest
    user: str  # empty: of the account
    code: int
    words: str
    next_step: str
    times: int  # that are remembered
    extension: str | None  # key of the phone of ours that it is about


def latest(sources: Sources, most: int) -> list[AlertRow]:
    """At most so many, the newest first."""
    lens, found = Lens(sources), sources.twilio.latest(most)
    return [_row(lens, case) for case in found]


def _row(lens: Lens, case: Case) -> AlertRow:
    call, phone = case.calls[-1], lens.sources.twilio.phone(case.subject)
    said = words_of(call.code)
    return {
        "at": lens.at(call.at),
        "user": plain(case.who.partition("@")[0], NAME),
        "code": call.code,
        "words": said.words,
        "next_step": said.step,
        "times": len(case.calls),
        "extension": key_of(phone) if phone else None,
    }
