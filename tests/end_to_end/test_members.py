"""Several Asterisks as one registrar: the death of one is not the death of phones."""

from __future__ import annotations

import asyncio

import pytest

from checks.observation import State
from tests.conftest import StartAsterisk
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import LATEST, asterisk_at, row, rules
from tests.servers.asterisk import Asterisk, Extension

pytestmark = pytest.mark.real("asterisk")

HERE, GONE = State.REGISTERED, State.UNREGISTERED
READ = {"interval": "2s", "timeout": "2s"}
RULES = rules(ExtensionUnregistered=1, RegistrarUnreadable=2)
PHONES = [Extension("1001"), Extension("1002"), Extension("1003")]


@pytest.fixture
def pair(asterisk: StartAsterisk) -> tuple[Asterisk, Asterisk]:
    return asterisk(PHONES), asterisk(PHONES)


async def test_the_death_of_a_member_is_one_alarm_and_no_lost_phone(
    pair: tuple[Asterisk, Asterisk], phone: MakePhone, watching: StartWatch
) -> None:
    """One phone lives on the other, one lived here, one had moved before."""
    dies, lives = pair
    there, moved, here = phone("1001", lives), phone("1002", dies), phone("1003", dies)
    there.register(60)
    moved.register(4)
    here.register(4)
    watch = await watching(asterisk_at(dies, lives, **READ) + RULES)
    await watch.sees(20, x1001=HERE, x1002=HERE, x1003=HERE)
    end = watch.end("1003")
    phone("1002", lives).register(60)
    await watch.sees(20, x1002=HERE)

    await asyncio.to_thread(dies.kill9)
    fired = await watch.mail(1, 20)
    assert watch.subjects[0].startswith(
        f"[warning] {dies.address}:5038 cannot be read since "
    )
    assert watch.subjects[0].endswith(" (connection refused) - hq")
    assert "can be read" in row(fired, "around it")
    await watch.passes(end + 1 + LATEST)
    assert watch.incidents() == [("RegistrarUnreadable", f"{dies.address}:5038")]
    assert watch.daemon.judges["hq"].state is State.READABLE
    assert [watch.moves(name) for name in ("1001", "1002", "1003")] == [[], [], []]
    assert len(watch.mails) == 1

    there.deregister()  # where it can be seen, a loss is a loss
    await watch.mail(2, 15)
    assert watch.subjects[1].startswith("[warning] 1001 unregistered since ")
    assert watch.moves("1002") == watch.moves("1003") == []


async def test_a_phone_that_moves_to_the_other_member_was_never_away(
    pair: tuple[Asterisk, Asterisk], phone: MakePhone, watching: StartWatch
) -> None:
    first, second = pair
    phone("1001", first).register(3)
    watch = await watching(asterisk_at(first, second, **READ) + RULES)
    await watch.sees(20, x1001=HERE)
    end = watch.end("1001")
    await asyncio.to_thread(phone("1001", second).register, 60)
    await watch.passes(end + 1 + LATEST)
    assert first.contacts() == []
    assert watch.moves("1001") == []
    assert watch.subjects == []
