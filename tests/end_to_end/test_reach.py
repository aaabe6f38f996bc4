"""Phones that die within an hour of registration, and who finds out by asking them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from checks.observation import State
from checks.registrations.extension import Extension as Judged
from sipwatch.config.load import load
from tests.conftest import StartAsterisk, StartBaresip, StartKamailio
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import (
    LATEST,
    Watch,
    asterisk_at,
    body,
    kamailio_at,
    names,
    row,
    rules,
)
from tests.servers import eventually
from tests.servers.asterisk import Extension

pytestmark = pytest.mark.real("baresip")

HERE, MUTE = State.REGISTERED, State.UNREACHABLE
HOUR = 3600
INTERVAL, TIMEOUT, CONFIRM, FOR = 3.0, 1.0, 1.0, 3.0
KEYS: dict[str, object] = {
    "probe": {"interval": "3s", "timeout": "1s", "confirm": "1s"},
    "expiry": {"max": "2h"},  # that it is long is told by another rule
}
PROBING = KEYS | {"probe_contacts": True}
TOLD = rules(ExtensionUnreachable=FOR)
WITHIN = INTERVAL + 2 * TIMEOUT + CONFIRM + FOR + LATEST
USERS = {"2001": "secret", "2002": "secret"}


def judged(watch: Watch, aor: str) -> Judged:
    return watch.daemon.judges["hq"].extensions[aor]


async def answered(watch: Watch, *aors: str) -> None:
    """Wait until these phones have answered somebody."""
    for aor in aors:
        await watch.sees(20, **{f"x{aor}": HERE})
        await eventually(
            lambda aor=aor: judged(watch, aor).reachable,  # type: ignore[misc]
            20,
            f"an answer of {aor}",
        )


async def contacts(watch: Watch) -> dict[str, int]:
    """How many contacts answer, by the status."""
    (hq,) = (await watch.status())["registrars"]
    return {how: count for how, count in hq["contacts"].items() if count}


@pytest.mark.wall
@pytest.mark.real("kamailio")
async def test_a_phone_that_dies_is_told_long_before_its_registration_ends(
    kamailio: StartKamailio, baresip: StartBaresip, watching: StartWatch, tmp_path: Path
) -> None:
    server = kamailio(USERS)
    listed = names(tmp_path, "2001,Reception")
    reception = await asyncio.to_thread(baresip, "2001", server, expires=HOUR)
    await asyncio.to_thread(baresip, "2002", server, expires=HOUR)
    watch = await watching(kamailio_at(server, **PROBING, **listed) + TOLD)
    await answered(watch, "2001", "2002")
    assert await contacts(watch) == {"reachable": 2}
    where = judged(watch, "2001").contacts[0].received
    assert (await watch.metrics())[
        'sipwatch_extension_rtt_seconds{registrar="hq",extension="2001"}'
    ] < 0.5
    killed = time.time()
    reception.kill9()
    fired = await watch.mail(1, 30)
    assert watch.arrivals[0] <= killed + WITHIN
    assert "[warning] 2001 Reception unreachable since" in watch.subjects[0]
    assert "does not answer our OPTIONS" in row(fired, "why")
    assert f"our OPTIONS to {where} refused (ICMP)" in row(fired, "evidence")
    assert "still registered" in row(fired, "evidence")
    (incident,) = watch.daemon.alarms.incidents
    assert killed - 1 <= incident.since <= killed + INTERVAL + TIMEOUT
    assert await contacts(watch) == {"reachable": 1, "unreachable": 1}
    assert watch.state("2002") is HERE

    await watch.restart()
    await answered(watch, "2002")
    await watch.passes(watch.daemon.clock.now() + 2 * INTERVAL)
    assert watch.state("2001") is MUTE
    assert watch.incidents() == [("ExtensionUnreachable", "2001")]
    assert len(watch.mails) == 1  # neither taken back nor told again

    await asyncio.to_thread(baresip, "2001", server, expires=HOUR)
    await watch.read_again()
    over = await watch.mail(2, 30)
    assert watch.subjects[1].startswith("[resolved] 2001 Reception reachable again ")
    assert watch.in_thread(over, fired)
    assert len(watch.mails) == 2


@pytest.mark.wall
@pytest.mark.real("kamailio")
async def test_phones_that_hang_together_are_one_mail_and_none_is_called_dead(
    kamailio: StartKamailio, baresip: StartBaresip, watching: StartWatch
) -> None:
    server = kamailio(USERS)
    phones = [
        await asyncio.to_thread(baresip, user, server, expires=HOUR) for user in USERS
    ]
    watch = await watching(
        kamailio_at(server, **PROBING)
        + rules(ExtensionUnreachable=FOR, ContactsSilent=FOR)
    )
    await answered(watch, *USERS)
    for phone in phones:
        phone.freeze()
    fired = await watch.mail(1, 40)
    assert watch.subjects == [
        f"[warning] hq has no phone that answers sipwatch since "
        f"{watch.subjects[0].rpartition(' ')[2]}"
    ]
    assert row(fired, "why").startswith("all 2 contacts that answered our OPTIONS")
    assert "none is called down for it" in body(fired)
    assert {watch.state(user) for user in USERS} == {HERE}
    for phone in phones:
        phone.thaw()
    await watch.mail(2, 30)
    assert watch.subjects[1].startswith("[resolved] hq has phones that answer")
    assert watch.incidents() == []


@pytest.mark.wall
@pytest.mark.real("kamailio")
async def test_a_phone_on_a_connection_of_its_pbx_is_not_probed(
    kamailio: StartKamailio, baresip: StartBaresip, watching: StartWatch
) -> None:
    """Nor is anybody while it is not configured: a reload switches it."""
    server = kamailio(USERS)
    await asyncio.to_thread(baresip, "2001", server, expires=HOUR)
    over_tcp = await asyncio.to_thread(
        baresip, "2002", server, expires=HOUR, transport="tcp"
    )
    probing = kamailio_at(server, **PROBING) + TOLD
    watch = await watching(kamailio_at(server, **KEYS) + TOLD)
    await watch.sees(20, x2001=HERE, x2002=HERE)
    assert "contacts" not in (await watch.status())["registrars"][0]
    assert judged(watch, "2001").reachable is None

    watch.write(probing)
    await watch.daemon.reload(load(watch.path))
    await answered(watch, "2001")
    assert await contacts(watch) == {"reachable": 1, "not_probed": 1}
    over_tcp.kill9()
    await watch.passes(watch.daemon.clock.now() + WITHIN)
    assert watch.state("2002") is HERE
    series = await watch.extension_series()
    assert not [name for name in series if "rtt" in name and "2002" in name]

    watch.write(kamailio_at(server, **KEYS) + TOLD)
    await watch.daemon.reload(load(watch.path))
    await watch.sees(20, x2001=HERE)
    assert judged(watch, "2001").reachable is None
    assert watch.daemon.options.asked == 0
    assert watch.mails == []


@pytest.mark.wall
@pytest.mark.real("asterisk")
async def test_asterisk_is_made_to_ask_whom_it_asks_once_an_hour(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    """And a phone that it reaches by TCP alone, which nobody else could ask."""
    pbx = asterisk(
        [
            Extension("1001", qualify_frequency=HOUR, qualify_timeout=TIMEOUT),
            Extension("1002", qualify_frequency=HOUR, qualify_timeout=TIMEOUT),
        ]
    )
    reception = await asyncio.to_thread(baresip, "1001", pbx, expires=HOUR)
    await asyncio.to_thread(baresip, "1002", pbx, expires=HOUR)
    watch = await watching(asterisk_at(pbx, **PROBING) + TOLD)
    await answered(watch, "1001", "1002")
    assert watch.daemon.options.asked == 0  # none is ours to ask
    killed = time.time()
    reception.kill9()
    fired = await watch.mail(1, 30)
    assert watch.arrivals[0] <= killed + WITHIN
    assert "does not answer the PBX's OPTIONS" in row(fired, "why")
    assert "the PBX's OPTIONS unanswered" in row(fired, "evidence")
    assert watch.state("1002") is HERE

    await asyncio.to_thread(baresip, "1001", pbx, expires=HOUR)
    await watch.mail(2, 20)
    assert watch.subjects[1].startswith("[resolved] 1001 reachable again ")


@pytest.mark.wall
@pytest.mark.real("asterisk")
async def test_whom_asterisk_does_not_ask_we_ask_unless_it_is_behind_nat(
    asterisk: StartAsterisk,
    baresip: StartBaresip,
    phone: MakePhone,
    watching: StartWatch,
) -> None:
    pbx = asterisk([Extension("1001"), Extension("1002"), Extension("1003")])
    reception = await asyncio.to_thread(baresip, "1001", pbx, expires=HOUR)
    await asyncio.to_thread(baresip, "1002", pbx, expires=HOUR)
    behind_nat = phone("1003", pbx)
    behind_nat.register(HOUR, contacts=["192.168.7.7:5060"])
    watch = await watching(asterisk_at(pbx, **PROBING) + TOLD)
    await answered(watch, "1001", "1002")
    await watch.sees(20, x1003=HERE)
    assert await contacts(watch) == {"reachable": 2, "not_probed": 1}
    killed = time.time()
    reception.freeze()
    fired = await watch.mail(1, 40)
    assert watch.arrivals[0] <= killed + WITHIN
    where = judged(watch, "1001").contacts[0].received
    assert f"our OPTIONS to {where} unanswered 2 times" in row(fired, "evidence")
    assert watch.incidents() == [("ExtensionUnreachable", "1001")]


@pytest.mark.wall
@pytest.mark.real("asterisk")
async def test_a_desk_phone_and_an_app_are_two_contacts(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001", max_contacts=2, remove_existing=False)])
    desk, app = phone("1001", pbx), phone("1001", pbx)
    desk.register(HOUR)
    app.register(HOUR)
    watch = await watching(
        asterisk_at(pbx, contacts={"min": 2}, **KEYS) + rules(FewContacts=1)
    )
    await watch.sees(20, x1001=HERE)
    app.deregister()
    fired = await watch.mail(1, 20)
    assert watch.subjects[0].startswith("[warning] 1001 has too few contacts since ")
    assert row(fired, "why").strip() == "1 of 2 contacts"
    assert watch.state("1001") is HERE
    app.register(HOUR)
    over = await watch.mail(2, 20)
    assert watch.subjects[1].startswith("[resolved] 1001 has all contacts again ")
    assert watch.in_thread(over, fired)
