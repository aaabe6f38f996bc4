"""What extensions that were lost together have in common: where they are, what they
are, how they are reached. The factor is named that goes best with the loss: shared by
many of the lost and by few of those that are still there.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from math import sqrt
from typing import NamedTuple

from checks.observation import plain

TELLING = 0.3  # correlation from which a factor is named; below it is chance
MOST = 0.8  # of the lost that share a value are "nearly all"
AGENT = 40  # characters of a vendor's name
ALIKE = 4096  # networks and user agents whose factors are remembered
_LAST = frozenset(map(str, range(256)))  # what an IPv4 address ends with

_PLACE = re.compile(r"(\[[^\]]+\]|[^\s:,]+)(?::\d+)?")
_WAY = re.compile(r"(\w+)(?:, (.*))?")


class Factors(NamedTuple):
    """What may be the cause of a loss; the order in which equals are named."""

    subnet: str = ""
    site: str = ""
    agent: str = ""
    transport: str = ""


_NOUNS = {
    "subnet": "subnet",
    "site": "site",
    "agent": "phones by",
    "transport": "transport",
}


class Shared(NamedTuple):
    """A value that many of the lost share."""

    name: str  # of the factor: "subnet"
    value: str
    lost: int  # of the lost have it
    of: int  # have it in all

    def __str__(self) -> str:
        return f"{_NOUNS[self.name]} {self.value} ({self.lost} of {self.of})"


def subnet_of(host: str) -> str:
    """The IPv4 /24 or IPv6 /64 of an address; empty for what is none."""
    # All of a large site are looked at in one turn of the loop: by their networks,
    # which are few, not by their addresses.
    network, dot, last = host.rpartition(".")
    if dot and last in _LAST and network.count(".") == 2:
        return _subnet(f"{network}.0")
    return _subnet(host)


@lru_cache(ALIKE)
def _subnet(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    prefix = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


@lru_cache(ALIKE)
def agent_of(user_agent: str) -> str:
    """The family of a user agent: "Yealink SIP-T46U 108.86.0.75" is "Yealink"."""
    name = re.split(r"[\s/_-]", user_agent.strip(), maxsplit=1)[0]
    return plain(name, AGENT)


def factors_of(last_seen: str, site: str = "") -> Factors:
    """Of one that was last seen so: "10.20.0.31:5060 over UDP, Yealink SIP-T46U"."""
    place, _, way = last_seen.partition(" over ")
    network, _, end = place.rpartition(".")
    last, colon, port = end.partition(":")
    if last in _LAST and (port.isdecimal() or not colon):
        return _factors_in(network, way, site)  # as above
    return _factors(place, way, site)


@lru_cache(ALIKE)
def _factors_in(network: str, way: str, site: str) -> Factors:
    return _factors(f"{network}.0", way, site)


def _factors(place: str, way: str, site: str) -> Factors:
    found, (transport, agent) = _PLACE.fullmatch(place), _way_of(way)
    if found is None or not transport:
        return Factors(site=site)
    return Factors(subnet_of(found[1]), site, agent, transport)


@lru_cache(ALIKE)
def _way_of(way: str) -> tuple[str, str]:
    """Transport and family of the user agent of "UDP, Yealink SIP-T46U"."""
    found = _WAY.match(way)
    return (found[1], agent_of(found[2] or "")) if found else ("", "")


def shared(lost: Iterable[Factors], present: Iterable[Factors]) -> Shared | None:
    """The value that is most over-represented among the lost; None where none is."""
    gone, there = list(lost), list(present)
    best: tuple[float, Shared] | None = None
    for index, name in enumerate(Factors._fields):
        missed = Counter(f[index] for f in gone)
        still = Counter(f[index] for f in there)
        for value, count in missed.items():
            if not value:
                continue
            strength = _strength(count, len(gone), still[value], len(there))
            if strength >= TELLING and (best is None or strength > best[0]):
                best = strength, Shared(name, value, count, count + still[value])
    return best[1] if best else None


def _strength(lost: int, all_lost: int, there: int, all_there: int) -> float:
    """How well having the value goes with being lost: phi, from -1 to 1."""
    spared, others = all_lost - lost, all_there - there
    product = (lost + there) * (spared + others) * all_lost * all_there
    if not product:
        return 0.0
    return (lost * others - spared * there) / sqrt(product)


def alike(lost: Iterable[Factors]) -> list[Shared]:
    """What nearly all of the lost share, where nobody is left to compare them with."""
    gone = list(lost)
    found = []
    for index, name in enumerate(Factors._fields):
        counts = Counter(f[index] for f in gone if f[index])
        for value, count in counts.most_common(1):
            if count >= MOST * len(gone):
                found.append(Shared(name, value, count, count))
    return found


def in_common(lost: Iterable[Factors], present: Iterable[Factors]) -> tuple[str, str]:
    """In words what the lost have in common, and the factor that it is about.

    "subnet 10.20.0.0/24 (31 of 31)" says that all who are there were lost.
    """
    gone, there = list(lost), list(present)
    found = shared(gone, there)
    if found is not None:
        mixed = len({f.agent for f in gone if f.agent}) > 1 and found.name != "agent"
        return f"{found}{', phones of several makes' if mixed else ''}", found.name
    same = alike(gone)
    if not same:
        return "", ""
    return ", ".join(f"{_NOUNS[one.name]} {one.value}" for one in same), same[0].name
