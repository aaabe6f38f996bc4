"""What a test saw of a registrar, and the questions that a diagnosis asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from checks.accounts import twilio
from checks.observation import Cause


class Phase(StrEnum):
    """How far a test came."""

    QUERY = "query"  # asked for the bindings
    BIND = "bind"  # registered the test contact
    REMOVE = "remove"  # removed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a test saw, as far as a diagnosis looks; texts of the peer are `plain`."""

    phase: Phase
    aor: str
    user: str  # of the digest
    host: str  # of the registrar, as it is written
    place: str = ""  # address:port that was asked
    port: str = ""  # "UDP 5060"
    ours: str = ""  # what is wrong on this host, so that nothing was asked
    cause: Cause | None = None  # of the failure; None: all went well
    detail: str = ""  # why there was no final response
    status: int = 0  # of the final response; 0: there was none
    said: str = ""  # "403 Forbidden"
    agent: str = ""  # what the registrar calls itself
    proven: bool = False  # a digest was sent
    known: bool = False  # the query before was accepted
    realm: str = ""
    algorithm: str = ""  # of the challenge
    stale: bool = False  # the answer to a fresh nonce called it stale
    answerable: bool = True  # a challenge that we know how to answer
    retry_after: int | None = None  # s
    min_expires: int | None = None  # s
    expires: int = 0  # s that were asked for
    granted: int = 0  # s for which our contact is held at the most
    warning: str = ""
    elsewhere: str = ""  # where a 3xx leads
    others: tuple[str, ...] = ()  # contacts that are not ours
    earlier: bool = False  # they were seen before, and are not there now
    during: bool = False  # they came while ours was bound
    vanished: bool = False  # and one of them went meanwhile
    left: tuple[str, ...] = ()  # contacts of ours that are still there
    answering: tuple[str, ...] = ()  # other ports that answer: "TLS 5061"
    hint: Cause | None = None  # what the PBX itself tells of this refusal
    bindings: int = 0


Fits = Callable[[Seen], bool]
UNREACHED = frozenset(
    {
        Cause.TIMEOUT,
        Cause.ICMP_UNREACHABLE,
        Cause.CONNECTION_REFUSED,
        Cause.CONNECTION_RESET,
    }
)


def caused(*causes: Cause) -> Fits:
    """It failed by one of these."""
    return lambda s: s.cause in causes


def status(*codes: int) -> Fits:
    """The final response was one of these."""
    return lambda s: s.status in codes


def of_class(first: int) -> Fits:
    """The final response was of this class."""
    return lambda s: s.status // 100 == first


def refused(s: Seen) -> bool:
    """The final response asked for credentials, once more or at all."""
    return s.status in (401, 407)


def hinted(cause: Cause) -> Fits:
    """The PBX itself tells that this was why it refused."""
    return lambda s: s.hint is cause and s.status in (401, 403, 407)


def is_asterisk(s: Seen) -> bool:
    """An Asterisk refused a digest: it says 401 to all that it refuses."""
    told = s.realm == "asterisk" or any(
        name in s.agent.lower() for name in ("asterisk", "freepbx", "fpbx")
    )
    return refused(s) and s.proven and told


# A server that says one of these serves the name, whatever it looks like.
_SERVED = frozenset({401, 407, 423, 480, 500, 503})


def is_named_wrongly(s: Seen) -> bool:
    """It failed at a name of Twilio that was meant to be another."""
    found = twilio.check(s.host)
    return is_nameless(s) and found is not None and bool(found.meant)


def is_nameless(s: Seen) -> bool:
    """It failed at a name of Twilio that is none of a SIP Domain."""
    failed = s.cause is not None and s.status not in _SERVED
    return failed and twilio.check(s.host) is not None


def at_twilio(fits: Fits) -> Fits:
    """So it is, and the registrar is Twilio's."""
    return lambda s: twilio.is_twilio(s.host) and fits(s)


def both(*several: Fits) -> Fits:
    """All of them."""
    return lambda s: all(one(s) for one in several)
