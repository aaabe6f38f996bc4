"""A PBX and what it registers elsewhere: its word, and the way to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from checks.observation import Cause, State
from checks.registrations.judge import Judge
from checks.sip.message import Request
from checks.sip.uri import SipUri
from sipwatch.diagnosis.network import Quest
from sipwatch.diagnosis.pbx import Outward, Pbx
from sipwatch.diagnosis.rung import Rung, Verdict, climbed
from tests.checks.sip.peer import answering, respond
from tests.servers.loopback import Loopback
from tests.sipwatch.watching import START, Watching

SAID = {"line1": State.OK, "line2": State.REJECTED, "line3": None}


def well(request: Request, number: int) -> Sequence[bytes]:
    return [respond(request, 200, "OK")]


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


@pytest.fixture
def hq(site: Watching) -> Judge:
    judge = site.registrar("hq", {"1001": True, "1002": False})
    site.registers(judge, SAID)
    return judge


async def walked(one: Outward | Pbx) -> tuple[list[Rung], Verdict]:
    try:
        return await climbed(one.rungs(), lambda rung: None), one.verdict()
    finally:
        one.close()


async def of_registration(
    site: Watching, hq: Judge, name: str, ip: str
) -> tuple[list[Rung], Verdict]:
    """Looked at, with its server at another address."""
    asked: list[str] = []

    def asks(uri: SipUri) -> Quest:
        asked.append(str(uri))
        return Quest(uri=SipUri.parse(f"sip:{ip}"), agent="x", timeout=0.5)

    subject = hq.outgoing.registrations[name].subject
    found = await walked(Outward(site, subject, asks))
    assert asked == ["sip:203.0.113.9"]
    return found


async def test_a_registration_that_stands_is_told_with_the_way_to_its_server(
    site: Watching, hq: Judge, loopback: Loopback
) -> None:
    ip = loopback.address()
    async with answering(well, "udp", ip=ip, port=5060):
        rungs, verdict = await of_registration(site, hq, "line1", ip)
    assert [(r.what, r.ok) for r in rungs] == [
        ("registrar", True),
        ("PBX view", True),
        ("UDP 5060", True),
        ("TCP 5060", None),
        ("TLS 5061", None),
        ("OPTIONS", True),
    ]
    assert rungs[1].text == "ok for 0 s, sip:line1@203.0.113.9 at sip:203.0.113.9"
    assert verdict.sentence == "nothing is wrong: registration line1 stands"
    assert (verdict.subject, verdict.status) == ("registration:hq/line1", 0)


async def test_one_that_is_refused_is_no_matter_of_the_way(
    site: Watching, hq: Judge, loopback: Loopback
) -> None:
    ip = loopback.address()
    async with answering(well, "udp", ip=ip, port=5060):
        _, verdict = await of_registration(site, hq, "line2", ip)
    assert verdict.sentence == "registration line2 is refused: 403 Forbidden"
    assert (verdict.cause, verdict.status) == (Cause.FORBIDDEN, 1)
    assert verdict.steps[0].startswith("check its user and password on the PBX")


async def test_a_server_that_is_down_is_told_though_the_pbx_calls_it_registered(
    site: Watching, hq: Judge, loopback: Loopback
) -> None:
    ip = loopback.address()
    _, verdict = await of_registration(site, hq, "line1", ip)
    assert verdict.sentence.startswith(f"{ip} is up, but no SIP answers there")
    assert verdict.status == 1


async def test_blind_is_not_lost(site: Watching, hq: Judge, loopback: Loopback) -> None:
    site.observe(*hq.lost("hq:5038", Cause.TIMEOUT, "no answer", START + 60))
    ip = loopback.address()
    async with answering(well, "udp", ip=ip, port=5060):
        rungs, verdict = await of_registration(site, hq, "line2", ip)
    assert [(r.what, r.ok) for r in rungs][:2] == [
        ("registrar", False),
        ("PBX view", None),
    ]
    assert rungs[1].text.endswith("(as last read)")
    assert verdict.sentence == "hq cannot be read: no answer"


async def test_one_that_is_watched_no_more_is_none(site: Watching, hq: Judge) -> None:
    subject = hq.outgoing.registrations["line1"].subject
    del site.judges["hq"]
    with pytest.raises(LookupError):
        Outward(site, subject, lambda uri: Quest(uri=uri, agent="x"))


async def test_a_registrar_is_told_with_who_is_there(site: Watching, hq: Judge) -> None:
    rungs, verdict = await walked(Pbx(site, hq, None))
    assert rungs == [
        Rung("registrar", True, "hq:5038 (asterisk) is read, 0 s ago"),
        Rung("extensions", None, "1 registered, 1 never registered"),
    ]
    assert (verdict.sentence, verdict.status) == ("nothing is wrong: hq is read", 0)


async def test_a_registrar_that_cannot_be_read_says_why_and_what_to_do(
    site: Watching, hq: Judge
) -> None:
    why = "hq:5038 refuses the connection"
    site.observe(*hq.lost("hq:5038", Cause.CONNECTION_REFUSED, why, START + 60))
    rungs, verdict = await walked(Pbx(site, hq, None))
    assert [(r.what, r.ok) for r in rungs] == [
        ("registrar", False),
        ("extensions", None),
    ]
    assert rungs[1].text == "1 registered, 1 never registered (as last read)"
    assert verdict.sentence == f"hq cannot be read: {why}"
    assert verdict.cause is Cause.CONNECTION_REFUSED
    assert verdict.steps == ("start the service there, or correct the port",)
    assert verdict.status == 2


async def test_a_registrar_that_is_a_target_is_asked_as_one(
    site: Watching, hq: Judge, loopback: Loopback
) -> None:
    ip = loopback.address()
    async with answering(well, "udp", ip=ip, port=5060):
        quest = Quest(uri=SipUri.parse(f"sip:{ip}"), agent="x", timeout=0.5)
        rungs, verdict = await walked(Pbx(site, hq, quest))
    assert ("OPTIONS", True) in [(r.what, r.ok) for r in rungs]
    assert (
        verdict.sentence == "nothing is wrong: hq is read, and answers OPTIONS with 200"
    )
