"""What Asterisk's res_pjsip says of its contacts: rows of lists, and events. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from checks.observation import Binding, Loss
from checks.registrars.ami import Message
from checks.registrars.clocks import happened, in_our_zone, in_utc
from checks.registrations.extension import shared, whole
from checks.registrations.judge import Added, Expected, Gone, Reach, Reading
from checks.registrations.readings import key

# res_pjsip's words; any other is one that says nothing of reachability.
REACHABLE = {"Reachable": True, "Unreachable": False}
STREAMS = ("transport=tcp", "transport=tls", "transport=ws")  # wss too

STARTUP = "%Y-%m-%d %H:%M:%S"  # CoreStatus's date and time
AUTH_WINDOW = 2.0  # s from a REGISTER's authentication to the end of its contact
SLOW = 1.0  # s; the clock of a PBX whose answers are slow seems to be behind
AUTHS_KEPT = 10_000  # accounts; a mass event brings some thousands within the window
ONCE_KEPT = 100_000  # accounts that authenticate from one list to the next


Ends = dict[int, float | None]  # by key(): epoch s of the PBX, where it is known


def joined(aor: str, uri: str) -> str:
    """One contact by its name; the collector need not look at it, as at a pair."""
    return f"{aor}\n{uri}"


def pair(name: str) -> tuple[str, str]:
    """The AOR and the URI of one that is joined."""
    aor, _, uri = name.partition("\n")
    return aor, uri


@dataclass(slots=True)
class Contacts:
    """What is known of one PBX's contacts, so that its events can be read.

    Pure. `offset` is the PBX's clock minus ours. Where that is not `timed` nothing is
    known of its clock, which may be days off: then no end and no stamp is believed.
    """

    offset: float = 0.0
    timed: bool = True
    ends: Ends = field(default_factory=dict)
    trunks: set[str] = field(default_factory=set)  # AORs with a permanent contact
    auths: dict[str, float] = field(default_factory=dict)  # account: our time
    # Account: our time of its one authentication since the last list, None: of several.
    once: dict[str, float | None] = field(default_factory=dict)

    def when(self, event: Message, now: float) -> float:
        """Our time of an event; its own stamp needs `timestampevents = yes`."""
        offset = self.offset if self.timed else None
        return shared(happened(number(event.get("Timestamp")), offset, now))

    def authenticated(self, event: Message, now: float) -> None:
        """SuccessfulAuth: a REGISTER or another request with right credentials."""
        if event.get("Service") != "PJSIP":
            return
        if len(self.auths) >= AUTHS_KEPT:
            recent = [(a, t) for a, t in self.auths.items() if t > now - AUTH_WINDOW]
            self.auths = dict(recent[-AUTHS_KEPT // 2 :])
        account, at = event.get("AccountID", ""), self.when(event, now)
        self.auths[account] = at
        if len(self.once) < ONCE_KEPT:
            self.once[account] = None if account in self.once else at

    def listed(self, row: Message, found: Binding) -> Binding:
        """A row of a list with what was granted, where an event tells when.

        A REGISTER is the only request that moves the end of a contact. Where it has
        moved, and the account has authenticated once since the last list, it was then.
        """
        if not self.timed:
            found.expires_at = None
        end = found.expires_at
        at = self.once.get(row.get("EndpointName") or row.get("Endpoint") or found.aor)
        name = key(found.aor, found.contact)
        known = name in self.ends  # else it may be older than the authentication
        if known and end is not None and at is not None and end != self.ends[name]:
            found.granted = whole(end - (at + self.offset))
        return found

    def status(self, event: Message, now: float) -> Reading | None:
        """ContactStatus: one contact came, went, or answers differently."""
        aor, uri = event.get("AOR", ""), event.get("URI", "")
        word = event.get("ContactStatus", "")
        if not aor or not uri or aor in self.trunks:
            return None
        at = self.when(event, now)
        if word == "Removed":
            loss = self._loss(event, at)
            self.ends.pop(key(aor, uri), None)
            return Gone(aor, uri, at, loss)
        reachable, rtt = REACHABLE.get(word), seconds(event.get("RoundtripUsec"))
        if key(aor, uri) in self.ends:
            return Reach(aor, uri, reachable, rtt if reachable else None, at)
        self.ends[key(aor, uri)] = None
        return Added(Binding(aor, uri, reachable=reachable), at)

    def _loss(self, event: Message, at: float) -> Loss:
        uri = event["URI"]
        # First: the end is of the last list, and a refresh since then has no event.
        account = event.get("EndpointName") or event["AOR"]
        if 0 <= at - self.auths.get(account, -AUTH_WINDOW) <= AUTH_WINDOW:
            return Loss.DEREGISTERED
        end = self.ends.get(key(event["AOR"], uri))
        if end is not None and at + self.offset + SLOW >= end:
            return Loss.EXPIRED
        if any(stream in uri.lower() for stream in STREAMS):
            return Loss.CONNECTION_LOST  # Asterisk removes them with their transport
        return Loss.UNKNOWN


def number(text: str | None) -> float | None:
    """The finite number that a field holds, if it holds one."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def seconds(microseconds: str | None) -> float | None:
    """RoundtripUsec as seconds: N/A in lists and 0 in events say nothing."""
    value = number(microseconds)
    return value / 1e6 if value else None


def binding(row: Message) -> Binding:
    """A row of PJSIPShowRegistrationInboundContactStatuses."""
    reachable = REACHABLE.get(row.get("Status", ""))
    return Binding(
        aor=row.get("AOR", ""),
        contact=row.get("URI", ""),
        expires_at=shared(number(row.get("RegExpire"))),
        reachable=reachable,
        user_agent=row.get("UserAgent", ""),
        received=row.get("ViaAddress", ""),
        rtt=seconds(row.get("RoundtripUsec")) if reachable else None,
        asked=row.get("QualifyFrequency", "0") != "0",
        path=row.get("Path", ""),
    )


def old_binding(row: Message) -> Binding:
    """A row of PJSIPShowContacts, whose ObjectName is `1001;@<hash of the URI>`."""
    host, port = row.get("ViaAddr", ""), row.get("ViaPort", "")
    return binding(
        {
            **row,
            "AOR": row.get("ObjectName", "").rpartition(";@")[0],
            "URI": row.get("Uri", ""),
            "RegExpire": row.get("ExpirationTime", ""),
            "ViaAddress": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        }
    )


@dataclass(slots=True)
class Roster:
    """The AORs of all endpoints, and which of them are trunks.

    A row names all contacts of its AOR, those that have registered too. What no list
    and no event calls registered is from the configuration: the AOR is a trunk's.
    """

    names: dict[str, str] = field(default_factory=dict)  # AOR: contacts not struck
    trunks: set[str] = field(default_factory=set)

    def add(self, row: Message) -> None:
        """A row of PJSIPShowRegistrationsInbound."""
        aor, contacts = row.get("ObjectName", ""), row.get("Contact", "")
        if row.get("MaxContacts") == "0":  # takes no registration
            self.trunks.add(aor)
        else:
            self.names[aor] = f",{contacts}," if contacts else ""

    def strike(self, aor: str, uri: str) -> None:
        """A contact that has registered; it may hold commas, as the list does."""
        if contacts := self.names.get(aor):
            self.names[aor] = contacts.replace(f",{aor}/{uri},", ",", 1)

    def settle(self, before: Container[int] = ()) -> None:
        """All that have registered are struck, but for those that have gone since they
        were listed `before`; who has more is a trunk."""
        for aor, uri in list(self._left()):
            if key(aor, uri) in before:
                self.strike(aor, uri)
        left = [aor for aor, contacts in self.names.items() if contacts.strip(", ")]
        self.trunks.update(left)
        for aor in left:
            del self.names[aor]

    def _left(self) -> Iterator[tuple[str, str]]:
        for aor, contacts in self.names.items():
            if contacts.strip(", "):
                for uri in contacts[:-1].split(f",{aor}/")[1:]:
                    yield aor, uri

    def expected(self, titles: Mapping[str, str]) -> Expected:
        """Who should be there, as far as it is known now."""
        return Expected([(aor, titles.get(aor, "")) for aor in self.names])


_NAME = re.compile(r"[\w.@+-]+")  # what a dialplan function takes as it is
_CALLER = re.compile(r'"(.*)" <.*>')


def title_question(aor: str) -> dict[str, str]:
    """The values of Getvar that ask for an endpoint's name; not for its password."""
    name = aor if _NAME.fullmatch(aor) else ""
    return {"Variable": f"PJSIP_ENDPOINT({name},callerid)"}


def device_question(aor: str) -> dict[str, str]:
    """The values of Getvar that ask for the state of an endpoint's device."""
    name = aor if _NAME.fullmatch(aor) else ""
    return {"Variable": f"DEVICE_STATE(PJSIP/{name})"}


def title(answer: Message, aor: str) -> str:
    """The name in `"Reception" <1001>`; "" where there is none but its own."""
    found = _CALLER.fullmatch(answer.get("Value", ""))
    name = found[1].strip() if found else ""
    return "" if name == aor else sys.intern(name)


def startup(core: Message, estimate: float | None) -> float | None:
    """When Asterisk started (epoch s), by CoreStatus in the PBX's own time zone.

    Uptime alone jitters by a second from one log-in to the next; it gives the zone.
    """
    text = f"{core.get('CoreStartupDate')} {core.get('CoreStartupTime')}"
    if estimate is None:
        return in_our_zone(text, STARTUP)
    return in_utc(text, STARTUP, estimate)
