"""An OpenSIPS whose list never comes: each AOR is asked for, and nobody is lost."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest

from checks.observation import Cause, State
from checks.registrars import lookups, opensips, rpc
from checks.registrations.readings import Bindings, ListEnd, Reading
from tests.checks.registrars.reading_opensips import (
    Clock,
    Judged,
    failure,
    rows,
    until_end,
    watched,
)
from tests.wires.opensips import (
    Answer,
    Contact,
    Hang,
    OpenSips,
    Status,
    Stream,
    Usrloc,
    crowd,
    event,
    fault,
    recorded,
    result,
)

ALL = ["u0@lab.test", "u1@lab.test", "u2@lab.test", "u3@lab.test"]


def phones(*users: int, ends: float | None = None, **options: Any) -> Usrloc:
    """These users of four, in a table whose list does not fit."""
    usrloc = Usrloc(**options)
    for n in users:
        uri = f"sip:u{n}@10.0.0.{n}:5060"
        usrloc.add(Contact(f"u{n}@lab.test", uri, ends or time.time() + 60))
    return usrloc


async def passes(
    server: OpenSips, count: int = 1, aors: list[str] = ALL, **settings: Any
) -> list[Reading]:
    """What is read until so many passes have gone by; the list does not come."""
    keys = {"timeout": 0.3, "interval": 0.05, **settings}
    registrar = watched(server, aors=lambda: aors, **keys)
    read: list[Reading] = []
    count += server.calls.count("uptime")
    async with aclosing(registrar.watch()) as readings:
        async for reading in readings:
            read.append(reading)
            if server.calls.count("uptime") > count:
                return read
    return read


def covered(read: list[Reading]) -> set[str]:
    ends = [r.aors for r in read if isinstance(r, ListEnd)]
    assert None not in ends
    return {aor for end in ends if end for aor in end}


# What may come in place of a list, while the rest answers.
INSTEAD: dict[str, Answer] = {
    "never": Hang(),
    "an error": fault(500, "Internal error"),
    "HTTP 500": Status(500),
    "no JSON": b"<html>",
    "half of it": b'{"jsonrpc":"2.0","result":{"Domains":[{"name":"location","AORs":[{',
    "a row that is none": result({"Domains": [{"AORs": [{"AOR": 5}]}]}),
    "an end beyond all time": result(
        {
            "Domains": [
                {
                    "AORs": [
                        {"AOR": "1", "Contacts": [{"Contact": "", "Expires": 10**400}]}
                    ]
                }
            ]
        }
    ),
    "it breaks off": Stream(b"[" * 65536, 1, 10**6, closes=True),
    "it never ends": Stream(b" " * 65536, 10**6, 10**11),
    "200 MB": Stream(b" " * 65536, 3200, 3200 * 65536),
}


@pytest.mark.parametrize("name", INSTEAD)
async def test_without_a_list_each_is_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rpc, "BODY_LIMIT", 10**6)
    async with OpenSips(phones(0, 1, 2)) as server:
        server.overrides["ul_dump"] = INSTEAD[name]
        read = await passes(server, 2)
    assert {row.aor for row in rows(read)} == {
        "u0@lab.test",
        "u1@lab.test",
        "u2@lab.test",
    }
    assert covered(read) == set(ALL)
    assert server.calls.count("ul_dump") - server.calls.count("get_statistics") < 2
    assert caplog.text.count("does not list its 3 contacts") == 1
    assert "buf_size" in caplog.text


async def test_a_list_too_large_for_the_buffer_is_one() -> None:
    usrloc = phones(0, 1, 2, buffer=500)
    async with OpenSips(usrloc) as server:
        read = await passes(server)
    assert {row.aor for row in rows(read)} == set(ALL[:3])
    assert covered(read) == set(ALL)


@pytest.mark.parametrize("brief", [True, False], ids=["brief", "no brief list"])
async def test_the_states_are_right_and_nobody_is_lost_by_it(brief: bool) -> None:
    now = time.time()
    judged = Judged(now, *ALL)
    async with OpenSips(phones(0, 1, 2)) as server:
        async with aclosing(watched(server).watch()) as readings:
            judged.take(await until_end(readings), now)
        server.overrides["ul_dump"] = Hang()
        if not brief:
            server.overrides["ul_dump brief"] = Hang()
        judged.take(await passes(server), time.time())
        assert judged.states() == dict.fromkeys(ALL[:3], State.REGISTERED) | {
            "u3@lab.test": State.NEVER_REGISTERED
        }
        del server.answers.records["u1@lab.test"]  # type: ignore[attr-defined]
        judged.take(await passes(server), time.time())
    assert judged.states()["u1@lab.test"] is State.UNREGISTERED
    assert judged.states()["u0@lab.test"] is State.REGISTERED


async def test_when_not_even_statistics_come_it_is_unreadable() -> None:
    async with OpenSips(phones(0)) as server:
        server.overrides |= {"ul_dump": Hang(), "get_statistics": Hang()}
        failed = await failure(watched(server, timeout=0.2))
    assert failed.cause is Cause.TIMEOUT


async def test_no_record_is_no_binding_and_no_table_is_no_answer() -> None:
    async with OpenSips(phones(0)) as server:
        server.overrides |= {"ul_dump": Hang(), "ul_dump brief": Hang()}
        gone = await passes(server, aors=["u3@lab.test"])
        server.overrides["ul_show_contact"] = fault(404, "Table not found")
        missing = await passes(server, aors=["u3@lab.test"])
    assert covered(gone) == {"u3@lab.test"}
    assert covered(missing) == set()


async def test_what_an_aor_is_asked_for_by() -> None:
    """3.6 takes u1@lab.test for its u1; 4.0 wants the domain that is configured."""
    asked = []
    for use_domain in (True, False):
        usrloc = phones(0, use_domain=use_domain)
        if not use_domain:
            usrloc.records["u0"] = usrloc.records.pop("u0@lab.test")
            usrloc.records["u0"][0].aor = "u0"
        async with OpenSips(usrloc) as server:
            server.overrides |= {"ul_dump": Hang(), "ul_dump brief": Hang()}
            read = await passes(server, aors=["u0"], domain="lab.test")
        assert [row.aor for row in rows(read)][:1] == ["u0"]
        asked += [p for name, p in server.requests if name == "ul_show_contact"][:1]
    assert asked == [{"table_name": "location", "aor": "u0@lab.test"}] * 2


async def test_an_aor_without_its_domain_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with OpenSips(phones(0)) as server:
        server.overrides |= {"ul_dump": Hang(), "ul_dump brief": Hang()}
        read = await passes(server, 3, aors=["u0"])
    assert (rows(read), covered(read)) == ([], set())
    assert caplog.text.count("does not tell of u0: Domain missing in AOR") == 1


@pytest.mark.parametrize("version", ["3.6.8", "4.0.1"])
async def test_recorded_answers_for_single_aors(version: str) -> None:
    server = OpenSips(recorded(version), version)
    clock = Clock({"3.6.8": 1795168183.25, "4.0.1": 1795167348.25}[version])
    aors = ["u1", "nobody"]
    async with server:
        server.overrides |= {"ul_dump": Hang(), "ul_dump brief": Hang()}
        registrar = watched(server, clock, lambda: aors, domain="lab.test", timeout=0.2)
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings, 2)
    (row,) = rows(read)
    left = {"3.6.8": 118, "4.0.1": 87}[version]
    assert (row.aor, row.expires_at) == ("u1", int(clock.now) + left)
    assert covered(read) == {"u1", "nobody"}


async def test_who_is_not_watched_is_asked_for_once_as_it_may_become_so() -> None:
    async with OpenSips(phones(0, 1)) as server:
        server.overrides["ul_dump"] = Hang()
        await passes(server, 4, aors=["u0@lab.test"], interval=0.02)
    asked = [p["aor"] for name, p in server.requests if name == "ul_show_contact"]
    assert asked.count("u1@lab.test") == 1


async def test_with_a_brief_list_one_is_asked_for_at_its_end() -> None:
    async with OpenSips(phones(0, 1, ends=time.time() + 3600)) as server:
        server.overrides["ul_dump"] = Hang()
        await passes(server, 4, interval=0.02)
    asked = [p["aor"] for name, p in server.requests if name == "ul_show_contact"]
    assert sorted(asked) == ["u0@lab.test", "u1@lab.test"]


async def test_an_event_moves_the_next_question() -> None:
    async with OpenSips(phones(0, ends=time.time() + 3600)) as server:
        server.overrides["ul_dump"] = Hang()
        registrar = watched(server, aors=lambda: ALL[:1], timeout=0.3, interval=0.05)
        params = {"aor": ALL[0], "uri": "sip:u0@10.0.0.0:5060", "expires": 0}
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings, 4)
            asked = server.calls.count("ul_show_contact")
            server.emit(event("E_UL_CONTACT_DELETE", **params))
            reading = asyncio.ensure_future(until_end(readings, 4))
            await server.asked("ul_show_contact", asked + 1)
            await reading
    assert asked == 1


async def test_a_pass_ends_in_time_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookups, "HANDFUL", 1)
    monkeypatch.setattr(lookups, "SHARE", 1e-9)
    async with OpenSips(phones(0, 1, 2)) as server:
        server.overrides |= {"ul_dump": Hang(), "ul_dump brief": Hang()}
        read = await passes(server, 3, aors=ALL[:3], interval=0.02)
    asked = [[row.aor for row in r.rows] for r in read if isinstance(r, Bindings)]
    assert sorted(asked) == [[ALL[0]], [ALL[1]], [ALL[2]]]


async def test_the_list_is_tried_again_seldom_and_then_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ahead, tried = [0.0], list[int]()
    async with OpenSips(phones(0, 1)) as server:

        def later() -> None:
            dumps = [params for name, params in server.requests if name == "ul_dump"]
            tried.append(sum(not params for params in dumps))  # not the brief ones
            ahead[0] += opensips.AGAIN

        server.overrides["ul_dump"] = fault(500, "Internal error")
        registrar = watched(
            server, lambda: time.time() + ahead[0], lambda: ALL, interval=0.02
        )
        async with aclosing(registrar.watch()) as readings:
            for _ in range(2):
                await until_end(readings, 9)
                later()
            del server.overrides["ul_dump"]
            async for reading in readings:
                if isinstance(reading, ListEnd) and reading.aors is None:
                    break
            later()
    assert tried == [1, 2, 3]
    assert caplog.text.count("does not list") == 1
    assert caplog.text.count("lists its contacts again") == 1


async def test_a_restart_may_have_given_it_a_larger_buffer() -> None:
    usrloc = phones(0)
    async with OpenSips(usrloc) as server:
        server.overrides["ul_dump"] = Hang()
        registrar = watched(server, aors=lambda: ALL[:1], timeout=0.2, interval=0.02)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings, 4)
            del server.overrides["ul_dump"]
            usrloc.up_since += 600
            async for reading in readings:
                if isinstance(reading, ListEnd) and reading.aors is None:
                    break
    assert server.calls.count("get_statistics") < 20


async def test_twenty_thousand_without_a_list_are_judged_by_a_brief_one() -> None:
    """2 MB hold 0.6 MB of names, not 5.8 MB of contacts."""
    now = time.time()
    usrloc = Usrloc()
    usrloc.add(*crowd(20_000, now + 3600))
    gone = [f"u{n}@lab.test" for n in range(20_000, 20_100)]
    async with OpenSips(usrloc) as server:
        registrar = watched(server, aors=lambda: gone, timeout=1.5, interval=0.3)
        async with aclosing(registrar.watch()) as readings:
            first = (await until_end(readings))[-1]
    assert isinstance(first, ListEnd)
    assert first.aors == frozenset(gone)
