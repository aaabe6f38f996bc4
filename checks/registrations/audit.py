"""The audit of a registrar: which kinds of phones register how, and what is wrong.

A kind is a vendor by its user agent, a transport and a verdict. A summary is told when
the kinds that are outside the policy are others than those last told: one that came,
one that went, one that is granted another Expires. How many phones there are of a kind
changes with every reboot, and is no news; nor is that those of a vendor are all off.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from checks.observation import (
    EVIDENCE_LINES,
    Event,
    Fact,
    Observation,
    State,
    Subject,
)
from checks.registrations.expiry import Breach, Policy, refreshed
from checks.registrations.extension import Contact, Extension, over, transport
from checks.registrations.habit import Points, is_known, points
from checks.registrations.memory import Remembered
from checks.registrations.renewals import Renewals

KINDS = 60  # told apart, so that made-up user agents make no endless table
OTHERS = "others"  # the vendor of what is beyond them
NAMELESS = "unknown"
TRUNKS = "its trunks"  # what the PBX itself registers elsewhere
VENDOR_LIMIT = 16  # characters
MEMO = "audit/told"  # the name under which the last summary is remembered

# Where the first letters are more than the vendor's name, or less.
_VENDORS = {"polycom": "Polycom", "linphone": "Linphone", "z ": "Zoiper"}
_NAME = re.compile(r"[^\W\d_]+")

WORDS = {
    Breach.SHORT: "too short",
    Breach.LONG: "too long",
    Breach.LATE: "late",
}
WELL = "well"
NOT_KNOWN = "not known yet"


def vendor(user_agent: str) -> str:
    """The family of a user agent: "Yealink SIP-T46U 108.86.0.75" is "Yealink"."""
    lower = user_agent.lower()
    for prefix, name in _VENDORS.items():
        if lower.startswith(prefix):
            return name
    found = _NAME.match(user_agent)
    return found[0][:VENDOR_LIMIT] if found else NAMELESS


def verdict(breach: int | None) -> str:
    """ "well", "too long, late", "not known yet"."""
    if breach is None:
        return NOT_KNOWN
    return ", ".join(text for one, text in WORDS.items() if breach & one) or WELL


class Granted(NamedTuple):
    """The Expires of a kind, s."""

    least: float
    most: float
    exact: bool  # False: at least so much

    def __str__(self) -> str:
        said = f"{self.most:.0f} s"
        if self.most - self.least >= 1:
            said = f"{self.least:.0f} to {said}"
        return said if self.exact else f"at least {said}"


@dataclass(slots=True)
class Row:
    """One kind of phones."""

    vendor: str
    transport: str
    breach: int | None
    registrations: int = 0
    overdue: int = 0
    granted: Granted | None = None
    refresh: Points | None = None  # of the phones' usual points

    def __str__(self) -> str:
        parts = [f"{self.registrations} {self.vendor} over {self.transport}: "]
        parts.append(f"{self.granted} granted" if self.granted else "Expires unknown")
        if self.refresh:
            parts.append(f", refreshed at {100 * self.refresh.median:.0f} %")
        parts.append(f" ({verdict(self.breach)})")
        return "".join(parts)

    @property
    def family(self) -> str:
        """Whose phones they are."""
        return f"{self.vendor}/{self.transport}"

    @property
    def kind(self) -> tuple[str, int]:
        """What makes it another kind; Expires by its power of two, as it may vary, and
        0 where reads show only that it is at least so much: that grows by itself."""
        exact = self.granted is not None and self.granted.exact
        power = int(self.granted.most).bit_length() if self.granted and exact else 0
        return f"{self.family}/{self.breach or 0}", power


@dataclass(slots=True)
class _Group:
    row: Row
    usual: list[float] = field(default_factory=list)  # refresh points of its phones

    def add(self, seconds: float, exact: bool, habit: bytes) -> None:
        row = self.row
        row.registrations += 1
        if seconds:
            known = row.granted or Granted(seconds, seconds, True)
            row.granted = Granted(
                min(known.least, seconds),
                max(known.most, seconds),
                known.exact and exact,
            )
        if found := points(habit):
            self.usual.append(found.median)

    def close(self) -> Row:
        if self.usual:
            usual = sorted(self.usual)
            middle = usual[len(usual) // 2]
            self.row.refresh = Points(usual[0], middle, usual[-1])
        return self.row


class Audit:
    """The table of one registrar, from all of its extensions, one by one."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._groups: dict[tuple[str, str, int | None], _Group] = {}
        self._vendors: dict[str, str] = {}  # by user agent: most are alike

    def add(self, extension: Extension) -> None:
        """Take in the registrations of one extension."""
        late = refreshed(extension)
        known = is_known(extension.habit)
        for contact in extension.contacts:
            breach: int | None = self._policy.granted(contact) | late
            least = self._policy.bounds(transport(contact)).least
            told = contact.granted is not None or (
                contact.renewed and 2 * contact.at_least >= least
            )
            if not breach and not (known and told):
                breach = None
            group = self._group(self._vendor(contact), transport(contact), breach)
            seconds, exact = contact.granted, contact.granted is not None
            group.add(seconds or contact.at_least, exact, extension.habit)
            group.row.overdue += extension.overdue

    def add_trunk(self, server: str, renewals: Renewals) -> None:
        """Take in a registration of the PBX itself, at a server by its URI."""
        if renewals.end:
            group = self._group(TRUNKS, over(server), renewals.breach)
            group.add(renewals.at_least, False, renewals.habit)

    def _vendor(self, contact: Contact) -> str:
        agent = contact.user_agent
        name = self._vendors.get(agent)
        if name is None:
            name = self._vendors[agent] = vendor(agent)
        return name

    def _group(self, name: str, transport: str, breach: int | None) -> _Group:
        key = (name, transport, breach)
        if key not in self._groups and len(self._groups) >= KINDS:
            key = (OTHERS, *key[1:])
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(Row(*key))
        return group

    def rows(self) -> list[Row]:
        """What is outside the policy first, and the many before the few."""
        rows = [group.close() for group in self._groups.values()]
        return sorted(rows, key=lambda r: (not r.breach, -r.registrations, r.vendor))


def shown(row: Row) -> dict[str, Any]:
    """A row as JSON."""
    granted, refresh = row.granted, row.refresh
    return {
        "vendor": row.vendor,
        "transport": row.transport,
        "registrations": row.registrations,
        "granted": granted and granted._asdict(),
        "refresh": refresh and {k: round(v, 3) for k, v in refresh._asdict().items()},
        "overdue": row.overdue,
        "verdict": verdict(row.breach),
        "outside": bool(row.breach),
    }


class Summary:
    """What was last told of the audit, so that only what is new is told."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        told = kept.get("told")
        self._told = _parsed(told) if isinstance(told, list) else None
        self._unsaved = False

    def tell(
        self, rows: Sequence[Row], subject: Subject, since: float, now: float
    ) -> list[Observation]:
        """Take a table, of a registrar readable `since`; the event, where it is one.

        A first table with nothing outside the policy is none.
        """
        before = self._told or {}
        settled = _settled(rows)
        kinds = {k: n for k, n in before.items() if k.rpartition("/")[0] not in settled}
        for row in rows:
            if row.breach:
                kind, power = row.kind
                kinds[kind] = power or before.get(kind, 0)
        if kinds == self._told:
            return []
        self._told = kinds
        self._unsaved = True
        others = [kind for kind, power in kinds.items() if before.get(kind) != power]
        if kinds.keys() == before.keys() and not any(map(before.get, others)):
            return []  # of some is known by now how much they are granted
        event = Observation(subject, State.READABLE, since, now, event=Event.AUDITED)
        event.detail, event.evidence = headline(rows), tuple(evidence(rows))
        return [event]

    def take(self) -> list[Remembered]:
        """What is to be stored."""
        if not self._unsaved:
            return []
        self._unsaved = False
        kinds = sorted(f"{kind}:{power}" for kind, power in (self._told or {}).items())
        return [Remembered(MEMO, json.dumps({"told": kinds}))]


def _parsed(told: list[Any]) -> dict[str, int]:
    """The powers of the kinds that were told."""
    split = (str(kind).rpartition(":") for kind in told)
    return {kind: int(power) for kind, _, power in split if kind and power.isdecimal()}


def _settled(rows: Sequence[Row]) -> set[str]:
    """The families of which more is known than not: of the others, which are off, or
    seen for a short time only, what was told stands."""
    known = Counter[str]()
    for row in rows:
        known[row.family] += row.registrations * (-1 if row.breach is None else 1)
    return {family for family, more in known.items() if more > 0}


def headline(rows: Sequence[Row]) -> str:
    """ "212 of 240 are outside the policy"."""
    outside = sum(row.registrations for row in rows if row.breach)
    every = sum(row.registrations for row in rows)
    if not outside:
        return f"all {every} are within the policy now, or not known yet"
    return f"{outside} of {every} are outside the policy"


def evidence(rows: Sequence[Row]) -> Iterator[Fact]:
    """The kinds that are outside the policy, as far as there is room for them."""
    outside = [row for row in rows if row.breach]
    room = EVIDENCE_LINES if len(outside) <= EVIDENCE_LINES else EVIDENCE_LINES - 1
    for row in outside[:room]:
        yield Fact(None, str(row))
    if more := outside[room:]:
        yield Fact(None, f"and {len(more)} more kinds")
