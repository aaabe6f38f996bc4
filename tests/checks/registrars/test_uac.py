from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from checks.observation import Cause, Kind, Scope, State, Subject
from checks.registrars import uac
from checks.registrars.kamailio import Kamailio, KamailioSettings
from checks.registrars.uac import Record, Uac
from checks.registrations.judge import Judge
from checks.registrations.readings import Ask, Outbound, Outbounds
from tests.conftest import StartKamailio
from tests.servers.kamailio_parts import Elsewhere
from tests.servers.kamailio_parts import uac as registering
from tests.servers.loopback import Loopback

NOW = 1795242500.0


def record(flags: int, left: int = 0, **more: str | int) -> Record:
    keys = {"r_username": "1", "r_domain": "a.test", "auth_proxy": "sip:a.test"}
    timer = {"timer_expires": int(NOW) + left, "diff_expires": left}
    body = {"l_uuid": "trunk", "flags": flags, "expires": 60} | keys | timer | more
    return msgspec.convert(body, Record)


def read(*rows: Record, known: Uac | None = None, now: float = NOW) -> list[Outbound]:
    return (known or Uac()).outbounds(list(rows), now)


# By the flags and the seconds left that a real one had in each case.
STATES = {
    "it stands": (20, 48, State.OK),
    "its end has passed": (20, -1, State.REJECTED),
    "a refresh is under way": (18, 0, None),
    "the first attempt is": (2, 0, None),
    "credentials were sent": (26, 0, None),
    "it failed, and is tried again": (16, 5, State.REJECTED),
    "it failed, and is not": (17, 0, State.REJECTED),
    "it waits for its first attempt": (0, 0, None),
}


@pytest.mark.parametrize("name", STATES)
def test_what_flags_say(name: str) -> None:
    flags, left, state = STATES[name]
    (row,) = read(record(flags, left))
    assert (row.state, row.trusted) == (state, False)


def test_a_row_is_an_outbound_registration() -> None:
    assert read(record(20, 48)) == [
        Outbound(
            name="trunk",
            state=State.OK,
            at=NOW,
            server="sip:a.test",
            client="1@a.test",
            expires=NOW + 48,
            trusted=False,
            lag=12.0,
        )
    ]


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(1, id="never begun"),
        pytest.param(21, id="disabled while it stood"),
    ],
)
def test_what_is_switched_off_is_not_listed(flags: int) -> None:
    assert read(record(flags)) == []


def test_one_that_is_not_tried_again_says_how_it_is() -> None:
    (row,) = read(record(17))
    assert "kamcmd uac.reg_enable l_uuid trunk" in row.detail


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [("sip:a.test", ""), ("none", ""), ("sip:10.0.0.9", "sip:10.0.0.9")],
)
def test_a_proxy_is_another_server(proxy: str, shown: str) -> None:
    (row,) = read(record(20, 48, auth_proxy=proxy))
    assert row.proxy == shown


def test_what_is_under_way_in_every_list_is_not_answered() -> None:
    known = Uac()
    states = []
    for n, flags in enumerate((18, 18, 18, 20, 18)):
        (row,) = read(
            record(flags, 0 if flags == 18 else 48), known=known, now=NOW + 6 * n
        )
        states.append((row.state, row.cause))
    assert states == [
        (None, None),
        (None, None),
        (State.FAILING, Cause.TIMEOUT),
        (State.OK, None),
        (None, None),
    ]


def test_how_old_a_failure_may_be() -> None:
    known = Uac()
    lags = []
    for after, left in ((0, 5), (3, 2), (30, 5)):
        row = record(16, left, timer_expires=int(NOW) + after + left)
        lags += [one.lag for one in read(row, known=known, now=NOW + after)]
    assert lags == [3600.0, 3603.0, 27.0]


def test_its_password_is_not_taken() -> None:
    body = msgspec.json.encode({"l_uuid": "1", "flags": 0, "auth_password": "hush"})
    assert "hush" not in repr(msgspec.json.decode(body, type=Record))


@pytest.mark.real("kamailio")
async def test_a_real_one_with_a_good_a_refused_and_a_dead_registration(
    kamailio: StartKamailio,
    loopback: Loopback,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uac, "ANSWER", 1.0)
    users = {"2001": "secret", "2002": "secret"}
    provider = await asyncio.to_thread(kamailio, users)
    here = loopback.address()
    trunks = [
        Elsewhere("good", "2001", "secret", provider.address),
        Elsewhere("wrong", "2002", "bad", provider.address),
        Elsewhere("dead", "2001", "secret", loopback.address()),
        Elsewhere("off", "2001", "secret", provider.address, disabled=True),
    ]
    part = registering(here, tmp_path, *trunks, retry=30)
    server = await asyncio.to_thread(kamailio, address=here, parts=[part])
    settings = KamailioSettings(interval=0.5, address=server.rpc_url)
    registrar = Kamailio(settings, server.rpc_url, clock=time.time)
    subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
    judge = Judge("hq", settings, subject, time.time())
    known, asked = judge.outgoing.registrations, dict[str, Ask | None]()
    wanted = {"good": State.OK, "wrong": State.REJECTED, "dead": State.FAILING}
    async with asyncio.timeout(20), aclosing(registrar.watch()) as readings:
        async for reading in readings:
            judge.apply(server.rpc_url, reading, time.time())
            _answer(judge, asked, provider.address)
            if {name: one.state for name, one in known.items()} == wanted:
                break
    assert provider.contacts() == ["2001"]
    assert known["dead"].cause is Cause.TIMEOUT
    assert "answers OPTIONS, but refuses" in known["wrong"].detail
    server.rpc("uac.reg_disable", "l_uuid", "good")
    async with asyncio.timeout(20), aclosing(registrar.watch()) as readings:
        while "good" in known:
            judge.apply(server.rpc_url, await anext(readings), time.time())


def _answer(judge: Judge, asked: dict[str, Ask | None], alive: str) -> None:
    """OPTIONS of ours: the server that lives answers."""
    now = time.time()
    asked |= judge.asks()
    for name, ask in asked.items():
        if ask is not None:
            ok = alive in ask.uri
            judge.heard(name, ok, None if ok else Cause.TIMEOUT, None, now, now)


@pytest.mark.real("kamailio")
async def test_a_real_one_without_uac_is_asked_once(kamailio: StartKamailio) -> None:
    server = await asyncio.to_thread(kamailio)
    settings = KamailioSettings(interval=0.1)
    registrar = Kamailio(settings, server.rpc_url, clock=time.time)
    read_ = []
    async with aclosing(registrar.watch()) as readings:
        async for reading in readings:
            read_.append(reading)
            if len(read_) == 3:
                break
    assert not any(isinstance(r, Outbounds) for r in read_)
    assert registrar._lacking is not None
