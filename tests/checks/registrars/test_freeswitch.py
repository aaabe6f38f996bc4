from __future__ import annotations

import asyncio
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

import pytest

from checks.observation import Binding, Cause, Event, Kind, Loss, Scope, State, Subject
from checks.registrars import directory, freeswitch
from checks.registrars.freeswitch import Freeswitch, FreeswitchSettings
from checks.registrations.judge import (
    Added,
    Bindings,
    Expected,
    Gone,
    Judge,
    ListEnd,
    Reach,
    Reading,
    Remembered,
    Restarting,
    Unreadable,
)
from checks.registrations.readings import Outbound, Outbounds
from checks.settings import Secret
from tests.wires import freeswitch as fs
from tests.wires.freeswitch import CLOSE, HANG, EslServer

Answers = dict[str, bytes | list[bytes]]

NOW = 1_795_000_000.0  # of the PBX, far from ours
AOR, URI = "1001@example.com", "sip:1001@10.0.0.31:5060"
ROW = fs.registration(AOR, end=NOW + 100, left=100)
BOUND = Binding(
    AOR,
    URI,
    reachable=True,
    user_agent="Phone 1.0",
    received="10.0.0.31:5060",
    rtt=pytest.approx(0.0008),
    asked=True,
)
TRUNK = {"name": "trunk", "from": "&lt;sip:u@x&gt;", "proxy": "sip:10.0.0.9"} | {
    "freq": "30",
    "state": "REGED",
    "status": "UP",
}
NOTHING = fs.api(fs.xmlstatus([]))
EXTERNAL = "api sofia xmlstatus profile external reg"


def healthy(*rows: bytes, **changed: bytes | list[bytes]) -> Answers:
    named = {key: changed.pop(key) for key in list(changed) if key.isupper()}
    answers: Answers = {
        fs.OVERVIEW: fs.api(fs.overview("internal", aliases={"default": "internal"})),
        fs.REG: fs.api(fs.xmlstatus(rows or [ROW])),
        fs.GATEWAYS: fs.api(fs.gateways(TRUNK)),
        fs.USERS: fs.api(fs.users(f"{AOR}|Reception", "1002@example.com|")),
        fs.CLOCK: fs.api(str(round(NOW * 1e6))),
        fs.UPTIME: fs.api("3600\n"),
        fs.CORE: fs.api(fs.RUN),
    }
    return answers | {getattr(fs, key): value for key, value in named.items()}


def recorded(version: str) -> Answers:
    return {**fs.recorded(version), EXTERNAL: NOTHING}


def watched(server: EslServer | str, **settings: Any) -> Freeswitch:
    keys = {"password": Secret("labpw"), "timeout": 5.0, **settings}
    address = server if isinstance(server, str) else server.address
    return Freeswitch(FreeswitchSettings(**keys), address, clock=time.monotonic)


async def until_end(readings: AsyncIterator[Reading]) -> list[Reading]:
    """The readings up to the end of a full list."""
    read = []
    async for reading in readings:
        read.append(reading)
        if isinstance(reading, ListEnd):
            break
    return read


async def first_list(server: EslServer, **settings: Any) -> list[Reading]:
    async with aclosing(watched(server, **settings).watch()) as readings:
        return await until_end(readings)


async def failure(server: EslServer | str, **settings: Any) -> Unreadable:
    """How the first list fails; it must not end before."""
    try:
        async with aclosing(watched(server, **settings).watch()) as readings:
            read = await until_end(readings)
    except Unreadable as failed:
        return failed
    raise AssertionError(read)


def rows(read: list[Reading]) -> list[Binding]:
    return [row for r in read if isinstance(r, Bindings) for row in r.rows]


def judge(remembered: Iterable[Remembered] = (), **settings: Any) -> Judge:
    keys = {"address": "pbx", **settings}
    scope = Scope("hq", labels={"registrar": "hq"})
    subject = Subject(Kind.REGISTRAR, "hq", scope)
    now = time.monotonic()
    return Judge("hq", FreeswitchSettings(**keys), subject, now, remembered)


@pytest.fixture(autouse=True)
def no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG)
    yield
    assert "labpw" not in caplog.text


# --- what it reads -------------------------------------------------------------------

PHONES = {
    "1.10.12": "1001 1002 1003 1004 1005 1006 1007 1008 1009 1010 1001",
    "1.11.1": "1001 1002 1003 1004 1005 1006 1007 1008 1009 1010",
}


@pytest.mark.parametrize("version", fs.VERSIONS)
@pytest.mark.parametrize("seed", [None, 1, 2])
async def test_a_recorded_freeswitch_is_read_and_judged(
    version: str, seed: int | None
) -> None:
    judged = judge(domain="fs.lab.test")
    async with EslServer(recorded(version), seed=seed) as server:
        read = await first_list(server, domain="fs.lab.test")
    for reading in read:
        judged.apply("pbx", reading, time.monotonic())

    assert " ".join(row.aor for row in rows(read)) == PHONES[version]
    assert {a: e.state for a, e in judged.extensions.items()} == dict.fromkeys(
        PHONES[version].split(), State.REGISTERED
    )
    trunks = judged.outgoing.registrations
    assert trunks["gw-noreg-ping"].state is State.OK
    assert trunks["gw-noreg-deadping"].state is State.FAILING
    assert "gw-noreg-noping" not in trunks
    assert judged.state is State.READABLE


async def test_a_whole_read_is_bindings_roster_gateways_and_clocks() -> None:
    async with EslServer(healthy()) as server:
        bindings, expected, outbounds, end = await first_list(server)
        asked = server.commands

    assert bindings == Bindings([BOUND])
    assert expected == Expected([(AOR, "Reception"), ("1002@example.com", "")])
    assert isinstance(outbounds, Outbounds)
    assert [(o.name, o.state) for o in outbounds.rows] == [("trunk", State.OK)]
    assert isinstance(end, ListEnd)
    assert end.pbx_now == pytest.approx(NOW, abs=1.0)
    assert end.boot == pytest.approx(NOW - 3600, abs=1.0)
    assert (end.run, end.kept, end.aors) == (fs.RUN, True, None)
    assert asked[:2] == [
        "auth labpw",
        "event plain HEARTBEAT SHUTDOWN RELOADXML CUSTOM sofia::register "
        "sofia::unregister sofia::expire sofia::sip_user_state sofia::gateway_state "
        "sofia::gateway_add sofia::gateway_delete sofia::profile_start",
    ]
    assert not any("show registrations" in command for command in asked)


async def test_every_profile_is_read_once_and_no_alias() -> None:
    both = fs.api(fs.overview("internal", "external", aliases={"default": "internal"}))
    other = fs.registration("2001@example.com", end=NOW + 100)
    answers = healthy(OVERVIEW=both) | {EXTERNAL: fs.api(fs.xmlstatus([other]))}
    async with EslServer(answers) as server:
        read = await first_list(server)
        assert [row.aor for row in rows(read)] == [AOR, "2001@example.com"]
        assert [c for c in server.commands if c.endswith(" reg")] == [fs.REG, EXTERNAL]


@pytest.mark.parametrize("name", ["internal", "default"])
async def test_only_the_profiles_that_are_named_are_read(name: str) -> None:
    both = fs.api(fs.overview("internal", "external", aliases={"default": "internal"}))
    async with EslServer(healthy(OVERVIEW=both)) as server:
        read = await first_list(server, profiles=[name])
        assert [row.aor for row in rows(read)] == [AOR]
        async with aclosing(watched(server, profiles=[name]).watch()) as readings:
            await until_end(readings)
            foreign = dict(REGISTERED, profile_name="external", from_user="9")
            await server.push(
                fs.event("sofia::register", NOW, **foreign),
                fs.event("sofia::register", NOW, **REGISTERED),
            )
            added = await anext(readings)
    assert isinstance(added, Added)
    assert added.binding.aor == AOR


# --- what it hears -------------------------------------------------------------------

REGISTERED = {
    "profile_name": "internal",
    "from_user": "1001",
    "from_host": "example.com",
    "contact": f'"" <{URI}>',
    "call_id": "call-1001",
    "status": "Registered(UDP)",
    "expires": "60",
    "network_ip": "10.0.0.31",
    "network_port": "5060",
    "user_agent": "Phone 1.0",
}
EXPIRED = {
    "profile_name": "internal",
    "user": "1001",
    "host": "example.com",
    "contact": f'"" <{URI}>',
    "call_id": "call-1001",
    "expires": str(int(NOW + 120)),
}


async def test_events_are_readings_in_their_order() -> None:
    async with EslServer(healthy(), seed=5) as server:
        async with aclosing(watched(server).watch()) as readings:
            await until_end(readings)
            asked = {"Ping_Status": "UNREACHABLE", "sip_contact": f'"" <{URI}>'}
            await server.push(
                fs.event("sofia::register", NOW, **REGISTERED),
                fs.event("sofia::sip_user_state", NOW, **REGISTERED | asked),
                fs.event("sofia::unregister", NOW, **REGISTERED),
                fs.event("sofia::expire", NOW + 150, **EXPIRED),
                fs.event(
                    "sofia::gateway_state",
                    NOW,
                    Gateway="trunk",
                    State="FAILED",
                    Status="403",
                    Phrase="Forbidden",
                ),
                fs.event("SHUTDOWN", NOW),
            )
            told = [await anext(readings) for _ in range(6)]
    added, reach, gone, expired, trunk, stopping = told
    assert isinstance(added, Added)
    assert added.binding.expires_at == pytest.approx(NOW + 60)
    assert added.binding.granted == 60
    assert isinstance(reach, Reach)
    assert reach.reachable is False
    assert isinstance(gone, Gone)
    assert gone.loss is Loss.DEREGISTERED
    assert isinstance(expired, Gone)
    assert expired.loss is Loss.EXPIRED
    assert isinstance(trunk, Outbound)
    assert (trunk.state, trunk.cause) == (State.REJECTED, Cause.FORBIDDEN)
    assert isinstance(stopping, Restarting)


async def test_events_between_question_and_answer_are_told_after_the_rows() -> None:
    left = fs.event("sofia::unregister", NOW + 1, **REGISTERED)
    beat = fs.event("HEARTBEAT", NOW, Uptime_msec="3600000")
    listing = fs.api(fs.xmlstatus([ROW]))
    answers = healthy(
        REG=[beat, left, listing + beat], USERS=[beat, fs.api("-ERR x\n")]
    )
    async with EslServer(answers, seed=9) as server:
        read = await first_list(server)
    assert rows(read) == [BOUND]
    assert [type(r) for r in read] == [Bindings, Gone, Outbounds, ListEnd]


async def test_a_new_contact_brings_another_list() -> None:
    # Without multiple registrations it has replaced another, which nobody tells.
    async with EslServer(healthy()) as server:
        async with aclosing(watched(server, interval=3600.0).watch()) as readings:
            await until_end(readings)
            moved = dict(REGISTERED, contact='"" <sip:1001@10.0.0.99:5060>')
            await server.push(fs.event("sofia::register", NOW, **moved))
            assert isinstance(await anext(readings), Added)
            async with asyncio.timeout(5):
                assert isinstance((await until_end(readings))[-1], ListEnd)


async def test_a_wish_for_a_list_is_heard() -> None:
    async with EslServer(healthy()) as server:
        registrar = watched(server, interval=3600.0)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
            registrar.relist()
            async with asyncio.timeout(5):
                assert isinstance((await until_end(readings))[-1], ListEnd)


async def test_silence_is_met_with_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeswitch, "IDLE", 0.05)
    async with EslServer(healthy()) as server:
        readings = watched(server, interval=3600.0).watch()
        await until_end(readings)
        waiting = asyncio.ensure_future(anext(readings))
        await server.asked(fs.UPTIME, 3)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_the_clock_and_the_run_are_heard_where_they_are_not_told() -> None:
    refused = fs.api("-ERR no such Command not found!\n")
    beat = fs.event("HEARTBEAT", NOW, Uptime_msec="3600500")
    quiet = healthy(CLOCK=refused, CORE=refused, UPTIME=refused)
    async with EslServer(quiet) as server:
        async with aclosing(watched(server, interval=0.05).watch()) as readings:
            end = (await until_end(readings))[-1]
            assert isinstance(end, ListEnd)
            assert (end.pbx_now, end.boot, end.run) == (None, None, "")
            await server.push(beat)
            while not (isinstance(end, ListEnd) and end.run):
                end = (await until_end(readings))[-1]
    assert end.boot == pytest.approx(NOW - 3600.5)
    assert end.pbx_now == pytest.approx(NOW, abs=1.0)


async def test_the_margin_is_learned_on_the_way() -> None:
    row = fs.registration(AOR, end=int(NOW) + 120, left=120)
    async with EslServer(healthy(row)) as server:
        async with aclosing(watched(server, interval=0.05).watch()) as readings:
            assert rows(await until_end(readings))[0].expires_at is None
            await server.push(fs.event("sofia::register", NOW, **REGISTERED))
            assert isinstance(await anext(readings), Added)
            read = await until_end(readings)
            assert rows(read)[0].expires_at == pytest.approx(NOW + 60)
            assert rows(read)[0].granted == 60


# --- a restart -----------------------------------------------------------------------


async def test_a_restart_is_seen_by_another_run_and_proves_no_phone() -> None:
    judged, told = judge(), []
    async with EslServer(healthy()) as server:
        registrar = watched(server)
        for run, uptime in ((fs.RUN, 3600), (fs.RUN.replace("d", "e"), 11)):
            server.answers = healthy(
                CORE=fs.api(run), UPTIME=fs.api(str(uptime)), CLOCK=clock(3600)
            )
            async with aclosing(registrar.watch()) as readings:
                for reading in await until_end(readings):
                    told += judged.apply("pbx", reading, time.monotonic())
            judged.lost("pbx", Cause.CONNECTION_RESET, "gone", time.monotonic())
    (restart,) = [o for o in told if o.event is Event.RESTARTED]
    assert restart.detail == "all 1 kept by the PBX, none proven yet"
    assert judged.extensions[AOR].state is State.REGISTERED


def clock(more: float = 0.0) -> bytes:
    return fs.api(str(round((NOW + more) * 1e6)))


async def test_a_clock_that_drifts_is_no_restart() -> None:
    judged, told = judge(), []
    async with EslServer(healthy()) as server:
        for more in (0, 30):  # its uptime and its clock have come apart
            server.answers = healthy(CLOCK=clock(more))
            for reading in await first_list(server):
                told += judged.apply("pbx", reading, time.monotonic())
            judged = judge(judged.take())  # nor is it after a restart of ours
    assert not [o for o in told if o.event]


async def test_a_freeswitch_that_has_just_started_is_given_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freeswitch, "STARTING", 1.2)
    async with EslServer(healthy(UPTIME=fs.api("1\n"))) as server:
        began = time.monotonic()
        await first_list(server)
    assert time.monotonic() - began >= 0.15


async def test_a_profile_that_is_restarted_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freeswitch, "LOOK", 0.01)
    both = healthy(OVERVIEW=fs.api(fs.overview("internal", "external")))
    both[EXTERNAL] = NOTHING
    async with EslServer(both) as server:
        async with aclosing(watched(server, interval=0.05).watch()) as readings:
            await until_end(readings)
            looked = server.commands.count(fs.OVERVIEW)
            server.answers = {**both, fs.OVERVIEW: fs.api(fs.overview("external"))}
            waiting = asyncio.ensure_future(until_end(readings))
            await server.asked(fs.OVERVIEW, looked + 5)
            assert not waiting.done()
            server.answers = both
            assert [row.aor for row in rows(await waiting)] == [AOR]


async def test_a_profile_that_ended_makes_its_phones_unknown_then_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freeswitch, "LOOK", 0.01)
    monkeypatch.setattr(freeswitch, "PROFILE_WAIT", 0.05)
    both = healthy(OVERVIEW=fs.api(fs.overview("internal", "external")))
    both[EXTERNAL] = NOTHING
    async with EslServer(both) as server:
        registrar = watched(server)
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
        server.answers = {**both, fs.OVERVIEW: fs.api(fs.overview("external"))}
        with pytest.raises(Unreadable, match="does not run its profile internal"):
            await until_end(registrar.watch())
        monkeypatch.setattr(freeswitch, "PROFILE_GONE", 0.0)
        with pytest.raises(Unreadable, match="`sofia profile internal start`"):
            await until_end(registrar.watch())
        assert rows(await until_end(registrar.watch())) == []


async def test_a_profile_is_missed_from_when_it_could_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An hour without a FreeSWITCH that still starts proves nothing of its profiles."""
    monkeypatch.setattr(freeswitch, "LOOK", 0.01)
    monkeypatch.setattr(freeswitch, "PROFILE_WAIT", 0.05)
    both = healthy(OVERVIEW=fs.api(fs.overview("internal", "external")))
    both[EXTERNAL] = NOTHING
    ahead = [0.0]
    async with EslServer(both) as server:
        registrar = Freeswitch(
            FreeswitchSettings(password=Secret("labpw"), timeout=5.0),
            server.address,
            clock=lambda: time.monotonic() + ahead[0],
        )
        async with aclosing(registrar.watch()) as readings:
            await until_end(readings)
        server.answers = {**both, fs.OVERVIEW: fs.api(fs.overview("external"))}
        ahead[0] = 3600.0
        for ahead[0] in (3600.0, 3900.0):
            with pytest.raises(Unreadable, match="does not run its profile internal"):
                await until_end(registrar.watch())
        server.answers = both
        assert [row.aor for row in rows(await until_end(registrar.watch()))] == [AOR]


async def test_in_its_first_second_it_is_starting_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freeswitch, "STARTING", 0.3)
    async with EslServer(healthy(UPTIME=fs.api("0\n"))) as server:
        began = time.monotonic()
        end = (await first_list(server))[-1]
        assert time.monotonic() - began >= 0.3
    assert isinstance(end, ListEnd)
    assert end.boot == pytest.approx(NOW, abs=2.0)


# --- who should be there -------------------------------------------------------------


async def rosters(server: EslServer, lists: int, **settings: Any) -> list[Any]:
    """The rosters of so many lists, None where there was none."""
    found = []
    async with aclosing(watched(server, interval=0.01, **settings).watch()) as readings:
        for _ in range(lists):
            read = await until_end(readings)
            found.append(next((r for r in read if isinstance(r, Expected)), None))
    return found


async def test_the_directory_is_told_once_until_it_changes() -> None:
    async with EslServer(healthy()) as server:
        first, again = await rosters(server, 2, domain="example.com")
    assert first == Expected([("1001", "Reception"), ("1002", "")])
    assert again is None


async def test_a_directory_that_lacks_who_registers_is_no_roster(
    caplog: pytest.LogCaptureFixture,
) -> None:
    users = fs.api(fs.users("1000@example.com|Demo"))
    async with EslServer(healthy(USERS=users)) as server:
        assert await rosters(server, 3) == [None] * 3
        assert server.commands.count(fs.USERS) == 1
    assert f"does not list all who register ({AOR})" in caplog.text


async def test_a_user_who_came_later_is_expected_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory, "LEAST", 0.0)
    guest = fs.registration("1009@example.com", end=NOW + 100)
    async with EslServer(healthy()) as server:
        async with aclosing(watched(server, interval=0.01).watch()) as readings:
            await until_end(readings)
            server.answers = healthy(ROW, guest)
            read = await until_end(readings)
            while not any(isinstance(r, Expected) for r in read):
                read = await until_end(readings)
        assert server.commands.count(fs.USERS) == 2
    (roster,) = [r for r in read if isinstance(r, Expected)]
    assert ("1009@example.com", "") in roster.aors


@pytest.mark.parametrize(
    "answer",
    [
        fs.api("-ERR list_users Command not found!\n"),
        fs.api(fs.users(f"{AOR}|Reception")[:-5]),
        fs.api(b"userid|" + b"x" * 70_000),
        fs.reply("-ERR permission denied"),
    ],
)
async def test_a_directory_that_cannot_be_listed_is_none(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with EslServer(healthy(USERS=answer), seed=1) as server:
        assert await rosters(server, 2) == [None, None]
    assert "the directory cannot be listed" in caplog.text


async def test_a_directory_that_takes_too_long_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory, "PATIENCE", 0.05)
    async with EslServer(healthy(USERS=HANG)) as server:
        registrar = watched(server)
        with pytest.raises(Unreadable, match="does not answer api list_users"):
            await until_end(registrar.watch())
        async with aclosing(registrar.watch()) as readings:
            assert rows(await until_end(readings)) == [BOUND]


async def test_a_reload_of_the_files_is_read_anew() -> None:
    async with EslServer(healthy()) as server:
        async with aclosing(watched(server, interval=3600.0).watch()) as readings:
            await until_end(readings)
            server.answers = healthy(USERS=fs.api(fs.users(f"{AOR}|Desk")))
            await server.push(fs.event("RELOADXML", NOW))
            async with asyncio.timeout(5):
                read = await until_end(readings)
    assert Expected([(AOR, "Desk")]) in read


# --- how it fails --------------------------------------------------------------------

LISTING = fs.api(fs.xmlstatus([ROW] * 3))

FAILURES: dict[str, tuple[dict[str, Any], Cause, str]] = {
    "no mod_sofia": (
        {"OVERVIEW": fs.api("-ERR sofia Command not found!\n")},
        Cause.NO_LIST,
        "mod_sofia is not loaded, or not yet (`load mod_sofia`",
    ),
    "a profile that ends meanwhile": (
        {"REG": fs.api("Invalid Profile!\n")},
        Cause.NO_LIST,
        "a profile of FreeSWITCH ended",
    ),
    "another refusal": (
        {"GATEWAYS": fs.api("-ERR not today\n")},
        Cause.NO_LIST,
        "answers with an error: -ERR not today",
    ),
    "not logged in after all": (
        {"REG": fs.reply("-ERR command not found")},
        Cause.NO_LIST,
        "answers with an error: -ERR command not found",
    ),
    "killed in a list": (
        {"REG": [LISTING[:900], CLOSE]},
        Cause.CONNECTION_RESET,
        "connection closed",
    ),
    "frozen in a list": (
        {"REG": [LISTING[:900], HANG]},
        Cause.TIMEOUT,
        "does not end api sofia xmlstatus profile internal reg within 0.3 s",
    ),
    "frozen before a list": (
        {"REG": HANG},
        Cause.TIMEOUT,
        "does not answer api sofia xmlstatus profile internal reg within 0.3 s: "
        "FreeSWITCH hangs or is stopped",
    ),
    "half a list": (
        {"REG": fs.api(fs.xmlstatus([ROW])[:-20])},
        Cause.MALFORMED,
        "ends before </profile>",
    ),
    "a list of 200 MB": (
        {"REG": b"Content-Type: api/response\nContent-Length: 209715200\n\n"},
        Cause.MALFORMED,
        "over 67108864 bytes",
    ),
    "a list that is none": (
        {"REG": fs.api("<html>\n<body>nginx</body>\n")},
        Cause.NO_LIST,
        "answers with an error: <html>",
    ),
    "entities": (
        {"REG": fs.api(b'<?xml version="1.0"?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n')},
        Cause.MALFORMED,
        "document type",
    ),
    "an event of megabytes": (
        {"REG": b"Content-Type: text/event-plain\nContent-Length: 999999\n\n"},
        Cause.MALFORMED,
        "over 65536 bytes",
    ),
    "headers without end": (
        {"REG": b"Content-Type: " + b"A" * 70_000},
        Cause.MALFORMED,
        "headers of over 65536 bytes",
    ),
    "an answer to nothing": (
        {"REG": fs.AUTH_REQUEST},
        Cause.MALFORMED,
        "gave auth/request",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_what_fails_is_told_with_its_next_step(name: str) -> None:
    changed, cause, words = FAILURES[name]
    async with EslServer(healthy(**changed)) as server:
        failed = await failure(server, timeout=0.3)
    assert (failed.cause, words in failed.detail) == (cause, True), failed


async def test_a_wrong_password_as_recorded() -> None:
    (greeting, refusal) = [turn.sent for turn in fs.turns("1.11.1-auth-bad")]
    answers = {"auth wrongpw": [refusal, CLOSE]}
    async with EslServer(answers, [greeting], seed=4) as server:
        failed = await failure(server, password=Secret("wrongpw"))
    assert failed.cause is Cause.UNAUTHORIZED
    assert "refuses the password: it is the value of `password` in" in failed.detail
    assert "wrongpw" not in failed.detail


async def test_an_address_that_is_not_allowed_as_recorded() -> None:
    (turn,) = fs.turns("1.11.1-acl-reject")
    async with EslServer({}, [turn.sent, CLOSE], seed=4) as server:
        failed = await failure(server)
    assert failed.cause is Cause.FORBIDDEN
    assert "let `apply-inbound-acl` name a list of acl.conf.xml" in failed.detail


async def test_refusals_are_not_asked_for_again_and_again() -> None:
    async with EslServer(healthy()) as server:
        registrar = watched(server, password=Secret("wrong"))
        for _ in range(5):
            with pytest.raises(Unreadable, match="refuses the password"):
                await until_end(registrar.watch())
        assert server.commands.count("auth wrong") == 2


@pytest.mark.parametrize(
    ("greeting", "cause", "words"),
    [
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], Cause.MALFORMED, "does not greet as FreeSWITCH"),
        ([HANG], Cause.TIMEOUT, "accepts the connection and says nothing"),
        ([CLOSE], Cause.CONNECTION_RESET, "it has not greeted"),
        ([fs.GOODBYE, CLOSE], Cause.CONNECTION_RESET, "connection closed"),
    ],
)
async def test_who_does_not_greet_is_told(
    greeting: list[bytes], cause: Cause, words: str
) -> None:
    async with EslServer({}, greeting) as server:
        failed = await failure(server, timeout=0.3)
    assert (failed.cause, words in failed.detail) == (cause, True), failed


async def test_nobody_there_is_told_with_what_to_look_at() -> None:
    async with EslServer({}) as server:
        address = server.address
    failed = await failure(address)
    assert failed.cause is Cause.CONNECTION_REFUSED
    assert "is mod_event_socket loaded, and does `listen-ip`" in failed.detail
    assert (await failure("no:port:at:all")).cause is Cause.DNS_FAILURE


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([fs.event("SHUTDOWN", NOW), fs.GOODBYE, CLOSE], "it shuts down"),
        ([fs.GOODBYE, CLOSE], "it ended, or mod_event_socket was reloaded"),
        (
            [
                fs.GOODBYE.replace(b"Disconnected, goodbye", b"Too many lost events!"),
                CLOSE,
            ],
            "Too many lost event",
        ),
    ],
)
async def test_a_disconnect_is_told_with_its_reason(
    said: list[bytes], words: str
) -> None:
    async with EslServer(healthy()) as server:
        async with aclosing(watched(server, interval=3600.0).watch()) as readings:
            await until_end(readings)
            await server.push(*said)
            with pytest.raises(Unreadable) as failed:
                assert all([isinstance(r, Restarting) async for r in readings])
    assert failed.value.cause is Cause.CONNECTION_RESET
    assert words in failed.value.detail


@pytest.mark.parametrize(
    ("overview", "settings", "words"),
    [
        (fs.overview(), {}, "mod_sofia runs no profile"),
        (fs.overview("internal"), {"profiles": ["nosuch"]}, "profile nosuch"),
    ],
)
async def test_no_profile_is_told(
    overview: bytes,
    settings: dict[str, Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freeswitch, "PROFILE_WAIT", 0.0)
    async with EslServer(healthy(OVERVIEW=fs.api(overview))) as server:
        failed = await failure(server, **settings)
    assert failed.cause is Cause.NO_LIST
    assert words in failed.detail


async def test_nothing_is_lost_by_a_list_that_fails() -> None:
    judged = judge()
    async with EslServer(healthy()) as server:
        registrar = watched(server, timeout=0.3)
        async with aclosing(registrar.watch()) as readings:
            for reading in await until_end(readings):
                judged.apply("pbx", reading, time.monotonic())
        server.answers = healthy(REG=[fs.api(fs.xmlstatus([]))[:60], HANG])
        with pytest.raises(Unreadable) as failed:
            await until_end(registrar.watch())
        cause, detail = failed.value.cause, failed.value.detail
        judged.lost("pbx", cause, detail, time.monotonic())
    assert judged.state is State.UNREADABLE
    assert judged.extensions[AOR].state is State.REGISTERED


@pytest.mark.parametrize(
    "wrong", [{"password": Secret("a\nb")}, {"profiles": ["a b"]}, {"profiles": [""]}]
)
def test_settings_that_would_break_a_command_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        FreeswitchSettings(address="pbx", **wrong)


# --- many ----------------------------------------------------------------------------

MANY = 20_000


async def test_twenty_thousand_registrations_are_judged_right() -> None:
    judged = judge()
    users = fs.users(*(f"{n:06}@example.com" for n in range(MANY) if n % 10 != 9))
    answers = healthy(*fs.crowd(MANY, NOW), USERS=fs.api(users))
    async with EslServer(answers) as server:
        registrar = watched(server)
        for _ in range(2):
            async with aclosing(registrar.watch()) as readings:
                for reading in await until_end(readings):
                    judged.apply("pbx", reading, time.monotonic())
    while judged.next_deadline() == 0.0:
        judged.advance(time.monotonic())
    counts = judged.counts()
    assert counts == {State.REGISTERED: MANY * 9 // 10}
    both = judged.extensions["000008@example.com"]
    assert len(both.contacts) == 2
    silent = judged.extensions["000007@example.com"]
    assert silent.reachable is False


async def test_a_list_with_too_many_rows_is_refused_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freeswitch, "ROW_LIMIT", 1000)
    async with EslServer(healthy(*fs.crowd(2000, NOW))) as server:
        failed = await failure(server)
    assert failed.cause is Cause.MALFORMED
    assert "over 1000 registrations" in failed.detail


async def test_a_list_that_trickles_for_ever_is_given_up_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("checks.registrars.esl_session.LIST_SECONDS", 1.0)
    head = b"Content-Type: api/response\nContent-Length: 67000000\n\n"
    start = fs.xmlstatus([]).partition(b"  </registrations>")[0]
    answers = healthy(REG=[head + start, *[b" filler \n" * 1000] * 7000])
    async with EslServer(answers) as server:
        tracemalloc.start()
        failed = await failure(server)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert failed.cause in (Cause.TIMEOUT, Cause.MALFORMED)
    assert peak < 20_000_000
