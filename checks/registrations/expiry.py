"""What the Expires of registrations should be, and when they should be refreshed.

Granted Expires is judged where the registrar tells it, or two times make it known.
Where reads only show that it is at least so much, only what that proves is said: more
than the most, never less than the least.
"""

from __future__ import annotations

from typing import NamedTuple

from checks.registrations.extension import Contact, Extension, transport
from checks.registrations.habit import is_known, points
from checks.registrations.readings import ExpirySettings

TOLERANCE = 2.0  # s: PBXs keep whole seconds, and Contact may say one less than Expires
LATE = 0.75  # of Expires; half is what leaves time for a second try, and a third


class Bounds(NamedTuple):
    """The least and the most that should be granted, s."""

    least: float
    most: float


# A phone behind NAT is lost with its mapping, which over UDP holds for a minute or two;
# a connection tells itself that it has ended.
_UDP = Bounds(60.0, 120.0)
STREAM = Bounds(60.0, 3600.0)


class Breach:
    """How a registration is outside the policy: bits of an int, of which there may be
    thousands a second."""

    NONE = 0
    SHORT = 1  # less granted than the least: load for nothing
    LONG = 2  # more than the most: a dead phone is seen late
    LATE = 4  # refreshed so late that one lost REGISTER may cost it
    UNNAMED = 8  # one of so many that only their number is told


class Policy:
    """The policy of one registrar."""

    def __init__(self, settings: ExpirySettings) -> None:
        self._udp, self._stream = (_wanted(b, settings) for b in (_UDP, STREAM))

    def bounds(self, transport: str) -> Bounds:
        """What is wanted over a transport ("UDP")."""
        return self._udp if transport == "UDP" else self._stream

    def of(self, extension: Extension) -> int | None:
        """What is proven of its contacts; None: nothing, either way."""
        found, known = Breach.NONE, is_known(extension.habit)
        for contact in extension.contacts:
            found |= self.granted(contact)
            known &= contact.granted is not None or contact.renewed
        found |= refreshed(extension)
        return found if found or known else None

    def granted(self, contact: Contact) -> int:
        """What is proven of the Expires that a contact was granted."""
        least, most = self.bounds(transport(contact))
        if (contact.granted or contact.at_least) > most + TOLERANCE:
            return Breach.LONG
        if contact.granted is not None and contact.granted < least - TOLERANCE:
            return Breach.SHORT
        return Breach.NONE

    def words(self, extension: Extension) -> str:
        """How an extension is outside the policy, in a few words; "": it is not."""
        said = [text for c in extension.contacts if (text := self._words(c))][:1]
        found = points(extension.habit)
        if found and refreshed(extension):
            said.append(f"refreshed at {100 * found.median:.0f} % of its Expires")
        return ", ".join(said)

    def _words(self, contact: Contact) -> str:
        breach, bounds = self.granted(contact), self.bounds(transport(contact))
        if not breach:
            return ""
        if breach == Breach.SHORT:
            return f"{contact.granted} s granted, less than {bounds.least:g} s"
        return f"{granted_in_words(contact)} granted, more than {bounds.most:g} s"


def _wanted(usual: Bounds, settings: ExpirySettings) -> Bounds:
    least, most = usual
    if settings.min is not None:
        least = settings.min
        most = max(least, most)
    if settings.max is not None:
        most = settings.max
        least = min(least, most)
    return Bounds(least, most)


def refreshed(extension: Extension) -> int:
    """What its habit says of the point at which it refreshes."""
    if not is_known(extension.habit):
        return Breach.NONE
    found = points(extension.habit)
    return Breach.LATE if found and found.median > LATE else Breach.NONE


def granted_in_words(contact: Contact) -> str:
    """ "120 s", "at least 3571 s"."""
    if contact.granted is not None:
        return f"{contact.granted} s"
    return f"at least {contact.at_least:.0f} s"
