"""Addresses that this machine cannot send to: their fault, and nobody else's."""

from __future__ import annotations

import pytest

from checks.observation import Cause, State
from checks.sip import route
from checks.sip.resolver import Address
from tests.checks.peers import Names, target, udp_peer, watching


async def test_an_address_without_a_route_fails_alone() -> None:
    # A broadcast address is refused as an address without a route is.
    async with udp_peer() as peer:
        lost = target("lost", "255.255.255.255:5060")
        alive = target("alive", f"127.0.0.1:{peer.port}")
        async with watching(lost, alive) as watch:
            view = await watch.view("target:lost")
            assert (view.state, view.cause) == (State.DOWN, Cause.ICMP_UNREACHABLE)
            assert view.detail.startswith("this machine cannot send to it: ")
            assert (await watch.view("target:alive")).state is State.UP


@pytest.mark.parametrize(
    ("ip", "source"),
    [("255.255.255.255", ""), ("::1", "127.0.0.1")],
    ids=["broadcast", "a source of the other family"],
)
async def test_a_name_that_leads_where_we_cannot_go_fails_alone(
    ip: str, source: str
) -> None:
    names = Names(lost_example_com=[Address(ip, 5060, "udp")])
    lost = target("lost", "sip:lost.example.com", source=source)
    async with udp_peer() as peer:
        alive = target("alive", f"127.0.0.1:{peer.port}")
        async with watching(lost, alive, names=names) as watch:
            view = await watch.view("target:lost")
            assert (view.state, view.cause) == (State.DOWN, Cause.ICMP_UNREACHABLE)
            assert (await watch.view("target:alive")).state is State.UP


async def test_a_source_that_is_not_ours_ends_the_check() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        async with watching(target("pbx", "127.0.0.1:5060", source="192.0.2.77")):
            pass


@pytest.mark.parametrize(
    ("ip", "found"),
    [("127.0.0.9", "127.0.0.1"), ("255.255.255.255", None), ("fe80::1", None)],
)
def test_a_route_is_looked_up_and_its_absence_is_no_error(
    ip: str, found: str | None
) -> None:
    assert route.local_address(ip) == found
