"""Each registrar against the real server that it is for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from typing import Any, TypeVar

import pytest

from checks.observation import Binding, Cause, Loss
from checks.registrars import REGISTRARS
from checks.registrations.judge import (
    Added,
    Bindings,
    Expected,
    Gone,
    ListEnd,
    Reading,
    Registrar,
    Unreadable,
)
from checks.settings import Secret
from tests.conftest import StartAsterisk, StartKamailio
from tests.servers.asterisk import Asterisk, Extension, Trunk
from tests.servers.loopback import Loopback
from tests.servers.phones import ScriptedPhone

T = TypeVar("T")
Phones = Callable[..., ScriptedPhone]


def registrar(kind: str, address: str, **settings: Any) -> Registrar:
    row = REGISTRARS[kind]
    keys = {"timeout": 5.0, **settings}
    made = row.settings(**keys)
    return row.registrar(made, address, clock=time.time, aors=lambda: ["2001", "2002"])


def asterisk_of(pbx: Asterisk, **settings: Any) -> Registrar:
    keys = {"username": pbx.user, "password": Secret(pbx.secret), **settings}
    return registrar("asterisk", f"{pbx.address}:{pbx.ami_port}", **keys)


async def first(readings: AsyncIterator[Reading], kind: type[T]) -> T:
    async for reading in readings:
        if isinstance(reading, kind):
            return reading
    raise AssertionError(f"no {kind.__name__}")


async def until_end(readings: AsyncIterator[Reading]) -> list[Binding]:
    rows: list[Binding] = []
    async for reading in readings:
        if isinstance(reading, Bindings):
            rows += reading.rows
        if isinstance(reading, ListEnd):
            break
    return rows


async def failure(watched: Registrar) -> Unreadable:
    try:
        read = [reading async for reading in watched.watch()]
    except Unreadable as failed:
        return failed
    raise AssertionError(read)


@pytest.fixture
def phones(servers: ExitStack, loopback: Loopback) -> Phones:
    def phone(user: str, at: str, password: str = "secret") -> ScriptedPhone:
        made = ScriptedPhone(user, password, at, address=loopback.address())
        servers.callback(made.close)
        return made

    return phone


@pytest.mark.real("asterisk")
async def test_a_phone_comes_and_goes_at_asterisk(
    asterisk: StartAsterisk, phones: Phones
) -> None:
    trunk = Trunk("carrier", "sip:127.0.0.9:5060")
    pbx = asterisk([Extension("1001"), Extension("1002")], [trunk])
    phone = phones("1001", pbx.address)
    async with aclosing(asterisk_of(pbx, interval=3600.0).watch()) as readings:
        expected = await first(readings, Expected)
        end = await first(readings, ListEnd)
        assert sorted(expected.aors) == [("1001", ""), ("1002", "")]
        assert end.pbx_now == pytest.approx(time.time(), abs=0.5)
        assert end.boot == pytest.approx(time.time(), abs=30)

        began = time.time()
        phone.register(60)
        added = await first(readings, Added)
        (row,) = await until_end(readings)  # it asks for the end by itself
        phone.deregister()
        gone = await first(readings, Gone)

    assert (added.binding.aor, row.aor, gone.aor) == ("1001", "1001", "1001")
    assert added.binding.contact == row.contact == gone.contact
    assert began - 0.1 <= added.at <= gone.at <= time.time()
    assert row.expires_at == pytest.approx(began + 60, abs=1.5)
    assert row.received == phone.contact
    assert gone.loss is Loss.DEREGISTERED


@pytest.mark.real("asterisk")
async def test_a_registration_that_expires_at_asterisk(
    asterisk: StartAsterisk, phones: Phones
) -> None:
    pbx = asterisk([Extension("1001")])
    answer = phones("1001", pbx.address).register(3)
    async with aclosing(asterisk_of(pbx, interval=0.5).watch()) as readings:
        (row,) = await until_end(readings)
        gone = await first(readings, Gone)
    assert answer.startswith("SIP/2.0 200"), answer
    assert gone.loss is Loss.EXPIRED
    assert row.expires_at is not None
    assert row.expires_at <= gone.at <= row.expires_at + 2.5


@pytest.mark.real("asterisk")
async def test_what_asterisk_refuses_is_told(asterisk: StartAsterisk) -> None:
    pbx = asterisk([Extension("1001")])
    users = {
        "norights": Cause.FORBIDDEN,
        "denied": Cause.UNAUTHORIZED,
        "nobody": Cause.UNAUTHORIZED,
    }
    for name, cause in users.items():
        keys = {"username": name, "password": Secret(f"{name}pw")}
        failed = await failure(asterisk_of(pbx, **keys))
        assert (failed.cause, f"[{name}]" in failed.detail) == (cause, True)

    watched = asterisk_of(pbx, interval=0.2, timeout=0.5)
    async with aclosing(watched.watch()) as readings:
        await first(readings, ListEnd)
        pbx.freeze()
        with pytest.raises(Unreadable, match="hangs or is stopped"):
            await first(readings, Gone)
    assert (await failure(watched)).cause is Cause.TIMEOUT
    pbx.thaw()


@pytest.mark.real("kamailio")
async def test_a_phone_comes_and_goes_at_kamailio(
    kamailio: StartKamailio, phones: Phones
) -> None:
    server = kamailio({"2001": "secret", "2002": "secret"})
    phone = phones("2001", server.address)
    began = time.time()
    phone.register(60)
    watched = registrar("kamailio", server.rpc_url, interval=3600.0)
    async with aclosing(watched.watch()) as readings:
        (row,) = await until_end(readings)
        phone.deregister()
        watched.relist()
        assert await until_end(readings) == []
        watched.relist()
        end = await first(readings, ListEnd)

    assert (row.aor, row.granted) == ("2001", 60)
    assert row.received == phone.contact
    assert row.expires_at == pytest.approx(began + 60, abs=1.5)
    assert end.pbx_now == pytest.approx(time.time(), abs=1)
    assert end.boot == pytest.approx(began, abs=30)


@pytest.mark.real("kamailio")
async def test_a_registrar_is_asked_by_sip_alone(
    kamailio: StartKamailio, phones: Phones
) -> None:
    server = kamailio({"2001": "secret", "2002": "secret"})
    phone = phones("2001", server.address)
    phone.register(60)
    keys = {"username": "2001", "password": Secret("secret")}
    async with aclosing(registrar("sip", server.uri, **keys).watch()) as readings:
        (row,) = await until_end(readings)
    assert (row.aor, row.received) == ("2001", phone.contact)
    assert row.expires_at == pytest.approx(time.time() + 60, abs=1.5)

    wrong = {"username": "2001", "password": Secret("wrong")}
    failed = await failure(registrar("sip", server.uri, **wrong))
    assert failed.cause is Cause.UNAUTHORIZED
    assert "secret" not in failed.detail
