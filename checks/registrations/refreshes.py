"""Who refreshes when, who is overdue, and who is outside the policy.

Asterisk tells nothing of refreshes, so that one that is due by a phone's habit is a
reason to look, no more: overdue is what a read that was begun after it still shows
without a refresh. It is told while there is time to do something, and by AOR: a phone
that has registered anew from another port leaves a binding behind that it refreshes no
more.

Due times stand in buckets of some seconds. A refresh moves none of them: who comes up
is looked at, and put where it belongs now. Only who is due sooner than its place says
is given another, and passed over at the old one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from checks.observation import Fact, Figures, Observation, State
from checks.registrations.expiry import LATE, Breach, Policy
from checks.registrations.extension import HERE, Contact, Extension
from checks.registrations.habit import LATEST, is_known, learned, patience, points
from checks.registrations.losses import last_seen
from checks.registrations.telling import lost_figures

WORTH = 300.0  # s of Expires: what is shorter has ended before anybody could look
TRIED_AGAIN = 300.0  # s after a PBX came back, in which phones that it missed try again
LEFT = 60.0  # s of the binding that must be left for a warning to be one
BRIEF = 5.0  # s between two refreshes that were one, sent twice or told twice
BUCKET = 5.0  # s
AT_ONCE = 1000  # due times looked at in one go, some ms
NAMED = 200  # extensions outside the policy that are told one by one


class Turn(NamedTuple):
    """A contact's registration as it was before it was refreshed."""

    end: float | None
    granted: int | None
    read: float

    @classmethod
    def of(cls, contact: Contact) -> Turn:
        """What it is now."""
        return cls(contact.end, contact.granted, contact.read)


def share(before: Turn, contact: Contact, *, by_event: bool) -> float | None:
    """At which share of its Expires a contact was refreshed; None: it is not known.

    Between two reads there may have been two refreshes. The earlier read shows that
    there was none until then: where that is half the time at least, there was one.
    What is in time even as one is kept all the same, as it can only have been sooner.
    """
    if before.end is None or contact.end is None:
        return None
    granted = before.granted or contact.granted or contact.at_least
    took = contact.end - before.end
    if before.granted and contact.granted:
        took += before.granted - contact.granted
    if took < BRIEF or granted <= 0:
        return None
    member = contact.member
    began = member.clock.ours(before.end) - granted
    single = 2 * (before.read - began) >= took
    if by_event and member.readable and member.since <= began:
        single = True  # every refresh has an event
    point = took / granted
    return point if point <= (LATEST if single else LATE) else None


class Refreshes:
    """The refreshes of all extensions of one registrar."""

    def __init__(self, policy: Policy, interval: float) -> None:
        self.policy = policy
        self._interval = interval
        self._buckets: dict[int, list[Extension]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers
        self._suspects: set[str] = set()  # AORs that the next read decides on
        self._named = 0  # extensions that are told to be outside the policy

    # --- who ------------------------------------------------------------------------

    def admit(self, e: Extension) -> None:
        """An extension is watched from now, as it is remembered."""
        self._named += _is_named(e.breach)

    def forget(self, e: Extension) -> None:
        """An extension is watched no more."""
        self._named -= _is_named(e.breach)

    # --- what comes -----------------------------------------------------------------

    def renewed(
        self, e: Extension, before: Turn, contact: Contact, *, by_event: bool
    ) -> bool:
        """A contact was refreshed; whether another verdict comes of it."""
        contact.renewed = True
        point = share(before, contact, by_event=by_event)
        if point is not None:
            e.habit = learned(e.habit, point)
        self._expect(e)
        return self.differs(e)

    def differs(self, e: Extension) -> bool:
        """Whether what is known by now is another verdict than the last."""
        told = e.breach & ~Breach.UNNAMED
        return (
            self.policy.of(e) not in (None, told)
            or self._late(e, None) is not e.overdue
        )

    def judge(self, e: Extension, now: float) -> bool:
        """Bring the verdict on an extension up to date; whether it is another."""
        if not e.contacts:
            return False
        found, known = self.policy.of(e), is_known(e.habit)
        # Who has no habit is never late, nor expected: most, in a first list.
        overdue = self._late(e, now) if known or e.overdue else False
        breach = e.breach if found is None else self._named_or_not(e, found)
        news = (breach, overdue) != (e.breach, e.overdue)
        self._named += _is_named(breach) - _is_named(e.breach)
        e.breach, e.overdue = breach, overdue
        if known:
            self._expect(e)
        return news

    def _named_or_not(self, e: Extension, found: int) -> int:
        """A breach, and whether it is told of this extension by name.

        Where a registrar grants all of its phones too much, that is one matter of the
        registrar, which the audit tells.
        """
        if not found:
            return 0
        if e.breach:
            return found | (e.breach & Breach.UNNAMED)
        return found if self._named < NAMED else found | Breach.UNNAMED

    def tell(self, o: Observation, e: Extension) -> None:
        """Put into an observation what rules ask of refreshes and the policy."""
        here = o.state in HERE
        # Who is lost is counted with others by what was granted, or at least was: of
        # what is polled, and of who registered before the start, no more is known.
        known = e.granted and (e.exact or not here)
        expires = round(e.granted) if known else None
        if not here:
            o.figures = lost_figures(expires)
            return
        figures = o.figures = Figures(expires=expires)
        if not e.breach & Breach.UNNAMED:
            figures.breach = (self.policy.words(e) or None) if e.breach else ""
        if found := points(e.habit):
            figures.refresh_point = found.median
        due = due_at(e) if e.overdue else None
        if due is None:
            figures.refresh_late_by = None if e.overdue else 0.0
            return
        last = max(e.contacts, key=_end)
        figures.refresh_late_by = max(o.at - due, BUCKET)
        figures.refresh_left = _end(last) - o.at
        if o.state is State.REGISTERED:
            o.last_seen = last_seen(last)
            o.evidence = (
                Fact(_begun(last), "last refresh"),
                Fact(due, "refresh due by its habit"),
                Fact(o.at, "read, no refresh"),
                Fact(_end(last), "end of its registration"),
            )

    def _late(self, e: Extension, now: float | None) -> bool:
        """Whether it is overdue; what it was is so until it was seen to refresh."""
        if all(_is_late(e, contact) for contact in e.contacts):
            return e.overdue or (now is not None and last_end(e) - now >= LEFT)
        return e.overdue and not any(c.renewed for c in e.contacts)

    # --- time -----------------------------------------------------------------------

    def suspects(self) -> set[str]:
        """The AORs that a read which has ended decides on."""
        suspects, self._suspects = self._suspects, set()
        return suspects

    def advance(self, now: float) -> None:
        """Who is due by now is a suspect, unless it has been refreshed meanwhile."""
        for _ in range(AT_ONCE):
            if not self._order or self._order[0] * BUCKET > now:
                return
            number = self._order[0]
            bucket = self._buckets[number]
            e = bucket.pop()
            if not bucket:
                del self._buckets[heapq.heappop(self._order)]
            if e.place != number:
                continue
            e.place = 0
            due = excused_until(e)
            if due is None or e.overdue:
                continue
            if due > now:
                self._expect(e)
            elif (left := last_end(e) - now) >= LEFT:
                self._suspects.add(e.aor)
                self._doubt(e, now, now + left - LEFT)

    def next_deadline(self) -> float | None:
        """When `advance` has something to do."""
        return self._order[0] * BUCKET if self._order else None

    def _doubt(self, e: Extension, now: float, until: float) -> None:
        """Ask for a read where the next one would come too late for a warning."""
        for contact in e.contacts:
            m = contact.member
            if m.read_at is None or m.read_at + self._interval >= until:
                m.doubted = now

    def _expect(self, e: Extension) -> None:
        due = None if e.overdue else excused_until(e)
        if due is None or due > last_end(e) - LEFT:
            return  # nothing could be told in time
        number = int(due // BUCKET) + 1
        if 0 < e.place <= number:
            return
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = []
            heapq.heappush(self._order, number)
        bucket.append(e)
        e.place = number


def _is_named(breach: int) -> bool:
    return breach != 0 and not breach & Breach.UNNAMED


def due_at(e: Extension) -> float | None:
    """When its last contact should have been refreshed; None: it is not known."""
    return _latest(_due(e, contact) for contact in e.contacts)


def excused_until(e: Extension) -> float | None:
    """Until when that it was not refreshed proves nothing; None: it is not known."""
    return _latest(_excused(e, contact) for contact in e.contacts)


def _latest(times: Iterable[float | None]) -> float | None:
    """The latest of all; None where one is not known, or there is none."""
    latest = None
    for time in times:
        if time is None:
            return None
        latest = time if latest is None else max(latest, time)
    return latest


def last_end(e: Extension) -> float:
    """When the last of its bindings ends."""
    return max(map(_end, e.contacts))


def _due(e: Extension, contact: Contact) -> float | None:
    granted = contact.granted or contact.at_least
    if granted < WORTH or contact.end is None:
        return None
    waits = patience(e.habit, granted)
    return None if waits is None else _begun(contact) + waits


def _excused(e: Extension, contact: Contact) -> float | None:
    """What failed while the PBX was away is tried again some minutes later."""
    due, m = _due(e, contact), contact.member
    if due is None:
        return None
    back = max(m.since, m.restart.at) if m.restart else m.since
    return max(due, back + TRIED_AGAIN) if back > _begun(contact) else due


def _is_late(e: Extension, contact: Contact) -> bool:
    """Whether a read that was begun after it was due shows no refresh."""
    due = _excused(e, contact)
    return due is not None and contact.read - contact.member.lag >= due


def _end(contact: Contact) -> float:
    return contact.ends or 0.0


def _begun(contact: Contact) -> float:
    """When it was refreshed last, at the latest."""
    return _end(contact) - (contact.granted or contact.at_least)
