"""The answer of /api/v1/history: how a subject stood, and what each change was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from alerting.store.reader import Reader
from alerting.store.rows import HistoryRow
from checks.observation import Kind, Place, State, Subject, plain
from checks.registrations.habit import points
from sipwatch.sources import Sources
from sipwatch.subjects import KEY, named, unwatched


class Change(NamedTuple):
    """One thing that changed; None: there was, or is, none."""

    what: str  # state, contact, address, user_agent
    old: str | None
    new: str | None


async def retold(
    sources: Sources, reader: Reader, name: str, registrar: str = ""
) -> dict[str, Any]:
    """What is known of the past of a key or name; LookupError where nothing is."""
    if registrar and registrar not in sources.judges:
        raise LookupError(f"there is no registrar {plain(registrar)}")
    subject = named(sources, name, registrar)
    if subject is not None:
        return _answer(sources, subject.key, subject, await reader.history(subject.key))
    for key in unwatched(sources, name, registrar):
        if rows := await reader.history(key):
            return _answer(sources, key, None, rows)
    raise LookupError(f"nothing is known of {plain(name) or 'an empty name'}")


def _answer(
    sources: Sources, key: str, subject: Subject | None, rows: list[HistoryRow]
) -> dict[str, Any]:
    kind, _, name = key.partition(":")
    return {
        "subject": plain(key, KEY),
        "kind": kind,
        "name": plain(subject.name if subject else name.rpartition("/")[2], KEY),
        "title": plain(subject.title) if subject else "",
        "scope": subject.scope.name if subject else name.partition("/")[0],
        "watched": subject is not None,
        "refresh": _refresh(sources, subject),
        "rows": list(_shown(rows)),
    }


def _refresh(sources: Sources, subject: Subject | None) -> dict[str, float] | None:
    """Where in its Expires an extension usually refreshes."""
    if subject is None or subject.kind is not Kind.EXTENSION:
        return None
    judge = sources.judges.get(subject.scope.name)
    extension = judge.extensions.get(subject.name) if judge else None
    found = points(extension.habit) if extension else None
    return found._asdict() if found else None


def _shown(rows: Iterable[HistoryRow]) -> Iterator[dict[str, Any]]:
    state: State | None = None
    contacts: tuple[Place, ...] = ()
    for row in rows:
        changes = [Change("state", state, row.state)] if row.state is not state else []
        if row.contacts:  # of one that is lost they are those that it had
            changes += _moves(contacts, row.contacts)
            contacts = row.contacts
        state = row.state
        yield {
            "at": _utc(row.at),
            "state": row.state,
            "cause": row.cause,
            "loss": row.loss,
            "why": row.why,
            "contacts": [place._asdict() for place in row.contacts],
            "changes": [{"what": c.what, "from": c.old, "to": c.new} for c in changes],
        }


def _moves(before: Iterable[Place], after: Iterable[Place]) -> Iterator[Change]:
    """How one set of contacts became another: who stayed, who moved, came or went."""
    old = {place.uri: place for place in before}
    come: list[Place] = []
    for place in after:
        stayed = old.pop(place.uri, None)
        if stayed is None:
            come.append(place)
        else:
            yield from _described(stayed, place)
    gone = list(old.values())
    for place in come:
        was = _same_phone(place, gone)
        if was is not None:
            gone.remove(was)
        yield Change("contact", was.uri if was else None, place.uri)
        yield from _described(was, place)
    for place in gone:
        yield Change("contact", place.uri, None)


def _same_phone(place: Place, gone: list[Place]) -> Place | None:
    """Of those that went, the one that most likely came back as this."""
    alike = [one for one in gone if one.user_agent == place.user_agent]
    return next(iter(alike or gone), None)


def _described(was: Place | None, place: Place) -> Iterator[Change]:
    for what in ("address", "user_agent"):
        old, new = getattr(was, what, None), getattr(place, what)
        if new and old != new:
            yield Change(what, old or None, new)


def _utc(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
