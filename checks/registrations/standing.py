"""How an extension stands, taken down for its history when that changes.

A quiet refresh changes nothing. What changes several times before it is taken is taken
once, as it is by then: in a mass event the history may fall behind, the judge does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from checks.observation import Loss, Place, State, Subject
from checks.registrations.extension import Contact, Extension, place
from checks.registrations.telling import observed

CONTACTS = 10  # of one extension: what PBXs allow where they are well configured
COMPLETED = 0.0  # instead of a moment: more is known of its contacts, no more


class Standing(NamedTuple):
    """How an extension stands since a moment."""

    subject: Subject
    at: float | None  # None: as it did, but more is known of its contacts
    state: State
    loss: Loss | None
    why: str
    contacts: tuple[Place, ...]


def described_anew(
    e: Extension, contact: Contact, before: tuple[str, str], at: float
) -> bool:
    """Note whether a contact is described otherwise than before; whether it is.

    What was not known before is no change of the phone's.
    """
    now = contact.described
    if now == before:
        return False
    if any(old and old != new for old, new in zip(before, now, strict=True)):
        e.news = at
    elif e.news is None:
        e.news = COMPLETED
    return True


class Standings:
    """Whose standing has changed and was not taken yet."""

    def __init__(self) -> None:
        self._since: dict[Extension, float] = {}  # in another state
        self._moved: dict[Extension, float] = {}  # in the same, with other contacts

    def __bool__(self) -> bool:
        return bool(self._since or self._moved)

    def judged(self, e: Extension, changed: State | None) -> None:
        """Note what the judge found, and what its contacts did before."""
        if e.state is None or (changed is None and e.news is None):
            return
        news, e.news = e.news, None
        at = e.since if changed is not None else news or COMPLETED
        if changed is not None:
            self._moved.pop(e, None)
        anew = changed is not None or e in self._since
        those = self._since if anew else self._moved
        if at != COMPLETED or e not in those:
            those[e] = at

    def take(self, most: int, *, moved: bool = True) -> list[Standing]:
        """How no more than so many of them stand now, with those that only moved.

        A REGISTER from a new port is two events, the new contact and the end of the
        old one: who takes those that moved a little later takes one row of both.
        """
        found = _taken(self._since, most)
        return found + _taken(self._moved, most - len(found)) if moved else found


def _taken(those: dict[Extension, float], most: int) -> list[Standing]:
    found = [_standing(e, those.pop(e)) for e in list(islice(those, most))]
    if not those:
        those.clear()  # a dictionary stays as large as it was
    return found


def _standing(e: Extension, at: float) -> Standing:
    state = e.state or State.NEVER_REGISTERED  # it is judged before it is here
    loss, why = None, ""
    if state is not State.REGISTERED:
        o = observed(e, state, at)
        loss, why = o.loss, o.detail
    when = None if at == COMPLETED else at
    return Standing(e.subject, when, state, loss, why, _places(e.contacts))


def _places(contacts: Sequence[Contact]) -> tuple[Place, ...]:
    """In one order, and once where several members hold the same."""
    if len(contacts) == 1:
        return (_place(contacts[0]),)
    return tuple(sorted(set(map(_place, contacts)))[:CONTACTS])


def _place(contact: Contact) -> Place:
    """Where the PBX saw a contact, else where it says that it is."""
    address = "".join(place(contact)) or contact.received
    return Place(contact.uri, address, contact.user_agent)
