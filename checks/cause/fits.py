"""The questions that the table asks of evidence."""

from __future__ import annotations

import re
from collections.abc import Callable

from checks.cause.evidence import Evidence, Sender
from checks.observation import Cause, Loss, State

Fits = Callable[[Evidence], bool]

HERE = frozenset({State.REGISTERED, State.UNREACHABLE})
AWAY = frozenset({State.UNREGISTERED, State.NEVER_REGISTERED})
BUSY = frozenset({486, 600})
NOBODY = frozenset({404, 408, 480, 504})  # nobody there, in the words of some server
BACK_LATER = frozenset({413, 480, 500})  # of a server, where it says when
HELD_BACK = frozenset({480, 486, 600, 603})  # a phone that does not want to ring

# ITU-T Q.850: causes that tell more than the status that they are mapped to (RFC 3398).
Q850_UNKNOWN = frozenset({1, 22, 28})  # unallocated, changed, incomplete number
Q850_BUSY = frozenset({17})
Q850_ABSENT = frozenset({20})  # subscriber absent: no registration
Q850_SILENT = frozenset({18, 19, 102})  # no user responding, no answer, timer expired
Q850_NO_WAY = frozenset({2, 3, 27, 38})  # no route, destination out of order
Q850_REJECTED = frozenset({21})
Q850_FULL = frozenset({34, 41, 42, 44, 47})  # no circuit, failure, congestion
Q850_BARRED = frozenset({50, 52, 54, 55, 57, 87})  # not subscribed, barred

MASS = 3  # extensions of a site lost together that are no coincidence
MASS_SHARE = 0.5  # of the site
OVERLOAD_SHARE = 0.1  # of the answers of a registrar that are 503, or missing

DND = re.compile(r"\bdnd\b|do[ -]?not[ -]?disturb|ne pas d.ranger|nicht st.ren", re.I)
HOURS = re.compile(
    r"out of (office |business )?hours|after[ -]hours|outside (of )?(office|business)"
    # Not "connection closed": that is a fault, and this is held to be no fault.
    r"|\b(office|business|shop|branch|department|desk|we) (is |are )?(now )?closed\b"
    r"|\b(now|currently) closed\b|^\s*closed\b(?! by)|night (mode|service)",
    re.I,
)
MAINTENANCE = re.compile(r"maintenance|draining|going down", re.I)
NOT_REGISTERED = re.compile(
    r"not (currently )?registered|unregistered|no (registration|contact|binding)"
    r"|\boffline\b|subscriber absent",
    re.I,
)
OVERLOAD = re.compile(r"overload|congest|too many|capacity|\bbusy\b.*\bserver\b", re.I)
# Not "not blocked" or "Method Not Allowed": this is held to be certain.
_BARRED = r"(suspended|barred|blocked|not (allowed|permitted))\b"
_WHOM = (
    r"(account|ip|address|call(er|s|ing)?|dial(l?ing)?|destination|extension|line"
    r"|number|service|subscriber|trunk|user|you)"
)
SUSPENDED = re.compile(
    rf"\b{_WHOM} (is |are |was |(has|have) been )?"
    rf"(now |currently |temporarily )?{_BARRED}"
    rf"|^\s*(temporarily )?{_BARRED}"
    rf"|(?<!not )(?<!no )\b(suspended|barred|blocked) {_WHOM}\b"
    r"|\bcall barring\b|\baccount suspension\b",
    re.I,
)


def status(*codes: int) -> Fits:
    """The answer was one of these."""
    return lambda e: e.status in codes


def by(*senders: Sender) -> Fits:
    """One of these sent it."""
    return lambda e: e.sender in senders


def says(pattern: re.Pattern[str]) -> Fits:
    """Something that a human wrote in the answer says so."""
    return lambda e: e.answer is not None and bool(pattern.search(e.answer.words))


def q850(codes: frozenset[int]) -> Fits:
    """Its Reason has one of these causes."""
    return lambda e: e.answer is not None and e.answer.q850 in codes


def lost(loss: Loss) -> Fits:
    """No binding is left, and the last one ended like this."""
    return lambda e: e.registration is State.UNREGISTERED and e.loss is loss


def paused(cause: Cause) -> Fits:
    """The PBX itself says so of it."""
    return lambda e: e.paused is cause


def every(*several: Fits) -> Fits:
    """All of them."""
    return lambda e: all(one(e) for one in several)


def either(*several: Fits) -> Fits:
    """One of them."""
    return lambda e: any(one(e) for one in several)


def here(e: Evidence) -> bool:
    """The registrar holds a binding."""
    return e.registration in HERE


def away(e: Evidence) -> bool:
    """It holds none."""
    return e.registration in AWAY


def closed(e: Evidence) -> bool:
    """The schedule says that nobody is there now."""
    return bool(e.closed)


def refuses(e: Evidence) -> bool:
    """There is an answer, and it is no success."""
    return e.status >= 300


def of_a_server(e: Evidence) -> bool:
    """Nothing says that the phone itself answered."""
    return e.sender is not Sender.DEVICE


def unreachable(e: Evidence) -> bool:
    """It holds a binding, and who is there does not answer."""
    return here(e) and (e.reachable is False or e.registration is State.UNREACHABLE)


def mass(e: Evidence) -> bool:
    """Much of its site went with it."""
    share = e.site_lost / e.site_of if e.site_of else 0.0
    return away(e) and e.site_lost >= MASS and share >= MASS_SHARE


def overloaded(e: Evidence) -> bool:
    """The registrar answers 503 often, or not at all."""
    return e.outages is not None and e.outages >= OVERLOAD_SHARE


def restarted(e: Evidence) -> bool:
    """Its binding went with a restart of the registrar."""
    if e.restarted_at is None or not away(e) or e.since is None:
        return False
    return e.since >= e.restarted_at


def retry(e: Evidence) -> bool:
    """The answer says when to come back."""
    return e.answer is not None and e.answer.retry_after is not None


def method(e: Evidence) -> str:
    """Of the request that was answered; empty without one."""
    return e.answer.method if e.answer else ""
