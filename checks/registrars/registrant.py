"""What OpenSIPS registers at other servers: uac_registrant's records and its events.

A record is REGISTERING during every refresh, and for as long as a silent server keeps
it waiting. So one that waits for longer than any live server takes, with nothing left
of the registration before, is known to fail before OpenSIPS gives up on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from checks.observation import Cause, State
from checks.registrars.clocks import QUARTER
from checks.registrars.usrloc import CTIME, Whole
from checks.registrations.readings import Outbound

ANSWER = 10.0  # s in which a live server has long answered a REGISTER
DAY = 86400.0  # s after 1970 until which a date stands for never, in any zone
SUFFIX = "_STATE"
EVENT = "E_REGISTRANT_"  # what its events begin with, 4.0 alone has them


class Word(NamedTuple):
    """What a state of a record stands for."""

    state: State | None
    cause: Cause | None = None
    detail: str = ""


UNDER_WAY = Word(None)
WORDS = {
    "REGISTERED": Word(State.OK),
    "REGISTERING": UNDER_WAY,
    "AUTHENTICATING": UNDER_WAY,
    "UNREGISTERING": UNDER_WAY,  # of other contacts, before it registers its own
    "AUTHENTICATING_UNREGISTER": UNDER_WAY,
    "NOT_REGISTERED": UNDER_WAY,  # it has just been loaded: see `kept`
    "WRONG_CREDENTIALS": Word(
        State.REJECTED,
        Cause.UNAUTHORIZED,
        "the server refuses its credentials: check username and password in "
        "uac_registrant's table",
    ),
    "REGISTER_TIMEOUT": Word(
        State.FAILING, Cause.TIMEOUT, "the server does not answer its REGISTER"
    ),
    "REGISTRAR_ERROR": Word(
        State.FAILING,
        None,
        "the server answers its REGISTER with an error; the log of OpenSIPS has the "
        "code",
    ),
    "INTERNAL_ERROR": Word(
        State.FAILING,
        None,
        "OpenSIPS could not send its REGISTER, or could not read the answer; its log "
        "says why",
    ),
}


class Record(msgspec.Struct):
    """One record of reg_list; dates are in the server's zone."""

    aor: str = msgspec.field(name="AOR")
    state: str
    registrar: str = ""
    binding: str = ""  # the contact that it registers
    enabled: str = "yes"
    expires: Whole = 0
    last_register_sent: str = ""
    registration_t_out: str = ""  # when it is refreshed, or tried again
    proxy: str = ""
    shtag: str = ""  # it is registered by one node of several


class Records(msgspec.Struct):
    """The result of reg_list."""

    records: list[Record] = msgspec.field(name="Records")


class Times(NamedTuple):
    """The server's clock, to read its dates by."""

    now: float  # ours
    there: float  # the server's, UTC s
    zone: float  # s that its dates are ahead of UTC

    @classmethod
    def told(cls, now: float, there: float, written: str) -> Times:
        """By the time that it says it is."""
        local = _naive(written)
        zone = 0.0 if local is None else QUARTER * round((local - there) / QUARTER)
        return cls(now, there, zone)

    def ours(self, written: str) -> float | None:
        """A date on our clock; None: never, or no date."""
        local = _naive(written)
        if local is None or local < DAY:
            return None
        return local - self.zone - (self.there - self.now)


def _naive(written: str) -> float | None:
    try:
        return datetime.strptime(written.strip(), CTIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


class Registrant:
    """The records of one OpenSIPS, by what its events tell them by."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str, str], str] = {}
        self._proxies: dict[tuple[str, str, str], str] = {}

    def outbounds(self, records: Records, times: Times) -> list[Outbound]:
        """The whole list; what is switched off, or another node's, is not in it."""
        rows = [record for record in records.records if kept(record)]
        self._names = named((r.aor, r.binding, r.registrar) for r in rows)
        self._proxies = {(r.aor, r.binding, r.registrar): r.proxy for r in rows}
        return [self._outbound(record, times) for record in rows]

    def event(
        self, name: str, record: tuple[str, str, str], now: float
    ) -> Outbound | None:
        """One record's new state by AOR, contact and registrar; None: none of ours."""
        known = self._names.get(record)
        word = WORDS.get(name.removeprefix(EVENT))
        if known is None or word is None:
            return None
        row = _row(known, word, now, record, self._proxies[record])
        row.lag = 0.0  # it has just been answered
        return row

    def _outbound(self, record: Record, times: Times) -> Outbound:
        sent = times.ours(record.last_register_sent)
        word = WORDS.get(record.state.removesuffix(SUFFIX), UNDER_WAY)
        if word is UNDER_WAY and sent is not None and silent(record, sent, times):
            word = WORDS["REGISTER_TIMEOUT"]
        key = (record.aor, record.binding, record.registrar)
        row = _row(self._names[key], word, times.now, key, record.proxy)
        if word.state is State.OK and sent is not None:
            row.expires = sent + record.expires
            row.lag = max(0.0, times.now - sent)
        return row


def kept(record: Record) -> bool:
    """Whether this OpenSIPS is to keep the registration: not switched off, and of
    several nodes that share it not left to another."""
    if record.enabled == "no":
        return False
    return not (record.shtag and record.state == f"NOT_REGISTERED{SUFFIX}")


def silent(record: Record, sent: float, times: Times) -> bool:
    """Whether a REGISTER stays unanswered and what was registered before has ended."""
    if not record.state.startswith(("REGISTERING", "AUTHENTICATING_STATE")):
        return False
    due = times.ours(record.registration_t_out)
    waits = times.now - sent > ANSWER
    return waits and (due is None or times.now - due > ANSWER)


def _row(
    name: str, word: Word, now: float, record: tuple[str, str, str], proxy: str
) -> Outbound:
    aor, _, server = record
    return Outbound(
        name,
        word.state,
        now,
        server=server,
        client=_bare(aor),
        cause=word.cause,
        detail=word.detail,
        # REGISTERED is as old as the last refresh; of a failure it knows the reason.
        trusted=word.state not in (None, State.OK),
        proxy=proxy,
    )


def named(
    records: Iterable[tuple[str, str, str]],
) -> dict[tuple[str, str, str], str]:
    """Names for records: the AOR, and where and what else where that is not enough."""
    keys = list(dict.fromkeys(records))
    aors = Counter(aor for aor, _, _ in keys)
    places = Counter((aor, server) for aor, _, server in keys)
    names = {}
    for key in keys:
        aor, contact, server = key
        name = _bare(aor)
        if aors[aor] > 1:
            name += f" at {_bare(server)}"
        if places[aor, server] > 1:
            name += f" for {_bare(contact)}"
        names[key] = name
    return names


def _bare(uri: str) -> str:
    return uri.removeprefix("sip:")
