"""What mod_sofia says of its gateways: the registrations that it keeps elsewhere. Pure.

A poll hits a gateway at any point of its cycle: every refresh and every retry leads
through states that say nothing. Why one fails is only in the event of the failure, so
that is kept. A gateway with `register=false` tells something if it is pinged; if not,
FreeSWITCH calls it UP for ever, and it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from checks.observation import Cause, State, plain
from checks.registrars.esl import Event
from checks.registrars.sofia import whole
from checks.registrars.sofia_text import readable, unescaped
from checks.registrations.judge import Outbound

REGISTERED = "REGED"
FAILED = {"FAILED", "FAIL_WAIT", "TIMEOUT"}
NOT_REGISTERING = "NOREG"
STOPPED = "DOWN"  # unregistered by a command; it stays so
# All others are under way: UNREGED TRYING REGISTER UNREGISTER EXPIRED.

KEPT = 10_000  # gateways; their failures are remembered by name
LATE_AFTER = 60.0  # s of Expires from which a dead server may go unseen for long


class Reason(NamedTuple):
    """Why a gateway is not registered."""

    state: State
    cause: Cause | None
    detail: str


# sofia-sip's own codes, and what a code says of who is at fault.
REASONS = {
    904: Reason(
        State.REJECTED,
        Cause.UNAUTHORIZED,
        "the server refuses its credentials: check username, password and realm of "
        "the gateway",
    ),
    908: Reason(State.FAILING, Cause.TIMEOUT, "the server does not answer REGISTER"),
    408: Reason(State.FAILING, Cause.TIMEOUT, "the server does not answer REGISTER"),
    503: Reason(
        State.FAILING,
        None,
        "503 Service Unavailable: the server is overloaded, or nothing answers there "
        "(FreeSWITCH says the same of both)",
    ),
}
UNKNOWN = Reason(
    State.FAILING,
    None,
    "its last REGISTER failed; FreeSWITCH tells why at the next attempt",
)
UNANSWERED = Reason(State.FAILING, None, "the server does not answer its OPTIONS")
UNREGISTERED = Reason(
    State.FAILING, None, "it was unregistered by a command; `sofia profile` starts it"
)


@dataclass(slots=True)
class Gateway:
    """What the last list told of one."""

    server: str
    client: str
    pinged: bool  # the server is asked by OPTIONS, so that its death is seen
    every: float  # s between its refreshes


class Gateways:
    """All gateways of one FreeSWITCH."""

    def __init__(self) -> None:
        self._known: dict[str, Gateway] = {}
        self._reasons: dict[str, Reason] = {}  # of those that fail
        self._states: dict[str, State] = {}  # last told

    def listed(self, rows: list[dict[str, str]], at: float) -> list[Outbound]:
        """The complete list, by the elements of `sofia xmlstatus gateway`."""
        self._known = {name(row): gateway(row) for row in rows[:KEPT]}
        for gone in (self._reasons.keys() | self._states.keys()) - self._known.keys():
            self._reasons.pop(gone, None)
            self._states.pop(gone, None)
        return [o for row in rows[:KEPT] if (o := self._outbound(row, at))]

    def event(self, event: Event, at: float) -> Outbound | None:
        """sofia::gateway_state: one step of its cycle."""
        called, state = event.get("Gateway", ""), event.get("State", "")
        code, phrase = whole(event.get("Status")), event.get("Phrase", "")
        told = code or (908 if state == "TIMEOUT" else 0)
        if state in FAILED and told and len(self._reasons) < KEPT:
            self._reasons[called] = reason_of(told, phrase, UNKNOWN)
        if called not in self._known:
            return None  # the list that its birth asks for is to come
        if state == NOT_REGISTERING:
            reason = reason_of(code, phrase, UNANSWERED)
            return self._pinged(called, event.get("Ping-Status") == "UP", reason, at)
        return self._registering(called, state, at, lag=0.0)

    def _outbound(self, row: dict[str, str], at: float) -> Outbound | None:
        called, state = name(row), row.get("state", "")
        gateway = self._known[called]
        if state != NOT_REGISTERING:
            return self._registering(called, state, at, lag=gateway.every)
        up = row.get("status") == "UP"
        if not gateway.pinged or (up and not whole(row.get("pingcount"))):
            told = self._states.get(called) if gateway.pinged else None
            return self._told(called, told, at) if told else None
        return self._pinged(called, up, self._reasons.get(called, UNANSWERED), at)

    def _pinged(
        self, called: str, answered: bool, reason: Reason, at: float
    ) -> Outbound:
        """One that does not register, by the answers to its OPTIONS."""
        if answered:
            self._reasons.pop(called, None)
            return self._told(called, State.OK, at)
        self._reasons[called] = reason
        return self._told(called, State.FAILING, at, reason)

    def _registering(
        self, called: str, state: str, at: float, *, lag: float
    ) -> Outbound:
        if state == REGISTERED:
            self._reasons.pop(called, None)
            gateway = self._known[called]
            told = self._told(called, State.OK, at)
            told.trusted = gateway.pinged or gateway.every < LATE_AFTER
            told.lag = lag
            return told
        if state == STOPPED:
            return self._told(called, State.FAILING, at, UNREGISTERED)
        if state not in FAILED:
            return self._told(called, None, at)
        reason = self._reasons.get(called, UNKNOWN)
        told = self._told(called, reason.state, at, reason)
        # Whether it was refused or not answered OPTIONS of ours may tell.
        told.trusted = reason is not UNKNOWN
        return told

    def _told(
        self, called: str, state: State | None, at: float, reason: Reason | None = None
    ) -> Outbound:
        gateway = self._known[called]
        if state is not None:
            self._states[called] = state
        told = Outbound(called, state, at, gateway.server, gateway.client)
        if reason:
            told.cause, told.detail = reason.cause, reason.detail
        return told


def name(row: dict[str, str]) -> str:
    """What a gateway is called, as in its events."""
    return readable(row.get("name", ""))


def gateway(row: dict[str, str]) -> Gateway:
    """What does not change in its cycle; `to` and `proxy` are not escaped."""
    client = unescaped(readable(row.get("from", ""))).strip("<>")
    return Gateway(
        readable(row.get("proxy", "")),
        client,
        whole(row.get("pingfreq")) > 0,
        float(whole(row.get("freq"))),
    )


def reason_of(code: int, phrase: str, otherwise: Reason) -> Reason:
    """What the answer to a REGISTER or an OPTIONS of a gateway means."""
    if code in REASONS:
        if code == 503 and "DNS" in phrase:
            return Reason(State.FAILING, Cause.DNS_FAILURE, "its server has no address")
        return REASONS[code]
    if not 300 <= code < 700:
        return otherwise
    said = plain(f"the server answers {code} {phrase.strip()}".rstrip(), 120)
    refused = code < 500 or code >= 600
    state = State.REJECTED if refused and code != 480 else State.FAILING
    return Reason(state, Cause.of_response(code), said)
