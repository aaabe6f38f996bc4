"""20,000 contacts in one list, and lists that are none: too long, broken off, endless.

FreeSWITCH's and OpenSIPS' are beside their other tests.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from itertools import chain
from typing import Any

import pytest

from checks.observation import Cause, Kind, Scope, State, Subject
from checks.registrars import asterisk, kamailio, rpc, session
from checks.registrars.asterisk import Asterisk, AsteriskSettings
from checks.registrars.kamailio import Kamailio, KamailioSettings
from checks.registrations.judge import (
    Bindings,
    Judge,
    ListEnd,
    Registrar,
    RegistrarSettings,
    Unreadable,
)
from tests import wire
from tests.wire import CLOSE, HANG, AmiServer, Rpc, message
from tests.wires import asterisk as ami
from tests.wires import kamailio as kam
from tests.wires.opensips import OpenSips, Stream

MANY = 20_000
EXTENSIONS = MANY * 9 // 10
MEMORY = 30e6  # bytes on top, whatever is sent: a tenth of it is of what was read
DONE = {"Response": "Success", "ActionID": "x"}


def judge() -> Judge:
    settings = RegistrarSettings(type="test", address="pbx")
    subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
    return Judge("hq", settings, subject, time.time(), members=["pbx"], listed=())


async def listed(registrar: Registrar, judged: Judge) -> list[int]:
    """One full list, judged; the rows of its slices."""
    slices = []
    async with aclosing(registrar.watch()) as readings:
        async for reading in readings:
            judged.apply("pbx", reading, time.time())
            if isinstance(reading, Bindings):
                slices.append(len(reading.rows))
            if isinstance(reading, ListEnd):
                break
    while judged.next_deadline() == 0.0:
        judged.advance(time.time())
    return slices


async def failure(registrar: Registrar) -> tuple[Unreadable, int]:
    """How a list failed, which never ended, and the rows that came before."""
    rows = 0
    try:
        async for reading in registrar.watch():
            assert not isinstance(reading, ListEnd)
            rows += len(reading.rows) if isinstance(reading, Bindings) else 0
    except Unreadable as failed:
        return failed, rows
    raise AssertionError("it ended")


@contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


# --- Asterisk ------------------------------------------------------------------------


def manager(contacts: list[bytes], roster: list[bytes] | None = None) -> AmiServer:
    core = message(**DONE, CoreStartupDate="2026-01-01", CoreStartupTime="00:00:00")
    nobody = wire.listing("InboundRegistrationDetail", ())
    return AmiServer(
        {
            "Login": [message(**DONE, Message="Authentication accepted")],
            "Ping": [message(**DONE, Ping="Pong")],
            "CoreStatus": [core],
            "Getvar": [message(**DONE, Variable="x", Value="")],
            ami.ROSTER: roster or nobody,
            ami.CONTACTS: contacts,
        },
        after_login=[message(Event="FullyBooted", Uptime="9")],
    )


def of_asterisk(server: AmiServer, **settings: Any) -> Asterisk:
    keys = {"timeout": 5.0, **settings}
    return Asterisk(AsteriskSettings(**keys), server.address, clock=time.time)


def rows(count: int) -> list[bytes]:
    return wire.listing("ContactStatusDetail", ami.crowd(count, time.time() + 100))


async def test_twenty_thousand_contacts_of_asterisk_are_judged_right() -> None:
    judged = judge()
    away = ({"ObjectName": f"x{n}", "MaxContacts": "1"} for n in range(9))
    roster = wire.listing("InboundRegistrationDetail", chain(ami.roster(MANY), away))
    async with manager([b"".join(rows(MANY))], [b"".join(roster)]) as server:
        slices = await listed(of_asterisk(server, timeout=30.0), judged)
    assert sum(slices) == MANY
    assert max(slices) <= asterisk.STEP
    counts = {State.REGISTERED: EXTENSIONS, State.NEVER_REGISTERED: 9}
    assert judged.counts() == counts
    assert len(judged.extensions["000008"].contacts) == 2
    assert judged.extensions["000007"].reachable is False
    assert judged.extensions["000001"].rtt == pytest.approx(0.001001)


ROW = rows(1)[1]
ENDLESS = {
    "never ends": ([ROW * 100] * 3000, Cause.TIMEOUT, "does not end"),
    "breaks off": ([ROW * 10, CLOSE], Cause.CONNECTION_RESET, "closed"),
    "stands still": ([ROW * 10, HANG], Cause.TIMEOUT, "does not end"),
    "has too many rows": ([ROW * 100] * 30, Cause.MALFORMED, "rows or 64 MB"),
    "is 200 MB": ([ROW * 250] * 1600, Cause.MALFORMED, "rows or 64 MB"),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_list_of_asterisk_that_is_none_is_unreadable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, cause, sentence = ENDLESS[name]
    monkeypatch.setattr(session, "ROW_LIMIT", 2000 if "rows" in name else 10**9)
    monkeypatch.setattr(session, "LIST_LIMIT", 10**7 if "MB" in name else 10**12)
    monkeypatch.setattr(session, "LIST_SECONDS", 1.0 if "never" in name else 60.0)
    start = wire.listing("ContactStatusDetail", ())[0]
    async with manager([start, *pieces]) as server:
        with bounded_memory():
            failed, _ = await failure(of_asterisk(server, timeout=0.5))
    assert failed.cause is cause
    assert sentence in failed.detail


# --- Kamailio ------------------------------------------------------------------------


def of_kamailio(address: str, **settings: Any) -> Kamailio:
    keys = {"timeout": 5.0, **settings}
    return Kamailio(KamailioSettings(**keys), address, clock=time.time)


def dump(count: int) -> bytes:
    now = time.time()
    return kam.dump(list(kam.crowd(count, now + 100, now)))


async def test_twenty_thousand_contacts_of_kamailio_are_judged_right() -> None:
    judged = judge()
    async with Rpc({"ul.dump": (200, dump(MANY))}) as server:
        slices = await listed(of_kamailio(server.address, timeout=30.0), judged)
    assert sum(slices) == MANY
    assert max(slices) <= kamailio.STEP
    assert judged.counts() == {State.REGISTERED: EXTENSIONS}
    assert len(judged.extensions["000008"].contacts) == 2
    assert judged.extensions["000007"].reachable is False
    assert judged.extensions["000001"].rtt == pytest.approx(0.001001)


async def test_a_dump_of_kamailio_that_lacks_rows_or_its_end_is_no_list() -> None:
    whole = dump(2000)
    half, fewer = whole[: len(whole) // 2], whole.replace(b":1800,", b":1801,")
    assert fewer != whole
    for body in (half, fewer, whole[:-3]):
        async with Rpc({"ul.dump": (200, body)}) as server:
            failed, _ = await failure(of_kamailio(server.address))
        assert failed.cause is Cause.MALFORMED


POURED = {
    "never ends": Stream(b" " * 65536, 10**6, 10**11),
    "breaks off": Stream(b"[" * 65536, 4, 10**6, closes=True),
    "is 200 MB": Stream(b" " * 65536, 3200, 3200 * 65536),
    "stands still": Stream(b'{"result"', 1, 10**6),
}


@pytest.mark.parametrize("name", POURED)
async def test_a_dump_of_kamailio_that_is_none_is_unreadable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "BODY_LIMIT", 10**6)
    async with OpenSips(lambda *_: POURED[name]) as server:
        with bounded_memory():
            failed, rows = await failure(of_kamailio(server.address, timeout=0.5))
    causes = (Cause.MALFORMED, Cause.TIMEOUT, Cause.CONNECTION_RESET)
    assert failed.cause in causes
    assert rows == 0
