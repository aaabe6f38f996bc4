"""How a binding ended, and what is told of it: written down at the moment it is found.

The contact is let go of then; an extension that comes back has another one.
"""

from __future__ import annotations

from functools import lru_cache

from checks.observation import Fact, Loss, plain
from checks.registrations.extension import (
    MOMENTS,
    Contact,
    Lost,
    place,
    transport,
)

JUST_ENDED = 1.0  # s by which a whole-second end may seem to lie ahead
ABSENT = "read, no binding"

_WHY = {
    Loss.EXPIRED: "its registration expired{granted}: the phone did not refresh it",
    Loss.DEREGISTERED: "the phone logged out before its registration ended",
    Loss.CONNECTION_LOST: "the connection that it had registered over was closed",
    Loss.UNKNOWN: "its registration was removed, the PBX does not say why",
}


def last_seen(contact: Contact) -> str:
    """10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75."""
    where = "".join(place(contact)) or contact.received or contact.uri
    text = f"{where} over {transport(contact)}"
    return plain(f"{text}, {contact.user_agent}" if contact.user_agent else text)


def seen_as(text: str) -> tuple[str, str]:
    """Address and user agent of what `last_seen` says."""
    where, _, way = text.partition(" over ")
    return where, way.partition(", ")[2]


@lru_cache(MOMENTS)
def _why(loss: Loss, granted: int | None) -> str:
    """In one sentence, without a time of day: that is the reader's zone's."""
    within = f" after the {granted} s granted" if granted else ""
    return _WHY[loss].format(granted=within)


def ended_by_event(
    contact: Contact, loss: Loss, at: float, patience: float, why: str = ""
) -> Lost:
    """What a removal event means; a PBX tells of an expiry up to `patience` late.
    `why` it was removed, where the PBX says so."""
    end = contact.ends
    if loss in (Loss.EXPIRED, Loss.UNKNOWN) and end is not None and end <= at + 1:
        # An end that nothing confirmed after it came may have been moved by a refresh.
        confirmed = contact.seen >= end or at - end <= patience
        since = min(end, at) if confirmed else at
        said = why if loss is Loss.EXPIRED else ""
        return _lost(contact, Loss.EXPIRED, since, at, "removed by the PBX", said)
    how = "de-registered" if loss is Loss.DEREGISTERED else "removed by the PBX"
    return _lost(contact, loss, at, at, how, why)


def ended_by_absence(contact: Contact, began: float, now: float) -> Lost:
    """What it means that a full list, asked for at `began`, lacks a contact."""
    end = contact.ends
    if end is not None and end <= began + JUST_ENDED:
        return _lost(contact, Loss.EXPIRED, min(end, now), now, ABSENT)
    loss = Loss.UNKNOWN
    told = end is not None and contact.member.boot is not None
    if told and transport(contact) == "UDP":
        # RFC 3261 10.2.2: before its end only a REGISTER removes it, unless the PBX
        # restarts. Where a connection closes, PBXs drop the contact with it.
        loss = Loss.DEREGISTERED
    return _lost(contact, loss, contact.seen, now, ABSENT)


def unseen(since: float, now: float, why: str = "", before: Lost | None = None) -> Lost:
    """A list lacks one of whom nothing is known, or no more than was known `before`."""
    facts = before.evidence[:-1] if before else ()
    return Lost(
        since,
        Loss.UNKNOWN,
        why or _why(Loss.UNKNOWN, None),
        now,
        (*facts, Fact(now, ABSENT)),
        before.last_seen if before else "",
    )


def _lost(
    contact: Contact, loss: Loss, since: float, at: float, how: str, why: str = ""
) -> Lost:
    return Lost(
        since,
        loss,
        why or _why(loss, contact.granted),
        at,
        _evidence(contact, at, how),
        last_seen(contact),
    )


def _evidence(contact: Contact, noticed: float, how: str) -> tuple[Fact, ...]:
    """The last refreshes, the end, and what showed that it is gone."""
    granted = f", {contact.granted} s granted" if contact.granted else ""
    refreshes = (contact.refreshed_before, contact.refreshed)
    facts = [Fact(at, "refresh" + granted) for at in refreshes if at is not None]
    if contact.refreshed is None:
        facts.append(Fact(contact.seen, "seen with a binding"))
    if (end := contact.ends) is not None and end <= noticed:
        facts.append(Fact(end, "end"))
    facts.append(Fact(noticed, how))
    return _shared(tuple(sorted(facts, key=lambda fact: fact.at or 0.0)))


@lru_cache(MOMENTS)
def _shared(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """The same of those who are lost in one moment: there may be thousands."""
    return facts
