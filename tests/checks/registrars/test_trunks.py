"""What Asterisk says of the registrations that it keeps elsewhere."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from checks.observation import State
from checks.registrars.ami import AmiParser, Message
from checks.registrars.asterisk import Asterisk, AsteriskSettings
from checks.registrars.trunks import Trunks
from checks.registrations.judge import (
    ListEnd,
    Outbound,
    Outbounds,
    Reading,
    Unreadable,
)
from checks.settings import Secret
from tests import wire
from tests.checks.registrars.test_asterisk import (
    ROSTER,
    STATES,
    first_list,
    healthy,
    roster_of,
    serving,
    watched,
)
from tests.conftest import StartAsterisk, StartKamailio
from tests.servers.asterisk import Asterisk as Pbx
from tests.servers.asterisk import Registration

OK, REJECTED = State.OK, State.REJECTED
LISTING = "PJSIPShowRegistrationsOutbound"
ROW = {
    "ObjectName": "provider",
    "ClientUri": "sip:line1@sip.example.com",
    "ServerUri": "sip:sip.example.com",
    "RetryInterval": "10",
    "ForbiddenRetryInterval": "15",
    "FatalRetryInterval": "0",
    "Expiration": "60",
    "OutboundProxy": "",
    "Status": "Registered",
}
KEPT = Outbound(
    "provider",
    OK,
    100.0,
    server="sip:sip.example.com",
    client="sip:line1@sip.example.com",
    trusted=False,
    lag=82.0,
)

# reg-bad: a wrong password; reg-dead: a server that is not there; reg-kam: Kamailio.
STARTING = "bad:None dead:None kam:None"
TRYING = "bad:rejected dead:None kam:ok"
SAID = {
    "00_no_phones": STARTING,
    "20_after_graceful_restart_0s": STARTING,
    "21_after_graceful_restart_7s": TRYING,
    "22_after_sigkill_restart_0s": STARTING,
    "24_after_restart_astdb_wiped": STARTING,
    "25_restart_past_expiry_0s": STARTING,
    "31_kam_mode_503": TRYING,
    "32_kam_mode_drop": TRYING,
    "40_in_call": "bad:rejected dead:None kam:None",
    "41_ringing": TRYING,
    "51_in_use": TRYING,
}


def listing(*rows: dict[str, str]) -> list[bytes]:
    return wire.listing("OutboundRegistrationDetail", rows)


def kept(read: list[Reading]) -> list[Outbound]:
    return [row for r in read if isinstance(r, Outbounds) for row in r.rows]


# --- what it reads --------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
async def test_every_recorded_state_is_read_as_it_was(
    state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = wire.answers(wire.read(f"ami/states/{state}.txt.gz"))
    answers[ROSTER] = roster_of(answers)
    async with serving(answers) as server:
        read = await first_list(server)
    rows = kept(read)
    said = " ".join(f"{r.name.removeprefix('reg-')}:{r.state}" for r in rows)
    assert said == SAID.get(state, "bad:rejected dead:rejected kam:ok")
    (kamailio,) = (row for row in rows if row.name == "reg-kam")
    assert kamailio.server == "sip:127.0.120.1:5060"
    assert kamailio.client == "sip:ast-trunk@127.0.120.1"
    assert not kamailio.trusted
    assert "trunkpw" not in caplog.text
    held = [o for o in gc.get_objects() if isinstance(o, dict) and "Password" in o]
    assert held == []


def test_a_row_is_as_late_as_a_refresh_or_the_next_attempt() -> None:
    rejected = ROW | {"ObjectName": "b", "Status": "Rejected", "Expiration": "3600"}
    proxied = ROW | {"ObjectName": "c", "OutboundProxy": "sip:10.0.0.1;lr"}
    rows = Trunks().listed([ROW, rejected, proxied], 100.0).rows
    assert rows[0] == KEPT
    assert (rows[1].state, rows[1].lag) == (REJECTED, 15 + 32)
    assert rows[1].detail == "Asterisk says Rejected"
    assert rows[2].proxy == "sip:10.0.0.1;lr"


@pytest.mark.parametrize("word", ["Unregistered", "Stopping", "Stopped", "", "New"])
def test_any_other_word_is_no_outcome(word: str) -> None:
    (row,) = Trunks().listed([ROW | {"Status": word}], 100.0).rows
    assert row.state is None


def test_a_row_without_its_numbers_is_as_late_as_can_be() -> None:
    (row,) = Trunks().listed([{"ObjectName": "a", "Status": "Registered"}], 9.0).rows
    assert row == Outbound("a", OK, 9.0, trusted=False, lag=3600 - 10 + 32)


def registry(status: str, **changed: str) -> Message:
    uris = {"Username": ROW["ClientUri"], "Domain": ROW["ServerUri"]}
    return {"Event": "Registry", **uris, "Status": status} | changed


def test_an_event_is_of_the_registration_with_its_uris() -> None:
    trunks = Trunks()
    trunks.listed([ROW], 100.0)
    fresh = trunks.event(registry("Registered"), 150.0)
    assert fresh is not None
    assert (fresh.name, fresh.state, fresh.at, fresh.lag) == ("provider", OK, 150, 0)
    failed = trunks.event(registry("Rejected"), 200.0)
    assert failed is not None
    assert (failed.state, failed.lag, failed.detail, failed.trusted) == (
        REJECTED,
        32,
        "Asterisk says Rejected",
        False,
    )
    ended = trunks.event(registry("Unregistered"), 210.0)
    assert ended is not None
    assert ended.state is None


def test_an_event_of_two_or_of_none_needs_a_list() -> None:
    trunks = Trunks()
    trunks.listed([ROW, ROW | {"ObjectName": "twin"}], 100.0)
    assert trunks.event(registry("Rejected"), 200.0) is None
    assert trunks.event(registry("Rejected", Username="sip:x@y"), 200.0) is None


def test_the_recorded_events_of_a_day_are_read() -> None:
    """Of ast-trunk: each refresh, 50 s apart; of nobody: a failure every 42 s."""
    parser = AmiParser()
    parser.feed(wire.GREETING)
    messages = parser.feed(wire.lines(wire.read("ami/ami_events_main.log.gz")))
    events = [m for m in messages if m.get("Event") == "Registry"]
    trunks = Trunks()
    pairs = {(m["Username"], m["Domain"]) for m in events}
    rows = [{"ClientUri": c, "ServerUri": s, "ObjectName": c} for c, s in pairs]
    trunks.listed(rows, 0.0)
    said: dict[str, set[State | None]] = {}
    for event in events:
        row = trunks.event(event, float(event["Timestamp"]))
        assert row is not None
        said.setdefault(row.name, set()).add(row.state)
    assert len(events) == 34
    assert said == {
        "sip:ast-trunk@127.0.120.1": {OK},
        "sip:2099@127.0.120.1": {REJECTED},
        "sip:nobody@127.0.149.1": {REJECTED},
    }


# --- the whole read -------------------------------------------------------------------


async def test_without_the_module_there_are_none() -> None:
    async with serving(healthy()) as server:
        read = await first_list(server)
    assert [r for r in read if isinstance(r, Outbounds)] == [Outbounds([])]


async def test_a_user_that_may_not_list_them_is_told_what_is_missing() -> None:
    refused = [wire.error("Permission denied")]
    async with serving(healthy(**{LISTING: refused})) as server:
        with pytest.raises(Unreadable, match="write = system,reporting"):
            await first_list(server)


async def test_an_event_between_lists_is_told_at_once() -> None:
    answers = healthy(**{LISTING: listing(ROW)})
    event = wire.message(**registry("Rejected"))
    async with serving(answers) as server:
        async with aclosing(watched(server).watch()) as readings:
            async for reading in readings:
                if isinstance(reading, ListEnd):
                    await server.push(event)
                if isinstance(reading, Outbound):
                    break
    assert reading.name == "provider"
    assert reading.state is REJECTED


async def test_an_event_of_an_unknown_one_brings_a_list() -> None:
    event = wire.message(**registry("Registered"))
    async with serving(healthy()) as server:
        async with aclosing(watched(server, interval=600.0).watch()) as readings:
            ends = 0
            async for reading in readings:
                if isinstance(reading, ListEnd):
                    ends += 1
                    await server.push(event)
                if ends == 2:
                    break
    assert server.actions.count(LISTING) == 2


# --- against the real ones ------------------------------------------------------------

real = pytest.mark.real("asterisk", "kamailio")


def reader(pbx: Pbx, **settings: Any) -> Asterisk:
    keys = {"username": pbx.user, "password": Secret(pbx.secret), **settings}
    where = f"{pbx.address}:{pbx.ami_port}"
    return Asterisk(AsteriskSettings(**keys), where, clock=time.time)


async def settled(readings: AsyncIterator[Reading], count: int) -> dict[str, Outbound]:
    """By name: the last of each, when so many have an outcome."""
    rows: dict[str, Outbound] = {}
    async with asyncio.timeout(50):
        async for reading in readings:
            if isinstance(reading, Outbounds):
                rows = {row.name: row for row in reading.rows}
            elif isinstance(reading, Outbound):
                rows[reading.name] = reading
            if sum(row.state is not None for row in rows.values()) == count:
                return rows
    raise AssertionError(rows)


@real
async def test_the_real_ones_outcomes(
    asterisk: StartAsterisk, kamailio: StartKamailio
) -> None:
    server = kamailio({"line1": "secret", "line2": "secret"})
    pbx = asterisk(
        (),
        [
            Registration("good", server.uri, "line1"),
            Registration("bad", server.uri, "line2", "wrong"),
            Registration("strange", server.uri, "line3", login="line1"),  # 403
        ],
    )
    async with aclosing(reader(pbx, interval=1.0).watch()) as readings:
        rows = await settled(readings, 3)
    assert {name: row.state for name, row in rows.items()} == {
        "good": OK,
        "bad": REJECTED,
        "strange": REJECTED,
    }
    assert rows["good"].server == server.uri
    assert rows["good"].client == f"sip:line1@{server.address}"


@real
async def test_a_real_one_that_registers_nowhere_has_none(
    asterisk: StartAsterisk,
) -> None:
    async with aclosing(reader(asterisk()).watch()) as readings:
        async for reading in readings:
            if isinstance(reading, Outbounds):
                break
    assert reading == Outbounds([])


@real
async def test_a_refresh_of_a_real_one_is_an_event(
    asterisk: StartAsterisk, kamailio: StartKamailio
) -> None:
    server = kamailio({"line1": "secret"})
    pbx = asterisk((), [Registration("good", server.uri, "line1", expiration=12)])
    async with aclosing(reader(pbx, interval=600.0).watch()) as readings:
        await settled(readings, 1)
        async with asyncio.timeout(30):
            async for reading in readings:
                if isinstance(reading, Outbound):
                    break
    assert (reading.name, reading.state, reading.lag) == ("good", OK, 0.0)
