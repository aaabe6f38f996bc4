from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Binding, Loss, State
from checks.registrars import evi
from checks.registrars.evi import Event, place, reading
from checks.registrars.registrant import Registrant
from checks.registrars.rpc import decode
from checks.registrations.readings import (
    Added,
    Gone,
    ListEnd,
    Outbound,
    Reach,
    Reading,
)
from tests.checks.registrars.reading_opensips import (
    Clock,
    Judged,
    rows,
    until_end,
    watched,
)
from tests.wires import opensips as wire
from tests.wires.opensips import Contact, OpenSips, Usrloc, event

REACHED = 1795167539.0  # when u1 registered in the recorded session, for 15 s
LATENCY = {"aor": "u1@lab.test", "uri": "sip:u1@10.0.0.1", "domain": "location"}


def said(data: bytes, at: float = REACHED, offset: float = 0.0) -> Reading | None:
    return reading(decode(data, Event), at, offset, Registrant(), "lab.test")


async def next_of(readings: AsyncIterator[Reading], kind: type[Any]) -> Any:
    async for found in readings:
        if isinstance(found, kind):
            return found
    raise AssertionError(kind)


def recorded(method: str, user: str) -> list[bytes]:
    wanted = (method.encode(), f'"aor":"{user}@lab.test"'.encode())
    return [data for data in wire.events() if all(part in data for part in wanted)]


# --- what an event says -------------------------------------------------------------


def test_a_recorded_insert_is_a_binding_that_came() -> None:
    (data,) = recorded("E_UL_CONTACT_INSERT", "u1")
    assert said(data) == Added(
        Binding(
            aor="u1",
            contact="sip:u1@127.0.50.11:6400",
            expires_at=1795167554.0,
            user_agent="LabPhone/1.1",
            received="127.0.50.11:6400",
        ),
        at=REACHED,
    )


@pytest.mark.parametrize(
    ("user", "after", "loss"),
    [
        ("u1", 17, Loss.EXPIRED),  # the end was at 15, the timer came at 17
        ("u7", 8, Loss.DEREGISTERED),
        ("u2", 43, Loss.UNKNOWN),  # its pings were not answered
    ],
)
def test_a_recorded_delete_has_no_reason_but_may_show_one(
    user: str, after: float, loss: Loss
) -> None:
    (data,) = recorded("E_UL_CONTACT_DELETE", user)
    found = said(data, REACHED + after)
    assert isinstance(found, Gone)
    assert (found.aor, found.loss) == (user, loss)


def test_an_end_is_of_the_servers_clock() -> None:
    (data,) = recorded("E_UL_CONTACT_DELETE", "u1")
    found = said(data, REACHED + 17 - 3600, offset=3600.0)
    assert isinstance(found, Gone)
    assert found.loss is Loss.EXPIRED


@pytest.mark.parametrize(
    ("latency", "reachable", "rtt"),
    [(1250, True, 0.00125), (1_800_000_000, False, None), (0, None, None)],
)
def test_a_latency_is_the_answer_to_a_ping(
    latency: int, reachable: bool | None, rtt: float | None
) -> None:
    data = event("E_UL_LATENCY_UPDATE", **LATENCY, latency=latency)
    wanted = Reach("u1", "sip:u1@10.0.0.1", reachable, rtt, REACHED)
    assert said(data) == wanted


def test_a_contact_may_last_for_ever() -> None:
    found = said(event("E_UL_CONTACT_INSERT", **LATENCY, expires=0))
    assert isinstance(found, Added)
    assert found.binding.expires_at is None


@pytest.mark.parametrize(
    "data",
    [
        event("E_UL_AOR_INSERT", aor="u1@lab.test"),
        event("E_UL_CONTACT_REFRESH", **LATENCY),  # is a wish for a push, no refresh
        event("E_CORE_THRESHOLD"),
        event("E_REGISTRANT_REGISTERED", aor="sip:x@y", contact="", registrar=""),
    ],
)
def test_other_events_say_nothing(data: bytes) -> None:
    assert said(data) is None


@given(st.binary() | st.dictionaries(st.text(), st.text() | st.integers()).map(str))
def test_any_datagram_is_an_event_or_a_value_error(data: bytes | str) -> None:
    body = data.encode("utf-8", "replace") if isinstance(data, str) else data
    try:
        said(body)
    except ValueError:
        return


@given(
    st.sampled_from(evi.BINDINGS + evi.REGISTRATIONS),
    st.fixed_dictionaries(
        {"aor": st.text()},
        optional={
            "uri": st.text(),
            "received": st.none() | st.text(),
            "expires": st.integers(-(2**32), 2**32),
            "latency": st.integers(-(2**32), 2**32),
            "bflags": st.integers(0, 2**32),
        },
    ),
)
def test_any_params_are_a_reading_or_none(name: str, params: dict[str, Any]) -> None:
    data = event(name, **params).decode().encode("utf-8", "replace")
    found = said(data)
    assert found is None or isinstance(found, Added | Gone | Reach)


# --- where they come ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "mi", "at"),
    [
        ("", "http://127.0.0.1:8888/mi", ("127.0.0.1", 0)),
        ("", "http://127.100.1.2:8888/mi", ("127.0.0.1", 0)),
        ("", "http://localhost:8888/mi", ("127.0.0.1", 0)),
        ("", "http://[::1]:8888/mi", ("127.0.0.1", 0)),
        ("", "http://10.0.0.5:8888/mi", None),
        ("", "http://pbx.example.com/mi", None),
        ("10.0.0.9", "http://10.0.0.5/mi", ("10.0.0.9", 0)),
        ("10.0.0.9:5066", "http://10.0.0.5/mi", ("10.0.0.9", 5066)),
        ("off", "http://127.0.0.1:8888/mi", None),
    ],
)
def test_where_events_are_heard(
    events: str, mi: str, at: tuple[str, int] | None
) -> None:
    assert place(events, mi) == at


async def test_the_recorded_session_is_judged_as_it_went() -> None:
    """u1 expires, u7 logs out, u2 is removed by pings; the trunks are as they were."""
    clock = Clock(REACHED)
    usrloc = Usrloc(clock=clock, up_since=REACHED - 100)
    usrloc.registrations = _records()
    judged = Judged(REACHED, "u1", "u2", "u7", "u9", "trk1", domain="lab.test")
    async with OpenSips(usrloc) as server:
        registrar = watched(server, clock, domain="lab.test", interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            judged.take(await until_end(readings), REACHED)
            server.emit(*wire.events())
            found: list[Reading] = []
            left = {"u1", "u2", "u7"}
            async for one in readings:
                found.append(one)
                if isinstance(one, Gone):
                    left.discard(one.aor)
                if not left:
                    break
    judged.take(found, REACHED + 44)
    assert judged.states() == {
        "u1": State.UNREGISTERED,
        "u2": State.UNREGISTERED,
        "u7": State.UNREGISTERED,
        "u9": State.REGISTERED,
        "trk1": State.REGISTERED,
    }
    assert judged.registrations()["trk1@lab.test"] is State.OK
    assert judged.registrations()["trk2@lab.test"] is State.REJECTED


def _records(**states: str) -> list[dict[str, Any]]:
    """The records of the recorded session, as they were loaded."""
    hosts = {"trk1": "lab", "trk2": "lab", "trk3": "dead"}
    return [
        {
            "AOR": f"sip:{name}@{host}.test",
            "state": states.get(name, "REGISTERING") + "_STATE",
            "registrar": f"sip:{host}.test",
            "binding": f"sip:{name}@127.0.40.1:5060",
        }
        for name, host in hosts.items()
    ]


async def test_events_come_between_lists_and_at_once() -> None:
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            began = time.time()
            server.emit(
                event("E_UL_CONTACT_INSERT", **LATENCY, expires=int(began) + 60)
            )
            added = await next_of(readings, Added)
    assert began <= added.at <= time.time()
    assert server.calls.count("ul_dump") == 1


async def test_what_comes_from_elsewhere_is_not_heard() -> None:
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            (place_,) = server.subscribers["E_UL_CONTACT_INSERT"]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.2", 0))
                false = event("E_UL_CONTACT_DELETE", **LATENCY, expires=0)
                stranger.sendto(false, place_)
                server._socket.sendto(b"\xff" * 9000, place_)
                server._socket.sendto(b"no event", place_)
            server.emit(event("E_UL_CONTACT_INSERT", **LATENCY, expires=0))
            assert isinstance(await anext(readings), Added)


async def test_more_events_than_can_be_kept_are_made_good_by_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evi, "QUEUE", 2)
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            server.emit(*[event("E_UL_CONTACT_INSERT", **LATENCY, expires=0)] * 9)
            await asyncio.sleep(0.05)
            read = await until_end(readings)
    assert [type(r) for r in read[:2]] == [Added, Added]
    assert isinstance(read[-1], ListEnd)


# --- subscriptions ------------------------------------------------------------------


async def test_only_events_that_a_version_has_are_subscribed_to_again() -> None:
    clock = Clock(REACHED)
    usrloc = Usrloc(registrations=[], clock=clock, up_since=REACHED - 100)
    async with OpenSips(usrloc, "3.6.8") as server:
        registrar = watched(server, clock, interval=200.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            first = _subscribed(server)
            clock.now += 201
            await until_end(readings)
            second = _subscribed(server)[len(first) :]
    assert first == [*evi.BINDINGS, *evi.REGISTRATIONS]
    assert second == list(evi.BINDINGS)
    sent = [params for name, params in server.requests if name == "event_subscribe"]
    assert {params["expire"] for params in sent} == {300}
    assert len({params["socket"] for params in sent}) == 1


def _subscribed(server: OpenSips) -> list[str]:
    return [p["event"] for name, p in server.requests if name == "event_subscribe"]


async def test_a_subscription_is_renewed_at_half_its_time_without_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("checks.registrars.opensips.EXPIRE", 0.04)
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            waiting = asyncio.ensure_future(anext(readings))
            await server.asked("event_subscribe", 3 * len(evi.BINDINGS))
            server.emit(event("E_UL_CONTACT_INSERT", **LATENCY, expires=0))
            assert isinstance(await waiting, Added)
    assert server.calls.count("ul_dump") == 1


async def test_a_restarted_server_is_subscribed_to_anew() -> None:
    clock = Clock(REACHED)
    usrloc = Usrloc(clock=clock, up_since=REACHED - 100)
    async with OpenSips(usrloc) as server:
        registrar = watched(server, clock, interval=30.0)
        async with aclosing(registrar.watch()) as readings:
            before = (await until_end(readings))[-1]
            clock.now += 31
            await until_end(readings)
            again = server.calls.count("event_subscribe")
            usrloc.up_since = clock.now
            server.subscribers.clear()
            clock.now += 31
            after = (await until_end(readings))[-1]
            assert set(server.subscribers) == set(evi.BINDINGS)
    assert again == len(evi.BINDINGS)
    assert isinstance(before, ListEnd)
    assert isinstance(after, ListEnd)
    assert (after.boot or 0) - (before.boot or 0) == 131


async def test_after_a_cut_the_same_socket_is_subscribed() -> None:
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server)
        places = []
        for _ in range(2):
            async with aclosing(registrar.watch()) as readings:
                await until_end(readings)
            places += server.subscribers["E_UL_CONTACT_INSERT"]
    assert len(set(places)) == 1


async def test_without_event_datagram_lists_serve(
    caplog: pytest.LogCaptureFixture,
) -> None:
    usrloc = Usrloc()
    usrloc.add(Contact("1", "sip:1@10.0.0.1", time.time() + 60))
    async with OpenSips(usrloc, events=False) as server:
        registrar = watched(server, interval=0.01)
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings, 3)
    assert len(rows(read)) == 3
    assert server.calls.count("event_subscribe") == len(evi.BINDINGS)
    assert caplog.text.count("load event_datagram.so") == 1


async def test_a_socket_that_cannot_be_had_leaves_the_lists(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server, events="192.0.2.1:5066")
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings)
    assert isinstance(read[-1], ListEnd)
    assert "event_subscribe" not in server.calls
    assert "no socket at 192.0.2.1:5066 for events" in caplog.text


async def test_events_can_be_left_out() -> None:
    async with OpenSips(Usrloc()) as server:
        async with aclosing(watched(server, events="off").watch()) as readings:
            await until_end(readings)
    assert "event_subscribe" not in server.calls


async def test_a_registration_elsewhere_changes_by_event() -> None:
    usrloc = Usrloc(registrations=_records(trk1="REGISTERED"))
    who = {"aor": "sip:trk1@lab.test", "registrar": "sip:lab.test"}
    who["contact"] = "sip:trk1@127.0.40.1:5060"
    async with OpenSips(usrloc) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            server.emit(
                event("E_REGISTRANT_REGISTERING", **who),
                event("E_REGISTRANT_REGISTER_TIMEOUT", **who),
            )
            found = [await next_of(readings, Outbound) for _ in range(2)]
    assert [(row.name, row.state) for row in found] == [
        ("trk1@lab.test", None),
        ("trk1@lab.test", State.FAILING),
    ]


async def test_a_stop_in_the_moment_of_an_event_is_not_forgotten() -> None:
    ears = evi.Ears(time.time)

    async def rest_for_ever() -> None:
        while True:
            await ears.rest(600.0)

    resting = asyncio.create_task(rest_for_ever())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ears.nudge()
    await asyncio.sleep(0)
    resting.cancel()
    done, _ = await asyncio.wait([resting], timeout=2.0)
    assert done == {resting}


async def test_a_socket_that_another_gives_up_later_is_had_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At a reload that is the one that read this OpenSIPS until now."""
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("127.0.0.1", 0))
    events = f"127.0.0.1:{other.getsockname()[1]}"
    async with OpenSips(Usrloc()) as server:
        registrar = watched(server, events=events, interval=0.01)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings, 3)
            assert _subscribed(server) == []
            other.close()
            await until_end(readings, 2)
            assert set(evi.BINDINGS) <= set(_subscribed(server))
    assert caplog.text.count("only lists are read") == 1
    assert caplog.text.count("events are heard again") == 1
