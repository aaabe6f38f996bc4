from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from checks.observation import Binding, Cause
from checks.registrars import rpc
from checks.registrars.kamailio import Contact, Kamailio, KamailioSettings, binding
from checks.registrations.judge import Bindings, ListEnd, Reading, Unreadable
from checks.registrations.readings import Outbounds
from checks.settings import Secret
from tests import wire
from tests.wire import HANG, Rpc, fault

# + answers keep-alives, - stopped answering them, ? never asked; 10 s apart.
STATES = {
    "00_no_phones": "",
    "01_registered": "ast-trunk+ 2002? 2003? 2001?",
    "02_deregistered": "ast-trunk+ 2003+ 2001+",
    "03_killed_3s": "ast-trunk+ 2003+ 2001+",
    "04_dnd480_two_contacts_unreachable": "ast-trunk+",
    "05_dnd486": "ast-trunk+",
    "07_two_contacts_one_dead": "ast-trunk+",
    "10_before_reload": "ast-trunk+ 2003?",
    "20_after_graceful_restart_0s": "ast-trunk+ 2003+",
    "21_after_graceful_restart_7s": "ast-trunk+ ast-trunk+ 2003+",
    "25_restart_past_expiry_0s": "",
    "31_kam_mode_503": "ast-trunk?",
    "34_trunk_486": "ast-trunk+ 2003+",
    "41_ringing": "ast-trunk+ ast-trunk? 2001?",
}
SIGNS = {True: "+", False: "-", None: "?"}


def result(value: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "result": value, "id": 1}).encode()


def recorded(state: str) -> bytes:
    text = wire.read(f"kamailio/states/{state}.txt.gz").decode()
    return text.split("### ul.dump\n")[1].split("\n")[0].encode()


def dump(*infos: dict[str, Any], records: int | None = None) -> bytes:
    stats = {"Records": len(infos) if records is None else records, "Max-Slots": 1}
    aors = [{"Info": info} for info in infos]
    domain = {"Domain": "location", "Size": 8, "AoRs": aors, "Stats": stats}
    return result({"Domains": [{"Domain": domain}]})


def info(aor: str, *contacts: dict[str, Any]) -> dict[str, Any]:
    return {"AoR": aor, "HashID": 1, "Contacts": [{"Contact": c} for c in contacts]}


def serving(body: bytes, status: int = 200, **more: tuple[int, bytes]) -> Rpc:
    return Rpc({"ul.dump": (status, body), **more})


def watched(server: Rpc, **settings: Any) -> Kamailio:
    keys = {"timeout": 5.0, **settings}
    return Kamailio(KamailioSettings(**keys), server.address, clock=time.time)


async def until_end(readings: AsyncIterator[Reading]) -> list[Reading]:
    read = []
    async for reading in readings:
        read.append(reading)
        if isinstance(reading, ListEnd):
            break
    return read


async def first_list(server: Rpc, **settings: Any) -> list[Reading]:
    async with aclosing(watched(server, **settings).watch()) as readings:
        return await until_end(readings)


async def failure(server: Rpc, **settings: Any) -> Unreadable:
    try:
        read = await first_list(server, **settings)
    except Unreadable as failed:
        return failed
    raise AssertionError(read)


def rows(read: list[Reading]) -> list[Binding]:
    return [row for r in read if isinstance(r, Bindings) for row in r.rows]


def at_the_recording(rpc: bytes) -> float:
    """The server's clock when a dump was recorded; all had registered for 60 s."""
    aors = json.loads(rpc)["result"]["Domains"][0]["Domain"]["AoRs"]
    contacts = [c["Contact"] for a in aors for c in a["Info"]["Contacts"]]
    live = [c for c in contacts if isinstance(c["Expires"], int)]
    now = [c["Last-Modified"] + 60 - c["Expires"] for c in live]
    return float(max(now, default=1795167810))


@pytest.mark.parametrize("state", STATES)
async def test_every_recorded_state_is_read_as_it_was(state: str) -> None:
    body = recorded(state)
    now = at_the_recording(body)
    async with serving(body) as server:
        settings = KamailioSettings(timer_interval=10.0)
        registrar = Kamailio(settings, server.address, clock=lambda: now)
        async with aclosing(registrar.watch()) as readings:
            read = await until_end(readings)

    found = rows(read)
    assert " ".join(r.aor + SIGNS[r.reachable] for r in found) == STATES[state]
    assert all(r.expires_at is not None and r.expires_at > now for r in found)
    assert all(r.granted is not None and 60 <= r.granted <= 62 for r in found)
    assert read[-1] == ListEnd(began=now, pbx_now=now, boot=None)


async def test_a_row_of_the_dump_is_a_binding() -> None:
    now = 1795167810.0
    async with serving(recorded("01_registered")) as server:
        registrar = Kamailio(KamailioSettings(), server.address, clock=lambda: now)
        async with aclosing(registrar.watch()) as readings:
            found = rows(await until_end(readings))
    assert found[1] == Binding(
        aor="2002",
        contact="sip:2002-0x562f22da3c70@127.0.131.1:38572",
        expires_at=1795167866.0,
        granted=60,
        reachable=None,
        user_agent="baresip v1.0.0 (x86_64/linux)",
        received="127.0.131.1:38572",
    )
    assert (found[0].reachable, found[0].rtt) == (True, 0.00059)


@pytest.mark.parametrize(
    ("left", "live", "expires_at"),
    [
        (56, True, 1056.0),
        ("permanent", True, None),
        ("expired", False, None),
        ("deleted", False, None),
    ],
)
async def test_how_long_a_contact_lives(
    left: int | str, live: bool, expires_at: float | None
) -> None:
    contact = {"Address": "sip:1@10.0.0.1", "Expires": left}
    async with serving(dump(info("1", contact))) as server:
        registrar = Kamailio(KamailioSettings(), server.address, clock=lambda: 1000.5)
        async with aclosing(registrar.watch()) as readings:
            found = rows(await until_end(readings))
    assert [row.expires_at for row in found] == [expires_at] * live


@pytest.mark.parametrize(
    ("roundtrip", "age", "reachable"),
    [(0, 500, None), (600, 20, True), (600, 21, False)],
)
def test_a_keep_alive_that_stopped_tells(
    roundtrip: int, age: int, reachable: bool | None
) -> None:
    contact = Contact("sip:1@10.0.0.1", 60, last_keepalive=1000 - age)
    contact.roundtrip = roundtrip
    assert binding("1", contact, 1000.0, 10.0).reachable is reachable


def test_through_which_proxies_a_contact_registered() -> None:
    contact = Contact("sip:1@10.0.0.1", 60, path="<sip:10.0.0.9;lr>")
    assert binding("1", contact, 0.0, 10.0).path == "<sip:10.0.0.9;lr>"
    assert binding("1", Contact("sip:1@10.0.0.1", 60), 0.0, 10.0).path == ""


async def test_two_thousand_recorded_contacts_come_in_slices() -> None:
    body = wire.read("kamailio/kam_ul_dump_2000.json.gz")
    async with serving(body) as server:
        read = await first_list(server)
    assert len({row.aor for row in rows(read)}) == len(rows(read)) == 2002
    slices = [len(r.rows) for r in read if isinstance(r, Bindings)]
    assert slices == [500, 500, 500, 500, 2]


async def test_the_configured_domain_is_left_out_of_the_aor() -> None:
    contact = {"Address": "sip:1@10.0.0.1", "Expires": 60}
    body = dump(info("1@lab", contact), info("1@other", contact))
    async with serving(body) as server:
        read = await first_list(server, domain="lab")
    assert [row.aor for row in rows(read)] == ["1", "1@other"]


async def test_one_phones_bad_bytes_do_not_hide_the_others() -> None:
    contact = {"Address": "sip:1@10.0.0.1", "Expires": 60, "User-Agent": "QQQ"}
    body = dump(info("1", contact), info("2", contact | {"User-Agent": "Phone"}))
    async with serving(body.replace(b"QQQ", b"\xff\xfeQ")) as server:
        read = await first_list(server)
    assert [row.user_agent for row in rows(read)] == ["\ufffd\ufffdQ", "Phone"]


@pytest.mark.parametrize(
    ("ours", "uptime", "clock", "boot"),
    [
        (
            # Agreeing within the second: our clock, which is finer.
            1795167810.25,
            ("Fri Nov 20 09:43:30 2026", "Fri Nov 20 09:41:30 2026", 120),
            1795167810.25,
            1795167690.0,
        ),
        (
            # New York.
            1795167810.25,
            ("Fri Nov 20 04:43:30 2026", "Fri Nov 20 04:41:30 2026", 120),
            1795167810.25,
            1795167690.0,
        ),
        (
            # 30 s ahead of us, in Kolkata.
            1795167810.25,
            ("Fri Nov 20 15:14:00 2026", "Fri Nov 20 15:12:00 2026", 120),
            1795167840.5,
            1795167720.0,
        ),
        (
            # Paris, up since before summer time began.
            1774778400.25,
            ("Sun Mar 29 12:00:00 2026", "Sun Mar 29 00:30:00 2026", 37800),
            1774778400.25,
            1774740600.0,
        ),
        (1795167810.25, ("odd", "Fri Nov 20 09:41:30 2026", 120), 1795167810.25, None),
    ],
)
async def test_the_clock_of_a_server_in_any_zone(
    ours: float, uptime: tuple[str, str, int], clock: float, boot: float | None
) -> None:
    said = dict(zip(("now", "up_since", "uptime"), uptime, strict=True))
    async with serving(dump(), **{"core.uptime": (200, result(said))}) as server:
        registrar = Kamailio(KamailioSettings(), server.address, clock=lambda: ours)
        async with aclosing(registrar.watch()) as readings:
            end = (await until_end(readings))[-1]
    assert end == ListEnd(began=ours, pbx_now=clock, boot=boot)


FAILURES: dict[str, tuple[int, bytes, Cause, str]] = {
    "out of memory": (
        500,
        fault("Internal error building response"),
        Cause.NO_LIST,
        "does not dump its bindings (Internal error building response)",
    ),
    "no usrloc": (500, fault("Method Not Found"), Cause.NO_LIST, "usrloc loaded"),
    "an empty result": (200, result({}), Cause.MALFORMED, "ul.dump"),
    "no result": (200, b'{"jsonrpc": "2.0", "id": 1}', Cause.NO_LIST, ""),
    "half a list": (200, recorded("01_registered")[:900], Cause.MALFORMED, "ul.dump"),
    "rows lost": (
        200,
        dump(info("1"), records=2),
        Cause.MALFORMED,
        "2 records and 1 AORs",
    ),
    "a broken row": (200, dump({"AoR": 5}), Cause.MALFORMED, "ul.dump"),
    "an end beyond all time": (
        200,
        dump(info("1", {"Address": "sip:1@10.0.0.1", "Expires": 10**400})),
        Cause.MALFORMED,
        "ul.dump",
    ),
    "an end in another age": (
        200,
        dump(info("1", {"Address": "sip:1@10.0.0.1", "Expires": -(10**15)})),
        Cause.MALFORMED,
        "ul.dump",
    ),
    "no JSON": (200, b"<html>", Cause.MALFORMED, "ul.dump"),
    "HTTP 401": (401, b"", Cause.UNAUTHORIZED, "`username` and `password`"),
    "HTTP 403": (403, b"", Cause.FORBIDDEN, "event_route[xhttp:request]"),
    "HTTP 404": (404, b"", Cause.NOT_FOUND, "jsonrpc_dispatch() for this path"),
    "HTTP 502": (502, b"", Cause.MALFORMED, "HTTP 502"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failed_dump_is_told_and_never_an_empty_list(name: str) -> None:
    status, body, cause, sentence = FAILURES[name]
    async with serving(body, status) as server:
        failed = await failure(server)
    assert failed.cause is cause
    assert sentence in failed.detail


async def test_an_uptime_beyond_all_time_is_malformed() -> None:
    said = {"now": "Sat Nov 21 04:00:00 2026", "up_since": "", "uptime": 10**400}
    uptime = {"core.uptime": (200, result(said))}
    async with serving(dump(), **uptime) as server:
        failed = await failure(server)
    assert failed.cause is Cause.MALFORMED
    assert "core.uptime" in failed.detail


async def test_a_server_that_is_gone_or_silent() -> None:
    async with serving(dump()) as server:
        pass
    assert (await failure(server)).cause is Cause.CONNECTION_REFUSED
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with silent:
        server.address = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/RPC"
        failed = await failure(server, timeout=0.1)
    assert failed.cause is Cause.TIMEOUT


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example.com", "a%00b"])
async def test_a_host_that_no_name_server_could_be_asked_for(host: str) -> None:
    server = serving(dump())
    server.address = f"http://{host}:8090/RPC"
    failed = await failure(server)
    assert failed.cause is Cause.DNS_FAILURE
    assert "is no URL" in failed.detail


async def test_a_redirect_to_such_a_host_ends_no_more_than_the_read() -> None:
    def redirect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 307 Elsewhere\r\nLocation: http://a..b/RPC\r\n"
        writer.write(head + b"Content-Length: 0\r\n\r\n")

    server = serving(dump())
    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as proxy:
        server.address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/RPC"
        assert (await failure(server)).cause is Cause.DNS_FAILURE


@pytest.mark.parametrize("status", [401, 403])
async def test_what_is_refused_twice_is_tried_every_five_minutes(status: int) -> None:
    now = [0.0]
    async with serving(dump(), status) as server:
        registrar = Kamailio(KamailioSettings(), server.address, clock=lambda: now[0])
        attempts = []
        for now[0] in (100, 101, 103, 400, 401, 500):
            with pytest.raises(Unreadable, match=f"HTTP {status}"):
                await until_end(registrar.watch())
            attempts.append(server.calls.count("ul.dump"))
        assert attempts == [1, 2, 2, 2, 3, 3]

        server.answers["ul.dump"] = (200, dump())
        now[0] = 702
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
        server.answers["ul.dump"] = (status, b"")
        for now[0] in (703, 704, 705):
            with pytest.raises(Unreadable, match=f"HTTP {status}"):
                await until_end(registrar.watch())
        assert server.calls.count("ul.dump") == 6


async def test_an_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "BODY_LIMIT", 1000)
    async with serving(dump() + b" " * 1000) as server:
        failed = await failure(server)
    assert failed.cause is Cause.MALFORMED


async def test_it_asks_again_each_interval_and_when_wished() -> None:
    async with serving(dump()) as server:
        registrar = watched(server, interval=0.02)
        async with aclosing(registrar.watch()) as readings:
            for _ in range(3):
                await until_end(readings)
        patient = watched(server, interval=3600.0)
        async with aclosing(patient.watch()) as readings:
            await until_end(readings)
            patient.relist()
            await until_end(readings)
    assert server.calls.count("ul.dump") == 5


async def test_credentials_go_out_as_http_basic() -> None:
    async with serving(dump()) as server:
        await first_list(server, username="watcher", password=Secret("hush"))
    sent = base64.b64decode(server.headers[0]["Authorization"].split()[1])
    assert sent == b"watcher:hush"


async def test_an_answer_nested_without_end_is_malformed() -> None:
    """Even in a field that nobody reads: the decoder has to pass over it."""
    deep = b'{"jsonrpc":"2.0","more":' + b"[" * 200_000 + b"]" * 200_000
    async with serving(deep + b',"result":{"Domains":[]},"id":1}') as server:
        failed = await failure(server)
    assert failed.cause is Cause.MALFORMED
    assert "nested too deeply" in failed.detail


async def test_what_http_says_of_itself_is_one_line() -> None:
    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5"
        writer.write(head + b"\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kamailio = Kamailio(
        KamailioSettings(timeout=5.0), f"http://127.0.0.1:{port}/RPC", clock=time.time
    )
    with pytest.raises(Unreadable) as failed:
        await until_end(kamailio.watch())
    server.close()
    assert failed.value.cause is Cause.CONNECTION_RESET
    assert failed.value.detail.isprintable()


@pytest.mark.parametrize("username", ["", "watcher"])
async def test_a_password_in_the_url_is_refused_and_not_told(username: str) -> None:
    address = "http://joe:hunter2@127.0.0.1:9/RPC"
    settings = KamailioSettings(username=username, password=Secret("other"))
    with pytest.raises(Unreadable, match="give `username` and `password`") as failed:
        await until_end(Kamailio(settings, address, clock=time.time).watch())
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize("body", [HANG, b"<html>", result({"records": 5})])
async def test_what_is_registered_elsewhere_may_be_unreadable_alone(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    now = time.time()
    phone = {"Address": "sip:1001@10.0.0.1", "Expires": 60}
    answers = {"uac.reg_dump": (200, body)}
    async with serving(dump(info("1001", phone)), **answers) as server:
        registrar = watched(server, timeout=0.5, interval=0.01)
        async with aclosing(registrar.watch()) as readings:
            read = [*await until_end(readings), *await until_end(readings)]
    assert [row.aor for row in rows(read)] == ["1001", "1001"]
    assert [r for r in read if isinstance(r, Outbounds)] == 2 * [Outbounds([], False)]
    assert server.calls.count("uac.reg_dump") == 1  # it is given some rest
    assert caplog.text.count("no uac.reg_dump") == 1
    assert isinstance(read[-1], ListEnd)
    assert read[-1].began >= now
