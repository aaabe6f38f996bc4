"""Phones on a real Kamailio, read by JSON-RPC or asked for by SIP alone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from checks.observation import Loss, State
from tests.conftest import StartBaresip, StartKamailio
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import (
    LATEST,
    Watch,
    kamailio_at,
    names,
    registrar,
    row,
    rules,
)

pytestmark = pytest.mark.real("kamailio")

HERE, GONE = State.REGISTERED, State.UNREGISTERED
USERS = {"2001": "secret", "2002": "secret", "2003": "secret"}


async def away(watch: Watch, aor: str = "2001") -> None:
    """Listed, and known to have never been there."""
    await watch.sees(15, **{f"x{aor}": State.NEVER_REGISTERED})


@pytest.mark.real("baresip")
async def test_a_killed_phone_is_one_mail_and_its_return_another(
    kamailio: StartKamailio, baresip: StartBaresip, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio(USERS)
    listed = names(tmp_path, "2001,Reception")
    watch = await watching(
        kamailio_at(server, interval="2s", **listed) + rules(ExtensionUnregistered=6)
    )
    await away(watch)
    phone = await asyncio.to_thread(baresip, "2001", server, expires=10)
    await watch.sees(15, x2001=HERE)
    phone.kill9()
    await watch.read_again()
    end = watch.end("2001")
    fired = await watch.mail(1, 40)
    assert end + 6 - 1 <= watch.arrivals[0] <= end + 6 + LATEST
    assert watch.subjects[0].startswith("[warning] 2001 Reception unregistered since ")
    assert "expired after the 10 s granted" in row(fired, "why")
    assert " over UDP, baresip" in row(fired, "last seen")
    assert "refresh, 10 s granted" in row(fired, "evidence")

    await asyncio.to_thread(baresip, "2001", server, expires=60)
    over = await watch.mail(2, 20)
    assert watch.subjects[1].startswith("[resolved] 2001 Reception registered again ")
    assert watch.in_thread(over, fired)
    assert watch.moves("2001")[-2:] == [GONE, HERE]
    assert len(watch.mails) == 2


async def test_a_phone_that_logs_out_was_lost_between_two_reads(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio(USERS)
    reception = phone("2001", server)
    reception.register(60)
    listed = names(tmp_path, "2001,Reception")
    watch = await watching(
        kamailio_at(server, interval="1h", **listed) + rules(ExtensionUnregistered=1)
    )
    await watch.sees(15, x2001=HERE)
    before = time.time()
    await watch.read_again()
    gone = time.time()
    await asyncio.to_thread(reception.deregister)
    assert watch.moves("2001") == []
    await watch.read_again()
    await watch.mail(1, 15)
    (incident,) = watch.daemon.alarms.incidents
    assert before - 1 <= incident.since <= gone + 0.5  # the last read with
    assert incident.loss is Loss.DEREGISTERED


async def test_a_restart_empties_a_memory_and_alarms_nobody_who_returns(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    grace = 8
    server = kamailio(USERS)
    phones = {name: phone(name, server) for name in USERS}
    for one in phones.values():
        one.register(grace)
    listed = names(tmp_path, *(f"{name},Office" for name in USERS))
    watch = await watching(
        kamailio_at(server, interval="2s", expiry={"min": "1s"}, **listed)
        + rules(ExtensionUnregistered=1, RegistrarUnreadable=30)
    )
    await watch.sees(15, **{f"x{name}": HERE for name in USERS})
    (member,) = watch.daemon.judges["hq"].members.values()
    await watch.passes((member.boot or 0.0) + 1)  # it tells its start in whole seconds
    await asyncio.to_thread(server.restart, killed=True)
    assert server.contacts() == []
    restarted = time.time()
    told = await watch.mail(1, 40)
    for one in phones.values():
        await asyncio.to_thread(one.register, 60)
    await watch.passes(restarted + grace + 1 + LATEST)
    assert watch.subjects[0].startswith("[warning] hq restarted at ")
    assert row(told, "evidence").count("the PBX started") == 1
    await watch.sees(15, **{f"x{name}": HERE for name in USERS})
    assert watch.incidents() == [("RegistrarRestarted", "hq")]
    assert len(watch.mails) == 1


async def test_a_kamailio_that_cannot_be_read_is_one_alarm_and_no_phones(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio(USERS)
    reception = phone("2001", server)
    reception.register(60)
    listed = names(tmp_path, "2001,Reception")
    watch = await watching(
        kamailio_at(server, interval="1s", timeout="1s", **listed)
        + rules(ExtensionUnregistered=1, RegistrarUnreadable=2)
    )
    await watch.sees(15, x2001=HERE)
    server.freeze()
    fired = await watch.mail(1, 20)
    assert "; its 1 extension is unknown, not down" in watch.subjects[0]
    assert await watch.extension_series() == {}
    server.thaw()
    over = await watch.mail(2, 40)
    assert watch.in_thread(over, fired)
    assert watch.moves("2001") == []
    assert len(watch.mails) == 2


async def test_a_registrar_that_is_asked_by_sip_alone_tells_of_a_lost_phone(
    kamailio: StartKamailio, phone: MakePhone, watching: StartWatch, tmp_path: Path
) -> None:
    """The binding query: REGISTER without Contact (RFC 3261 10.2.3)."""
    server = kamailio(USERS)
    reception = phone("2001", server)
    reception.register(60)
    asked = {"address": server.uri, "username": "2001", "password": "secret"}
    watch = await watching(
        registrar(
            type="sip", interval="2s", **asked, **names(tmp_path, "2001,Reception")
        )
        + rules(ExtensionUnregistered=2)
    )
    await watch.sees(20, x2001=HERE)
    await asyncio.to_thread(reception.register, 4)
    end = time.time() + 4
    fired = await watch.mail(1, 30)
    assert end + 2 - 1 <= watch.arrivals[0] <= end + 2 + 2 + LATEST  # it has no events
    assert watch.subjects[0].startswith("[warning] 2001 Reception unregistered since ")
    assert "expired" in row(fired, "why")

    await asyncio.to_thread(reception.register, 60)
    over = await watch.mail(2, 20)
    assert watch.in_thread(over, fired)
    assert watch.moves("2001") == [GONE, HERE]
    assert len(watch.mails) == 2
