"""A real Asterisk registers at a real Kamailio, and that goes wrong: what is told."""

from __future__ import annotations

import asyncio
import time

import pytest

from checks.observation import State
from checks.registrations.outbound import Registration as Judged
from sipwatch.config.load import load
from tests.conftest import StartAsterisk, StartKamailio
from tests.end_to_end.conftest import StartWatch
from tests.end_to_end.watch import LATEST, Watch, asterisk_at, body, row, rules
from tests.servers import eventually
from tests.servers.asterisk import Registration
from tests.servers.loopback import Loopback

pytestmark = pytest.mark.real("asterisk", "kamailio")

OK, REJECTED, FAILING = State.OK, State.REJECTED, State.FAILING
USERS = {"line1": "secret", "line2": "secret"}
# Servers are asked every minute otherwise.
OFTEN = {"interval": "1s", "timeout": "800ms", "confirm": "1s"}
LOST = rules(OutboundRegistrationLost=5)


def kept(watch: Watch, name: str = "line1") -> Judged | None:
    return watch.daemon.judges["hq"].outgoing.registrations.get(name)


async def sees(watch: Watch, within: float, state: State, name: str = "line1") -> None:
    def is_it() -> bool:
        found = kept(watch, name)
        return found is not None and found.state is state

    await eventually(is_it, within, f"{name} {state}")


@pytest.fixture
def nobody(loopback: Loopback) -> str:
    """A SIP URI where nothing listens."""
    return f"sip:{loopback.address()}:5060"


@pytest.mark.wall
async def test_a_dead_provider_is_told_while_asterisk_says_registered(
    asterisk: StartAsterisk, kamailio: StartKamailio, watching: StartWatch
) -> None:
    """With an expiration of an hour Asterisk would not know for that long."""
    provider = kamailio(USERS)
    lines = [Registration("line1", provider.uri, "line1", expiration=3600)]
    pbx = asterisk((), lines)
    watch = await watching(asterisk_at(pbx, interval="1s", probe=OFTEN) + LOST)
    await sees(watch, 20, OK)
    (asked,) = watch.daemon.judges["hq"].outgoing._servers.values()
    await eventually(lambda: asked.answered, 10, "an answer to OPTIONS")
    killed = time.time()
    provider.kill9()
    fired = await watch.mail(1, 30)
    assert watch.arrivals[0] <= killed + 1 + 5 + LATEST
    assert "Registered" in await asyncio.to_thread(pbx.cli, "pjsip show registrations")
    assert watch.subjects[0].startswith("[critical] registration line1 lost since ")
    assert watch.subjects[0].endswith(" - hq")
    assert "Registration line1 is lost: calls through it probably" in body(fired)
    assert row(fired, "why").startswith("its server does not answer OPTIONS; the PBX")
    assert row(fired, "account").strip() == (
        f"sip:line1@{provider.address} at {provider.uri}"
    )
    assert "in a row" in row(fired, "evidence")
    (incident,) = watch.daemon.alarms.incidents
    assert killed - 1 <= incident.since <= killed + 3
    assert (await watch.metrics())[
        'sipwatch_registration_up{registrar="hq",registration="line1"}'
    ] == 0.0

    await watch.settled()
    await asyncio.to_thread(provider.start)
    over = await watch.mail(2, 30)
    assert watch.subjects[1].startswith(
        "[resolved] registration line1 registered again"
    )
    assert watch.in_thread(over, fired)
    assert watch.moves("line1") == [FAILING, OK]
    await watch.settled()
    assert len(watch.mails) == 2


async def test_a_refused_password_is_a_refusal_and_a_right_one_its_end(
    asterisk: StartAsterisk, kamailio: StartKamailio, watching: StartWatch
) -> None:
    provider = kamailio(USERS)
    wrong = Registration("line1", provider.uri, "line1", "wrong")
    right = Registration("line2", provider.uri, "line2")
    pbx = asterisk((), [wrong, right])
    watch = await watching(asterisk_at(pbx, interval="1s", probe=OFTEN) + LOST)
    await sees(watch, 20, OK, "line2")
    await sees(watch, 20, REJECTED)
    fired = await watch.mail(1, 20)
    assert watch.subjects[0].startswith("[critical] registration line1 refused since ")
    assert row(fired, "why").strip() == (
        "its server answers OPTIONS, but refuses the registration; "
        "Asterisk says Rejected"
    )
    assert row(fired, "around it").startswith("other registrations of hq: 1 of 1 ok")
    assert row(fired, "next step").startswith("check its user and password on the PBX")
    (hq,) = (await watch.status())["registrars"]
    shown = {r["name"]: (r["state"], r["cause"]) for r in hq["registrations"]}
    assert shown == {"line1": ("rejected", "forbidden"), "line2": ("ok", None)}
    assert "wrong" not in body(fired)

    pbx.trunks = [Registration("line1", provider.uri, "line1"), right]
    await asyncio.to_thread(pbx.reload)
    over = await watch.mail(2, 30)
    assert watch.subjects[1].startswith(
        "[resolved] registration line1 registered again"
    )
    assert watch.in_thread(over, fired)


@pytest.mark.wall
async def test_nobody_there_is_silence_and_no_refusal(
    asterisk: StartAsterisk, watching: StartWatch, nobody: str
) -> None:
    """Asterisk says Rejected for this as well, 32 s after each attempt."""
    pbx = asterisk((), [Registration("line1", nobody, "line1")])
    watch = await watching(asterisk_at(pbx, interval="1s", probe=OFTEN) + LOST)
    await eventually(lambda: kept(watch) is not None, 20, "a registration")
    fired = await watch.mail(1, 60)
    assert watch.subjects[0].startswith("[critical] registration line1 lost since ")
    assert row(fired, "why").startswith("its server has never answered OPTIONS; ")
    found = kept(watch)
    assert found is not None
    assert found.state is FAILING


async def test_a_restart_of_sipwatch_repeats_nothing_and_keeps_since(
    asterisk: StartAsterisk, kamailio: StartKamailio, watching: StartWatch
) -> None:
    provider = kamailio(USERS)
    pbx = asterisk((), [Registration("line1", provider.uri, "line1", "wrong")])
    watch = await watching(asterisk_at(pbx, interval="1s", probe=OFTEN) + LOST)
    await eventually(lambda: kept(watch) is not None, 20, "a registration")
    await watch.mail(1, 30)
    await watch.settled()
    before = kept(watch)
    assert before is not None
    await watch.restart()
    await watch.read_again()
    await sees(watch, 20, REJECTED)
    after = kept(watch)
    assert after is not None
    assert after.since == pytest.approx(before.since, abs=0.01)
    assert watch.incidents() == [("OutboundRegistrationLost", "line1")]
    await watch.settled()
    assert len(watch.mails) == 1


async def test_one_that_is_taken_out_of_the_pbx_closes_its_incident(
    asterisk: StartAsterisk, kamailio: StartKamailio, watching: StartWatch
) -> None:
    provider = kamailio(USERS)
    right = Registration("line2", provider.uri, "line2")
    wrong = Registration("line1", provider.uri, "line1", "wrong")
    pbx = asterisk((), [wrong, right])
    watch = await watching(asterisk_at(pbx, interval="1s", probe=OFTEN) + LOST)
    fired = await watch.mail(1, 30)
    await watch.settled()
    pbx.trunks = [right]
    await asyncio.to_thread(pbx.reload)
    over = await watch.mail(2, 30)
    assert watch.subjects[1] == (
        "[closed] registration line1: the PBX no longer has it - hq"
    )
    assert watch.in_thread(over, fired)
    assert kept(watch) is None


async def test_a_pbx_that_cannot_be_read_loses_no_registration(
    asterisk: StartAsterisk, kamailio: StartKamailio, watching: StartWatch
) -> None:
    provider = kamailio(USERS)
    pbx = asterisk((), [Registration("line1", provider.uri, "line1")])
    watch = await watching(
        asterisk_at(pbx, interval="1s", timeout="1s")
        + rules(OutboundRegistrationLost=0, RegistrarUnreadable=2)
    )
    await sees(watch, 20, OK)
    series = 'sipwatch_registration_up{registrar="hq",registration="line1"}'
    assert (await watch.metrics())[series] == 1.0
    pbx.freeze()
    await watch.mail(1, 30)
    assert watch.incidents() == [("RegistrarUnreadable", "hq")]
    assert series not in await watch.metrics()
    pbx.thaw()
    await watch.sees_again()
    assert watch.moves("line1") == []


async def test_a_reload_keeps_what_is_known_or_closes_it_with_its_registrar(
    asterisk: StartAsterisk, kamailio: StartKamailio, watching: StartWatch
) -> None:
    provider = kamailio(USERS)
    pbx = asterisk((), [Registration("line1", provider.uri, "line1", "wrong")])
    watch = await watching(asterisk_at(pbx, interval="1s", probe=OFTEN) + LOST)
    fired = await watch.mail(1, 30)
    await watch.settled()
    before = kept(watch)
    watch.write(asterisk_at(pbx, interval="2s", probe=OFTEN) + LOST)
    await watch.daemon.reload(load(watch.path))
    await watch.read_again()
    after = kept(watch)
    assert before is not None
    assert after is not None
    assert after is not before
    assert after.since == before.since
    assert watch.incidents() == [("OutboundRegistrationLost", "line1")]

    watch.write(LOST)
    await watch.daemon.reload(load(watch.path))
    over = await watch.mail(2, 20)
    assert watch.subjects[1] == "[closed] registration line1: no longer watched - hq"
    assert watch.in_thread(over, fired)
