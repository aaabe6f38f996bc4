"""Which member holds which contact of whom: what the readings amount to.

A list may be older than the events beside it. So a contact that an event told of after
the list was asked for is not missed by it, and one that was removed is not revived.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from checks.observation import Binding, Cause, Loss, Subject
from checks.registrations.cluster import Cluster
from checks.registrations.extension import (
    CONTACT_LIMIT,
    CONTACTS,
    HERE,
    Contact,
    Extension,
    Lost,
    place,
    same_phone,
)
from checks.registrations.losses import (
    ended_by_absence,
    ended_by_event,
    unseen,
)
from checks.registrations.member import GRACE, Member
from checks.registrations.memory import Memory, Remembered, forgotten, of_extension
from checks.registrations.reaching import Reaching
from checks.registrations.readings import Added, Gone, ListEnd, Reach, key
from checks.registrations.refreshes import Refreshes, Turn
from checks.registrations.roster import Roster
from checks.registrations.standing import described_anew

# Of one registrar: the rows of the longest list. A PBX that takes any REGISTER, or of
# which the lists never end, would else have ever more of them watched.
EXTENSIONS = 200_000
STEP = 2_000  # extensions looked at in one turn of the loop, some 4 ms
LATEST = 35.0  # s after its end at which PBXs remove a binding; Asterisk: 30 s
UNWATCHED = "no longer watched"


class Removed(NamedTuple):
    """A subject that is watched no more, or that nobody waits for any longer."""

    subject: Subject
    reason: str


class Ledger:
    """All extensions of one registrar with their contacts."""

    def __init__(
        self,
        roster: Roster,
        cluster: Cluster,
        memory: Memory,
        interval: float,
        refreshes: Refreshes,
        reaching: Reaching,
    ) -> None:
        self.extensions: dict[str, Extension] = {}
        self.removed: list[Removed] = []
        self.crowded = False  # more have come than are watched
        self._roster, self._cluster, self._memory = roster, cluster, memory
        self._interval, self._refreshes = interval, refreshes
        self._reaching = reaching
        self._unsaved: dict[str, None] = {}

    # --- who ------------------------------------------------------------------------

    def admit(self, aor: str, now: float) -> Extension:
        """Watch an AOR from now."""
        extension = Extension(self._roster.subject(aor), now)
        self._memory.restore_extension(extension, self._cluster)
        if extension.found_at:
            self._roster.locate(extension.subject, extension.found_at)
        self._refreshes.admit(extension)
        for m in self._cluster:
            m.admit(aor)
        self.extensions[aor] = extension
        return extension

    def forget(self, extension: Extension) -> None:
        """Watch an AOR no more."""
        aor = extension.aor
        for contact in extension.contacts:
            self._detach(extension, contact)
        for m in self._cluster:
            m.forget(aor)
        self._refreshes.forget(extension)
        self._memory.aors.pop(aor, None)  # if it is watched again, it begins anew
        del self.extensions[aor]
        if extension.bound:
            self.save(extension)
        if extension.state is not None:
            self.removed.append(Removed(extension.subject, UNWATCHED))

    def enlist(
        self, m: Member, read: frozenset[str] | None, now: float
    ) -> Iterator[None]:
        """Take the roster that came with a list that is now complete, in steps.

        Who was not `read`, now or before, is judged when that is done.
        """
        roster, expected, m.expected = self._roster, m.expected, None
        first = not roster.given
        if expected is None or not roster.expect(m.name, expected):
            return
        for n, aor in enumerate(roster.names()):
            if n % STEP == STEP - 1:
                yield
            if aor in self.extensions:
                self.extensions[aor].subject.title = roster.title(aor)
            else:
                self.admit(aor, now)
            if read is None or aor in read or m.covers(aor):
                m.touched.add(aor)
        roster.rename(m.name, self.extensions)
        for n, extension in enumerate(list(self.extensions.values())):
            if n % STEP == STEP - 1:
                yield
            # What is still bound is watched until that ends.
            unbound = first or not extension.contacts
            here = self.extensions.get(extension.aor) is extension
            if here and unbound and not roster.watches(extension.aor):
                self.forget(extension)

    def locate(self, extension: Extension) -> bool:
        """Find the site of an extension by its phones; whether it is another one."""
        hosts = [place(contact)[0] for contact in reversed(extension.contacts)]
        found = self._roster.sites.of_address(hosts)
        if hosts and found != extension.found_at:
            extension.found_at = found
            self.save(extension)
        return self._roster.locate(extension.subject, extension.found_at)

    def give_up(self, extension: Extension, *, dormant: bool) -> None:
        """Wait for it no longer, or do again."""
        if extension.dormant is not dormant:
            extension.dormant = dormant
            self.save(extension)

    def save(self, extension: Extension) -> None:
        """Note that what is stored of an extension has changed."""
        self._unsaved[extension.aor] = None

    def take(self, most: int | None) -> list[Remembered]:
        """What of the extensions must be stored; of no more than `most` of them."""
        changed = list(islice(self._unsaved, most))
        for aor in changed:
            del self._unsaved[aor]
        if not self._unsaved:
            self._unsaved.clear()  # a dictionary stays as large as it was
        found = ((aor, self.extensions.get(aor)) for aor in changed)
        return [of_extension(e, self._cluster) if e else forgotten(a) for a, e in found]

    # --- what comes -----------------------------------------------------------------

    def rows(self, m: Member, rows: Iterable[Binding], now: float) -> None:
        """A slice of a list."""
        for binding in rows:
            if m.tombs and key(binding.aor, binding.contact) in m.tombs:
                m.deferred.append(binding)  # older than its removal, or a new one?
            else:
                self._row(m, binding, now)

    def revive(self, m: Member, began: float, now: float) -> None:
        """Take the rows that came after a removal, where the list is the younger."""
        for binding in m.deferred:
            if m.tombs.get(key(binding.aor, binding.contact), 0.0) < began:
                self._row(m, binding, now)
        m.deferred.clear()

    def _row(self, m: Member, binding: Binding, now: float) -> None:
        contact, changed = self._see(m, binding, now, now, by_event=False)
        if contact is None:
            return
        if contact.listing != m.listing:
            contact.listing = m.listing
            m.marked += 1
        if contact.end is not None:
            m.expects_end(contact.end, now)
        if changed:
            m.touched.add(binding.aor)

    def added(self, m: Member, reading: Added, now: float) -> bool:
        """A binding came by event; whether its extension has to be judged."""
        binding, at = reading.binding, min(reading.at, now)
        m.tombs.pop(key(binding.aor, binding.contact), None)
        contact, changed = self._see(m, binding, at, now, by_event=True)
        if contact is None:
            return False
        contact.heard = now
        ends = contact.ends if m.clock.measured else None
        if binding.expires_at is None and ends is not None and ends <= at:
            contact.end = None  # of an earlier REGISTER: this one's comes with a list
        contact.came(at, binding.granted)
        if contact.end is not None and (m.ends is None or contact.end < m.ends):
            m.ends = contact.end
        return changed

    def gone(self, m: Member, reading: Gone, now: float) -> bool:
        """A binding was removed by event; whether its extension has to be judged."""
        m.bury(reading.aor, reading.contact, now)
        extension, contact = self._find(m, reading.aor, reading.contact)
        if extension is None or contact is None:
            return False
        # Not before it was last seen: the PBX's clock may have been set meanwhile.
        at = min(max(reading.at, contact.seen), now)
        patience = max(LATEST, self._interval)
        if reading.end is not None:
            contact.end, patience = reading.end, math.inf
        lost = ended_by_event(contact, reading.loss, at, patience, reading.why)
        self._end(extension, contact, lost)
        # While it is not read, the phone may have another contact there by now.
        return bool(m.readable)

    def reach(self, m: Member, reading: Reach, now: float) -> bool:
        """The PBX's qualify told of a change; whether its extension may change too."""
        extension, contact = self._find(m, reading.aor, reading.contact)
        if extension is None or contact is None:
            return False
        at = min(max(reading.at, contact.seen), now)  # as above
        contact.seen, contact.heard = at, now  # told of late in a mass event
        if reading.reachable is not None and not contact.pbx_asks:
            contact.pbx_asks = True
            self._reaching.consider(extension, contact)
        return self._answers(extension, contact, reading.reachable, reading.rtt, at)

    def _find(
        self, m: Member, aor: str, uri: str
    ) -> tuple[Extension | None, Contact | None]:
        extension = self.extensions.get(aor)
        if extension is None:
            return None, None
        return extension, extension.find(uri[:CONTACT_LIMIT], m)

    def _see(
        self, m: Member, binding: Binding, at: float, now: float, *, by_event: bool
    ) -> tuple[Contact | None, bool]:
        """The contact of a binding, and whether its extension has to be judged."""
        extension = self.extensions.get(binding.aor)
        if extension is None:
            if not self._roster.watches(binding.aor, m.expected):
                return None, False
            if len(self.extensions) >= EXTENSIONS:
                self.crowded = True
                return None, False
            extension = self.admit(binding.aor, at)
        uri = binding.contact
        if len(uri) > CONTACT_LIMIT:
            uri = uri[:CONTACT_LIMIT]
        contact = extension.find(uri, m)
        changed = contact is None
        if contact is None:
            contact = self._join(extension, m, binding, now)
            contact.seen = extension.news = at
            contact.teach(extension, now)
        elif not contact.received:  # known by an event, which tells only its URI
            was = contact.described
            contact.describe(binding)
            changed |= described_anew(extension, contact, was, at)
        end = binding.expires_at
        if end is not None:
            if end != contact.end:
                before, was = Turn.of(contact), contact.described
                renewed = contact.renew(end, binding, now)
                changed |= described_anew(extension, contact, was, at)
                contact.teach(extension, now)
                if renewed:
                    m.fresh_at = now
                    changed |= self._refreshes.renewed(
                        extension, before, contact, by_event=by_event
                    )
            contact.read = now
        contact.seen = max(contact.seen, at)
        reachable = binding.reachable
        if self._reaching.on:
            self._reaching.see(extension, contact, binding, by_event=by_event)
        if contact.asking is not None and contact.asking.ask is not None:
            return contact, changed
        if reachable is not None or contact.reachable is not None or contact.strikes:
            changed |= self._answers(extension, contact, reachable, binding.rtt, at)
        return contact, changed

    def heard(
        self,
        name: str,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
    ) -> str | None:
        """How an OPTIONS of ours ended; the AOR that has to be judged by it."""
        extension, changed = self._reaching.heard(name, ok, cause, rtt, at)
        if extension is None:
            return None
        if ok and not extension.answered:
            extension.answered = True
            self.save(extension)
        return extension.aor if changed else None

    def _answers(
        self,
        extension: Extension,
        contact: Contact,
        reachable: bool | None,
        rtt: float | None,
        at: float,
    ) -> bool:
        if reachable and not extension.answered:
            extension.answered = True
            self.save(extension)
        return contact.answers(reachable, rtt, at)

    # --- who holds what -------------------------------------------------------------

    def _join(self, e: Extension, m: Member, binding: Binding, now: float) -> Contact:
        contact = Contact.of(binding, m, now)
        if len(e.contacts) >= CONTACTS:
            self._detach(e, e.contacts[0])
        for other in e.contacts:
            # New since `m` was last read, while the other could not be: it moved. In
            # the first list of `m` it may be as old as the other.
            moved = m.readable and other.member is not m and not other.member.readable
            if moved and same_phone(contact, other):
                self._detach(e, other)
        e.contacts = (*e.contacts, contact)
        m.held += 1
        m.fresh_at = now
        if m.restart:
            m.restart.missing.discard(e.aor)
        if not e.bound or (self._cluster.several and not e.held_by & m.bit):
            self.save(e)
        e.bound = True
        e.held_by |= m.bit
        contact.renewed = bool(m.readable)  # else it may be older than our sight of it
        return contact

    def _detach(self, extension: Extension, contact: Contact) -> None:
        m = contact.member
        extension.contacts = tuple(c for c in extension.contacts if c is not contact)
        self._reaching.leave(extension, contact)
        extension.news = extension.news or contact.seen
        m.held -= 1
        m.marked -= contact.listing == m.listing
        if not any(other.member is m for other in extension.contacts):
            extension.held_by &= ~m.bit
            if self._cluster.several:
                self.save(extension)

    def _end(self, extension: Extension, contact: Contact, lost: Lost) -> None:
        self._detach(extension, contact)
        extension.news = lost.since
        restart = contact.member.restart
        if restart and lost.loss is Loss.EXPIRED:
            due = restart.at + self.patience(extension)
            if lost.since <= due:  # it has not been refreshed since the PBX started
                lost.not_before = due
                restart.missing.add(extension.aor)
                restart.due_by = max(restart.due_by, due)
        extension.lost = lost.after(extension.lost)

    def patience(self, extension: Extension) -> float:
        """How long a phone may take to come back: the Expires that it was granted."""
        if not extension.granted:
            return GRACE
        unsure = 0.0 if extension.exact else self._interval
        return min(GRACE, extension.granted + unsure)

    # --- who is missed --------------------------------------------------------------

    def miss(
        self,
        m: Member,
        reading: ListEnd,
        now: float,
        last_read: float | None,
        touched: set[str],
    ) -> Iterator[None]:
        """End what a full list lacks, in steps; the AORs concerned are `touched`."""
        if reading.aors is None:
            extensions = list(self.extensions.values())
        else:
            found = map(self.extensions.get, reading.aors)
            extensions = [extension for extension in found if extension]
        for n, e in enumerate(extensions):
            if n % STEP == STEP - 1:
                yield
            if e.held_by & m.bit and self._missed(e, m, reading.began, now, last_read):
                touched.add(e.aor)

    def _missed(
        self,
        e: Extension,
        m: Member,
        began: float,
        now: float,
        last_read: float | None,
    ) -> bool:
        missed = False
        for contact in [c for c in e.contacts if c.member is m]:
            if contact.listing != m.listing and contact.heard < began:
                self._end(e, contact, ended_by_absence(contact, began, now))
                missed = True
        if not missed and not any(c.member is m for c in e.contacts):
            missed = True  # it was there when it was stored, before our own restart
            e.held_by &= ~m.bit
            if not e.contacts and e.lost is None and e.state in HERE:
                since = now if last_read is None else max(last_read, e.since)
                e.lost = unseen(min(since, now), now)
        return missed

    def abandon(self, m: Member) -> None:
        """Give up what a member held that another has replaced."""
        for extension in self.extensions.values():
            if extension.held_by & m.bit:
                for contact in [c for c in extension.contacts if c.member is m]:
                    self._detach(extension, contact)
                extension.held_by &= ~m.bit

    def survey(self, m: Member, now: float) -> Iterator[None]:
        """Find the soonest end anew, in steps: the PBX's clock is known, or was set."""
        m.ends = None
        for n, extension in enumerate(list(self.extensions.values())):
            if n % STEP == STEP - 1:
                yield
            for contact in extension.contacts:
                if contact.member is m and contact.end is not None:
                    contact.teach(extension, now)
                    ahead = m.clock.ours(contact.end) > now
                    if ahead and (m.ends is None or contact.end < m.ends):
                        m.ends = contact.end
