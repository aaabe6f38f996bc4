"""Phones on a real Asterisk go away and return: what reaches the on-call, and when."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from checks.observation import Cause, Loss, State
from tests.conftest import MakeSippPhones, StartAsterisk, StartBaresip
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import LATEST, Watch, asterisk_at, names, row, rules
from tests.servers import eventually
from tests.servers.asterisk import Extension

pytestmark = pytest.mark.real("asterisk", "baresip")

HERE, GONE, MUTE = State.REGISTERED, State.UNREGISTERED, State.UNREACHABLE


async def until_told(watch: Watch, wait: float, within: float) -> float:
    """The binding's end of 1001; its one mail has come, neither early nor late."""
    end = await watch.knows_end("1001")
    await watch.mail(1, within)
    assert end + wait - 1 <= watch.arrivals[0] <= end + wait + LATEST
    assert watch.moves("1001")[-1] is GONE
    return end


@pytest.mark.wall(65)
async def test_a_killed_phone_is_one_mail_and_its_return_another(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch, tmp_path: Path
) -> None:
    pbx = asterisk([Extension("1001"), Extension("1002")])
    named = names(tmp_path, "1001,Reception,Lyon")
    watch = await watching(asterisk_at(pbx, **named) + rules(ExtensionUnregistered=6))
    await watch.sees(20, x1001=State.NEVER_REGISTERED)
    phone = await asyncio.to_thread(baresip, "1001", pbx, expires=60)
    phone.kill9()
    end = await until_told(watch, 6, 90)
    (fired,) = watch.mails
    name = "1001 Reception (Lyon)"
    assert watch.subjects[0].startswith(f"[warning] {name} unregistered since ")
    assert "expired after the 60 s granted" in row(fired, "why")
    assert " over UDP, baresip" in row(fired, "last seen")
    assert "refresh, 60 s granted" in row(fired, "evidence")
    assert watch.incidents() == [("ExtensionUnregistered", "1001")]
    (incident,) = watch.daemon.alarms.incidents
    assert incident.loss is Loss.EXPIRED
    assert abs(incident.since - end) <= 1

    await asyncio.to_thread(baresip, "1001", pbx, expires=60)
    over = await watch.mail(2, 30)
    lasted = round(watch.arrivals[1] - end)
    spans = [f"after {s} s" for s in range(lasted - 5, lasted + 1)]
    assert watch.subjects[1].startswith(f"[resolved] {name} registered again after ")
    assert any(span in watch.subjects[1] for span in spans)
    assert watch.in_thread(over, fired)
    assert not watch.incidents()
    await watch.settled()
    assert len(watch.mails) == 2


@pytest.mark.wall(180)
@pytest.mark.timeout(300)
async def test_a_killed_phone_is_told_after_two_minutes_as_configured_by_default(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001")], contact_expiration_check_interval=30)
    phone = baresip("1001", pbx, expires=60)
    watch = await watching(asterisk_at(pbx))
    await watch.sees(20, x1001=HERE)
    phone.kill9()
    end = await until_told(watch, 120, 240)
    (incident,) = watch.daemon.alarms.incidents
    assert abs(incident.since - end) <= 1  # though Asterisk removes it up to 30 s later
    assert len(watch.mails) == 1


@pytest.mark.wall(110)
@pytest.mark.real("sipp")
@pytest.mark.timeout(240)
async def test_phones_that_refresh_never_leave_registered(
    asterisk: StartAsterisk,
    baresip: StartBaresip,
    sipp_phones: MakeSippPhones,
    watching: StartWatch,
) -> None:
    """Two refreshes and three polls of a baresip and eight others."""
    several = [str(number) for number in range(1001, 1010)]
    pbx = asterisk([Extension(name) for name in several])
    baresip("1001", pbx, expires=60)
    phones = sipp_phones(several[1:], pbx, expires=60)
    phones.keep_registered(refresh=50, rate=20)
    await eventually(lambda: pbx.contacts() == several, 20, "all registered")
    watch = await watching(asterisk_at(pbx) + rules(ExtensionUnregistered=1))
    await watch.sees(20, **{f"x{name}": HERE for name in several})
    await watch.knows_end("1001")
    reads, ends = set(), {name: {watch.end(name)} for name in several}

    def refreshed() -> bool:
        reads.add(watch.reads())
        for name, seen in ends.items():
            seen.add(watch.end(name))
        return len(reads) > 3 and all(len(seen) > 2 for seen in ends.values())

    await eventually(refreshed, 200, "two refreshes of each, and three polls")
    assert watch.transitions == []
    assert watch.subjects == []
    assert watch.daemon.judges["hq"].counts() == {HERE: 9}


async def test_a_phone_that_logs_out_is_lost_at_that_moment(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001", callerid="Reception")])
    reception = phone("1001", pbx)
    reception.register(60)
    watch = await watching(asterisk_at(pbx) + rules(ExtensionUnregistered=1))
    await watch.sees(20, x1001=HERE)
    gone = time.time()
    reception.deregister()
    mail = await watch.mail(1, 15)
    (incident,) = watch.daemon.alarms.incidents
    assert abs(incident.since - gone) <= 1
    assert watch.arrivals[0] >= gone + 1
    assert incident.loss is Loss.DEREGISTERED
    assert watch.subjects[0].startswith("[warning] 1001 Reception unregistered since ")
    assert "logged out" in row(mail, "why")


@pytest.mark.wall(60)
async def test_who_is_not_to_be_reached_on_purpose_is_no_alarm_until_that_ends(
    asterisk: StartAsterisk,
    baresip: StartBaresip,
    phone: MakePhone,
    watching: StartWatch,
) -> None:
    """With the rights and the filter of the README; nobody is paused at first."""
    qualified = Extension("1001", qualify_frequency=1, qualify_timeout=0.5)
    pbx = asterisk([qualified, Extension("1002")])
    first = await asyncio.to_thread(baresip, "1001", pbx, expires=600)
    second = phone("1002", pbx)
    second.register(600)
    watch = await watching(
        asterisk_at(pbx, interval="1s")
        + rules(ExtensionUnregistered=1, ExtensionUnreachable=1)
    )
    await watch.sees(20, x1001=HERE, x1002=HERE)
    extensions = watch.daemon.judges["hq"].extensions
    await eventually(lambda: extensions["1001"].answered, 20, "an answer of 1001")

    async def says(command: str, name: str, cause: Cause | None) -> None:
        await asyncio.to_thread(pbx.cli, command)
        subject = extensions[name].subject
        await eventually(lambda: subject.paused is cause, 20, command)

    await says("database put DND 1001 YES", "1001", Cause.DO_NOT_DISTURB)
    await says("pjsip set maintenance on 1002", "1002", Cause.MAINTENANCE)
    first.kill9()
    second.deregister()
    await watch.sees(20, x1001=MUTE, x1002=GONE)
    known = {("ExtensionUnreachable", "1001"), ("ExtensionUnregistered", "1002")}
    await eventually(lambda: known <= {*watch.incidents()}, 20, "both are known")
    await watch.settled()
    assert watch.subjects == []

    await says("database del DND 1001", "1001", None)
    await says("pjsip set maintenance off 1002", "1002", None)
    await watch.mail(2, 90)  # each minute it is looked at again
    told = sorted(watch.subjects)
    assert told[0].startswith("[warning] 1001 unreachable since ")
    assert told[1].startswith("[warning] 1002 unregistered since ")


async def test_three_contacts_that_go_together_are_one_incident(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001", max_contacts=3, remove_existing=False)])
    reception = phone("1001", pbx)
    host = reception.contact.partition(":")[0]
    contacts = [f"{host}:{port}" for port in (6001, 6002, 6003)]
    reception.register(60, contacts)
    watch = await watching(asterisk_at(pbx) + rules(ExtensionUnregistered=1))
    opened = watch.heard("opened")
    await watch.sees(20, x1001=HERE)
    extension = watch.daemon.judges["hq"].extensions["1001"]
    assert len(extension.contacts) == 3
    reception.deregister(contacts)
    await watch.mail(1, 15)
    reception.register(60, contacts)
    await watch.mail(2, 15)
    assert [word.split()[0] for word in watch.subjects] == ["[warning]", "[resolved]"]
    assert watch.moves("1001") == [GONE, HERE]
    assert len(opened) == 1


async def test_two_of_three_contacts_that_go_are_no_loss(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001", max_contacts=3, remove_existing=False)])
    reception = phone("1001", pbx)
    host = reception.contact.partition(":")[0]
    contacts = [f"{host}:{port}" for port in (6001, 6002, 6003)]
    reception.register(60, contacts)
    watch = await watching(asterisk_at(pbx) + rules(ExtensionUnregistered=1))
    await watch.sees(20, x1001=HERE)
    extension = watch.daemon.judges["hq"].extensions["1001"]
    reception.deregister(contacts[:2])
    await eventually(lambda: len(extension.contacts) == 1, 15, "two are gone")
    await watch.passes(time.time() + 2)
    assert watch.moves("1001") == []
    assert watch.subjects == []


async def test_unreachable_and_then_expired_is_one_thread_with_its_first_since(
    asterisk: StartAsterisk, baresip: StartBaresip, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001", qualify_frequency=1, qualify_timeout=0.5)])
    reception = baresip("1001", pbx, expires=10)
    watch = await watching(
        asterisk_at(pbx, interval="1s")
        + rules(ExtensionUnregistered=2, ExtensionUnreachable=2)
    )
    await watch.sees(20, x1001=HERE)
    extension = watch.daemon.judges["hq"].extensions["1001"]
    await eventually(lambda: extension.reachable, 10, "a qualify that was answered")
    frozen = time.time()
    reception.freeze()
    fired = await watch.mail(1, 20)
    assert "[warning] 1001 unreachable since" in watch.subjects[0]
    worse = await watch.mail(2, 40)
    (incident,) = watch.daemon.alarms.incidents
    assert incident.rule == "ExtensionUnregistered"
    assert frozen <= incident.since <= frozen + 4
    assert "unregistered" in watch.subjects[1]
    assert watch.in_thread(worse, fired)

    reception.thaw()
    over = await watch.mail(3, 40)
    assert watch.subjects[2].startswith("[resolved] 1001 ")
    assert watch.in_thread(over, fired)
    assert watch.moves("1001")[:2] == [MUTE, GONE]
    tags = [subject.split()[0] for subject in watch.subjects]
    assert tags == ["[warning]", "[warning]", "[resolved]"]


async def test_a_restart_that_forgets_all_waits_for_phones_to_return(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    grace = 8
    several = [str(number) for number in range(1001, 1007)]
    pbx = asterisk([Extension(name) for name in several])
    phones = {name: phone(name, pbx) for name in several}
    watch = await watching(
        asterisk_at(pbx, expiry={"min": "1s"})
        + rules(ExtensionUnregistered=1, RegistrarUnreadable=30)
    )
    await watch.sees(20, **{f"x{n}": State.NEVER_REGISTERED for n in several})
    for one in phones.values():
        one.register(grace)
    await watch.sees(20, **{f"x{n}": HERE for n in several})
    for name in several:
        await watch.knows_end(name)  # and so what was granted

    await asyncio.to_thread(pbx.restart, wiped=True, killed=True)
    assert pbx.contacts() == []
    restarted = time.time()
    for name in several[1:]:
        await asyncio.to_thread(phones[name].register, 60)
    told = await watch.mail(1, 30)
    assert watch.subjects[0].startswith("[warning] hq restarted at ")
    (event,) = watch.daemon.alarms.incidents
    assert restarted - 10 <= event.since <= restarted
    lost = await watch.mail(2, 30)
    assert watch.subjects[1].startswith("[warning] 1001 unregistered since")
    assert watch.arrivals[1] >= restarted - 2 + grace + 1 - 1
    assert "has not come back since the PBX restarted" in row(lost, "why")
    assert sorted(watch.incidents()) == [
        ("ExtensionUnregistered", "1001"),
        ("RegistrarRestarted", "hq"),
    ]
    assert " of 6 back" in row(told, "why")

    await asyncio.to_thread(phones["1001"].register, 60)
    over = await watch.mail(3, 15)
    assert watch.in_thread(over, lost)
    assert len(watch.mails) == 3
