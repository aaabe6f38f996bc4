"""Which site an extension belongs to: by its number, or by the address of its phone.

Branches that share one PBX are told apart by it. A phone that roams keeps the site of
its number; one whose number says nothing is where its address is, and stays there while
it is away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from checks.observation import Subject
from checks.settings import Glob

KNOWN = 20_000  # addresses whose site is remembered: the phones of a large PBX

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Place(Protocol):
    """What is configured of a site."""

    @property
    def subnets(self) -> Sequence[str]:
        """Networks in which its phones are, as the PBX sees them."""

    @property
    def extensions(self) -> Sequence[Glob]:
        """Patterns of its numbers."""


def nowhere(site: str) -> Subject | None:
    """The answer where sites are no subjects."""
    return None


class Sites:
    """The configured sites; the first that fits is meant, of networks the smallest."""

    def __init__(
        self,
        places: Mapping[str, Place] | None = None,
        subject: Callable[[str], Subject | None] = nowhere,
    ) -> None:
        """`subject` finds the subject of a site by its name."""
        places = places or {}
        self.subject = subject
        self._numbers = [
            (pattern, name)
            for name, place in places.items()
            for pattern in place.extensions
        ]
        self._networks: dict[tuple[int, int], dict[int, str]] = {}
        for name, place in places.items():
            for network in map(ipaddress.ip_network, place.subnets):
                self._add(network, name)
        self._known: dict[str, str] = {}

    def _add(self, network: Network, name: str) -> None:
        alike = self._networks.setdefault((network.version, network.prefixlen), {})
        alike.setdefault(_bits(int(network.network_address), network), name)

    @property
    def by_address(self) -> bool:
        """Whether an address can tell the site."""
        return bool(self._networks)

    def of_number(self, aor: str) -> str:
        """The site of an AOR by its number; empty where none is said."""
        user = aor.partition("@")[0]
        for fits, name in self._numbers:
            if fits(user) or fits(aor):
                return name
        return ""

    def of_address(self, hosts: Iterable[str]) -> str:
        """The site of the first of these IP addresses that has one."""
        for host in hosts:
            found = self._known.get(host)
            if found is None:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                found = self._known[host] = self._look_up(host)
            if found:
                return found
        return ""

    def _look_up(self, host: str) -> str:
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return ""  # a name says nothing
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        wide = address.max_prefixlen
        for version, length in sorted(self._networks, key=lambda n: -n[1]):
            if version == address.version:
                names = self._networks[version, length]
                if (name := names.get(int(address) >> (wide - length))) is not None:
                    return name
        return ""


def _bits(address: int, network: Network) -> int:
    return address >> (network.max_prefixlen - network.prefixlen)
