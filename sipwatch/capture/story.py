"""The story of a capture: who registered and who could not, which calls failed and why.

Messages in, in the order of the wire; what is remembered of each is little and bounded.
A message that passes through proxies is seen on several legs: who sent a response is
read where it was seen first, which is nearest to its sender.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from checks.accounts.diagnosis import Diagnosis
from checks.accounts.diagnosis import diagnose as diagnose_register
from checks.accounts.evidence import Phase, Seen
from checks.cause import Answer, Evidence, Finding, Sender, classify
from checks.cause.answer import Known, answer_of
from checks.observation import Cause, Kind, State, plain
from checks.sip.digest import challenges
from checks.sip.errors import SipError
from checks.sip.message import Request, Response, parse
from sipwatch.capture.heard import Heard

PHONES = 10_000  # that are told apart; the one heard of longest ago is forgotten
CALLS = 10_000
DEVICES = 4  # contacts of one phone that are remembered
NAME_LIMIT = 80  # characters of a name
ASKED_FOR = (401, 407)
# No failure of the called side: cancelled by the caller, or sent on.
UNTOLD = (487, 491)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Registration:
    """One phone at one registrar, as far as it was heard."""

    aor: str
    phone: str  # ip:port
    registrar: str  # ip:port
    first: float
    last: float
    sends: int = 0  # REGISTERs, retransmissions too
    attempts: int = 0
    proven: bool = False  # the last one had credentials
    removing: bool = False  # the last one was to remove
    expires: int | None = None
    response: Response | None = None  # the last final one
    failure: Response | None = None  # since the last success, challenges apart
    registered: bool | None = None  # None: not heard
    since: float = 0.0
    agent: str = ""
    contacts: tuple[str, ...] = ()
    realm: str = ""
    _cseq: int = -1

    @property
    def ok(self) -> bool | None:
        """Whether it ended well; None where it was just going on."""
        found = self.response
        if found is not None and found.status not in ASKED_FOR:
            return found.status < 300
        if self.failure is not None or (found is None and self.sends > 1):
            return False
        return None

    @property
    def diagnosis(self) -> Diagnosis:
        """Why it failed, and what to do."""
        host = self.registrar.rpartition(":")[0]
        port = self.registrar.rpartition(":")[2]
        found = self.failure or self.response
        seen = Seen(
            phase=Phase.BIND,
            aor=self.aor,
            user=self.aor.partition("@")[0],
            host=host,
            place=self.registrar,
            port=f"port {port}",
            cause=_cause(found),
            detail="" if found else f"nothing answers ({self.sends} sends)",
            status=found.status if found else 0,
            said=plain(f"{found.status} {found.reason}", NAME_LIMIT) if found else "",
            agent=plain(found.agent, NAME_LIMIT) if found else "",
            proven=self.proven or self.failure is not None,
            realm=self.realm,
            algorithm=_algorithm(found),
            stale=_is_stale(found),
            retry_after=found.retry_after if found else None,
            expires=self.expires or 0,
        )
        said = diagnose_register(seen)
        return said._replace(step=said.step.replace("this host", "the phone"))


@dataclass(slots=True)
class Call:
    """One INVITE and what became of it."""

    call_id: str
    caller: str
    called: str
    first: float
    responses: dict[int, str] = field(default_factory=dict)  # status: ip:port, final
    answer: Answer | None = None  # the final one, as evidence
    rang: bool = False
    at: float = 0.0  # of the final response
    known: Evidence = field(default_factory=Evidence)  # when it was answered

    @property
    def failed(self) -> bool:
        """Whether the called side did not take it."""
        answer = self.answer
        return (
            answer is not None and answer.status >= 400 and answer.status not in UNTOLD
        )

    @property
    def sender(self) -> str:
        """10.20.0.31:5060, the phone, Yealink SIP-T46U."""
        answer = self.answer
        if answer is None:
            return ""
        who = WHO.get(answer.sender) if answer.sender else None
        return ", ".join(filter(None, (answer.source, who, answer.agent)))

    @property
    def finding(self) -> Finding:
        """Why, by the same table that explains incidents."""
        return classify(self.known)


WHO = {
    Sender.DEVICE: "the phone",
    Sender.PBX: "the PBX",
    Sender.PROVIDER: "the provider",
}


class Story:
    """Fed with messages; `registrations` and `calls` are what they come to."""

    def __init__(self) -> None:
        self.messages = 0
        self.unread = 0  # that no parser takes
        self.first: float | None = None
        self.last: float | None = None
        self._phones: OrderedDict[tuple[str, str, str], Registration] = OrderedDict()
        self._registers: OrderedDict[str, Registration] = OrderedDict()  # by Call-ID
        self._users: OrderedDict[str, Registration] = OrderedDict()
        self._calls: OrderedDict[str, Call] = OrderedDict()

    @property
    def registrations(self) -> list[Registration]:
        """In the order in which they were first heard."""
        return list(self._phones.values())

    @property
    def calls(self) -> list[Call]:
        """In the order in which they began."""
        return list(self._calls.values())

    def take_all(self, several: Iterable[Heard]) -> None:
        """Take in several."""
        for one in several:
            self.take(one)

    def take(self, heard: Heard) -> None:
        """Take in one message."""
        self.messages += 1
        self.first = heard.at if self.first is None else self.first
        self.last = heard.at
        try:
            message = parse(heard.data)
            method = _method(message)
            if method == "REGISTER":
                self._register(message, heard)
            elif method == "INVITE":
                self._call(message, heard)
        except ValueError:
            self.unread += 1

    # --- registrations --------------------------------------------------------------

    def _register(self, message: Request | Response, heard: Heard) -> None:
        if isinstance(message, Request):
            self._asked(message, heard)
            return
        found = self._registers.get(message.call_id)
        if found is None or not message.final:
            return
        if heard.source != _place(found.registrar):
            return  # on another leg: it was heard nearer to its sender
        found.last = heard.at
        found.response = message
        found.realm = _realm(message) or found.realm
        if message.status < 300:
            found.failure = None
            gone = found.removing or not message.contacts
            if found.registered is not (not gone):
                found.registered, found.since = not gone, heard.at
        elif message.status not in ASKED_FOR or found.proven:
            found.failure = message

    def _asked(self, message: Request, heard: Heard) -> None:
        aor = _aor(message.to.uri)
        phone, registrar = _written(heard.source), _written(heard.target)
        known = self._registers.get(message.call_id)
        if known is not None and known.phone != phone:
            return  # a proxy passes it on
        found = self._phones.get((aor, phone, registrar))
        if found is None:
            found = Registration(aor, phone, registrar, heard.at, heard.at)
            _remember(self._phones, (aor, phone, registrar), found, PHONES)
        _remember(self._registers, message.call_id, found, PHONES)
        _remember(self._users, aor.partition("@")[0], found, PHONES)
        number = message.cseq.number
        found.sends = found.sends + 1 if found.response is None else 1
        if number != found._cseq:
            found.attempts += 1
            found._cseq, found.response = number, None
        found.last = heard.at
        found.proven = bool(
            message.get("authorization") or message.get("proxy-authorization")
        )
        found.expires = message.expires
        found.removing = message.expires == 0 or _expires_at_once(message)
        found.agent = plain(message.agent, NAME_LIMIT)
        places = (_contact(c.uri) for c in message.contacts[:DEVICES])
        found.contacts = tuple(place for place in places if place)

    # --- calls ----------------------------------------------------------------------

    def _call(self, message: Request | Response, heard: Heard) -> None:
        call = self._calls.get(message.call_id)
        if isinstance(message, Request):
            if call is None and message.to.tag is None:
                call = Call(
                    message.call_id,
                    _aor(message.from_.uri),
                    _aor(message.to.uri),
                    heard.at,
                )
                _remember(self._calls, message.call_id, call, CALLS)
            return
        if call is None:
            return
        call.rang = call.rang or message.status in (180, 183)
        if not message.final or message.status in ASKED_FOR:
            return
        if message.status in call.responses or _is_answered(call):
            return  # sent again, or on another leg
        source = _written(heard.source)
        call.responses[message.status] = source
        call.at = heard.at
        phone = self._phone(call.called)
        known = Known(
            devices=(*phone.contacts, phone.phone) if phone else (),
            agents=(phone.agent,) if phone and phone.agent else (),
            servers=(phone.registrar,) if phone else (),
        )
        call.answer = answer_of(message, source=source, at=heard.at, known=known)
        call.known = _evidence(call, phone)

    def _phone(self, called: str) -> Registration | None:
        """The last that registered, or tried to, under a name."""
        return self._users.get(called.partition("@")[0])


def _evidence(call: Call, phone: Registration | None) -> Evidence:
    state = None
    if phone is not None and phone.registered is not None:
        state = State.REGISTERED if phone.registered else State.UNREGISTERED
    return Evidence(
        who=call.called.partition("@")[0],
        kind=Kind.EXTENSION,
        place=phone.registrar if phone else call.called.rpartition("@")[2],
        answer=call.answer,
        registration=state,
        since=phone.since if phone and state is not None else None,
        address=phone.phone if phone else "",
        device=phone.agent if phone else "",
    )


def _is_answered(call: Call) -> bool:
    return any(status < 300 for status in call.responses)


def _method(message: Request | Response) -> str:
    """ValueError where it has none."""
    return message.method if isinstance(message, Request) else message.cseq.method


def _remember(known: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > most:
        known.popitem(last=False)


def _aor(uri: str) -> str:
    """1001@pbx.example.com of a URI."""
    bare = uri.partition(":")[2] or uri
    return plain(bare.partition(";")[0].partition("?")[0], NAME_LIMIT)


def _contact(uri: str) -> str:
    """ip:port of a Contact."""
    host = _aor(uri).rpartition("@")[2]
    return host if ":" in host.rpartition("]")[2] else f"{host}:5060" if host else ""


def _expires_at_once(message: Request) -> bool:
    """RFC 3261 10.2.2: every contact has an expires of 0, or it is `*`."""
    if message.get("contact") == "*":
        return True
    given = [contact.params.get("expires") for contact in message.contacts]
    return bool(given) and all(value == "0" for value in given)


def _written(end: tuple[str, int]) -> str:
    host, port = end
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(written: str) -> tuple[str, int]:
    host, _, port = written.rpartition(":")
    return host.strip("[]"), int(port)


def _cause(response: Response | None) -> Cause | None:
    if response is None:
        return Cause.TIMEOUT
    return None if response.status < 300 else Cause.of_response(response.status)


def _challenge(response: Response | None) -> Iterator[tuple[str, str, bool]]:
    """Realm, algorithm and staleness of what a response asks for."""
    try:
        asked = challenges(response) if response is not None else {}
    except (ValueError, SipError):
        return
    for several in asked.values():
        for one in several:
            yield plain(one.realm, NAME_LIMIT), plain(one.algorithm, 20), one.stale


def _realm(response: Response) -> str:
    return next((realm for realm, _, _ in _challenge(response)), "")


def _algorithm(response: Response | None) -> str:
    return next((algorithm for _, algorithm, _ in _challenge(response)), "MD5")


def _is_stale(response: Response | None) -> bool:
    return any(stale for _, _, stale in _challenge(response))
