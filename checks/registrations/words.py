"""What a PBX's word on one registration of its own is worth, beside what OPTIONS tell.

Pure. A PBX whose word may be late is `Outbound.trusted` False: then its "registered" is
overruled by a server that answered and does not any more, unless the PBX was answered
since; its "rejected" is a refusal where the server answers, else silence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from checks.observation import Cause, State
from checks.registrations.readings import Outbound
from checks.registrations.servers import ALWAYS, Server

PATIENCE = 90.0  # s under way after which it is no refresh: two transactions, and more


class Finding(NamedTuple):
    """What one PBX's word and the server's silence amount to."""

    state: State
    since: float
    cause: Cause | None = None
    detail: str = ""


@dataclass(slots=True)
class Word:
    """What one member last said of a registration."""

    row: Outbound  # the last one that told a state, if there was one
    since: float  # of that state
    ok_at: float | None = None  # when it last said OK
    proven: float = ALWAYS  # its word is certainly of this moment, or of a later one
    trying: float | None = None  # under way since then
    late: bool = False  # some of what it says is not to be trusted alone

    def take(self, row: Outbound, *, listed: bool) -> None:
        """The next thing that it says; a list finds out later than an event tells."""
        old = self.row
        self.late |= not row.trusted
        if row.state is None:
            self.trying = row.at if self.trying is None else self.trying
            self.row = replace(
                old,
                server=row.server or old.server,
                client=row.client or old.client,
                proxy=row.proxy or old.proxy,
            )
            return
        self.trying = None
        if row.state is not old.state:
            # What was otherwise until the last word has become so after it.
            self.proven = ALWAYS if old.state is None else old.at
            well_or_new = row.state is State.OK or old.state in (None, State.OK)
            self.since = row.at if well_or_new else self.since
            if listed and old.state is State.OK and self.ok_at is not None:
                self.since = self.ok_at
        self.proven = max(self.proven, row.at - row.lag)
        if row.state is State.OK:
            self.ok_at = row.at
        self.row = row


def judged(
    word: Word, server: Server | None, before: State | None, now: float
) -> Finding | None:
    """What one member's word is worth; `before` is what the registration was."""
    if word.trying is not None and now - word.trying > PATIENCE:
        return _stuck(word, word.trying, server)
    match word.row.state:
        case None:
            return None
        case State.OK:
            return _kept(word, server)
        case state if word.row.trusted:
            detail = word.row.detail or _REFUSED[state is State.REJECTED]
            return Finding(state, word.since, word.row.cause, detail)
        case _:
            return _not_kept(word, server, before)


_REFUSED = {True: "the server refuses the registration", False: "it does not succeed"}


def _stuck(word: Word, since: float, server: Server | None) -> Finding:
    """It was under way for longer than any attempt takes."""
    if server and server.silent:
        what = f"{_whom(word)} {server.words()}, and the PBX cannot register there"
        return Finding(State.FAILING, since, server.cause, what)
    what = f"the PBX has tried to register for over {PATIENCE:g} s, without a result"
    return Finding(State.FAILING, since, None, what)


def _whom(word: Word) -> str:
    return "its outbound proxy" if word.row.proxy else "its server"


def _kept(word: Word, server: Server | None) -> Finding:
    """The PBX says that it is registered; a refresh since then would prove it."""
    gone = server is not None and server.silent and server.answered
    if server is None or not gone or word.proven > server.failing_since:
        well = server.well_since if server else None
        return Finding(State.OK, word.since if well is None else max(word.since, well))
    detail = (
        f"{_whom(word)} {server.words()}; the PBX still says that it is registered, "
        "but will know better only at its next refresh"
    )
    return Finding(State.FAILING, server.failing_since, server.cause, detail)


def _not_kept(
    word: Word, server: Server | None, before: State | None
) -> Finding | None:
    """The PBX says that it is not registered: refused, or not answered?"""
    row = word.row
    said = row.detail or f"the PBX says {row.state}"
    if server is None or not server.asked or (server.failures and not server.silent):
        if before in (State.FAILING, State.REJECTED):
            return None  # the next OPTIONS tells
        detail = said
        if row.state is State.REJECTED:
            detail = f"{said}, which may be a refusal or no answer at all"
        return Finding(State.FAILING, word.since, row.cause, detail)
    if server.silent:
        how = server.words() if server.answered else "has never answered OPTIONS"
        detail = f"{_whom(word)} {how}; {said}"
        return Finding(State.FAILING, word.since, server.cause, detail)
    if row.proxy or row.state is not State.REJECTED:
        detail = f"{said}, though {_whom(word)} answers OPTIONS"
        return Finding(State.FAILING, word.since, row.cause, detail)
    if server.well_since is None or word.proven < server.well_since:
        detail = f"its server answers OPTIONS again; {said} of an attempt before that"
        return Finding(State.FAILING, word.since, None, detail)
    detail = f"its server answers OPTIONS, but refuses the registration; {said}"
    return Finding(State.REJECTED, word.since, row.cause or Cause.FORBIDDEN, detail)
