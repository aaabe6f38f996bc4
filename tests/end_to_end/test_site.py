"""A branch of real phones on a real Asterisk goes dark, another does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from checks.observation import State
from sipwatch.config.load import load
from tests.conftest import MakeSippPhones, StartAsterisk
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import asterisk_at, row
from tests.servers import eventually
from tests.servers.asterisk import Extension
from tests.servers.loopback import Loopback

HERE, GONE = State.REGISTERED, State.UNREGISTERED
EXPIRES = 12  # s: the phones refresh at half of it
RULES = {
    # What is told of one by itself would be told well within the test.
    "ExtensionUnregistered": {"for": "12s", "keep_firing_for": "1s"},
    "MassUnregistration": {"for": "2s", "keep_firing_for": "1s"},
}


@pytest.fixture
def networks() -> Iterator[tuple[str, str]]:
    """An address in each of two /24."""
    several = Loopback(), Loopback()
    yield several[0].address(), several[1].address()
    for one in several:
        one.close()


def network(address: str) -> str:
    return f"{address.rpartition('.')[0]}.0/24"


@pytest.mark.wall
@pytest.mark.real("asterisk", "sipp")
async def test_a_branch_that_goes_dark_is_one_mail_with_its_name_and_its_network(
    asterisk: StartAsterisk,
    sipp_phones: MakeSippPhones,
    watching: StartWatch,
    networks: tuple[str, str],
) -> None:
    lyon = [str(number) for number in range(2001, 2007)]
    paris = [str(number) for number in range(3001, 3007)]
    pbx = await asyncio.to_thread(asterisk, [Extension(aor) for aor in lyon + paris])
    dark = sipp_phones(lyon, pbx, address=networks[0], expires=EXPIRES)
    well = sipp_phones(paris, pbx, address=networks[1], expires=EXPIRES)
    for phones in (dark, well):
        phones.keep_registered(refresh=EXPIRES / 2, rate=50)
    await eventually(lambda: pbx.contacts() == lyon + paris, 20, "all registered")
    sites = {
        name: {"subnets": [network(address)]}
        for name, address in zip(("lyon", "paris"), networks, strict=True)
    }
    watch = await watching(
        asterisk_at(pbx, expiry={"min": "1s"})
        + f"sites: {json.dumps(sites)}\nrules: {json.dumps(RULES)}\n"
    )
    await watch.sees(20, **{f"x{aor}": HERE for aor in lyon + paris})

    dark.kill9()
    fired = await watch.mail(1, 60)
    assert watch.incidents() == [("MassUnregistration", "lyon")]
    told = watch.subjects[0]
    assert told.startswith("[critical] ")
    assert " of 6 extensions of lyon unregistered since " in told
    assert network(networks[0]) in row(fired, "in common")
    assert {aor: watch.state(aor) for aor in paris} == dict.fromkeys(paris, HERE)
    # All of it has gone by now, and nobody is told of any phone of it besides.
    await watch.sees(30, **{f"x{aor}": GONE for aor in lyon})
    (whole,) = watch.daemon.alarms.incidents
    ends = max(watch.daemon.judges["hq"].extensions[aor].since for aor in lyon)
    await watch.passes(ends + 13)
    assert watch.incidents() == [("MassUnregistration", "lyon")]
    assert (whole.crowd.missing, whole.crowd.of) == (6, 6) if whole.crowd else False

    dark.keep_registered(refresh=EXPIRES / 2, rate=50)
    over = await watch.mail(2, 30)
    await watch.sees(20, **{f"x{aor}": HERE for aor in lyon})
    await watch.settled()
    assert watch.in_thread(over, fired)
    assert [subject.split()[0] for subject in watch.subjects] == [
        "[critical]",
        "[resolved]",
    ]
    assert "lyon registered again" in watch.subjects[1]
    assert not watch.incidents()
    assert {t.subject.name for t in watch.transitions if t.new is GONE} == set(lyon)


@pytest.mark.wall
@pytest.mark.real("asterisk")
async def test_a_site_that_leaves_the_configuration_is_closed_and_not_said_to_be_back(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    lyon = [str(number) for number in range(2001, 2006)]
    names = [*lyon, "3001"]
    pbx = await asyncio.to_thread(asterisk, [Extension(aor) for aor in names])
    phones = {aor: phone(aor, pbx) for aor in names}
    for aor in names:
        phones[aor].register(EXPIRES if aor in lyon else 600)
    watched = asterisk_at(pbx, expiry={"min": "1s"})
    rules = {**RULES, "ExtensionUnregistered": {"for": "10m"}}
    watched += f"rules: {json.dumps(rules)}\n"
    watch = await watching(watched + 'sites: {lyon: {extensions: ["2*"]}}\n')
    await watch.mail(1, 60)
    await watch.sees(30, **{f"x{aor}": GONE for aor in lyon})

    watch.write(watched)
    await watch.daemon.reload(load(watch.path))
    await watch.settled()
    await eventually(lambda: len(watch.mails) >= 2, 20, "the site is closed")
    (closed,) = watch.subjects[1:]
    assert closed == "[closed] 5 lost extensions of lyon: no longer watched - hq"
