"""What FreeSWITCH's mod_sofia says of registrations: rows of lists, and events. Pure.

Its table ends a registration later than the phone was told: by the profile's
`sip-expires-late-margin` (60 s by default) and by the next look of its registration
thread (30 s). What the phone was granted is in the event of each REGISTER; by it the
end of that binding is known exactly, and, with the row of the same binding, the margin
of its profile. Until a margin is known, the end of a row that no event told of is not.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec

from checks.observation import Binding, Loss
from checks.registrars.aor import canonical
from checks.registrars.clocks import QUARTER, happened
from checks.registrars.esl import Event
from checks.registrars.sofia_text import readable, unescaped
from checks.registrations.extension import shared
from checks.registrations.judge import Added, Gone, Reach

MARGIN_LIMIT = 3600  # s; a longer one would be two refreshes taken for one
MARGINS_READ = 64  # in one list
MARGINS_KEPT = 8  # readings of it; the least is believed, so that no end is too early
GRANTED_LIMIT = 2**32  # s: RFC 3261 20.19 has no more, and a calendar has
EPOCH_LIMIT = 2**36  # s; what is later is no time at all
KEY = 2**60 - 1  # what of a hash an int of 32 bytes holds
JITTER = 2.0  # s; FreeSWITCH keeps ends as whole seconds
PING_LIMIT = 30.0  # s; what took longer was a time-out, no answer

# The row's words; sofia gives every new one "Reachable" before it has asked.
REACHABLE = {"Reachable": True, "Unreachable": False}
ANSWERS = {"REACHABLE": True, "UNREACHABLE": False}  # the event's

NO_ANSWER = "it did not answer OPTIONS, so FreeSWITCH removed its registration"
CUT_SHORT = "FreeSWITCH removed its registration before its end (flushed by a command?)"

_STATUS = re.compile(r"exp\(([^()]*)\) expsecs\((-?\d{1,10})\)$", re.IGNORECASE)
_PATH = re.compile(r";fs_path=([^;>]{1,1024})")
_TRANSPORT = re.compile(r"[^(]*\((\w+)")


class Held(msgspec.Struct, gc=False):
    """What is known of one contact; times are the PBX's."""

    profile: str
    call: int  # its Call-ID's hash: the row's own name
    end: float = 0.0  # as the row has it, with the margin; 0: not read yet
    registered: float = 0.0  # by the event of the REGISTER; 0: not seen
    granted: int = 0  # s, by the same
    rtt: float | None = None  # s; it has answered OPTIONS
    silent: bool = False  # OPTIONS are not answered


@dataclass(slots=True)
class Row:
    """One row of the list."""

    aor: str
    contact: str
    call: int
    end: float | None  # with the margin, PBX's clock
    agent: str
    received: str
    reachable: bool | None
    rtt: float | None
    unasked: bool  # OPTIONS have not been answered since its last REGISTER


class Registrations:
    """What lists and events have told of one FreeSWITCH's registrations.

    `offset` is the PBX's clock minus ours; None: not known, nor is any end.
    """

    def __init__(self, domain: str) -> None:
        self.offset: float | None = None
        self.held: dict[int, Held] = {}  # by key()
        self._domain = domain
        self._margins: dict[str, deque[int]] = {}  # by profile

    def aor(self, user: str, host: str) -> str:
        """The canonical AOR of the two halves of events."""
        return canonical(f"{user}@{host}", self._domain)

    def when(self, event: Event, now: float) -> float:
        """Our time of an event."""
        return happened(stamped(event), self.offset, now)

    # --- the margin -----------------------------------------------------------------

    def margin(self, profile: str) -> int | None:
        """s by which this profile keeps rows beyond their end, if that is known."""
        known = self._margins.get(profile)
        return min(known) if known else None

    def learn(self, profile: str, margin: int) -> None:
        """One reading of a margin; one that a refresh in between made is too long."""
        known = self._margins.setdefault(profile, deque(maxlen=MARGINS_KEPT))
        known.append(margin)

    def _true_end(self, held: Held) -> float | None:
        """When the phone's binding ends, on the PBX's clock."""
        if held.registered:
            return held.registered + held.granted
        margin = self.margin(held.profile)
        return held.end - margin if held.end and margin is not None else None

    # --- events ---------------------------------------------------------------------

    def register(self, event: Event, now: float) -> tuple[Added, bool] | None:
        """sofia::register, of a refresh too; and whether the contact is new."""
        uri = uri_of(event.get("contact", ""))
        granted = min(whole(event.get("expires")), GRANTED_LIMIT)
        aor = self.aor(event.get("from-user", ""), event.get("from-host", ""))
        if not granted or not uri:
            return None
        name = key(aor, uri)
        old = self.held.get(name)
        profile, call = sys.intern(event.get("profile-name", "")), called(event)
        held = self.held[name] = Held(profile, call, granted=granted)
        held.registered = stamped(event) or 0.0
        if old:
            held.rtt, held.silent = old.rtt, old.silent
        known = self.offset is not None and held.registered
        binding = Binding(
            aor,
            uri,
            expires_at=held.registered + granted if known else None,
            granted=granted,
            # A refresh does not change what its OPTIONS have found.
            asked=held.silent or held.rtt is not None,
            reachable=False if held.silent else held.rtt is not None or None,
            user_agent=event.get("user-agent", ""),
            received=received(
                event.get("network-ip", ""),
                event.get("network-port", ""),
                event.get("status", ""),
                uri,
            ),
            rtt=held.rtt,
            path=path_of(uri),
        )
        return Added(binding, self.when(event, now)), old is None

    def unregister(self, event: Event, now: float) -> Gone | None:
        """sofia::unregister: the phone logged out."""
        aor = self.aor(event.get("from-user", ""), event.get("from-host", ""))
        uri = uri_of(event.get("contact", ""))
        if not uri or uri == "*":
            return None  # all of its contacts: the next list tells
        self.held.pop(key(aor, uri), None)
        return Gone(aor, uri, self.when(event, now), Loss.DEREGISTERED)

    def expire(self, event: Event, now: float) -> Gone | None:
        """sofia::expire: a row was removed, at its end or before."""
        aor = self.aor(event.get("user", ""), event.get("host", ""))
        uri = uri_of(event.get("contact", ""))
        held = self.held.get(key(aor, uri))
        call, profile = called(event), event.get("profile-name", "")
        if held is None:
            held = Held(profile, call)
        elif held.call != call:
            return None  # an older row of the same contact, which is still there
        self.held.pop(key(aor, uri), None)
        gone = Gone(aor, uri, self.when(event, now), Loss.EXPIRED)
        removed, end = stamped(event), whole(event.get("expires"))
        if not 0 < end < EPOCH_LIMIT or removed is None or self.offset is None:
            return gone
        due = held.end
        if held.registered and not due:
            margin = self.margin(profile) or 0
            due = int(held.registered) + held.granted + margin
        if (due and end < due - JITTER) or removed < end - JITTER:
            self._cut_short(gone, held, event)
            return gone
        if due or not held.silent:  # else it may have been cut short, as above
            if held.registered and not held.end:
                self._observe(held, end)
            held.end = end
            gone.end = self._true_end(held) or end
        return gone

    @staticmethod
    def _cut_short(gone: Gone, held: Held, event: Event) -> None:
        """Removed before its end; a connection that closes takes its rows along."""
        gone.loss, gone.why = Loss.UNKNOWN, NO_ANSWER if held.silent else CUT_SHORT
        if not held.silent and "transport=" in gone.contact.lower():
            gone.loss, gone.why = Loss.CONNECTION_LOST, ""

    def state(self, event: Event, now: float) -> Reach | None:
        """sofia::sip_user_state: its OPTIONS are answered, or no longer."""
        aor = self.aor(event.get("from-user", ""), event.get("from-host", ""))
        uri = uri_of(event.get("sip_contact", ""))
        answers = ANSWERS.get(event.get("Ping-Status", ""))
        if answers is None:
            return None
        if held := self.held.get(key(aor, uri)):
            if held.call != called(event):
                return None  # an older row of the same contact
            held.silent = not answers
        return Reach(aor, uri, answers, None, self.when(event, now))

    def _observe(self, held: Held, end: int) -> None:
        """The margin that a row's end shows, which is of the REGISTER we heard."""
        margin = end - int(held.registered) - held.granted
        if 0 <= margin <= MARGIN_LIMIT:
            self.learn(held.profile, margin)


class Listing:
    """One full list of all profiles, as it is read."""

    def __init__(self, registrations: Registrations) -> None:
        self._all = registrations
        self._old = registrations.held
        self.aors: set[str] = set()  # who is registered
        self._held: dict[int, Held] = {}
        self._spare: list[tuple[str, Row]] = []
        self._margins: list[tuple[int, str, int]] = []  # key, profile, s

    def __len__(self) -> int:
        return len(self._held) + len(self._spare)

    def take(self, profile: str, fields: dict[str, str], now: float) -> Binding | None:
        """A row; None where another row of the same contact stands for it."""
        row = self._read(fields, now)
        if row is None:
            return None
        name = key(row.aor, row.contact)
        old = self._old.get(name)
        newer = old and (not old.end or old.end >= (row.end or 0.0))
        if old and newer and old.call != row.call:
            self._spare.append((profile, row))  # the one we know is to come
            return None
        return self._put(name, profile, row, now)

    def rest(self, now: float) -> list[Binding]:
        """Rows that stood back for others, which did not come."""
        found = []
        for profile, row in self._spare:
            name = key(row.aor, row.contact)
            if (name not in self._held) and (
                made := self._put(name, profile, row, now)
            ):
                found.append(made)
        self._spare.clear()
        return found

    def settle(self, events: Iterable[Event]) -> None:
        """The list is whole; `events` came beside it, and are newer."""
        fresh = {called(event) for event in events}
        for name, profile, margin in self._margins:
            if self._held[name].call not in fresh:
                self._all.learn(profile, margin)
        self._all.held = self._held

    def _put(self, name: int, profile: str, row: Row, now: float) -> Binding | None:
        other = self._held.get(name)
        if other and (row.end is None or row.end <= other.end):
            return None
        old = self._old.get(name)
        asked = old is not None and (old.silent or old.rtt is not None)
        if old and row.unasked and not old.silent and old.rtt is not None:
            # The row is a new one with each REGISTER, and that came from a live phone.
            row.reachable, row.rtt = True, old.rtt
        held = Held(profile, row.call, row.end or 0.0, rtt=row.rtt)
        held.silent = row.reachable is False
        if old:
            self._inherit(name, held, old)
        elif held.silent and held.end <= now + (self._all.offset or 0.0) + JITTER:
            held.end = 0.0  # was it cut short, or has it run out? its end is not known
        self._held[name] = held
        self.aors.add(row.aor)
        granted = held.granted or None
        return Binding(
            row.aor,
            row.contact,
            expires_at=None if row.end is None else self._all._true_end(held),
            granted=granted,
            reachable=row.reachable,
            user_agent=row.agent,
            received=row.received,
            rtt=row.rtt,
            asked=asked or row.reachable is not None,
            path=path_of(row.contact),
        )

    def _inherit(self, name: int, held: Held, old: Held) -> None:
        """What the event of its REGISTER told, if the row is still of that one."""
        if old.call != held.call or not held.end:
            return
        due = old.end or (int(old.registered) + old.granted if old.registered else 0.0)
        if held.silent and due and held.end < due - JITTER:
            # It did not answer OPTIONS: the row ends at once, the binding does not.
            held.end, held.registered, held.granted = (
                old.end,
                old.registered,
                old.granted,
            )
        elif old.registered and not old.end:
            held.registered, held.granted = old.registered, old.granted
            margin = round(held.end) - int(old.registered) - old.granted
            if 0 <= margin <= MARGIN_LIMIT and len(self._margins) < MARGINS_READ:
                self._margins.append((name, held.profile, margin))
        elif old.registered and abs(held.end - old.end) < JITTER:
            held.registered, held.granted = old.registered, old.granted

    def _read(self, fields: dict[str, str], now: float) -> Row | None:
        user, _, host = readable(fields.get("user", "")).rpartition("@")
        uri = uri_of(unescaped(readable(fields.get("contact", ""))))
        if not user or not uri:
            return None
        status = fields.get("status", "")
        reachable = REACHABLE.get(fields.get("ping-status", ""))
        rtt = seconds(fields.get("ping-time", ""))
        unasked = bool(reachable) and rtt is None
        if unasked:
            reachable = None  # it has not been asked yet, or is not asked at all
        return Row(
            self._all.aor(user, host),
            uri,
            hash(readable(fields.get("call-id", ""))) & KEY,
            self._end(status, now),
            unescaped(readable(fields.get("agent", ""))),
            received(
                fields.get("network-ip", ""),
                fields.get("network-port", ""),
                status,
                uri,
            ),
            reachable,
            rtt if reachable else None,
            unasked,
        )

    def _end(self, status: str, now: float) -> float | None:
        """exp(...) is a whole second in a zone of the PBX's own; expsecs finds it."""
        found = _STATUS.search(status)
        if found is None or self._all.offset is None:
            return None
        near = now + self._all.offset + int(found[2])
        try:
            local = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return shared(float(round(near)))
        return shared(local - QUARTER * round((local - near) / QUARTER))


def key(aor: str, uri: str) -> int:
    """One contact; 20,000 of them take a third less by their hashes."""
    return hash((aor, uri)) & KEY


def called(event: Event) -> int:
    """The Call-ID of an event, as `Held` has it."""
    return hash(event.get("call-id", "")) & KEY


def uri_of(contact: str) -> str:
    """The URI in `"Alice" <sip:1001@10.0.0.31:5060;transport=tcp>`."""
    _, bracket, uri = contact.rpartition("<")
    return uri.partition(">")[0] if bracket else contact.strip()


def path_of(uri: str) -> str:
    """The proxies that a phone registered through: FreeSWITCH puts them into its URI.

    It puts the phone's own address behind NAT there too, which is no proxy.
    """
    found = _PATH.search(uri)
    route = unquote(found[1]) if found else ""
    return f"<{route}>" if ";lr" in route else ""


def received(ip: str, port: str, status: str, uri: str) -> str:
    """Where FreeSWITCH saw a phone: ip:port, and the transport where not plain."""
    if not ip:
        return ""
    place = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    found = _TRANSPORT.match(status)
    transport = found[1].lower() if found else "udp"
    if transport == "udp" or "transport=" in uri.lower():
        return place
    return f"{place};transport={transport}"


def stamped(event: Event) -> float | None:
    """When an event was made, by the PBX's clock (UTC s)."""
    stamp = whole(event.get("Event-Date-Timestamp"))
    return stamp / 1e6 if stamp else None


def whole(value: str | None) -> int:
    """The natural number that a field holds; 0 where it holds none."""
    if value and len(value) < 18 and value.isascii() and value.isdigit():
        return int(value)
    return 0


def seconds(milliseconds: str) -> float | None:
    """A ping time; 0.00 is of a phone that has not answered yet."""
    try:
        value = float(milliseconds) / 1000
    except ValueError:
        return None
    return shared(value) if 0 < value <= PING_LIMIT else None
