from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import aclosing, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.observation import Binding, Cause, State
from checks.registrars import rpc
from checks.registrars.cutting import Cut
from checks.registrars.mi import (
    AORS,
    Contact,
    Mi,
    Record,
    answered,
    binding,
    bindings,
    rows_of,
)
from checks.registrars.opensips import OpenSipsSettings
from checks.registrars.rpc import decode
from checks.registrations.readings import ListEnd, Outbounds
from checks.settings import Secret
from tests.checks.registrars.reading_opensips import (
    RECORDED,
    Clock,
    Judged,
    failure,
    kept,
    rows,
    until_end,
    watched,
)
from tests.wire import Rpc
from tests.wires.opensips import (
    UNKNOWN,
    Answer,
    Hang,
    OpenSips,
    Status,
    Stream,
    Usrloc,
    crowd,
    fault,
    recorded,
    result,
)
from tests.wires.opensips import Contact as Bound

HERE = {
    "3.6.8": "trk1 u6 u4 u5 u2 u3 u1",
    "4.0.1": "u6 u6 u9 u7 u8 u4 u4 u5 u5 u2 u3 u1 u10 trk1",
}
BOOT = {"3.6.8": 1795168169.0, "4.0.1": 1795167314.0}


@pytest.mark.parametrize("segment", [0, 1, 7, 1460])
@pytest.mark.parametrize("version", RECORDED)
async def test_a_recorded_list_is_read_as_it_was(version: str, segment: int) -> None:
    now = RECORDED[version]
    async with OpenSips(recorded(version), version, segment) as server:
        registrar = watched(server, Clock(now), domain="lab.test")
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings)
    assert " ".join(row.aor for row in rows(read)) == HERE[version]
    assert read[-1] == ListEnd(began=now, pbx_now=now, boot=BOOT[version])
    assert server.most_at_once == 1


@pytest.mark.parametrize(
    ("version", "aor"), [("3.6.8", "u1"), ("4.0.1", "u1@lab.test")]
)
async def test_an_aor_without_a_configured_domain_is_as_told(
    version: str, aor: str
) -> None:
    async with OpenSips(recorded(version), version) as server:
        registrar = watched(server, Clock(RECORDED[version]))
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings)
    assert next(row.aor for row in rows(read) if row.aor.startswith("u1")) == aor


async def test_a_row_of_the_dump_is_a_binding() -> None:
    now = RECORDED["3.6.8"]
    async with OpenSips(recorded("3.6.8"), "3.6.8") as server:
        async with aclosing(watched(server, Clock(now)).watch()) as readings:
            found = rows(await until_end(readings))
    assert found[-1] == Binding(
        aor="u1",
        contact="sip:u1@127.0.50.31:6600",
        expires_at=1795168183.0 + 118,
        user_agent="LabPhone/1.1",
        received="127.0.50.31:6600",
    )


@pytest.mark.parametrize("version", RECORDED)
async def test_the_recorded_states_are_judged(version: str) -> None:
    now = RECORDED[version]
    judged = Judged(now, domain="lab.test")
    async with OpenSips(recorded(version), version) as server:
        registrar = watched(server, Clock(now), domain="lab.test")
        async with aclosing(registrar.watch()) as readings:
            judged.take(await until_end(readings), now)
    assert judged.states() == dict.fromkeys(HERE[version].split(), State.REGISTERED)
    assert judged.registrations() == {
        "trk1@lab.test": State.OK,
        "trk2@lab.test": State.REJECTED,
        # It waits since 24 s in 4.0.1, and in 3.6.8 since 4 s.
        "trk3@dead.test": State.FAILING if version == "4.0.1" else None,
    }


@pytest.mark.parametrize(
    ("left", "live", "expires_at"),
    [
        (56, True, 1056.0),
        (0, True, 1000.0),
        ("permanent", True, None),
        ("expired", False, None),
        ("deleted", False, None),
    ],
)
def test_how_long_a_contact_lives(
    left: int | str, live: bool, expires_at: float | None
) -> None:
    contact = {"Contact": "sip:1@10.0.0.1", "Expires": left}
    rows = json.dumps([{"AOR": "1", "Contacts": [contact]}]).encode()
    found = [row.expires_at for row in bindings([rows], 1000.5)]
    assert found == [expires_at] * live


@pytest.mark.parametrize(
    ("latency", "reachable", "rtt"),
    [
        (0, None, None),
        (1250, True, 0.00125),
        (1_799_999_999, True, 1799.999999),
        (1_800_000_000, False, None),
    ],
)
def test_a_latency_tells_whether_pings_are_answered(
    latency: int, reachable: bool | None, rtt: float | None
) -> None:
    assert answered(latency) == (reachable, rtt)
    row = binding("1", Contact("sip:1@10.0.0.1", 60, latency=latency), 1000.0)
    assert (row.reachable, row.rtt) == (reachable, rtt)


def test_where_a_contact_was_received_from() -> None:
    contact = Contact(
        "sip:1@10.0.0.1", 60, received="sip:192.0.2.9:40123;transport=tcp"
    )
    assert binding("1", contact, 0.0).received == "192.0.2.9:40123"


def test_through_which_proxies_a_contact_registered() -> None:
    contact = Contact("sip:1@10.0.0.1", 60, path="<sip:10.0.0.9;lr>")
    assert binding("1", contact, 0.0).path == "<sip:10.0.0.9;lr>"


async def test_names_of_3_6_are_called_and_no_others() -> None:
    async with OpenSips(recorded("4.0.1")) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
    assert set(server.calls) == {"uptime", "reg_list", "event_subscribe", "ul_dump"}


async def test_one_phones_bad_bytes_do_not_hide_the_others() -> None:
    usrloc = Usrloc()
    ends = time.time() + 60
    usrloc.add(Bound("1", "sip:1@10.0.0.1", ends, "QQQ"))
    usrloc.add(Bound("2", "sip:2@10.0.0.1", ends))
    body = usrloc("ul_dump", None)
    assert isinstance(body, bytes)
    async with OpenSips(usrloc) as server:
        server.overrides["ul_dump"] = body.replace(b"QQQ", b"\xff\xfeQ")
        async with aclosing(watched(server).watch()) as readings:
            found = rows(await until_end(readings))
    assert [row.user_agent for row in found] == ["\ufffd\ufffdQ", "LabPhone/1.0"]


# --- what goes wrong ----------------------------------------------------------------

FAILURES: dict[str, tuple[dict[str, Answer], Cause, str]] = {
    "no usrloc": (
        {"ul_dump": UNKNOWN},
        Cause.NO_LIST,
        "load usrloc.so and registrar.so",
    ),
    "no usrloc, and a list that is none": (
        {"ul_dump": b"<html>", "get_statistics": result({})},
        Cause.NO_LIST,
        "load usrloc.so",
    ),
    "nothing but errors": (
        {"ul_dump": fault(500, "Internal error"), "get_statistics": UNKNOWN},
        Cause.NO_LIST,
        "neither ul_dump nor get_statistics are answered: Method not found",
    ),
    "nothing but pages": (
        {"uptime": b"<html><body>Unable to parse URL!</body></html>"},
        Cause.MALFORMED,
        "give the URL with its path",
    ),
    "an uptime beyond all time": (
        {"uptime": result({"Now": 5})},
        Cause.MALFORMED,
        "uptime",
    ),
    "no mi_http at this path": ({"uptime": Status(404)}, Cause.NOT_FOUND, "mi_http.so"),
    "a GET was meant": ({"uptime": Status(405)}, Cause.MALFORMED, "mi_http.so"),
    "a password is wanted": (
        {"uptime": Status(401)},
        Cause.UNAUTHORIZED,
        "`username` and `password`",
    ),
    "a proxy refuses": ({"uptime": Status(403)}, Cause.FORBIDDEN, "our address"),
    "not JSON enough": ({"uptime": Status(400)}, Cause.MALFORMED, "HTTP 400"),
    "taken as a notification": ({"uptime": Status(202)}, Cause.MALFORMED, "HTTP 202"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_what_cannot_be_read_is_told_and_never_an_empty_list(name: str) -> None:
    overrides, cause, sentence = FAILURES[name]
    async with OpenSips(Usrloc()) as server:
        server.overrides |= overrides
        failed = await failure(watched(server))
    assert failed.cause is cause
    assert sentence in failed.detail


async def test_a_server_that_is_gone_or_silent() -> None:
    async with OpenSips(Usrloc()) as server:
        server.overrides["uptime"] = Hang()
        silent = await failure(watched(server, timeout=0.1))
        assert silent.cause is Cause.TIMEOUT
        assert server.calls == ["uptime", "uptime"]
    gone = await failure(watched(server))
    assert gone.cause is Cause.CONNECTION_REFUSED


async def test_a_small_answer_that_stays_out_once_is_asked_for_again() -> None:
    async with OpenSips(Usrloc()) as server:
        server.overrides["uptime"] = Hang()
        async with aclosing(watched(server, timeout=0.4).watch()) as readings:
            reading = asyncio.ensure_future(until_end(readings))
            await server.asked("uptime")
            del server.overrides["uptime"]
            read = await reading
    assert isinstance(read[-1], ListEnd)


async def test_what_is_refused_twice_is_tried_every_five_minutes() -> None:
    clock = Clock(0.0)
    async with OpenSips(Usrloc()) as server:
        server.overrides["uptime"] = Status(401)
        registrar = watched(server, clock)
        attempts = []
        for clock.now in (100, 101, 103, 400, 401):
            assert (await failure(registrar)).cause is Cause.UNAUTHORIZED
            attempts.append(server.calls.count("uptime"))
    assert attempts == [1, 2, 2, 2, 3]


# --- HTTP ---------------------------------------------------------------------------


async def test_no_request_is_lost_as_by_clients_that_write_head_and_body_apart() -> (
    None
):
    """One in twenty was, on real ones; here each on a connection that is used again."""
    async with OpenSips(Usrloc()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        body = b'{"jsonrpc":"2.0","id":1,"method":"uptime"}'
        head = b"POST /mi HTTP/1.1\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        for n in range(2):
            writer.write(head)
            await asyncio.sleep(0.02)
            writer.write(body)
            if not n:
                await reader.readuntil(b'"id": 1}')
        registrar = watched(server, interval=0.001)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings, 20)
        assert server.lost == 1  # not one of ours
        writer.close()


async def test_credentials_go_out_as_http_basic() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    heads: list[bytes] = []
    async with OpenSips(Usrloc()) as server:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
            port = proxy.sockets[0].getsockname()[1]
            server.address = f"http://127.0.0.1:{port}/mi"
            keys = {"username": "watcher", "password": Secret("hush")}
            failed = await failure(watched(server, **keys))
    assert failed.cause is Cause.CONNECTION_RESET
    wanted = b"Authorization: Basic " + base64.b64encode(b"watcher:hush")
    assert all(wanted in head and b"Connection: close" in head for head in heads)


# --- how much there may be ----------------------------------------------------------


async def test_twenty_thousand_contacts_come_in_slices_and_are_judged() -> None:
    now = time.time()
    usrloc = Usrloc(buffer=20_000_000)
    usrloc.add(*crowd(20_000, now + 3600))
    judged = Judged(now, domain="lab.test")
    async with OpenSips(usrloc) as server:
        registrar = watched(server, domain="lab.test", timeout=30.0)
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings)
    slices = [len(r.rows) for r in read if hasattr(r, "rows")]
    assert slices == [500] * 40
    judged.take(read, now)
    for _ in range(300):
        judged.judge.advance(now)
    assert judged.judge.counts() == {State.REGISTERED: 20_000}


@pytest.mark.parametrize(
    "poured",
    [
        pytest.param(Stream(b" " * 65536, 10**6, 10**11), id="never ends"),
        pytest.param(Stream(b"[" * 65536, 4, 10**6, closes=True), id="breaks off"),
        pytest.param(Stream(b" " * 65536, 3200, 3200 * 65536), id="200 MB"),
        pytest.param(Stream(b'{"result"', 1, 10**6), id="stops"),
    ],
)
async def test_an_endless_answer_to_all_is_unreadable(
    poured: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc, "BODY_LIMIT", 10**6)
    async with OpenSips(lambda *_: poured) as server:
        failed = await failure(watched(server, timeout=1.0))
    assert failed.cause in (Cause.MALFORMED, Cause.TIMEOUT, Cause.CONNECTION_RESET)


# --- what may come ------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
CONTACT = st.fixed_dictionaries(
    {"Contact": st.text() | JSON, "Expires": st.integers() | st.text() | JSON},
    optional={"User-agent": JSON, "Received": st.text(), "Ping-Latency": JSON},
)


@given(st.fixed_dictionaries({"AOR": st.text() | JSON, "Contacts": st.lists(CONTACT)}))
def test_any_record_is_bindings_or_a_value_error(record: dict[str, Any]) -> None:
    try:
        body = json.dumps(record).encode("utf-8", "surrogatepass")
        found = decode(body, Record)
        for contact in found.contacts:
            assert binding(found.aor, contact, 1e9).aor == found.aor
    except ValueError:
        pass


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_dump_or_a_value_error(body: bytes) -> None:
    with suppress(ValueError):
        list(bindings(rows_of(Cut(body, AORS)), 1e9))


# --- settings -----------------------------------------------------------------------


@pytest.mark.parametrize("events", ["", "off", "10.0.0.9", "10.0.0.9:5066"])
def test_where_events_may_come_to(events: str) -> None:
    assert OpenSipsSettings(events=events).events == events


@pytest.mark.parametrize(
    "events", ["pbx", "0.0.0.0:1", "::1", "10.0.0.9:x", "10.0.0.9:70000", "10.0.0.9:-1"]
)
def test_where_events_cannot_come_to(events: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 address of ours"):
        OpenSipsSettings(events=events)


async def test_without_uac_registrant_there_are_no_registrations() -> None:
    async with OpenSips(Usrloc()) as server:
        async with aclosing(watched(server, interval=0.01).watch()) as readings:
            read = await until_end(readings, 3)
    assert not any(isinstance(r, Outbounds) for r in read)
    assert server.calls.count("reg_list") == 1


@pytest.mark.parametrize(
    "answer", [Hang(), b"<html>", fault(500, "Internal error"), result({"Records": 5})]
)
async def test_what_is_registered_elsewhere_may_be_unreadable_alone(
    answer: Answer,
) -> None:
    usrloc = Usrloc(registrations=[])
    usrloc.add(Bound("1", "sip:1@10.0.0.1", time.time() + 60))
    async with OpenSips(usrloc) as server:
        server.overrides["reg_list"] = answer
        registrar = watched(server, timeout=0.5, interval=0.01)
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings, 2)
    assert (len(rows(read)), kept(read)) == (2, {})
    assert server.calls.count("reg_list") <= 2
    said = [r for r in read if isinstance(r, Outbounds)]
    assert said == 2 * [Outbounds([], told=False)]  # none is gone by that


async def test_a_phone_that_answers_no_ping_of_nathelper_is_unreachable() -> None:
    phone = Bound("1", "sip:1@10.0.0.1", time.time() + 60, latency=1500)
    usrloc, judged = Usrloc(), Judged(time.time())
    usrloc.add(phone)
    states = []
    async with OpenSips(usrloc) as server:
        registrar = watched(server, interval=0.01)
        async with aclosing(registrar.watch()) as readings:
            for phone.latency in (1500, 1_800_000_000, 1_800_000_000, 1500):
                judged.take(await until_end(readings), time.time())
                states.append(judged.states()["1"])
    here, unreachable = State.REGISTERED, State.UNREACHABLE
    assert states == [here, here, unreachable, here]


@pytest.mark.parametrize(
    ("value", "contacts"),
    [(7, 7), ("7", 7), ("abc", 0), ("9" * 5000, 0), (-1, 0), ("\u0663", 0)],
)
async def test_a_statistic_that_is_no_number_counts_nothing(
    value: object, contacts: int
) -> None:
    answer = {"jsonrpc": "2.0", "result": {"usrloc:location-contacts": value}, "id": 1}
    body = json.dumps(answer).encode()
    async with Rpc({"get_statistics": (200, body)}) as server:
        mi = Mi(
            server.address,
            clock=time.time,
            timeout=5.0,
            username="",
            password=Secret(""),
        )
        async with mi.opened():
            assert await mi.tables() == {"location": contacts}
