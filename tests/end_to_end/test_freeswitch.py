"""Phones and a trunk of a FreeSWITCH, through the whole daemon to mails and metrics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from checks.observation import State
from tests.end_to_end.conftest import StartWatch
from tests.end_to_end.watch import LATEST, registrar, row, rules
from tests.servers import eventually
from tests.wires.freeswitch import PASSWORD, Switch

HERE, GONE = State.REGISTERED, State.UNREGISTERED
ONE, TWO = "1001@example.com", "1002@example.com"
SERIES = 'sipwatch_extension_registered{registrar="hq",extension="1001"}'


@pytest.fixture
async def switch() -> AsyncIterator[Switch]:
    """A FreeSWITCH that speaks in pieces, with two phones."""
    async with Switch(seed=7) as made:
        await made.register(ONE, 3600)
        await made.register(TWO, 3600)
        yield made


def at(switch: Switch, **keys: object) -> str:
    """The section of a FreeSWITCH that is `hq`."""
    given = {"address": switch.address, "password": PASSWORD, "interval": "2s"}
    own = {"domain": "example.com", "timeout": "2s"}
    return registrar(type="freeswitch", **(given | own | keys))


async def test_a_phone_that_stops_refreshing_is_one_mail_and_its_return_another(
    switch: Switch, watching: StartWatch
) -> None:
    watch = await watching(at(switch) + rules(ExtensionUnregistered=1))
    await watch.sees(15, x1001=HERE, x1002=HERE)
    assert (await watch.metrics())[SERIES] == 1
    end = await switch.register(ONE, 2)

    async def swept() -> bool:
        await switch.sweep()
        return watch.state("1001") is GONE

    while not await swept():
        await watch.passes(watch.daemon.clock.now() + 0.2)
    fired = await watch.mail(1, 15)
    # The table kept it 3 s longer than the phone was told.
    extension = watch.daemon.judges["hq"].extensions["1001"]
    assert extension.since == pytest.approx(end, abs=0.1)
    assert watch.subjects[0].startswith("[warning] 1001 Phone 1001 unregistered since ")
    assert "expired after the 2 s granted" in row(fired, "why")
    assert "10.0.0.31:5060 over UDP, Phone 1.0" in row(fired, "last seen")
    assert "refresh, 2 s granted" in row(fired, "evidence")
    assert (await watch.metrics())[SERIES] == 0

    await switch.register(ONE, 3600)
    over = await watch.mail(2, 15)
    assert watch.subjects[1].startswith("[resolved] 1001 Phone 1001 registered again ")
    assert watch.in_thread(over, fired)
    assert watch.moves("1001")[-2:] == [GONE, HERE]
    assert watch.moves("1002") in ([], [HERE])


async def test_a_trunk_whose_password_is_wrong_is_told_with_the_reason(
    switch: Switch, watching: StartWatch
) -> None:
    watch = await watching(at(switch) + rules(OutboundRegistrationLost=1))
    await watch.sees(15, x1001=HERE)
    sample = 'sipwatch_registration_up{registrar="hq",registration="trunk"}'
    assert (await watch.metrics())[sample] == 1
    refresh = [("UNREGED", 0, ""), ("TRYING", 0, "")]
    await switch.steps(*refresh, ("REGISTER", 200, "OK"), ("REGED", 0, ""))
    refused = ("FAILED", 904, "Operation has no matching challenge ")
    await switch.steps(*refresh, refused, ("FAIL_WAIT", 0, ""), *refresh)
    fired = await watch.mail(1, 15)
    assert "trunk" in watch.subjects[0]
    assert "refuses its credentials" in row(fired, "why")
    assert (await watch.metrics())[sample] == 0
    assert watch.moves("trunk")[-1] is State.REJECTED

    await switch.steps(("REGISTER", 200, "OK"), ("REGED", 0, ""))
    over = await watch.mail(2, 15)
    assert watch.in_thread(over, fired)


async def test_a_freeswitch_that_ends_makes_no_phone_a_lost_one(
    switch: Switch, watching: StartWatch
) -> None:
    watch = await watching(at(switch) + rules(ExtensionUnregistered=1))
    await watch.sees(15, x1001=HERE, x1002=HERE)
    restarted = time.time()
    await switch.drop()
    await watch.goes_blind()
    assert "extension_registered" not in " ".join(await watch.metrics())
    await watch.sees_again()
    await eventually(lambda: len(watch.mails) >= 1, LATEST + 10, "the restart's mail")
    assert [s for s in watch.subjects if "unregistered" in s] == []
    assert "restarted" in watch.subjects[0]
    assert watch.state("1001") is HERE
    assert watch.moves("1001") in ([], [HERE])
    assert watch.reads() > restarted - 1
