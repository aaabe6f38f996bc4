from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

import pytest
import trustme

from checks.observation import Binding, Cause, Kind, Loss, Scope, State, Subject
from checks.registrars import asterisk
from checks.registrars.ami import AmiParser
from checks.registrars.asterisk import Asterisk, AsteriskSettings
from checks.registrars.failures import host_and_port
from checks.registrations.judge import (
    Added,
    Bindings,
    Expected,
    Gone,
    Judge,
    ListEnd,
    Outbounds,
    Reach,
    Reading,
    RegistrarSettings,
    Restarting,
    Unreadable,
)
from checks.settings import Secret
from tests import wire
from tests.wire import CLOSE, HANG, RESET, AmiServer, message

Answers = dict[str, list[bytes]]

STATES = {
    "00_no_phones": "",
    "01_registered": "1001+ 1002+ 1006? 1008? 1011+ 1015-",
    "02_deregistered": "1001+ 1006? 1008? 1011+ 1015-",
    "03_killed_3s": "1001+ 1003+ 1004+ 1006? 1008? 1011- 1015-",
    "04_dnd480_two_contacts_unreachable": (
        "1003- 1004+ 1006? 1007+ 1007+ 1009+ 1010- 1015- 1019?"
    ),
    "05_dnd486": "1003- 1004+ 1006? 1007+ 1007+ 1009+ 1010- 1015- 1019?",
    "06_dnd603": "1003- 1004+ 1006? 1007+ 1007+ 1009+ 1010- 1015- 1019?",
    "07_two_contacts_one_dead": "1003- 1004+ 1006? 1007- 1007+ 1009+ 1010- 1015- 1019?",
    "10_before_reload": (
        "1001+ 1002+ 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    "11_after_module_reload": (
        "1001+ 1002+ 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    "12_after_core_reload": (
        "1001+ 1002+ 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    # The contact of a removed AOR stays in the list until its end.
    "13_aor_1002_removed": (
        "1001+ 1002? 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    "14_endpoint_1002_removed": (
        "1001+ 1002? 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    "15_bad_config": (
        "1001+ 1002? 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    "20_after_graceful_restart_0s": (
        "1001? 1002? 1003? 1004? 1006? 1007? 1007? 1008? 1009? 1010? 1011+ 1015?"
    ),
    "21_after_graceful_restart_7s": (
        "1001+ 1002+ 1003+ 1004+ 1006? 1007- 1007- 1008? 1009+ 1010- 1011+ 1015-"
    ),
    "22_after_sigkill_restart_0s": (
        "1001? 1002? 1003? 1004? 1006? 1007? 1007? 1008? 1009? 1010? 1011? 1015?"
    ),
    "24_after_restart_astdb_wiped": "",
    "25_restart_past_expiry_0s": "1002? 1005? 1008? 1012? 1013? 1014? 1016?",
    "31_kam_mode_503": "1015-",
    "32_kam_mode_drop": "1015-",
    "33_trunk_up": "1001+ 1002+ 1003+ 1004+ 1006? 1008? 1011+ 1015-",
    "34_trunk_486": "1001+ 1002+ 1003+ 1004+ 1006? 1008? 1011+ 1015-",
    "35_kam_down_75s": "1001+",
    "40_in_call": "1001+ 1002+",
    "41_ringing": "1001+ 1002+",
    "50_qualify_2xx_only_dnd480_and_remove_unavailable": (
        "1002- 1005- 1008? 1012? 1013? 1014? 1016?"
    ),
    "51_in_use": "1008? 1012? 1013? 1014? 1016?",
}
SIGNS = {True: "+", False: "-", None: "?"}

CONTACTS = "PJSIPShowRegistrationInboundContactStatuses"
ROSTER = "PJSIPShowRegistrationsInbound"
ACCEPTED = [message(Response="Success", ActionID="x", Message="Hello")]
BOOTED = message(Event="FullyBooted", Uptime="119", Status="Fully Booted")
PONG = [message(Response="Success", ActionID="x", Ping="Pong", Timestamp="5000.5")]
CORE = [
    message(
        Response="Success",
        ActionID="x",
        CoreStartupDate="1970-01-01",
        CoreStartupTime="02:21:21",  # 4881 s, in a zone 1 h ahead
    )
]
PHONE = {
    "AOR": "1001",
    "URI": "sip:1001@10.0.0.31:5060",
    "UserAgent": "Phone 1.0",
    "RegExpire": "5060",
    "ViaAddress": "10.0.0.31:5060",
    "Status": "Reachable",
    "RoundtripUsec": "1500",
    "EndpointName": "1001",
}
BOUND = Binding(
    aor="1001",
    contact="sip:1001@10.0.0.31:5060",
    expires_at=5060.0,
    reachable=True,
    user_agent="Phone 1.0",
    received="10.0.0.31:5060",
    rtt=0.0015,
)

BOUND_AT = "1001/sip:1001@10.0.0.31:5060"
STATIC = "trunk/sip:10.0.0.9"


def aor(name: str, contact: str = "", most: str = "1") -> dict[str, str]:
    return {"ObjectName": name, "MaxContacts": most, "Contact": contact}


def healthy(**changed: list[bytes]) -> Answers:
    roster = [aor("1001", BOUND_AT), aor("1002"), aor("trunk", STATIC, "0")]
    answers = {
        "Login": ACCEPTED,
        "Ping": PONG,
        "CoreStatus": CORE,
        ROSTER: wire.listing("InboundRegistrationDetail", roster),
        CONTACTS: wire.listing("ContactStatusDetail", [PHONE]),
    }
    return answers | changed


def serving(answers: Answers, **how: Any) -> AmiServer:
    return AmiServer(answers, **{"after_login": [BOOTED], **how})


def watched(server: AmiServer, **settings: Any) -> Asterisk:
    keys = {"password": Secret("hush-hush"), "timeout": 5.0, **settings}
    return Asterisk(AsteriskSettings(**keys), server.address, clock=time.monotonic)


async def until_end(readings: AsyncIterator[Reading]) -> list[Reading]:
    """The readings up to the end of a full list."""
    read = []
    async for reading in readings:
        read.append(reading)
        if isinstance(reading, ListEnd):
            break
    return read


def last_roster(read: list[Reading]) -> list[str]:
    """The AORs that should be there, as told last."""
    return [[name for name, _ in r.aors] for r in read if isinstance(r, Expected)][-1]


async def first_list(server: AmiServer, **settings: Any) -> list[Reading]:
    async with aclosing(watched(server, **settings).watch()) as readings:
        return await until_end(readings)


async def failure(server: AmiServer, **settings: Any) -> Unreadable:
    """How the first list fails; it must not end before."""
    try:
        read = await first_list(server, **settings)
    except Unreadable as failed:
        return failed
    raise AssertionError(read)


def rows(read: list[Reading]) -> list[Binding]:
    return [row for r in read if isinstance(r, Bindings) for row in r.rows]


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG)
    yield
    assert "hush-hush" not in caplog.text
    assert "pw1009" not in caplog.text


# --- what it reads -------------------------------------------------------------------


def roster_of(state: Answers) -> list[bytes]:
    """The recorded roster of the lab, of the AORs that this state had."""
    known = wire.answers(wire.read("ami/no_contacts_at_all.txt.gz"))
    parser = AmiParser()
    parser.feed(wire.GREETING)
    found = [m for piece in known[ROSTER] for m in parser.feed(piece)]
    names = {
        wire.header(part, "ObjectName")
        for part in b"".join(state["PJSIPShowAors"]).split(b"\r\n\r\n")
    }
    kept = [m for m in found if m.get("ObjectName") in names]
    for row in kept:
        del row["ActionID"], row["Event"]
    return wire.listing("InboundRegistrationDetail", kept)


@pytest.mark.parametrize("state", STATES)
async def test_every_recorded_state_is_read_as_it_was(state: str) -> None:
    answers = wire.answers(wire.read(f"ami/states/{state}.txt.gz"))
    answers[ROSTER] = roster_of(answers)
    async with serving(answers) as server:
        read = await first_list(server)

    assert " ".join(r.aor + SIGNS[r.reachable] for r in rows(read)) == STATES[state]
    end = read[-1]
    removed = {"1002"} if state[:2] in ("13", "14") else set()
    phones = {str(number) for number in range(1001, 1021)} - {"1017", "1018"} - removed
    assert set(last_roster(read)) == phones
    assert isinstance(end, ListEnd)
    assert end.pbx_now is not None
    assert all(r.expires_at and r.expires_at > end.pbx_now - 60 for r in rows(read))


async def test_a_whole_read_is_roster_bindings_and_clocks() -> None:
    async with serving(healthy()) as server:
        before, bindings, expected, elsewhere, end = await first_list(server)

    assert before == expected == Expected([("1001", ""), ("1002", "")])
    assert bindings == Bindings([BOUND])
    assert elsewhere == Outbounds([])
    assert isinstance(end, ListEnd)
    assert end.pbx_now == pytest.approx(5000.5, abs=0.5)
    assert end.boot == 4881.0
    assert end.aors is None


async def test_events_are_asked_for_in_two_classes_only() -> None:
    async with serving(healthy()) as server:
        await first_list(server, username="watcher")
    assert server.requests[0] == (
        b"Action: Login\r\nActionID: sipwatch-1\r\nUsername: watcher\r\n"
        b"Secret: hush-hush\r\nEvents: system,security\r\n\r\n"
    )


async def test_two_thousand_recorded_contacts_come_in_slices() -> None:
    answers = wire.answers(wire.read("ami/2000_contacts_noqualify.raw.gz"))
    answers = healthy(**{CONTACTS: answers[CONTACTS]})
    async with serving(answers) as server:
        read = await first_list(server)

    assert len(rows(read)) == len({row.contact for row in rows(read)}) == 2007
    slices = [len(r.rows) for r in read if isinstance(r, Bindings)]
    assert slices == [*[asterisk.STEP] * 4, 7]


async def test_a_contact_listed_by_two_endpoints_is_one_binding() -> None:
    twice = wire.listing("ContactStatusDetail", [PHONE, PHONE])
    async with serving(healthy(**{CONTACTS: twice})) as server:
        assert rows(await first_list(server)) == [BOUND]


@pytest.mark.parametrize(
    ("contacts", "names"),
    [
        ("", ["1001"]),
        (BOUND_AT, ["1001"]),  # it lists those that have registered too
        (f"{BOUND_AT},1001/sip:1001@10.0.0.9:5060", []),
        (f"1001/sip:1001@10.0.0.9:5060,{BOUND_AT}", []),
        (f"{BOUND_AT};ob", []),
        ("1001/sip:1001@10.0.0.9:5060", []),
    ],
)
async def test_an_aor_with_a_contact_from_the_configuration_is_a_trunk(
    contacts: str, names: list[str]
) -> None:
    roster = wire.listing("InboundRegistrationDetail", [aor("1001", contacts)])
    async with serving(healthy(**{ROSTER: roster})) as server:
        async with aclosing(watched(server, interval=0.01).watch()) as readings:
            read = await until_end(readings)
            later = await until_end(readings)
    assert last_roster(read) == names
    assert rows(later) == [BOUND] * len(names)


async def test_a_contact_that_went_between_the_lists_makes_no_trunk() -> None:
    gone = "sip:1002@10.0.0.32:5060"
    aors = [aor("1002", f"1002/{gone}")]
    roster = wire.listing("InboundRegistrationDetail", aors)
    answers = healthy(**{ROSTER: [*roster, status("Removed", gone, "1002")]})
    async with serving(answers) as server:
        read = await first_list(server)
    assert last_roster(read) == ["1002"]


async def test_an_older_asterisk_is_read_by_its_list_of_contacts() -> None:
    recorded = wire.answers(wire.read("ami/states/01_registered.txt.gz"))
    new = healthy(**{CONTACTS: recorded[CONTACTS]})
    old = healthy(PJSIPShowContacts=recorded["PJSIPShowContacts"])
    del old[CONTACTS]
    async with serving(new) as server, serving(old) as older:
        assert rows(await first_list(older)) == rows(await first_list(server))


async def test_no_contacts_found_is_the_one_error_that_means_none() -> None:
    answers = healthy(PJSIPShowContacts=[wire.error("No Contacts found\n")])
    del answers[CONTACTS]
    async with serving(answers) as server:
        read = await first_list(server)
    assert rows(read) == []
    assert isinstance(read[-1], ListEnd)


# --- how it fails --------------------------------------------------------------------

PLAIN_FAILURES: dict[str, tuple[dict[str, Any], Cause, str]] = {
    "wrong secret": (
        {"Login": [wire.error("Authentication failed"), CLOSE]},
        Cause.UNAUTHORIZED,
        "manager_custom.conf) that [sipwatch] exists, that its `secret` is ours, and "
        "that `permit` holds our address",
    ),
    "rights missing": (
        {ROSTER: [wire.error("Permission denied")]},
        Cause.FORBIDDEN,
        "`read = system,security` and `write = system,reporting`",
    ),
    "rights missing for the contacts": (
        {CONTACTS: [wire.error("Permission denied")]},
        Cause.FORBIDDEN,
        "[sipwatch]",
    ),
    "no res_pjsip": (
        {ROSTER: [wire.unknown(ROSTER)]},
        Cause.NO_LIST,
        "this Asterisk has no PJSIP (res_pjsip is not loaded); the peers of chan_sip",
    ),
    "another error": (
        {CONTACTS: [wire.error("Out of memory")]},
        Cause.NO_LIST,
        "Out of memory",
    ),
    "killed in a list": (
        {CONTACTS: [*wire.listing("ContactStatusDetail", [PHONE])[:2], CLOSE]},
        Cause.CONNECTION_RESET,
        "closed the connection",
    ),
    "reset in a list": (
        {CONTACTS: [*wire.listing("ContactStatusDetail", [PHONE])[:2], RESET]},
        Cause.CONNECTION_RESET,
        "",
    ),
    "a row lost": (
        {CONTACTS: wire.listing("ContactStatusDetail", [PHONE, PHONE])[1:]},
        Cause.TIMEOUT,
        "",
    ),
    "a wrong count": (
        {
            CONTACTS: [
                piece.replace(b"ListItems: 1", b"ListItems: 2")
                for piece in wire.listing("ContactStatusDetail", [PHONE])
            ]
        },
        Cause.MALFORMED,
        "gave 1 rows and ends with Complete, 2",
    ),
    "a list given up": (
        {
            CONTACTS: [
                piece.replace(b"EventList: Complete", b"EventList: Cancelled")
                for piece in wire.listing("ContactStatusDetail", [PHONE])
            ]
        },
        Cause.MALFORMED,
        "Cancelled",
    ),
    "frozen in a list": (
        {CONTACTS: [*wire.listing("ContactStatusDetail", [PHONE])[:2], HANG]},
        Cause.TIMEOUT,
        "does not end PJSIPShowRegistrationInboundContactStatuses within 0.2 s",
    ),
    "frozen after the log-in": (
        {"Ping": [HANG]},
        Cause.TIMEOUT,
        "does not answer Ping within 0.2 s: Asterisk hangs or is stopped",
    ),
    "a message without end": (
        {"Ping": [b"Response: " + b"A" * 70_000]},
        Cause.MALFORMED,
        "over 65536 bytes",
    ),
}


@pytest.mark.parametrize("name", PLAIN_FAILURES)
async def test_a_failure_is_told_and_never_an_empty_list(name: str) -> None:
    changed, cause, sentence = PLAIN_FAILURES[name]
    async with serving(healthy(**changed)) as server:
        failed = await failure(server, timeout=0.2)
    assert failed.cause is cause
    assert sentence in failed.detail


@pytest.mark.parametrize(
    ("greeting", "cause", "sentence"),
    [
        (CLOSE, Cause.CONNECTION_RESET, "`authlimit`"),
        (HANG, Cause.TIMEOUT, "accepts the connection and says nothing"),
        (b"SSH-2.0-OpenSSH\r\n", Cause.MALFORMED, "does not greet as Asterisk"),
    ],
)
async def test_a_failed_greeting_is_told_apart(
    greeting: bytes, cause: Cause, sentence: str
) -> None:
    async with serving(healthy(), greeting=greeting) as server:
        failed = await failure(server, timeout=0.2)
    assert failed.cause is cause
    assert sentence in failed.detail


async def test_a_port_where_nothing_listens_is_refused() -> None:
    async with serving(healthy()) as server:
        pass
    failed = await failure(server)
    assert failed.cause is Cause.CONNECTION_REFUSED
    assert "is `enabled = yes` in manager.conf" in failed.detail


@pytest.mark.parametrize("address", ["pbx:5038:1", "pbx..example.com:5038"])
async def test_an_address_that_is_none_is_said(address: str) -> None:
    server = serving(healthy())
    server.address = address
    assert "is not host:port" in (await failure(server)).detail


async def test_while_it_boots_it_is_unreadable_and_not_empty() -> None:
    answers = healthy(**{ROSTER: [wire.unknown(ROSTER)]})
    async with serving(answers, after_login=[]) as server:
        failed = await failure(server, timeout=0.2)
    assert failed.cause is Cause.NO_LIST
    assert failed.detail == "Asterisk is still loading, or res_pjsip is not loaded"


async def test_it_lists_as_soon_as_asterisk_has_booted() -> None:
    async with serving(healthy(), after_login=[]) as server:
        read = asyncio.create_task(first_list(server))
        await server.asked("Ping")
        assert ROSTER not in server.actions
        await server.push(BOOTED)
        assert rows(await read) == [BOUND]


async def test_a_user_that_reads_no_events_is_polled_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(healthy(), after_login=[]) as server:
        read = await first_list(server, timeout=0.2)
    assert rows(read) == [BOUND]
    assert isinstance(read[-1], ListEnd)
    assert "read = system,security" in caplog.text
    # Nothing tells the PBX's zone, so it is taken for this machine's.
    assert read[-1].boot == datetime(1970, 1, 1, 2, 21, 21).astimezone().timestamp()


async def test_who_hears_of_boots_is_told_no_guess_of_their_time() -> None:
    async with serving(healthy()) as server:
        registrar = watched(server, timeout=0.2)
        for after_login, boot in ([BOOTED], 4881.0), ([], None):
            server.after_login = after_login
            async with aclosing(registrar.watch()) as readings:
                *_, end = await until_end(readings)
            assert isinstance(end, ListEnd)
            assert end.boot == boot


def authority() -> tuple[trustme.CA, ssl.SSLContext]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return ca, context


async def test_tls_is_read_and_its_certificate_checked(tmp_path: Any) -> None:
    ca, context = authority()
    other, _ = authority()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with serving(healthy(), tls=context) as server:
        tls = {"tls": True, "ca": str(tmp_path / "ca.pem")}
        assert rows(await first_list(server, **tls)) == [BOUND]
        failed = await failure(server, tls=True, ca=str(tmp_path / "other.pem"))
    assert failed.cause is Cause.TLS_VERIFY


async def test_of_a_pbx_that_does_not_tell_its_time_no_end_is_believed() -> None:
    """Its clock may be days off: a loss counts from when the phone was last seen."""
    wall = time.time()  # as the daemon's own clock reads
    days_ago = {**PHONE, "RegExpire": str(int(wall) - 3 * 86400 + 60)}
    answers = healthy(
        Ping=[message(Response="Success", ActionID="x", Ping="Pong")],
        **{CONTACTS: wire.listing("ContactStatusDetail", [days_ago])},
    )
    settings = AsteriskSettings(password=Secret("hush-hush"), interval=0.05)
    subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
    judge = Judge("hq", RegistrarSettings(type="test"), subject, wall)
    async with serving(answers) as server:
        registrar = Asterisk(settings, server.address, clock=time.time)
        async with aclosing(registrar.watch()) as readings:
            for n in range(2):
                if n == 1:
                    answers[CONTACTS] = wire.listing("ContactStatusDetail", [])
                for reading in await until_end(readings):
                    told = judge.apply("", reading, time.time())
    (lost,) = [o for o in told if o.subject.name == "1001"]
    assert lost.state is State.UNREGISTERED
    assert wall <= lost.since <= time.time()
    assert lost.loss is Loss.UNKNOWN


@pytest.mark.parametrize("key", ["username", "password"])
def test_a_log_in_of_two_lines_is_refused(key: str) -> None:
    value = "x\r\nAction: Originate"
    with pytest.raises(ValueError, match="one line"):
        AsteriskSettings(**{key: Secret(value) if key == "password" else value})


# --- how it follows ------------------------------------------------------------------


def status(word: str, uri: str = PHONE["URI"], aor: str = "1001", **more: str) -> bytes:
    fields = {"AOR": aor, "EndpointName": aor, "RoundtripUsec": "0", **more}
    return message(Event="ContactStatus", URI=uri, ContactStatus=word, **fields)


AUTHENTICATED = message(Event="SuccessfulAuth", Service="PJSIP", AccountID="1001")
NEW = "sip:1002@10.0.0.32:5060"


def without_time(reading: Reading) -> Reading:
    if isinstance(reading, Added | Gone | Reach | Restarting):
        reading.at = 0.0
    return reading


async def test_events_are_told_as_they_come() -> None:
    async with serving(healthy()) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            await server.push(
                status("Unreachable"),
                status("Reachable", RoundtripUsec="2000"),
                status("NonQualified", NEW, "1002"),
                status("Unreachable", "sip:10.0.0.9", "trunk"),
                AUTHENTICATED,
                status("Removed"),
            )
            read = [without_time(await anext(readings)) for _ in range(4)]

    assert read == [
        Reach("1001", PHONE["URI"], False, None, 0.0),
        Reach("1001", PHONE["URI"], True, 0.002, 0.0),
        Added(Binding("1002", NEW), 0.0),
        Gone("1001", PHONE["URI"], 0.0, Loss.DEREGISTERED),
    ]


async def test_what_happens_during_a_list_is_told_after_its_rows() -> None:
    start, row, end = wire.listing("ContactStatusDetail", [PHONE])
    events = status("Removed") + status("NonQualified", NEW, "1002")
    answers = healthy(**{CONTACTS: [start + events[:40], events[40:] + row, end]})
    async with serving(answers) as server:
        read = await first_list(server)

    kinds = [Expected, Bindings, Expected, Gone, Added, Outbounds, ListEnd]
    assert [type(r) for r in read] == kinds
    assert rows(read) == [BOUND]


async def test_a_new_contact_and_a_wish_ask_for_one_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asterisk, "EXPIRY_DELAY", 0.01)
    async with serving(healthy()) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            await server.push(status("NonQualified", NEW, "1002"))
            assert isinstance(await anext(readings), Added)
            registrar.relist()
            registrar.relist()
            await until_end(readings)
            registrar.relist()
            read = await until_end(readings)

    assert rows(read) == [BOUND]
    assert server.actions.count(CONTACTS) == 3
    assert server.actions.count(ROSTER) == 1


@pytest.mark.parametrize(
    ("took", "before"),
    [(2.0, 1500), (1.0 + asterisk.BURST, 500)],  # s for the first; 500 come at once
)
async def test_a_list_waits_for_a_burst_of_events_but_not_for_long(
    took: float, before: int
) -> None:
    now = [100.0]
    async with serving(healthy()) as server:
        settings = AsteriskSettings(interval=3600.0, timeout=30.0)
        registrar = Asterisk(settings, server.address, clock=lambda: now[0])
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            assert registrar._session is not None
            came = (status("NonQualified", NEW, f"2{n:04}") for n in range(1500))
            registrar._session.data_received(b"".join(came))
            first = await anext(readings)
            now[0] += took  # a list is due 1 s after it
            read = [first, *await until_end(readings)]

    kinds = [type(reading) for reading in read]
    assert kinds.index(Bindings) == before
    assert kinds.count(Added) == 1500
    assert server.actions.count(CONTACTS) == 2


async def test_it_lists_again_each_interval() -> None:
    async with serving(healthy()) as server:
        async with aclosing(watched(server, interval=0.01).watch()) as readings:
            for _ in range(3):
                await until_end(readings)
    assert server.actions.count(CONTACTS) == 3


async def test_a_reload_asks_for_the_roster_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asterisk, "EXPIRY_DELAY", 0.01)
    async with serving(healthy()) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            roster = wire.listing("InboundRegistrationDetail", [aor("1001")])
            server.answers[ROSTER] = roster
            await server.push(message(Event="Reload", Module="res_pjsip.so"))
            read = await until_end(readings)
    assert last_roster(read) == ["1001"]


async def test_an_aor_is_one_object_however_often_the_roster_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asterisk, "ROSTER_SECONDS", 0.0)
    async with serving(healthy()) as server:
        async with aclosing(watched(server, interval=0.01).watch()) as readings:
            first, second = [await until_end(readings) for _ in range(2)]
    before, after = [
        {id(name) for r in read if isinstance(r, Expected) for name, _ in r.aors}
        for read in (first, second)
    ]
    assert before == after
    assert len(before) == len(last_roster(second))
    assert server.actions.count(ROSTER) == 2


async def test_a_shutdown_is_told_before_the_connection_ends() -> None:
    async with serving(healthy()) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            shutdown = message(Event="Shutdown", Shutdown="Cleanly", Restart="False")
            await server.push(shutdown, CLOSE)
            assert isinstance(await anext(readings), Restarting)
            with pytest.raises(Unreadable, match="it shuts down"):
                await anext(readings)


async def test_silence_is_met_with_a_ping_and_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asterisk, "IDLE_PING", 0.02)
    async with serving(healthy()) as server:
        async with aclosing(watched(server, timeout=0.2).watch()) as readings:
            await until_end(readings)
            waiting = asyncio.ensure_future(anext(readings))
            await server.asked("Ping", 4)  # it lives: nothing happens
            server.answers["Ping"] = [HANG]
            with pytest.raises(Unreadable, match="does not answer Ping"):
                await waiting


async def test_closing_logs_off() -> None:
    async with serving(healthy()) as server:
        await first_list(server)
        await server.asked("Logoff")


async def test_a_registrar_can_be_watched_again_after_a_failure() -> None:
    async with serving(healthy()) as server:
        registrar = watched(server)
        for _ in range(2):
            async with aclosing(registrar.watch()) as readings:
                await until_end(readings)
                await server.push(CLOSE)
                with pytest.raises(Unreadable, match="ended or died"):
                    await anext(readings)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("pbx:5039", ("pbx", 5039)),
        ("10.0.0.5", ("10.0.0.5", 5038)),
        ("[2001:db8::5]:5039", ("2001:db8::5", 5039)),
        ("[2001:db8::5]", ("2001:db8::5", 5038)),
    ],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert host_and_port(address, 5038) == expected


@pytest.mark.parametrize(
    "address",
    ["", "pbx:", "pbx:0", "pbx:65536", "a b:1", "::1", "a..b:1", "a" * 64, "a\0"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        host_and_port(address, 5038)


async def test_a_slow_list_is_asked_for_less_often() -> None:
    now = [100.0]

    async with serving(healthy()) as server:
        settings = AsteriskSettings(interval=1.0, timeout=30.0)
        registrar = Asterisk(settings, server.address, clock=lambda: now[0])
        async with aclosing(registrar.watch()) as readings:
            async for reading in readings:
                now[0] += 2.0  # rows take their time
                if isinstance(reading, ListEnd):
                    break
            # Four readings of 2 s each before the end: not before 108 + 10 * 8.
            assert registrar._pace.due() == 188.0
            registrar.relist()
            assert registrar._pace.due() == 188.0


async def test_a_log_in_that_is_refused_twice_is_tried_every_five_minutes() -> None:
    now = [0.0]
    async with serving(healthy(Login=[wire.error("Authentication failed")])) as server:
        registrar = Asterisk(AsteriskSettings(), server.address, clock=lambda: now[0])
        attempts = []
        for now[0] in (100, 101, 103, 400, 401, 500):
            with pytest.raises(Unreadable, match="refuses the log-in"):
                await until_end(registrar.watch())
            attempts.append(len([r for r in server.requests if b"Login" in r]))
        assert attempts == [1, 2, 2, 2, 3, 3]

        server.answers.update(healthy())
        now[0] = 702
        async with aclosing(registrar.watch()) as readings:
            assert rows(await until_end(readings)) == [BOUND]


async def test_extensions_are_called_as_the_pbx_calls_them() -> None:
    named = message(Response="Success", ActionID="x", Value='"Reception" <1001>')
    async with serving(healthy(Getvar=[named])) as server:
        async with aclosing(watched(server, interval=0.01).watch()) as readings:
            before, *_, expected, _, _ = await until_end(readings)
            await until_end(readings)
    assert before == Expected([("1001", ""), ("1002", "")])
    assert expected == Expected([("1001", "Reception"), ("1002", "Reception")])
    assert server.actions.count("Getvar") == 2  # not again, and not of the trunk
    asked = [r for r in server.requests if b"Getvar" in r]
    assert b"Variable: PJSIP_ENDPOINT(1001,callerid)\r\n" in asked[0]


async def test_thousands_of_names_are_asked_for_after_the_list_in_peace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("checks.registrars.asterisk.TITLES", 1)
    monkeypatch.setattr("checks.registrars.asterisk.TITLES_PAUSE", 0.01)
    named = message(Response="Success", ActionID="x", Value='"Reception" <1001>')
    async with serving(healthy(Getvar=[named])) as server:
        async with aclosing(watched(server).watch()) as readings:
            *_, expected, _, _ = await until_end(readings)
            assert expected == Expected([("1001", "Reception"), ("1002", "")])
            later = await anext(readings)
    assert later == Expected([("1001", "Reception"), ("1002", "Reception")])
    assert server.actions.count("Getvar") == 2


async def test_after_a_reload_names_are_asked_for_again_and_kept_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def named(name: str) -> list[bytes]:
        caller = f'"{name}" <1001>'
        return [message(Response="Success", ActionID="x", Value=caller)]

    async with serving(healthy(Getvar=named("Old"))) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            monkeypatch.setattr("checks.registrars.asterisk.TITLES", 1)
            server.answers["Getvar"] = named("New")
            await server.push(message(Event="Reload", Module="res_pjsip.so"))
            *_, expected, _, _ = await until_end(readings)
            later = await anext(readings)
    assert expected == Expected([("1001", "New"), ("1002", "Old")])
    assert later == Expected([("1001", "New"), ("1002", "New")])


async def test_a_user_that_may_not_ask_for_names_watches_by_number() -> None:
    denied = wire.error("Permission denied")
    async with serving(healthy(Getvar=[denied])) as server:
        *_, expected, _, _ = await first_list(server)
    assert expected == Expected([("1001", ""), ("1002", "")])
