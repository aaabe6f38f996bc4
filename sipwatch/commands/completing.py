"""What the shell offers behind a half-typed word: commands, and what is watched.

Names and numbers are asked of the running daemon while somebody waits for the Tab key:
no daemon, no rights or no answer in time offer nothing, and say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import click
from click.shell_completion import CompletionItem, get_completion_class

from checks.observation import plain
from sipwatch.commands.flags import SOCKET
from sipwatch.commands.remote import NoAnswerError, ask

PATIENCE = 1.0  # s that a Tab key may take
OFFERED = 50  # words at most: more than a screen helps nobody
SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_SIPWATCH_COMPLETE"

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def script(command: click.Command, shell: str) -> str:
    """What a shell has to read once to complete this command."""
    found = get_completion_class(shell)
    assert found is not None, shell  # noqa: S101 - SHELLS are those that click has
    return found(command, {}, "sipwatch", VARIABLE).source()


def incidents(
    context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The numbers of the open incidents, with what each is about."""
    return list(_incidents(_status(context), begun))


def subjects(
    context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The names of extensions, targets, registrars and accounts."""
    answer = _status(context)
    named = [*answer.get("registrars", ()), *answer.get("accounts", ())]
    words = [*_fitting(named, begun), *_asked(context, "targets", begun)]
    if begun:  # of thousands nobody picks one
        words += _asked(context, "extensions", begun)
    return words[:OFFERED]


def incident_or_subject(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """What `explain` takes."""
    words = [
        *incidents(context, parameter, begun),
        *subjects(context, parameter, begun),
    ]
    return words[:OFFERED]


def _named_in(section: str) -> Complete:
    def complete(
        context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        return list(_fitting(_status(context).get(section, ()), begun))

    return complete


registrars = _named_in("registrars")
accounts = _named_in("accounts")
notifiers = _named_in("notifiers")


def _incidents(answer: dict[str, Any], begun: str) -> Iterator[CompletionItem]:
    for one in answer.get("incidents", ())[:OFFERED]:
        if str(one["id"]).startswith(begun):
            yield CompletionItem(str(one["id"]), help=plain(one["text"]))


def _asked(context: click.Context, what: str, begun: str) -> list[CompletionItem]:
    """A page of a list of the daemon; of what is begun, those that begin so."""
    query = f"?limit={OFFERED}&search={quote(begun)}"
    answer = _answer(context, f"/api/v1/{what}{query}")
    return list(_fitting(answer.get("items", ()), begun))


def _fitting(named: Iterable[dict[str, Any]], begun: str) -> Iterator[CompletionItem]:
    for one in named:
        name = plain(one["name"])
        if name.startswith(begun):
            yield CompletionItem(name, help=plain(one.get("title") or ""))


def _status(context: click.Context) -> dict[str, Any]:
    return _answer(context, "/api/v1/status")


def _answer(context: click.Context, url: str) -> dict[str, Any]:
    path = context.params.get("socket") or SOCKET
    try:
        answer = ask(path, "GET", url, patience=PATIENCE)
    except NoAnswerError:
        return {}
    return answer if isinstance(answer, dict) else {}
