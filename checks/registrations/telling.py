"""What is told of an extension: its state, and how its last binding ended."""

from __future__ import annotations

from functools import lru_cache

from checks.observation import Cause, Fact, Figures, Observation, State, plain
from checks.registrations.extension import (
    MOMENTS,
    TWICE,
    Contact,
    Extension,
    place,
)
from checks.registrations.losses import last_seen

UNANSWERED = 3  # contacts of one extension that evidence tells of


@lru_cache(MOMENTS)
def lost_figures(expires: int | None) -> Figures:
    """Of those who are lost, to be read only: thousands are lost in one second."""
    return Figures(expires=expires)


def unanswered(contact: Contact) -> Fact:
    """Who asked a contact in vain: we, or its PBX."""
    at, ask = contact.unreachable_since, contact.ask
    if ask is None:
        return Fact(at, "the PBX's OPTIONS unanswered")
    where = ask.address or "".join(place(contact))
    if ask.route:
        where = f"{''.join(place(contact))} through {ask.address or ask.route}"
    missed = contact.asking.missed if contact.asking else 0
    times = "" if missed < TWICE else f" {missed} times"
    refused = (
        contact.asking is not None and contact.asking.cause is Cause.ICMP_UNREACHABLE
    )
    how = "refused (ICMP)" if refused else "unanswered"
    return Fact(at, plain(f"our OPTIONS to {where} {how}{times}"))


def observed(extension: Extension, state: State, at: float) -> Observation:
    """What is to be told of an extension in its state."""
    o = Observation(extension.subject, state, extension.since, at)
    o.not_before = extension.not_before
    contacts = extension.contacts
    if o.state is State.UNREACHABLE:
        o.last_seen = last_seen(max(contacts, key=lambda contact: contact.seen))
        o.cause = Cause.UNREACHABLE_CONTACT
        asks = "our" if any(contact.ask for contact in contacts) else "the PBX's"
        o.detail = f"it is registered, but does not answer {asks} OPTIONS"
        o.evidence = (
            *(unanswered(contact) for contact in contacts[:UNANSWERED]),
            Fact(max(contact.seen for contact in contacts), "still registered"),
        )
    elif o.state is State.UNREGISTERED and (lost := extension.lost):
        o.loss, o.detail, o.evidence = lost.loss, lost.why, lost.evidence
        o.last_seen = lost.last_seen
        if extension.granted:
            o.figures = lost_figures(round(extension.granted))
    elif not contacts:
        o.detail = "it has not registered since it is watched"
    return o
