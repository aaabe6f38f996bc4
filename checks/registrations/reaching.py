"""Which contacts our own OPTIONS ask, and when their silence is believed. Pure.

A phone is asked only where we are as near to it as its PBX: over UDP at the very
address that it registered from, or through the proxies that lead to it. Behind NAT, and
over a connection of the PBX's own, our question would not arrive; such a contact is not
probed, which is not the same as unreachable.

Nor is it the same when it is we who are cut off. So a silent contact is believed dead
once it failed twice and another contact answered us in between. Where all that used to
answer fall silent together, none is called dead: that is said of the registrar, once. A
contact that refreshed its registration since its silence began lives, whatever we hear.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from checks.observation import Binding, Cause, State
from checks.registrations.extension import (
    CONTACT_LIMIT,
    TWICE,
    Asking,
    Contact,
    Extension,
    transport,
)
from checks.registrations.readings import Ask, RegistrarSettings

if TYPE_CHECKING:
    from checks.cause.evidence import Answer

CONTACT = "contact/"  # what the names of these asks begin with
ROUTES = 4  # proxies on the way to a phone; there are one or two
SIP_PORT = 5060
AT_ONCE = 1.0  # s, at most a part of `confirm`: what is asked at once is lost at once
AT_ONCE_PART = 1 / 4
NEVER = float("-inf")

_HOST = r"(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]{2,45}\])"
_PORT = r"(?::(\d{1,5}))?"
_USER = r"(?:[\w\-.!~*'()&=+$,;?/%:]{1,256}@)?"
_PARAMS = r"(?:;[\w\-.!~*'()\[\]/:&+$%=;]{0,400})?"
_CONTACT = re.compile(rf"sip:{_USER}{_HOST}{_PORT}{_PARAMS}", re.ASCII)
_URI = re.compile(rf"sip:{_USER}(?:{_HOST}|[A-Za-z0-9.\-]{{1,253}}){_PORT}{_PARAMS}")
_PROXY = re.compile(
    rf"<?(sip:{_USER}(?:{_HOST}|[A-Za-z0-9.\-]{{1,253}}){_PORT}({_PARAMS}))>?", re.ASCII
)
_PLACE = re.compile(rf"{_HOST}{_PORT}", re.ASCII)

Asked = tuple[Contact, Asking]  # one that is asked, and how


class Sight(Protocol):
    """What whoever asks has measured, and does not tell each time."""

    @property
    def heard_at(self) -> float:
        """When any contact last answered, UTC s."""

    def rtt(self, name: str) -> float | None:
        """The last round trip of an ask (s)."""

    def told(self, name: str) -> Answer | None:
        """How it last answered that it does not want to ring, in full."""


class Unseeing:
    """Nothing is measured."""

    heard_at = NEVER

    def rtt(self, name: str) -> float | None:
        """Not known."""
        return None

    def told(self, name: str) -> Answer | None:
        """Not known."""
        return None


class Reaching:
    """The contacts of one registrar that our own OPTIONS ask."""

    def __init__(self, settings: RegistrarSettings) -> None:
        self.on = settings.probe_contacts
        self.sight: Sight = Unseeing()
        "What is measured besides; whoever asks puts it here."

        self._at_once = min(AT_ONCE, AT_ONCE_PART * settings.probe.confirm)
        self._proxy = routed(settings.outbound_proxy)
        self._asked: dict[str, Extension] = {}
        self._changes: dict[str, Ask | None] = {}
        self._well: set[str] = set()  # who answered when last asked
        self._doubtful: dict[str, float] = {}  # who used to and does not: since when
        self._answered_at = NEVER

    # --- whom -----------------------------------------------------------------------

    def changes(self, most: int | None = None) -> dict[str, Ask | None]:
        """Whom to ask from now on, by name, or no more (None); at most so many."""
        chosen = list(islice(self._changes, most))
        return {name: self._changes.pop(name) for name in chosen}

    @property
    def wants_asked(self) -> bool:
        """Whether there are changes to tell."""
        return bool(self._changes)

    def see(
        self, e: Extension, contact: Contact, binding: Binding, *, by_event: bool
    ) -> None:
        """A binding is told of: ask it if that is new, and take what was measured."""
        asked = binding.asked or binding.reachable is not None
        asked |= by_event and contact.pbx_asks  # events need not tell
        if not contact.considered or asked is not contact.pbx_asks:
            contact.considered, contact.pbx_asks = True, asked
            self.consider(e, contact)
        if contact.ask is not None and contact.reachable:
            contact.rtt = self.sight.rtt(contact.ask.name)

    def consider(self, e: Extension, contact: Contact) -> None:
        """A contact came, moved, or is asked by its PBX: ask it, or no more."""
        ask = None if contact.pbx_asks else question(contact, e.aor, self._proxy)
        if ask == contact.ask:
            return
        if contact.ask is not None:
            self.leave(e, contact)
        if ask is None:
            return
        asking = contact.asking = contact.asking or Asking()
        asking.ask = ask
        self._asked[ask.name] = e
        self._changes[ask.name] = ask
        if e.state is State.UNREACHABLE and not contact.member.readable:
            # It was, before a restart of ours: until it answers.
            contact.strikes, contact.unreachable_since = 1, e.since
            asking.failed_at = e.since

    def leave(self, e: Extension, contact: Contact) -> None:
        """Ask a contact no more; nothing is known of its reach then."""
        asking = contact.asking
        if asking is None or asking.ask is None:
            return
        ask, asking.ask = asking.ask, None
        contact.reachable = contact.rtt = None
        contact.strikes = 0
        # Two members may hold the same contact; it is asked once.
        if not any(c.ask and c.ask.name == ask.name for c in e.contacts):
            self._asked.pop(ask.name, None)
            self._well.discard(ask.name)
            self._doubtful.pop(ask.name, None)
            self._changes[ask.name] = None

    # --- what they answer -----------------------------------------------------------

    def heard(
        self,
        name: str,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
    ) -> tuple[Extension | None, bool]:
        """How a question ended: whose it was, and whether that has to be judged.

        `at` is when it was answered, or when it was asked in vain. None for `ok`: it
        did not get there, or not as far as the phone.
        """
        e = self._asked.get(name)
        if e is None:
            return None, False
        several = list(_asked_as(e, name))
        if ok:
            return e, self._answered(name, several, rtt, at)
        self._well.discard(name)
        if ok is None:
            self._doubtful.pop(name, None)
            for contact, _ in several:
                contact.reachable = contact.rtt = None
            return e, False
        return e, self._failed(e, name, several, cause, at)

    def _answered(
        self, name: str, several: list[Asked], rtt: float | None, at: float
    ) -> bool:
        if self.silent:
            self._see_again(at)
        self._answered_at = max(self._answered_at, at)
        self._well.add(name)
        self._doubtful.pop(name, None)
        changed = False
        for contact, asking in several:
            asking.missed = 0
            changed |= contact.answers(True, rtt, at)
        return changed

    def _see_again(self, at: float) -> None:
        """We are heard: what was asked in vain until now is no evidence."""
        for name in self._doubtful:
            for _, asking in _asked_as(self._asked[name], name):
                asking.failed_at = at

    def _failed(
        self,
        e: Extension,
        name: str,
        several: list[Asked],
        cause: Cause | None,
        at: float,
    ) -> bool:
        first, its = several[0]
        if e.answered and first.strikes < TWICE:
            self._doubtful.setdefault(name, at)
        believed = not e.answered or self._witnessed(its)
        if first.refreshed is not None and first.strikes:
            believed &= first.refreshed <= first.unreachable_since + AT_ONCE
        changed = False
        for contact, asking in several:
            contact.rtt, asking.cause = None, cause
            asking.missed += 1
            asking.failed_at = max(at, asking.failed_at)
            if not contact.strikes:
                contact.strikes, contact.unreachable_since = 1, at
            elif believed and contact.strikes < TWICE:
                contact.strikes, contact.reachable = TWICE, False
                changed = True
        if changed:
            self._doubtful.pop(name, None)
        return changed

    def _witnessed(self, asking: Asking) -> bool:
        """Whether we were heard and answered since one was last asked in vain."""
        # An answer is no news after the first one, so it is looked up.
        heard_at = max(self._answered_at, self.sight.heard_at)
        if heard_at > asking.failed_at + self._at_once:
            return True
        # Nobody else is there who could tell us that we are well.
        return not self._well and len(self._doubtful) <= 1

    @property
    def silent(self) -> int:
        """How many fell silent together, and nobody is left who answers; else 0."""
        alone = self._well or len(self._doubtful) < 2
        return 0 if alone else len(self._doubtful)


def _asked_as(e: Extension, name: str) -> Iterator[Asked]:
    """The contacts of an extension that are asked by this name."""
    for contact in e.contacts:
        asking = contact.asking
        if asking is not None and asking.ask is not None and asking.ask.name == name:
            yield contact, asking


def reach(extensions: Iterable[Extension]) -> dict[str, int]:
    """How many contacts answer, who asks them aside; those that nobody asks, too."""
    counts = dict.fromkeys(("reachable", "unreachable", "waiting", "not_probed"), 0)
    for extension in extensions:
        for contact in extension.contacts:
            if contact.reachable is not None:
                found = "reachable" if contact.reachable else "unreachable"
            else:
                asked = contact.pbx_asks or contact.ask is not None
                found = "waiting" if asked else "not_probed"
            counts[found] += 1
    return counts


def question(contact: Contact, aor: str, proxy: str = "") -> Ask | None:
    """What to send to a contact; None: it is not probed.

    `proxy` is the route that leads to all of them.
    """
    uri = contact.uri
    if len(uri) >= CONTACT_LIMIT:
        return None  # it may have been longer
    name = f"{CONTACT}{aor}/{uri}"
    if proxy or contact.path:
        path = routed(contact.path)
        if (contact.path and not path) or not _URI.fullmatch(uri):
            return None
        route = ", ".join(part for part in (proxy, path) if part)
        return Ask(name, uri, _next_hop(route), route)
    found = _CONTACT.fullmatch(uri)
    if found is None or transport(contact) != "UDP" or ";maddr=" in uri:
        return None
    place = _place(found[1], found[2])
    if place is None or (place != contact.received and place != _seen(contact)):
        return None  # it is behind NAT
    return Ask(name, uri, place)


def _seen(contact: Contact) -> str | None:
    """Where the PBX saw it, in the one way to write it."""
    found = _PLACE.fullmatch(contact.received)
    return _place(found[1], found[2]) if found else None


def routed(proxies: str) -> str:
    """Proxies, as a Path has them or as one URI, as a Route; "" where they are none.

    RFC 3261 16.12: without `lr` the first would take the Request-URI for itself.
    """
    several = [part.strip() for part in proxies.split(",") if part.strip()]
    if not several or len(several) > ROUTES:
        return ""
    parts = []
    for part in several:
        one = _PROXY.fullmatch(part)
        if one is None or (part[0] == "<") is not (part[-1] == ">"):
            return ""
        loose = any(p.partition("=")[0] == "lr" for p in one[4].lower().split(";"))
        parts.append(f"<{one[1]}>" if loose else f"<{one[1]};lr>")
    return ", ".join(parts)


def _next_hop(route: str) -> str:
    """ip:port of the first proxy where it is one over UDP; else "": to be resolved."""
    found = _PROXY.match(route)
    if found is None or found[2] is None or ";transport=" in found[4].lower():
        return ""
    return _place(found[2], found[3]) or ""


def _place(host: str, port: str | None) -> str | None:
    """ip:port in the one way to write it; None where it is none."""
    number = int(port) if port else SIP_PORT
    if not 0 < number < 65536:
        return None
    try:
        if host[0] == "[":
            return f"[{ipaddress.IPv6Address(host[1:-1])}]:{number}"
        socket.inet_pton(socket.AF_INET, host)
    except (OSError, ValueError):
        return None
    return f"{host}:{number}"
