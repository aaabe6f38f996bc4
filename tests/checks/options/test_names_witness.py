"""Who is to blame when a name cannot be looked up: its own servers, or our resolver."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from checks.observation import Cause
from checks.options.names import Names
from checks.sip.errors import SipError
from checks.sip.resolver import Address, Resolution
from checks.sip.uri import SipUri
from tests.servers import eventually

FOUND = Resolution((Address("192.0.2.1", 5060, "udp"),), (), 3600.0)


class Zone:
    """A resolver that fails for some names; also who is told of addresses."""

    def __init__(self, *dead: str) -> None:
        self.dead = set(dead)
        self.asked: list[str] = []
        self.said: list[tuple[bool, str]] = []

    async def resolve(self, uri: SipUri) -> Resolution:
        self.asked.append(uri.host)
        if uri.host in self.dead:
            raise SipError(Cause.DNS_FAILURE, f"no answer to {uri.host}")
        return FOUND

    def placed(self, index: int, addresses: tuple[Address, ...]) -> None:
        """Addresses are of no interest here."""

    def nameless(self, index: int, cause: Cause, detail: str) -> float:
        return 60.0

    def state(self, ok: bool, detail: str) -> None:
        self.said.append((ok, detail))


async def asked(zone: Zone, *names: str, again: tuple[int, ...] = ()) -> Names:
    """All names asked once, then those of these numbers one by one."""
    loop = asyncio.get_running_loop()
    watched = Names(zone, loop.time, zone, zone.state)
    running = asyncio.create_task(watched.run())
    try:
        for index, name in enumerate(names):
            before = len(zone.asked)
            watched.watch(index, SipUri.parse(f"sip:{name}"))
            await eventually(lambda: len(zone.asked) > before)  # noqa: B023
        for index in again:
            before = len(zone.asked)
            watched.refresh(index)
            await eventually(lambda: len(zone.asked) > before)  # noqa: B023
        await asyncio.sleep(0)
        await eventually(lambda: not watched._doubted)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    return watched


async def test_one_dead_domain_beside_one_that_works_is_not_our_resolver() -> None:
    zone = Zone("dead.example.com")
    await asked(zone, "good.example.com", "dead.example.com", again=(1, 1))
    assert zone.said == [(True, "")]
    assert zone.asked.count("good.example.com") >= 2  # it is the witness


async def test_a_resolver_that_fails_the_witness_too_is_to_blame() -> None:
    zone = Zone()
    names = ("good.example.com", "other.example.com")
    watched = Names(zone, asyncio.get_running_loop().time, zone, zone.state)
    running = asyncio.create_task(watched.run())
    for index, name in enumerate(names):
        watched.watch(index, SipUri.parse(f"sip:{name}"))
    await eventually(lambda: len(zone.asked) == 2)
    zone.dead.update(names)
    watched.refresh(0)
    await eventually(lambda: len(zone.said) == 2)
    assert zone.said == [(True, ""), (False, "no answer to other.example.com")]
    zone.dead.clear()
    watched.refresh(0)
    await eventually(lambda: len(zone.said) == 3)
    assert zone.said[2] == (True, "")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("names", [("dead.example.com",)])
async def test_where_nothing_was_ever_resolved_nobody_can_speak_for_it(
    names: tuple[str, ...],
) -> None:
    zone = Zone(*names)
    await asked(zone, *names)
    assert zone.said == [(False, "no answer to dead.example.com")]
