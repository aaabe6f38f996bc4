"""Blind is not down: what keeps the PBX from being read makes no phone a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from checks.observation import Cause, State
from tests import wire
from tests.checks.registrars.test_asterisk import CONTACTS, ROSTER, healthy, serving
from tests.conftest import StartAsterisk
from tests.end_to_end.cable import Cable
from tests.end_to_end.conftest import MakePhone, StartWatch
from tests.end_to_end.watch import LATEST, Watch, asterisk_at, registrar, row, rules
from tests.servers import eventually
from tests.servers.asterisk import MANAGER_USERS, Asterisk, Extension, ManagerUser
from tests.servers.loopback import Loopback

HERE = State.REGISTERED
RULES = rules(ExtensionUnregistered=1, ExtensionUnreachable=1, RegistrarUnreadable=2)
READ = {"interval": "2s", "timeout": "1s"}
ROW = b"Event: ContactStatusDetail\r\n"

MakeCable = Callable[[Asterisk], Awaitable[Cable]]


@pytest.fixture
async def cable(loopback: Loopback) -> AsyncIterator[MakeCable]:
    """await cable(pbx): the way to its manager interface, in our hands."""
    made: list[Cable] = []

    async def lay(pbx: Asterisk) -> Cable:
        made.append(Cable(pbx.address, loopback.address(), pbx.ami_port))
        return await made[-1].mend()

    yield lay
    for one in made:
        await one.cut()


async def cut(pbx: Asterisk, line: Cable) -> None:
    await line.cut()


async def hold(pbx: Asterisk, line: Cable) -> None:
    line.lost_after, line.closes = ROW, False


async def break_off(pbx: Asterisk, line: Cable) -> None:
    line.lost_after, line.closes = ROW, True


async def freeze(pbx: Asterisk, line: Cable) -> None:
    pbx.freeze()


async def thaw(pbx: Asterisk, line: Cable) -> None:
    pbx.thaw()


async def kill(pbx: Asterisk, line: Cable) -> None:
    await eventually(lambda: pbx.kept() == 2, 15, "contacts on Asterisk's disk")
    await asyncio.to_thread(pbx.kill9)
    await line.cut()  # which would accept for it


async def boot(pbx: Asterisk, line: Cable) -> None:
    await line.mend()
    await asyncio.to_thread(pbx.start)


async def take_rights(pbx: Asterisk, line: Cable) -> None:
    await change_user(pbx, ManagerUser("sipwatch", "sipwatchpw", "system,security", ""))
    await line.cut()
    await line.mend()


async def give_rights(pbx: Asterisk, line: Cable) -> None:
    await change_user(pbx, *MANAGER_USERS)


async def change_user(pbx: Asterisk, *users: ManagerUser) -> None:
    pbx.users = list(users)
    pbx.configure()
    await asyncio.to_thread(pbx.cli, "manager reload")


async def mend(pbx: Asterisk, line: Cable) -> None:
    await line.mend()


Act = Callable[[Asterisk, Cable], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """How sight is lost and given back; what the mail says of it."""

    loses: Act
    gives_back: Act
    cause: Cause
    says: str
    phones_live: bool = True  # the PBX takes registrations meanwhile
    others: tuple[str, ...] = ()  # rules that rightly tell of it besides


CASES = {
    "refused": Case(cut, mend, Cause.CONNECTION_REFUSED, "connection refused"),
    "held": Case(hold, mend, Cause.TIMEOUT, "does not end PJSIPShowRegistration"),
    "half": Case(break_off, mend, Cause.CONNECTION_RESET, "AMI closed the connection"),
    "stopped": Case(freeze, thaw, Cause.TIMEOUT, "hangs or is stopped", False),
    "killed": Case(
        kill,
        boot,
        Cause.CONNECTION_REFUSED,
        "AMI",
        False,
        ("RegistrarRestarted",),
    ),
    "rights": Case(
        take_rights, give_rights, Cause.FORBIDDEN, "`write = system,reporting`"
    ),
}


async def shows_nobody(watch: Watch, cause: Cause) -> None:
    """Neither metrics nor the status say anything of a phone."""
    assert await watch.extension_series() == {}
    metrics = await watch.metrics()
    assert metrics['sipwatch_registrar_up{registrar="hq",type="asterisk"}'] == 0
    counts = {n: v for n, v in metrics.items() if "_registrar_extensions{" in n}
    assert not any(counts.values())
    (shown,) = (await watch.status())["registrars"]
    assert (shown["state"], shown["extensions"]) == (
        State.UNREADABLE,
        {"unknown": len(watch.daemon.judges["hq"].extensions)},
    )
    assert shown["cause"] == cause
    assert [rule for rule, _ in watch.incidents()] == ["RegistrarUnreadable"]


@pytest.mark.real("asterisk")
@pytest.mark.parametrize("name", CASES)
async def test_an_asterisk_that_cannot_be_read_is_one_alarm_and_no_phones(
    asterisk: StartAsterisk,
    cable: MakeCable,
    phone: MakePhone,
    watching: StartWatch,
    name: str,
) -> None:
    case = CASES[name]
    pbx = asterisk([Extension("1001"), Extension("1002"), Extension("1003")])
    line = await cable(pbx)
    reception, office = phone("1001", pbx), phone("1002", pbx)
    reception.register(60)
    office.register(5 if case.phones_live else 60)
    watch = await watching(asterisk_at(line, **READ) + RULES)
    await watch.sees(20, x1001=HERE, x1002=HERE, x1003=State.NEVER_REGISTERED)
    ends = watch.end("1002") if case.phones_live else watch.daemon.clock.now()

    await case.loses(pbx, line)
    if case.phones_live:
        await asyncio.to_thread(office.register, 60)
    fired = await watch.mail(1, 30)
    assert "cannot be read since" in watch.subjects[0]
    assert "its 2 extensions are unknown, not down" in watch.subjects[0]
    assert case.says in row(fired, "why")
    await watch.passes(ends + 1 + LATEST)  # long past the end, as far as it is known
    await shows_nobody(watch, case.cause)

    await case.gives_back(pbx, line)
    await watch.sees_again()
    over = await watch.mail(2 + len(case.others), 10)
    resolved = [m for m in watch.mails if str(m["Subject"]).startswith("[resolved]")]
    assert [watch.in_thread(mail, fired) for mail in resolved] == [True]
    assert over is not None
    assert [rule for rule, _ in watch.incidents()] == list(case.others)
    assert len(watch.mails) == 2 + len(case.others)
    assert watch.moves("1001") == watch.moves("1002") == []
    label = 'sipwatch_extension_registered{registrar="hq",extension="1001"}'
    assert (await watch.metrics())[label] == 1


@pytest.mark.real("asterisk")
async def test_a_pbx_that_died_before_the_daemon_started_again_is_no_lost_phone(
    asterisk: StartAsterisk, phone: MakePhone, watching: StartWatch
) -> None:
    pbx = asterisk([Extension("1001"), Extension("1002")])
    reception = phone("1001", pbx)
    reception.register(5)
    watch = await watching(asterisk_at(pbx, **READ) + RULES)
    await watch.sees(20, x1001=HERE)
    end = watch.end("1001")
    await watch.restart(meanwhile=pbx.kill9)
    fired = await watch.mail(1, 20)
    assert "cannot be read since" in watch.subjects[0]
    assert "connection refused" in row(fired, "why")
    await watch.passes(end + 1 + LATEST)
    assert watch.daemon.ready
    await shows_nobody(watch, Cause.CONNECTION_REFUSED)
    assert watch.state("1001") is HERE
    assert len(watch.mails) == 1


async def test_a_pbx_that_nobody_ever_saw_is_one_alarm(
    watching: StartWatch, loopback: Loopback
) -> None:
    nobody = f"{loopback.address()}:5038"
    watch = await watching(registrar(type="asterisk", address=nobody, **READ) + RULES)
    fired = await watch.mail(1, 20)
    assert "`enabled = yes` in manager.conf" in row(fired, "why")
    assert watch.daemon.ready
    await shows_nobody(watch, Cause.CONNECTION_REFUSED)


@pytest.mark.parametrize("listed", [True, False])
async def test_a_pbx_that_is_still_loading_says_nothing_of_its_phones(
    watching: StartWatch, listed: bool
) -> None:
    """The lists come before the rest of it, or they do not."""
    async with serving(healthy()) as server:
        keys = {"type": "asterisk", "address": server.address, **READ}
        watch = await watching(registrar(**keys) + rules(RegistrarUnreadable=6))
        await watch.sees(20, x1001=HERE)
        loading = [wire.unknown("PJSIPShow")]
        server.answers[CONTACTS] = loading
        if not listed:
            server.answers[ROSTER] = loading
        server.after_login = []
        await server.push(wire.CLOSE)
        fired = await watch.mail(1, 30)
        assert "cannot be read since" in watch.subjects[0]
        assert "still loading" in row(fired, "why")
        await shows_nobody(watch, Cause.NO_LIST)
        assert watch.moves("1001") == []

        server.answers.update(healthy())
        await watch.sees_again()
        await watch.mail(2, 10)
    assert watch.subjects[1].startswith("[resolved]")


@pytest.mark.real("asterisk")
@pytest.mark.parametrize(
    ("keys", "cause", "says"),
    [
        ({"password": "wrong"}, Cause.UNAUTHORIZED, "its `secret` is ours"),
        ({"username": "nobody"}, Cause.UNAUTHORIZED, "[nobody] exists"),
        (
            {"username": "denied", "password": "deniedpw"},
            Cause.UNAUTHORIZED,
            "`permit` holds our address",
        ),
        (
            {"username": "norights", "password": "norightspw"},
            Cause.FORBIDDEN,
            "give [norights] the lines `read = system,security` and "
            "`write = system,reporting`",
        ),
    ],
)
async def test_what_the_pbx_refuses_says_what_to_add_where(
    asterisk: StartAsterisk,
    phone: MakePhone,
    watching: StartWatch,
    keys: dict[str, str],
    cause: Cause,
    says: str,
) -> None:
    pbx = asterisk([Extension("1001")])
    phone("1001", pbx).register(60)
    watch = await watching(
        asterisk_at(pbx, **{**READ, "timeout": "3s"}, **keys) + RULES
    )
    fired = await watch.mail(1, 20)
    assert says in row(fired, "why")
    assert "manager.conf (FreePBX: manager_custom.conf)" in row(fired, "why")
    await shows_nobody(watch, cause)
    (shown,) = (await watch.status())["registrars"]
    assert says in shown["detail"]
    assert len(watch.mails) == 1
