"""What the documents of one AOR amount to (RFC 3680 5): changes, or doubts.

The first document is only what the next is compared with: what is there when we begin,
the binding query tells. A full document is the state, whatever its version: Kamailio
always writes 0. A partial one has to be the next, or what lies between was missed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checks.observation import Binding, plain
from checks.register import host_port
from checks.registrars.reginfo import ENDS, Document, Registered, Registration
from checks.registrations.readings import Added, Gone
from checks.sip.uri import SipUri

MOVED = 2.0  # s by which another end is a refresh, and not rounding

# RFC 3680 5.4.2: events whose `expires` is what was granted, and not what is left.
_FRESH = frozenset(("created", "refreshed", "shortened"))


@dataclass(slots=True)
class Changes:
    """What one document brought."""

    readings: list[Added | Gone] = field(default_factory=list)
    doubted: bool = False  # the AOR is to be queried
    missed: bool = False  # one before it did not come: the state is to be asked for


class Followed:
    """One AOR: its active contacts, as the last document left them."""

    __slots__ = ("_known", "_version")

    def __init__(self) -> None:
        self._known: dict[str, float | None] | None = None  # contacts and their ends
        self._version: int | None = None

    def renew(self) -> None:
        """The documents that follow are of another subscription."""
        self._version = None

    def nothing(self) -> None:
        """There is no document yet: nobody has registered since there could be one."""
        if self._known is None:
            self._known = {}

    def apply(self, document: Document, aor: str, name: str, now: float) -> Changes:
        """What changed; `aor` is user@host, `name` what it is called in readings."""
        if not document.full:
            version = -1 if self._version is None else self._version
            if self._version is None or document.version > version + 1:
                return Changes(doubted=True, missed=True)
            if document.version <= version:
                return Changes()  # an older one
        self._version = document.version
        registration = _of(aor, document)
        if registration is None:
            return Changes(doubted=document.full)
        return self._compare(registration, document.full, name, now)

    def _compare(
        self, registration: Registration, full: bool, name: str, now: float
    ) -> Changes:
        before, changes = self._known, Changes()
        self._known = known = {} if full or before is None else dict(before)
        active = {c.uri: c for c in registration.contacts if c.active}
        ended = {c.uri: c for c in registration.contacts if c.uri not in active}
        for uri, contact in active.items():
            end = known[uri] = _end(contact, now)
            if before is None:
                continue
            if not full or uri not in before or _moved(end, before[uri]):
                changes.readings.append(Added(_binding(name, contact, end, full), now))
        for uri, contact in ended.items():
            known.pop(uri, None)
            if before is not None and (not full or uri in before):
                loss, why = ENDS.get(contact.event, ENDS["deactivated"])
                changes.readings.append(Gone(name, uri, now, loss, why=why))
        over = not registration.contacts and registration.state == "terminated"
        told = active.keys() | ended.keys()
        changes.doubted = bool(before and (over or (full and before.keys() - told)))
        if over:
            known.clear()
        return changes


def _of(aor: str, document: Document) -> Registration | None:
    """Its registration, among those of its aliases."""
    for registration in document.registrations:
        try:
            if SipUri.parse(registration.aor).aor == aor:
                return registration
        except ValueError:
            continue
    alone = len(document.registrations) == 1
    return document.registrations[0] if alone else None


def _binding(name: str, contact: Registered, end: float | None, full: bool) -> Binding:
    # Kamailio says `registered` of those in a full document that did not change.
    fresh = contact.event in _FRESH or (contact.event == "registered" and not full)
    return Binding(
        name,
        contact.uri,
        end,
        contact.expires if fresh else None,
        user_agent=plain(contact.user_agent),
        received=host_port(contact.received or contact.uri),
    )


def _end(contact: Registered, now: float) -> float | None:
    return None if contact.expires is None else now + contact.expires


def _moved(end: float | None, before: float | None) -> bool:
    """Whether an end was moved by a refresh."""
    return end is not None and before is not None and abs(end - before) > MOVED
