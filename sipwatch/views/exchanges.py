"""The last exchange with what somebody had tested by hand."""

from __future__ import annotations

from typing_extensions import TypedDict

from checks.observation import Subject
from sipwatch.views.lens import Lens


class Exchange(TypedDict):
    """What was said; `text` is null for who may not see messages."""

    at: str
    messages: int
    text: str | None


def last(lens: Lens, subject: Subject, *, whole: bool) -> Exchange | None:
    """Of this one, with the text of its messages where the `whole` may be seen."""
    found = lens.sources.by_hand.of(subject)
    if found is None:
        return None
    return {
        "at": lens.at(found.at),
        "messages": found.messages,
        "text": found.text if whole else None,
    }
