from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from checks.observation import Binding, Cause
from checks.registrars import sip
from checks.registrars.sip import Sip, SipSettings
from checks.registrations.judge import Bindings, Expected, ListEnd, Reading, Unreadable
from checks.registrations.readings import ExtensionsSettings
from checks.settings import Glob, Secret
from checks.sip.message import Request, Response
from sipwatch.demo.peer import Peer, answer
from sipwatch.demo.site import Bound, Registrar


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watched(peer: Peer, aors: list[str], **settings: Any) -> Sip:
    host, port = peer.address
    keys = {"timeout": 5.0, "domain": "pbx.example.com", **settings}
    return Sip(
        SipSettings(**keys),
        f"sip:{host}:{port}",
        clock=asyncio.get_running_loop().time,
        aors=lambda: aors,
    )


def bind(registrar: Registrar, *users: str, seconds: float = 60.0) -> None:
    ends = asyncio.get_running_loop().time() + seconds
    for user in users:
        contact = f"sip:{user}@10.0.0.31:5060"
        registrar.bindings[user] = {contact: Bound(contact, ends, "Phone")}


@asynccontextmanager
async def registrar_of(*users: str) -> AsyncIterator[Registrar]:
    registrar = Registrar(users)
    await registrar.open()
    try:
        yield registrar
    finally:
        registrar.close()


async def until(readings: AsyncIterator[Reading], aors: set[str]) -> list[Reading]:
    """The readings until all these AORs were asked."""
    read: list[Reading] = []
    missing = set(aors)
    async for reading in readings:
        read.append(reading)
        if isinstance(reading, ListEnd):
            missing -= reading.aors or set()
            if not missing:
                break
    return read


def rows(read: list[Reading]) -> list[Binding]:
    return [row for r in read if isinstance(r, Bindings) for row in r.rows]


async def failure(registrar: Sip) -> Unreadable:
    async with aclosing(registrar.watch()) as readings:
        try:
            read = [reading async for reading in readings]
        except Unreadable as failed:
            return failed
    raise AssertionError(read)


async def test_each_aor_is_asked_for_its_bindings() -> None:
    aors = ["1001", "1002@pbx.example.com", "1003@lab.example.com"]
    async with registrar_of("1001", "1002", "1003") as registrar:
        bind(registrar, "1001", "1003")
        watcher = watched(registrar, aors)
        async with aclosing(watcher.watch()) as readings:
            names = {"1001", "1002", "1003@lab.example.com"}
            read = await until(readings, names)

    now = asyncio.get_running_loop().time()
    assert read[0] == Expected(
        [("1001", ""), ("1002", ""), ("1003@lab.example.com", "")]
    )
    assert [(r.aor, r.contact, r.received) for r in rows(read)] == [
        ("1001", "sip:1001@10.0.0.31:5060", "10.0.0.31:5060"),
        ("1003@lab.example.com", "sip:1003@10.0.0.31:5060", "10.0.0.31:5060"),
    ]
    for row in rows(read):
        assert row.expires_at == pytest.approx(now + 60, abs=2)
    assert all(end.began <= now for end in read if isinstance(end, ListEnd))


async def test_who_is_not_known_there_is_not_bound_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with registrar_of("1001") as registrar:
        watcher = watched(registrar, ["1001", "1009"], interval=0.01)
        async with aclosing(watcher.watch()) as readings:
            await until(readings, {"1001", "1009"})
            await until(readings, {"1009"})
    assert caplog.text.count("has no AOR 1009") == 1


class Scripted(Peer):
    """Answers by the user asked for: a status, or nothing for 0."""

    def __init__(self, **statuses: int) -> None:
        super().__init__()
        self.statuses = statuses
        self.asked: list[str] = []
        self.open_now = self.most = 0

    def respond(self, request: Request, source: tuple[str, int]) -> Response | None:
        if request.method == "SUBSCRIBE":
            return answer(request, 489, "Bad Event", source)
        user = request.to.sip.user or ""
        self.asked.append(user)
        status = self.statuses.get(user, self.statuses.get("all", 200))
        response = answer(request, status or 200, "Said so", source)
        if status == 401:
            challenge = f'Digest realm="lab", nonce="{len(self.asked)}"'
            response.headers.add("WWW-Authenticate", challenge)
        return response if status else None


async def scripted(**statuses: int) -> Scripted:
    peer = Scripted(**statuses)
    await peer.open()
    return peer


async def test_an_aor_without_an_answer_is_not_judged() -> None:
    peer = await scripted(u1002=0)
    aors = ["u1001", "u1002", "u1003"]
    async with aclosing(watched(peer, aors, timeout=0.1).watch()) as readings:
        read = await until(readings, {"u1001", "u1003"})
    peer.close()
    ends = [reading for reading in read if isinstance(reading, ListEnd)]
    assert {aor for end in ends for aor in end.aors or ()} == {"u1001", "u1003"}


@pytest.mark.parametrize(
    ("status", "cause", "sentence"),
    [
        (0, Cause.TIMEOUT, "no final response"),
        (401, Cause.UNAUTHORIZED, "give `username` and `password`"),
        (403, Cause.FORBIDDEN, "REGISTER: 403"),
        (503, Cause.OVERLOADED, "REGISTER: 503"),
        (500, Cause("response_500"), "REGISTER: 500"),
    ],
)
async def test_a_registrar_that_answers_none_is_unreadable(
    status: int, cause: Cause, sentence: str
) -> None:
    peer = await scripted(all=status)
    watcher = watched(peer, ["u1", "u2"], timeout=0.1)
    failed = await failure(watcher)
    peer.close()
    assert failed.cause is cause
    assert sentence in failed.detail
    assert set(peer.asked) == {"u1"}


async def test_a_port_where_nothing_listens() -> None:
    peer = await scripted()
    watcher = watched(peer, ["u1"])
    peer.close()
    await asyncio.sleep(0)
    assert (await failure(watcher)).cause is Cause.ICMP_UNREACHABLE


async def test_refused_credentials_are_tried_twice_and_then_each_five_minutes() -> None:
    peer = await scripted(all=401)
    hand = Hand()
    watcher = watched(peer, ["u1", "u2", "u3"], username="me", password=Secret("x"))
    watcher._clock = hand
    counts = []
    for later in (0.0, 1.0, 1.0, 200.0, 100.0, 10.0):
        hand.now += later
        assert (await failure(watcher)).cause is Cause.UNAUTHORIZED
        counts.append(len(peer.asked))
    peer.close()
    # Each attempt is a request, its challenge and the answer to that.
    assert counts == [2, 4, 4, 4, 6, 6]


async def test_one_is_asked_before_others_are() -> None:
    aors = [f"u{number}" for number in range(20)]
    peer = await scripted()
    watcher = watched(peer, aors)
    async with aclosing(watcher.watch()) as readings:
        read = await until(readings, set(aors))
    peer.close()
    ends = [reading.aors or set() for reading in read if isinstance(reading, ListEnd)]
    assert len(ends[0]) == 1
    assert sorted(peer.asked) == sorted(aors)


def plan(watcher: Sip, aors: list[str], now: float) -> list[float]:
    """When each AOR is due after a first answer with no bindings."""
    watcher._clock = lambda: now
    watcher._adopt(watcher._news() or list(watcher._turns.names))
    for aor in aors:
        planned(watcher, aor, [], now)
    return [due(watcher, aor) for aor in aors]


def planned(watcher: Sip, aor: str, rows: list[Binding], now: float) -> None:
    number = watcher._turns.number(aor)
    assert number is not None
    watcher._plan(number, rows, now, watcher._floor())


def due(watcher: Sip, aor: str) -> float:
    """When an AOR is due."""
    number = watcher._turns.number(aor)
    assert number is not None
    return watcher._turns.due_at(number)


def pure(address: str, aors: list[str], **settings: Any) -> Sip:
    made = SipSettings(**settings)
    return Sip(made, address, clock=lambda: 0.0, aors=lambda: aors)


def test_questions_are_spread_over_the_interval() -> None:
    aors = ["u1", "u2", "u3", "u4"]
    watcher = pure("sip:10.0.0.5", aors, interval=40.0)
    assert plan(watcher, aors, 1000.0) == [1010.0, 1020.0, 1030.0, 1040.0]
    assert plan(watcher, aors, 1040.0) == [1080.0] * 4


@pytest.mark.parametrize(
    ("address", "without_end", "with_end"),
    [
        ("sip:acme.sip.twilio.com;transport=tls", 1600.0, 1600.0),
        ("sip:ACME.SIP.TWILIO.COM", 1600.0, 1600.0),
        ("sip:nottwilio.com", 1030.0, 1011.0),
    ],
)
def test_twilio_is_asked_each_ten_minutes_at_most(
    address: str, without_end: float, with_end: float
) -> None:
    watcher = pure(address, ["u1"], interval=30.0)
    assert plan(watcher, ["u1"], 1000.0) == [without_end]
    row = Binding("u1", "sip:u1@10.0.0.1", expires_at=1010.0)
    planned(watcher, "u1", [row], 1000.0)
    assert due(watcher, "u1") == with_end


def test_an_end_is_looked_for_when_it_has_passed() -> None:
    watcher = pure("sip:10.0.0.5", ["u1"], interval=30.0)
    plan(watcher, ["u1"], 1000.0)
    rows = [
        Binding("u1", "sip:u1@10.0.0.1", expires_at=1010.0),
        Binding("u1", "sip:u1@10.0.0.2", expires_at=1020.0),
    ]
    planned(watcher, "u1", rows, 1000.0)
    assert due(watcher, "u1") == 1010.0 + sip.AFTER_END


def test_a_wish_is_for_those_that_waited_longest_and_breaks_no_floor() -> None:
    aors = [f"u{number}" for number in range(sip.AT_ONCE + 2)]
    watcher = pure("sip:10.0.0.5", aors, interval=60.0)
    plan(watcher, aors, 1000.0)
    plan(watcher, aors, 1000.0)  # the second round's phases are kept
    for aor in ("u0", "u1"):
        planned(watcher, aor, [], 1000.5)
    watcher._clock = lambda: 1010.0
    watcher.relist()
    assert [aors[n] for n in watcher._turns.take(1010.0, 100)] == aors[2:]

    careful = pure("sip:acme.sip.twilio.com", ["u1"])
    plan(careful, ["u1"], 1000.0)
    careful.relist()
    assert due(careful, "u1") == 1600.0


def test_while_somebody_is_due_a_wish_changes_nothing() -> None:
    aors = [f"u{number}" for number in range(4)]
    watcher = pure("sip:10.0.0.5", aors, interval=40.0)
    plan(watcher, aors, 1000.0)
    watcher._clock = lambda: 1010.0
    watcher.relist()
    assert watcher._turns.take(1010.0, 8) == [0]
    planned(watcher, "u0", [], 1010.0)
    watcher.relist()
    assert watcher._turns.take(1010.0, 8) == [1, 2, 3]


async def test_answers_that_come_quickly_are_judged_together() -> None:
    aors = [f"u{number}" for number in range(100)]
    peer = await scripted()
    watcher = watched(peer, aors, subscribe=False)
    async with aclosing(watcher.watch()) as readings:
        read = await until(readings, set(aors))
    peer.close()
    ends = [len(r.aors or ()) for r in read if isinstance(r, ListEnd)]
    assert sum(ends) == 100
    assert max(ends) > sip.AT_ONCE


async def test_nobody_to_ask_for_is_said() -> None:
    peer = await scripted()
    failed = await failure(watched(peer, []))
    peer.close()
    assert "`include` without wildcards" in failed.detail


async def test_aors_that_come_and_go_are_followed() -> None:
    aors = ["u1"]
    peer = await scripted()
    watcher = watched(peer, aors, interval=0.01)
    async with aclosing(watcher.watch()) as readings:
        await until(readings, {"u1"})
        aors[:] = ["u2"]
        read = await until(readings, {"u2"})
    peer.close()
    assert Expected([("u2", "")]) in read


async def test_a_name_that_does_not_exist_or_is_none() -> None:
    peer = await scripted()
    watcher = watched(peer, ["u1"])
    peer.close()
    watcher.address = "sip:a b"
    assert (await failure(watcher)).cause is Cause.MALFORMED


async def test_a_ca_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate\n")
    async with registrar_of("1001") as registrar:
        for name in ("missing.pem", "empty.pem"):
            ca = str(tmp_path / name)
            failed = await failure(watched(registrar, ["1001"], ca=ca))
            assert failed.cause is Cause.TLS_VERIFY
            assert failed.detail.startswith(f"`ca`: {ca} holds no certificate")


async def test_who_is_included_by_name_is_asked_for() -> None:
    only = ExtensionsSettings(
        include=[Glob(p) for p in ("1001", "1002@pbx.example.com", "1009", "2*")],
        exclude=[Glob("1009")],
    )
    async with registrar_of("1001", "1002") as registrar:
        bind(registrar, "1001")
        watcher = watched(registrar, ["1001"], extensions=only)
        async with aclosing(watcher.watch()) as readings:
            read = await until(readings, {"1001", "1002"})
    assert read[0] == Expected([("1001", ""), ("1002", "")])
    assert [row.aor for row in rows(read)] == ["1001"]
