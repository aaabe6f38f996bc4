"""Extensions: a list, and one of them with all that is known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Literal

from typing_extensions import TypedDict

from checks.observation import Kind, State, plain
from checks.registrations.extension import Contact, Extension, place, transport
from checks.registrations.habit import points
from checks.registrations.judge import Judge
from sipwatch.findings import finding_json
from sipwatch.sources import Sources, sliced
from sipwatch.subjects import key_of, named
from sipwatch.views.exchanges import Exchange, last
from sipwatch.views.lens import NAME, UNKNOWN, Above, Lens, matches, site_of
from sipwatch.views.paging import LIMIT, Page, Paging

SLICE = 500  # extensions looked at in one turn of the loop: some 2 ms
MADE = 100  # rows made in one turn: some 2 ms

ExtensionState = Literal[
    "registered", "unreachable", "unregistered", "never_registered", "unknown"
]


class ExtensionRow(TypedDict):
    """An extension in short; `state` is unknown while nobody can see it."""

    key: str
    registrar: str
    name: str  # the AOR
    title: str
    site: str
    state: ExtensionState
    since: str | None
    cause: str | None
    loss: str | None
    contacts: int
    incident: int | None
    paused: str | None  # do_not_disturb, maintenance
    required: bool


class BindingRow(TypedDict):
    """One contact of an extension."""

    contact: str
    address: str
    transport: str
    user_agent: str
    expires_at: str | None
    granted: int | None  # s
    reachable: bool | None  # None: nobody asks it
    rtt: float | None  # s
    member: str
    refreshed_at: str | None


class Habit(TypedDict):
    """Where in its Expires it refreshes, in shares of it."""

    first: float
    median: float
    last: float


class OneExtension(ExtensionRow):
    """An extension in full."""

    detail: str
    bindings: list[BindingRow]
    habit: Habit | None
    finding: dict[str, Any] | None
    incidents: list[int]
    above: list[Above]
    dormant: bool
    exchange: Exchange | None  # with one that somebody tested by hand


Fits = Callable[[Extension], bool]


async def listed(
    sources: Sources,
    *,
    registrar: str = "",
    site: str = "",
    state: str = "",
    search: str = "",
    limit: int = LIMIT,
    cursor: str | None = None,
) -> Page[ExtensionRow]:
    """A page of the extensions, by registrar and AOR; ValueError for a bad cursor.

    `search` is part of the AOR, title, address or user agent.
    """
    lens = Lens(sources)
    paging = Paging[tuple[Judge, Extension]](limit, cursor)
    for judge in list(sources.judges.values()):
        if registrar not in ("", judge.name):
            continue
        fits = _filter(lens, judge, site, state, search.lower())
        for part in sliced(list(judge.extensions.values()), SLICE):
            paging.take(
                [(f"{judge.name}/{e.aor}", (judge, e)) for e in part if fits(e)]
            )
            await asyncio.sleep(0)
    rows: list[ExtensionRow] = []
    for some in sliced(paging.found, MADE):
        rows += [row(lens, judge, e) for judge, e in some]
        await asyncio.sleep(0)
    return paging.page(rows)


def one(sources: Sources, key: str, *, whole: bool = False) -> OneExtension:
    """An extension by its key or its name, the `whole` of it with what messages hold;
    LookupError, AmbiguousError."""
    judge, e = find(sources, key)
    lens = Lens(sources)
    worst = lens.worst.get(e.subject)
    found = sources.findings.of(e.subject)
    return {
        **row(lens, judge, e),
        "detail": plain(worst.detail) if worst else "",
        "bindings": [_binding(lens, contact) for contact in e.contacts],
        "habit": _habit(e),
        "finding": None if found is None else finding_json(found, lens.at),
        "incidents": lens.incidents(e.subject),
        "above": lens.above(e.subject),
        "dormant": e.dormant,
        "exchange": last(lens, e.subject, whole=whole),
    }


def find(sources: Sources, key: str) -> tuple[Judge, Extension]:
    """An extension by its key or its name; LookupError, AmbiguousError."""
    subject = named(sources, key)
    judge = sources.judges.get(subject.scope.name) if subject else None
    if judge is None or subject is None or subject.kind is not Kind.EXTENSION:
        raise LookupError(f"no extension {plain(key, NAME)} is watched")
    return judge, judge.extensions[subject.name]


def row(lens: Lens, judge: Judge, e: Extension) -> ExtensionRow:
    """One extension in short."""
    subject, state = e.subject, effective(lens, judge, e)
    gone = e.state is State.UNREGISTERED and e.lost is not None
    worst = lens.worst.get(subject)
    return {
        "key": key_of(subject),
        "registrar": judge.name,
        "name": plain(e.aor, NAME),
        "title": plain(subject.title, NAME),
        "site": site_of(subject),
        "state": state,
        "since": lens.maybe(e.since),
        "cause": worst.cause if worst else None,
        "loss": e.lost.loss if gone and e.lost else None,
        "contacts": len(e.contacts),
        "incident": worst.id if worst else None,
        "paused": subject.paused,
        "required": subject.required,
    }


def effective(lens: Lens, judge: Judge, e: Extension) -> ExtensionState:
    """Its state; unknown where it was not seen yet or cannot be seen now."""
    seen = e.state is not None and lens.reads(judge) and lens.sees(e.subject)
    state: ExtensionState = e.state if seen else UNKNOWN  # type: ignore[assignment]
    return state


def _filter(lens: Lens, judge: Judge, site: str, state: str, search: str) -> Fits:
    def fits(e: Extension) -> bool:
        return (
            (not site or site_of(e.subject) == site)
            and (not state or effective(lens, judge, e) == state)
            and (not search or matches(search, *_texts(e)))
        )

    return fits


def _texts(e: Extension) -> Iterator[str]:
    yield e.aor
    yield e.subject.title
    for contact in e.contacts:
        yield contact.received
        yield contact.user_agent


def _binding(lens: Lens, contact: Contact) -> BindingRow:
    return {
        "contact": plain(contact.uri),
        "address": plain("".join(place(contact))),
        "transport": transport(contact),
        "user_agent": plain(contact.user_agent),
        "expires_at": lens.maybe(contact.ends),
        "granted": contact.granted,
        "reachable": contact.reachable,
        "rtt": contact.rtt,
        "member": plain(contact.member.name),
        "refreshed_at": lens.maybe(contact.refreshed),
    }


def _habit(e: Extension) -> Habit | None:
    found = points(e.habit)
    if found is None:
        return None
    return {"first": found.first, "median": found.median, "last": found.last}
