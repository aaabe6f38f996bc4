"""What a page says once after a button was pressed: its address names it."""

from __future__ import annotations

from typing import NamedTuple

from fastapi import Request


class Told(NamedTuple):
    """A line, and how it looks."""

    text: str
    look: str  # done, wrong


SAID = {
    "taken": Told("It is yours now: nobody else is told of it any more.", "done"),
    "silenced": Told("It is silenced.", "done"),
    "ended": Told("The silence is ended.", "done"),
    "verified": Told("It is asked now: its state follows in a moment.", "done"),
    "soon": Told("It may not be asked again yet: try in a moment.", "wrong"),
    "over": Told("It is over already.", "wrong"),
    "unstored": Told("It is done, but could not be stored.", "wrong"),
    "incomplete": Told("Something was not filled in.", "wrong"),
    "unknown": Told("It is not watched any more.", "wrong"),
}


def told(request: Request) -> Told | None:
    """The line of this page; what the address may name is a closed set."""
    return SAID.get(request.query_params.get("said", ""))
