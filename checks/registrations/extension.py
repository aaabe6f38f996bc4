"""An extension, its contacts, and how its last binding ended."""

from __future__ import annotations

import math
import re
import sys
from typing import Any, TypeVar

import msgspec

from checks.observation import (
    Binding,
    Cause,
    Fact,
    Loss,
    State,
    Subject,
    plain,
)
from checks.registrations.member import Member
from checks.registrations.readings import Ask

HERE = (State.REGISTERED, State.UNREACHABLE)

CONTACTS = 32  # of one AOR; PBXs allow ten at most where they are well configured
CONTACT_LIMIT = 512  # characters of a URI by which a contact is told from others
TWICE = 2  # reports in a row that make a contact unreachable
MOMENTS = 4096  # that are kept, to be shared by those who have them in common
RENEWED = 2.0  # s that an end must move to be a refresh: Kamailio tells whole seconds
CLOCK_ERROR = 0.05  # s by which the PBX's clock is known, on a network of its own
LISTED = 5.0  # s that a row may be older than when we have read it


Moment = TypeVar("Moment", float, None, float | None)


class Flag:
    """A bit of `flags` that reads as an attribute: there are many of few bytes."""

    def __init__(self, number: int) -> None:
        self._bit = 1 << number

    def __get__(self, owner: Contact | Extension, kind: type) -> bool:
        return owner.flags & self._bit != 0

    def __set__(self, owner: Contact | Extension, on: bool) -> None:
        owner.flags = owner.flags | self._bit if on else owner.flags & ~self._bit


class Asking(msgspec.Struct, eq=False, gc=False):
    """How OPTIONS of our own ask a contact, see `reaching`."""

    ask: Ask | None = None
    missed: int = 0  # of our questions in a row
    failed_at: float = 0.0  # when the last of them was asked
    cause: Cause | None = None  # of them


# Of this and the next there is one for each phone: what is rare has no room of its own
# in them, and the collector, which would find no cycle, does not look at them.
class Contact(msgspec.Struct, eq=False, gc=False):
    """One binding of an extension at one member."""

    member: Member
    uri: str
    user_agent: str
    source: str | None  # where the PBX saw it; None: where the URI says that it is
    end: float | None  # on the PBX's clock, as last told
    granted: int | None  # s, where the PBX tells or two times make it known
    seen: float  # when a list or an event last had it
    path: str = ""  # proxies on the way to it
    reachable: bool | None = None
    rtt: float | None = None
    heard: float = 0.0  # when an event last said that it is there
    listing: int = 0  # the last list that had it
    strikes: int = 0  # unreachable so many times in a row, up to TWICE
    unreachable_since: float = 0.0
    refreshed: float | None = None
    refreshed_before: float | None = None
    at_least: float = 0.0  # s granted, where no more is known
    read: float = 0.0  # when its end was last told
    asking: Asking | None = None  # where we ask, or have asked
    flags: int = 0

    renewed = Flag(0)  # that it was granted its Expires happened before our eyes
    pbx_asks = Flag(1)  # its PBX asks it itself
    considered = Flag(2)  # whether we should ask it, where it is now

    @classmethod
    def of(cls, binding: Binding, member: Member, now: float) -> Contact:
        """One that was not there before; how it answers is a report of its own."""
        uri = binding.contact[:CONTACT_LIMIT]
        return cls(
            member,
            uri,
            sys.intern(plain(binding.user_agent, 120)),
            _source(uri, plain(binding.received, 120)),
            shared(binding.expires_at),
            same(binding.granted),
            now,
            plain(binding.path),
        )

    @property
    def received(self) -> str:
        """ip:port where the PBX saw it; "": not known."""
        return "".join(place(self)) if self.source is None else self.source

    @property
    def ask(self) -> Ask | None:
        """How OPTIONS of our own ask it."""
        return None if self.asking is None else self.asking.ask

    def describe(self, binding: Binding) -> None:
        """Take where and what it is, as far as this tells: Asterisk's events do not."""
        if binding.user_agent:
            self.user_agent = sys.intern(plain(binding.user_agent, 120))
        if binding.received:
            self.source = _source(self.uri, plain(binding.received, 120))
        self.path = plain(binding.path)
        self.considered = False

    @property
    def described(self) -> tuple[str, str]:
        """Where and what it is, as far as that was told."""
        return self.received, self.user_agent

    def renew(self, end: float, binding: Binding, now: float) -> bool:
        """Take another end; whether it is that of a refresh."""
        before, self.end = self.end, shared(end)
        moved = 0.0 if before is None else end - before
        refreshed = abs(moved) > RENEWED  # it ends sooner where less was granted
        if refreshed:  # its address may be another one since
            self.describe(binding)
        if not self.member.clock.measured:
            return refreshed
        ours = self.member.clock.ours(end)
        if before is None and self.refreshed is not None:
            # The event came with the REGISTER, so the end tells what was granted.
            self.granted = same(binding.granted or whole(ours - self.refreshed))
        elif refreshed:
            granted = binding.granted or self.granted
            if granted and ours - now > granted + RENEWED:
                granted = None  # more than before, and we do not know how much
            unless_less = ours - self.read + LISTED
            if not binding.granted and self.read and (granted or 0) > unless_less:
                granted = None  # it would have been refreshed before it was
            if moved < 0 or self.at_least > unless_less:
                self.at_least = 0.0
            self.refreshed_before = self.refreshed
            self.refreshed = shared(min(now, ours - granted)) if granted else None
            self.granted = same(granted)
        elif binding.granted and self.granted:
            # Of an end in whole seconds, which a slow answer only makes later.
            self.granted = same(min(self.granted, binding.granted))
        return refreshed

    def came(self, at: float, granted: int | None) -> None:
        """An event told of its REGISTER."""
        ends = self.ends
        if ends is None:
            self.refreshed = at  # the end comes with the next list
        elif self.refreshed is None and self.member.clock.measured:
            self.refreshed = at
            self.granted = same(granted or whole(ends - at))

    def teach(self, extension: Extension, now: float) -> None:
        """Tell the extension what was granted: exactly, or at least."""
        if self.granted is not None:
            extension.granted, extension.exact = self.granted, True
            ends = self.ends
            if self.refreshed is None and ends and self.member.clock.measured:
                self.refreshed = shared(min(now, ends - self.granted))
        elif (ends := self.ends) is not None and self.member.clock.measured:
            at_least = shared(ends - now)
            self.at_least = max(self.at_least, at_least)
            if at_least > extension.granted:
                extension.granted, extension.exact = at_least, False

    def answers(self, reachable: bool | None, rtt: float | None, at: float) -> bool:
        """Take a report of the PBX's qualify; whether that may change the extension."""
        before, self.reachable, self.rtt = self.reachable, reachable, shared(rtt)
        if reachable is False:
            if not self.strikes:
                self.unreachable_since = at
            if self.strikes < TWICE:
                self.strikes += 1
                return self.strikes == TWICE
            return False
        if reachable is None and (not self.strikes or self.member.settling(at)):
            return False  # a PBX that has just started has not asked it yet
        changed = self.strikes > 0 or before is not reachable
        self.strikes = 0
        return changed

    @property
    def ends(self) -> float | None:
        """Its known end on our clock."""
        return None if self.end is None else self.member.clock.ours(self.end)


_SHARED: dict[float, float] = {}


def shared(moment: Moment) -> Moment:
    """The same number as one object: thousands of phones refresh in one second."""
    if moment is None:
        return None
    if len(_SHARED) >= MOMENTS:
        _SHARED.clear()
    return _SHARED.setdefault(moment, moment)


_SAME: dict[Any, Any] = {}
Common = TypeVar("Common", int, str, int | None)


def same(value: Common) -> Common:
    """The same for what is granted, and for an address: a proxy's is that of many."""
    if len(_SAME) >= MOMENTS:
        _SAME.clear()
    found: Common = _SAME.setdefault(value, value)
    return found


def whole(seconds: float) -> int:
    """What was granted: PBXs keep the end without its fraction of a second."""
    least = math.ceil(seconds - CLOCK_ERROR)
    most = math.ceil(seconds + CLOCK_ERROR)
    # At the turn of a second it is one or the other; what is granted is mostly round.
    return max(1, least if most % 10 else most)


class Lost(msgspec.Struct, eq=False, gc=False):
    """How a binding ended, with all that is told of its contact: of thousands that are
    lost in one second the contacts themselves are let go."""

    since: float
    loss: Loss
    why: str  # in one sentence
    noticed: float
    evidence: tuple[Fact, ...]  # the last of it is what showed the loss
    last_seen: str = ""  # where and what its contact was
    not_before: float = 0.0

    def after(self, earlier: Lost | None) -> Lost:
        """The later of two ends: an extension is lost with its last contact."""
        if earlier is None or earlier.since < self.since:
            return self
        if earlier.loss is Loss.UNKNOWN and self.loss is not Loss.UNKNOWN:
            self.since = earlier.since
            return self
        return earlier


class Extension(msgspec.Struct, eq=False, gc=False):
    """An AOR that is watched, and what is known of it."""

    subject: Subject
    first_seen: float
    state: State | None = None  # None: nothing has been read of it yet
    since: float = 0.0
    not_before: float = 0.0
    contacts: tuple[Contact, ...] = ()
    lost: Lost | None = None
    held_by: int = 0  # bits of the members that held a binding when last read
    granted: float = 0.0  # s last granted; a lower bound unless `exact`
    few: bool | None = None  # whether it has too few contacts, as last told
    habit: bytes = b""  # when it refreshes, see `habit`
    breach: int = 0  # of the policy, as last told, see `expiry`
    place: int = 0  # among the due refreshes, if it has one
    news: float | None = None  # when its contacts changed, see `standing`
    found_at: str = ""  # the site that its phones' addresses told
    flags: int = 0

    exact = Flag(0)
    bound = Flag(1)  # it has had a binding
    answered = Flag(2)  # it has answered the PBX's qualify
    learned = Flag(3)  # it is watched whether it is there or not
    dormant = Flag(4)  # given up after a long time away
    queued = Flag(5)  # it has a place among the deadlines
    overdue = Flag(6)  # its refresh is, as last told

    @property
    def aor(self) -> str:
        """The canonical AOR."""
        return self.subject.name

    @property
    def rtt(self) -> float | None:
        """The PBX's qualify, the quickest contact (s)."""
        return min((c.rtt for c in self.contacts if c.rtt is not None), default=None)

    @property
    def reachable(self) -> bool | None:
        """Whether any contact answers the PBX or us; None: not all that might do so
        are asked."""
        reports = [contact.reachable for contact in self.contacts]
        if True in reports:
            return True
        return False if reports and None not in reports else None

    def find(self, uri: str, member: Member) -> Contact | None:
        """Its contact of this URI at this member."""
        for contact in self.contacts:
            if contact.uri == uri and contact.member is member:
                return contact
        return None


_TRANSPORT = re.compile(r";transport=([a-z]{2,4})(?![a-z])", re.IGNORECASE)
_HOST = re.compile(
    r"^(?:sips?:)?(?:[^@]*@)?(\[[^\]]+\]|[^:;?>]+)(:\d+)?", re.IGNORECASE
)


def transport(contact: Contact) -> str:
    """By what a contact is reached, in capitals."""
    return over(contact.uri, contact.source or "")


def over(uri: str, received: str = "") -> str:
    """By what a URI is reached that was received like this, in capitals."""
    for one in (received, uri):
        if ";" in one and (found := _TRANSPORT.search(one)):
            return found[1].upper()
    return "TLS" if uri[:5].lower() == "sips:" else "UDP"


def place(contact: Contact) -> tuple[str, str]:
    """Host and `:port` where the PBX saw the contact."""
    return place_of(contact.source or contact.uri)


def place_of(uri: str) -> tuple[str, str]:
    """Host and `:port` of a contact's URI, or of where it was seen."""
    found = _HOST.match(uri)
    return (found[1], found[2] or "") if found else ("", "")


def _source(uri: str, received: str) -> str | None:
    """What need be kept of where a PBX saw a contact: mostly it is where it says."""
    return None if received and received == "".join(place_of(uri)) else same(received)


def same_phone(one: Contact, other: Contact) -> bool:
    """Whether two contacts are the same phone, that moved to another member."""
    return one.uri == other.uri or (
        one.user_agent == other.user_agent and place(one)[0] == place(other)[0]
    )


def present(extension: Extension) -> tuple[State, float]:
    """The state of an extension that has contacts, and since when if it is new."""
    contacts = extension.contacts
    # One that is unreachable stays it until a contact may be reached again.
    enough = 1 if extension.state is State.UNREACHABLE else TWICE
    if extension.answered and all(contact.strikes >= enough for contact in contacts):
        return State.UNREACHABLE, max(c.unreachable_since for c in contacts)
    return State.REGISTERED, 0.0
