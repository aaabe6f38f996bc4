"""What Asterisk says of the registrations that it keeps elsewhere. Pure.

Its word is late on both sides. "Registered" stands until a refresh fails, so a server
may be dead for a whole expiration and 22 s more. "Rejected" is a refusal or silence. An
event tells how each attempt ended, but names only the two URIs.
"""

from __future__ import annotations

from collections.abc import Iterable

from checks.observation import State
from checks.registrars.ami import Message
from checks.registrars.pjsip import number
from checks.registrations.judge import Outbound, Outbounds

# Any other word (Unregistered, Stopping, Stopped) is no outcome.
OUTCOMES = {"Registered": State.OK, "Rejected": State.REJECTED}
TRANSACTION = 32.0  # s until a REGISTER without an answer is given up: timer F
EARLY = 10.0  # s before its end at which a registration is refreshed
EXPIRATION = 3600.0  # s, res_pjsip's default
RETRIES = ("RetryInterval", "ForbiddenRetryInterval", "FatalRetryInterval")


class Trunks:
    """The registrations of one Asterisk, so that its events can be read."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[Outbound]] = {}  # by client and server

    def listed(self, rows: Iterable[Message], at: float) -> Outbounds:
        """The whole list, from PJSIPShowRegistrationsOutbound."""
        found = [outbound(row, at) for row in rows]
        self._rows = {}
        for row in found:
            self._rows.setdefault((row.client, row.server), []).append(row)
        return Outbounds(found)

    def event(self, event: Message, at: float) -> Outbound | None:
        """How an attempt ended, by a Registry event; None: only a list can tell."""
        key = (event.get("Username", ""), event.get("Domain", ""))
        if len(named := self._rows.get(key, [])) != 1:
            return None
        name, proxy = named[0].name, named[0].proxy
        state, said = _outcome(event.get("Status", ""))
        lag = 0.0 if state is State.OK else TRANSACTION
        client, server = key
        return Outbound(
            name, state, at, server, client, None, said, None, False, proxy, lag
        )


def outbound(row: Message, at: float) -> Outbound:
    """One row, of an OutboundRegistrationDetail."""
    state, said = _outcome(row.get("Status", ""))
    expiration = number(row.get("Expiration")) or EXPIRATION
    retry = max(number(row.get(name)) or 0.0 for name in RETRIES)
    return Outbound(
        name=row.get("ObjectName", ""),
        state=state,
        at=at,
        server=row.get("ServerUri", ""),
        client=row.get("ClientUri", ""),
        detail=said,
        trusted=False,
        proxy=row.get("OutboundProxy", ""),
        lag=(expiration - EARLY if state is State.OK else retry) + TRANSACTION,
    )


def _outcome(word: str) -> tuple[State | None, str]:
    state = OUTCOMES.get(word)
    return state, "" if state is State.OK else f"Asterisk says {word}"
