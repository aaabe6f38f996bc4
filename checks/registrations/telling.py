"""What is told of an extension: its state, and how its last binding ended."""

from __future__ import annotations

from functools import lru_cache

from checks.observation import Cause, Fact, Figures, Loss, Observation, State, plain
from checks.registrations.extension import (
    MOMENTS,
    TWICE,
    Contact,
    Extension,
    Lost,
    place,
    transport,
)

UNANSWERED = 3  # contacts of one extension that evidence tells of


def last_seen(contact: Contact) -> str:
    """10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75."""
    where = "".join(place(contact)) or contact.received or contact.uri
    text = f"{where} over {transport(contact)}"
    return plain(f"{text}, {contact.user_agent}" if contact.user_agent else text)


_WHY = {
    Loss.EXPIRED: "its registration expired{granted}: the phone did not refresh it",
    Loss.DEREGISTERED: "the phone logged out before its registration ended",
    Loss.CONNECTION_LOST: "the connection that it had registered over was closed",
    Loss.UNKNOWN: "its registration was removed, the PBX does not say why",
}


def why(lost: Lost) -> str:
    """The loss in one sentence, without a time of day: that is the reader's zone's."""
    granted = lost.contact.granted if lost.contact else None
    return lost.why or _why(lost.loss, granted)


@lru_cache(MOMENTS)
def _why(loss: Loss, granted: int | None) -> str:
    within = f" after the {granted} s granted" if granted else ""
    return _WHY[loss].format(granted=within)


@lru_cache(MOMENTS)
def lost_figures(expires: int | None) -> Figures:
    """Of those who are lost, to be read only: thousands are lost in one second."""
    return Figures(expires=expires)


def evidence(lost: Lost) -> tuple[Fact, ...]:
    """The last refreshes, the end, and what showed that it is gone."""
    facts: list[Fact] = []
    if contact := lost.contact:
        granted = f", {contact.granted} s granted" if contact.granted else ""
        refreshes = (contact.refreshed_before, contact.refreshed)
        facts = [Fact(at, "refresh" + granted) for at in refreshes if at is not None]
        if contact.refreshed is None:
            facts.append(Fact(contact.seen, "seen with a binding"))
        if (end := contact.ends) is not None and end <= lost.noticed:
            facts.append(Fact(end, "end"))
    facts.append(Fact(lost.noticed, lost.how))
    return tuple(sorted(facts, key=lambda fact: fact.at or 0.0))


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
        o.loss, o.detail, o.evidence = lost.loss, why(lost), evidence(lost)
        o.last_seen = last_seen(lost.contact) if lost.contact else ""
        if extension.granted:
            o.figures = lost_figures(round(extension.granted))
    elif not contacts:
        o.detail = "it has not registered since it is watched"
    return o
