"""Who asks over HTTP, and what they may."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from fastapi import Depends, HTTPException, Request
from starlette.requests import HTTPConnection

KEY = "sipwatch.caller"  # of the scope of a request
UNAUTHORIZED, FORBIDDEN = 401, 403


class Role(IntEnum):
    """What somebody may; each may what those below it may."""

    NONE = 0
    READ = 1
    OPERATE = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name is empty where nobody said it."""

    name: str
    role: Role


NOBODY = Caller("", Role.NONE)


def caller_of(request: Request) -> Caller:
    """Who asks; the gate of the application has found out."""
    found = request.scope.get(KEY, NOBODY)
    return found if isinstance(found, Caller) else NOBODY


def signed(said: str, request: Request) -> str:
    """Who acts, as it is kept: the name that they give, with that of who is logged in
    where it is another; a bot may speak for somebody, but not as somebody."""
    said, caller = said.strip(), caller_of(request).name
    if not said or not caller or said == caller:
        return said or caller
    return f"{said} ({caller})"


def operates(request: Request) -> bool:
    """Whether who asks may change something, and see what messages hold."""
    return caller_of(request).role >= Role.OPERATE


# These are coroutines so that no thread is asked for what takes a microsecond.
async def _reads(request: Request) -> None:
    _needs(request, Role.READ)


async def _operates(request: Request) -> None:
    _needs(request, Role.OPERATE)


def _needs(request: Request, role: Role) -> None:
    if caller_of(request).role < role:
        raise HTTPException(FORBIDDEN, f"this needs the role {role.name.lower()}")


READ = Depends(_reads)
OPERATE = Depends(_operates)


class Access(Protocol):
    """Who may come in at one listener."""

    async def admit(self, request: HTTPConnection) -> Caller:
        """Who asks; HTTPException for who may not come in."""


class Anybody:
    """Whoever can connect is this caller: the Unix socket, what is signed anyway."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def admit(self, request: HTTPConnection) -> Caller:
        """Who asks."""
        return self._caller


class Networks:
    """Whoever asks from these networks may read; from anywhere where there are none."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(one) for one in allowed]

    async def admit(self, request: HTTPConnection) -> Caller:
        """Who asks; HTTPException for another network."""
        if self._networks and not self.hold(address_of(request)):
            raise HTTPException(FORBIDDEN, "not allowed from here")
        return Caller("", Role.READ)

    def hold(self, address: str) -> bool:
        """Whether an address is in one of them."""
        try:
            one = unmapped(ipaddress.ip_address(address))
        except ValueError:  # a proxy may pass on anything
            return False
        return any(one in network for network in self._networks)


def unmapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """IPv4 over an IPv6 socket, as the IPv4 that it is."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def address_of(request: HTTPConnection) -> str:
    """Where a request comes from, as a proxy on this machine tells it; "" for a Unix
    socket."""
    return request.client.host if request.client else ""
