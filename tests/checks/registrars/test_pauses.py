"""Do not disturb and maintenance, as Asterisk tells of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from checks.observation import Cause
from checks.registrars import pauses
from checks.registrations.judge import ListEnd
from checks.registrations.readings import Paused, Pausing, Reading
from tests import wire
from tests.checks.registrars.test_asterisk import (
    first_list,
    healthy,
    serving,
    until_end,
    watched,
)
from tests.checks.registrars.test_real_servers import asterisk_of, first
from tests.conftest import StartAsterisk
from tests.servers.asterisk import Extension
from tests.wire import message

DND, MAINTENANCE = Cause.DO_NOT_DISTURB, Cause.MAINTENANCE


def dnd(**values: str) -> list[bytes]:
    rows = [{"Key": f"/DND/{name[1:]}", "Val": v} for name, v in values.items()]
    return wire.listing("DBGetTreeResponse", rows)


def maintained(**states: str) -> list[bytes]:
    rows = [{"Endpoint": name[1:], "Status": s} for name, s in states.items()]
    return wire.listing("PJSIPMaintenanceStatus", rows)


def paused(read: list[Reading]) -> list[Paused]:
    return [reading for reading in read if isinstance(reading, Paused)]


async def test_a_list_tells_who_is_not_to_be_reached() -> None:
    answers = healthy(
        DBGetTree=dnd(x1001="YES", x1002="", x1003="yes", x1004="NO"),
        PJSIPShowMaintenance=maintained(x1003="enabled", x1005="disabled"),
    )
    async with serving(answers) as server:
        read = await first_list(server)
    (found,) = paused(read)
    assert found == Paused({"1001": DND, "1003": MAINTENANCE})
    assert isinstance(read[-1], ListEnd)  # it is known when the list is judged


async def test_an_asterisk_that_knows_neither_is_asked_once() -> None:
    async with serving(healthy()) as server:
        registrar = watched(server, interval=0.05)
        async with aclosing(registrar.watch()) as readings:
            for _ in range(3):
                assert paused(await until_end(readings)) == []
        assert server.actions.count("DBGetTree") == 1
        assert server.actions.count("PJSIPShowMaintenance") == 1


async def test_a_user_without_the_right_reads_registrations_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    denied = [wire.error("Permission denied")]
    answers = healthy(DBGetTree=denied)
    async with serving(answers) as server:
        registrar = watched(server, interval=0.05)
        for _ in range(2):  # connections
            async with aclosing(registrar.watch()) as readings:
                for _ in range(2):
                    read = await until_end(readings)
                    assert paused(read) == []
                    assert isinstance(read[-1], ListEnd)
        assert server.actions.count("DBGetTree") == 2
    assert caplog.text.count("refuses DBGetTree: without `write = ") == 1
    assert "refuses PJSIPShowMaintenance" not in caplog.text  # not of its version


async def test_what_did_not_change_is_told_once() -> None:
    answers = healthy(DBGetTree=dnd(x1001="YES"))
    async with serving(answers) as server:
        registrar = watched(server, interval=0.05)
        async with aclosing(registrar.watch()) as readings:
            assert paused(await until_end(readings)) == [Paused({"1001": DND})]
            assert paused(await until_end(readings)) == []
            answers["DBGetTree"] = dnd()
            assert paused(await until_end(readings)) == [Paused({})]


async def test_maintenance_is_told_as_it_begins_and_ends() -> None:
    async with serving(healthy(PJSIPShowMaintenance=maintained())) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            event = {"Event": "PJSIPMaintenanceStatus", "Endpoint": "1001"}
            await server.push(
                message(**event, Status="enabled"), message(**event, Status="disabled")
            )
            begins, ends = [await anext(readings) for _ in range(2)]
    assert isinstance(begins, Pausing)
    assert isinstance(ends, Pausing)
    assert (begins.aor, begins.cause, begins.on) == ("1001", MAINTENANCE, True)
    assert (ends.aor, ends.on) == ("1001", False)


@pytest.mark.parametrize(
    "event",
    [
        {"Event": "PJSIPMaintenanceStatus", "Status": "enabled"},
        {"Event": "PJSIPMaintenanceStatus", "Endpoint": "1001"},
        {"Event": "PJSIPMaintenanceStatus", "Endpoint": "1001", "Status": "soon"},
    ],
)
def test_an_event_that_says_nothing_is_nothing(event: dict[str, str]) -> None:
    assert pauses.Pauses().event(event, 1.0) is None


async def test_how_many_may_be_paused_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pauses, "LIMIT", 3)
    many = {f"x{n}": "YES" for n in range(50)}
    async with serving(healthy(DBGetTree=dnd(**many))) as server:
        read = await first_list(server)
    assert len(paused(read)[0].causes) == 3


@pytest.mark.real("asterisk")
async def test_a_real_asterisk_tells_both_with_the_rights_of_a_monitor(
    asterisk: StartAsterisk,
) -> None:
    pbx = asterisk([Extension("1001"), Extension("1002")])
    await asyncio.to_thread(pbx.cli, "database put DND 1001 YES")
    registrar = asterisk_of(pbx, interval=1.0)
    async with aclosing(registrar.watch()) as readings:
        assert await first(readings, Paused) == Paused({"1001": DND})
        await first(readings, ListEnd)
        await asyncio.to_thread(pbx.cli, "pjsip set maintenance on 1002")
        begun = await first(readings, Pausing)
        assert (begun.aor, begun.cause, begun.on) == ("1002", MAINTENANCE, True)
        await asyncio.to_thread(pbx.cli, "database del DND 1001")
        assert await first(readings, Paused) == Paused({"1002": MAINTENANCE})
        await asyncio.to_thread(pbx.cli, "pjsip set maintenance off 1002")
        ended = await first(readings, Pausing)
        assert (ended.aor, ended.on) == ("1002", False)
