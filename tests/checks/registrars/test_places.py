"""Registrars are found by our own resolver, and still while that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import dns.rcode
import pytest

from checks.observation import Cause
from checks.registrars.asterisk import Asterisk, AsteriskSettings
from checks.registrars.freeswitch import Freeswitch, FreeswitchSettings
from checks.registrars.kamailio import Kamailio, KamailioSettings
from checks.registrars.opensips import OpenSips, OpenSipsSettings
from checks.registrars.places import KEEP, Places
from checks.registrations.judge import ListEnd, Unreadable
from checks.settings import Secret
from checks.sip.resolver import Resolver
from tests.checks.registrars.test_asterisk import healthy, serving
from tests.checks.registrars.test_kamailio import dump
from tests.checks.sip.nameserver import serving as nameserver
from tests.wire import Rpc

NAME = "pbx.example.com"
HERE = {NAME: {"A": ["127.0.0.1"]}}
Make = Callable[[str, Resolver], Any]


def asterisk(address: str, resolver: Resolver) -> Asterisk:
    settings = AsteriskSettings(password=Secret("x"), timeout=5.0)
    return Asterisk(settings, address, clock=time.time, resolver=resolver)


def kamailio(address: str, resolver: Resolver) -> Kamailio:
    return Kamailio(KamailioSettings(), address, clock=time.time, resolver=resolver)


async def reads(registrar: Any) -> bool:
    async with aclosing(registrar.watch()) as readings:
        async for reading in readings:
            if isinstance(reading, ListEnd):
                return True
    return False


@pytest.mark.parametrize(
    ("server", "make"),
    [
        (lambda: serving(healthy()), asterisk),
        (lambda: Rpc({"ul.dump": (200, dump())}), kamailio),
    ],
    ids=["asterisk", "kamailio"],
)
async def test_a_resolver_that_fails_makes_no_pbx_unreadable(
    server: Callable[[], Any], make: Make
) -> None:
    zone: dict[str, Any] = dict(HERE)
    async with nameserver(zone) as names, server() as pbx:
        resolver = Resolver(["127.0.0.1"], names.port, 2.0)
        registrar = make(pbx.address.replace("127.0.0.1", NAME), resolver)
        assert await reads(registrar)
        assert f"A {NAME}" in names.asked
        zone[NAME] = dns.rcode.SERVFAIL
        assert await reads(registrar)


@pytest.mark.parametrize(
    ("kind", "settings", "address"),
    [
        (Freeswitch, FreeswitchSettings(timeout=5.0), f"{NAME}:9"),
        (OpenSips, OpenSipsSettings(timeout=5.0), f"http://{NAME}:9/mi"),
    ],
)
async def test_the_others_ask_it_as_well(
    kind: Any, settings: Any, address: str
) -> None:
    async with nameserver(HERE) as names:
        resolver = Resolver(["127.0.0.1"], names.port, 2.0)
        registrar = kind(settings, address, clock=time.time, resolver=resolver)
        with pytest.raises(Unreadable) as raised:
            await reads(registrar)
        assert raised.value.cause is Cause.CONNECTION_REFUSED  # so it was found
        assert f"A {NAME}" in names.asked


async def test_last_good_addresses_serve_for_a_day() -> None:
    now = [1000.0]
    zone: dict[str, Any] = dict(HERE)
    async with nameserver(zone) as names:
        places = Places(Resolver(["127.0.0.1"], names.port, 2.0), lambda: now[0])
        assert await places.addresses(NAME) == ["127.0.0.1"]
        zone[NAME] = dns.rcode.SERVFAIL
        now[0] += KEEP
        assert await places.addresses(NAME) == ["127.0.0.1"]
        now[0] += 1.0
        assert await places.addresses(NAME) == [NAME]  # the system may know better
        del zone[NAME]  # NXDOMAIN is the name's own fault, and kept for nobody
        now[0] = 1000.0
        assert await places.addresses(NAME) == [NAME]


@pytest.mark.parametrize("host", ["10.0.0.5", "2001:db8::5", "fe80::1%eth0"])
async def test_an_address_needs_no_resolver(host: str) -> None:
    async with nameserver({}) as names:
        places = Places(Resolver(["127.0.0.1"], names.port, 2.0))
        assert await places.addresses(host) == [host]
        assert names.asked == []
