"""The line of a mail that says how the neighbours are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from checks.observation import Cause, Kind, Scope, Subject
from checks.options.targets import TargetSettings
from checks.registrations.judge import Judge, Listed
from sipwatch.surroundings import Surroundings
from tests.sipwatch.watching import START, Watching

LYON = {f"3{n:03}" for n in range(40)}
PARIS = {f"1{n:03}" for n in range(172)}


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


@pytest.fixture
def hq(site: Watching) -> Judge:
    """211 of 212 registered, 39 of 40 of them in Lyon."""
    judge = site.registrar(
        "hq",
        dict.fromkeys(LYON | PARIS, True),
        listed=[Listed(aor, "", "Lyon") for aor in LYON],
        target="pbx",
    )
    site.now += 60
    site.read(judge, {aor: aor != "3007" for aor in LYON | PARIS})
    return judge


def pbx(site: Watching, uri: str = "203.0.113.5") -> int:
    """The target that is the registrar hq."""
    settings = TargetSettings(uri=uri, role="pbx")
    site.config.targets["pbx"] = settings  # type: ignore[index]
    return site.target("pbx", uri, role="pbx")


def around(site: Watching, subject: Subject) -> str:
    return Surroundings(site).around(subject)


async def test_an_extension_among_its_site_its_registrar_and_the_pbx(
    site: Watching, hq: Judge
) -> None:
    site.answer(pbx(site), rtt=0.0004)
    assert around(site, hq.extensions["3007"].subject) == (
        "Lyon: 39 of 40 registered; hq: 211 of 212; the PBX answers OPTIONS in 0.4 ms"
    )


async def test_without_a_site_the_registrar_alone(site: Watching, hq: Judge) -> None:
    subject = hq.extensions["1001"].subject
    assert around(site, subject) == "hq: 211 of 212 registered"


async def test_who_never_registered_is_not_missed(site: Watching) -> None:
    judge = site.registrar("hq", {"1001": True, "1002": True, "1003": False})
    subject = judge.extensions["1001"].subject
    assert around(site, subject) == "hq: 2 of 2 registered"
    assert Surroundings(site).extensions(judge.subject) == 2


async def test_a_registrar_that_cannot_be_read_is_no_count(
    site: Watching, hq: Judge
) -> None:
    site.observe(*hq.lost("hq:5038", Cause.TIMEOUT, "no answer", site.now + 1))
    subject = hq.extensions["3007"].subject
    assert around(site, subject) == "hq cannot be read now"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "the PBX does not answer OPTIONS (timeout)"),
        (503, "the PBX does not answer OPTIONS (503 Service Unavailable)"),
        (480, "the PBX answers OPTIONS in 0.4 ms (480 Temporarily Unavailable)"),
        (200, "the PBX answers OPTIONS in 0.4 ms"),
    ],
)
async def test_the_pbx_as_options_sees_it(site: Watching, code: int, text: str) -> None:
    judge = site.registrar("hq", {"1001": True}, target="pbx")
    index = pbx(site)
    if code:
        site.answer(index, code=code)
    else:
        site.silence(index, times=2)
    assert around(site, judge.subject) == text
    extension = judge.extensions["1001"].subject
    assert around(site, extension) == f"hq: 1 of 1 registered; {text}"


async def test_a_pbx_not_asked_yet_says_nothing(site: Watching) -> None:
    judge = site.registrar("hq", {"1001": True}, target="pbx")
    pbx(site)
    assert around(site, judge.subject) == ""


async def test_a_registrar_among_others(site: Watching) -> None:
    hq = site.registrar("hq", {"1001": True})
    lab = site.registrar("lab", {"1001": True})
    site.registrar("spare", {"1001": True})
    site.observe(*lab.lost("lab:5038", Cause.TIMEOUT, "no answer", START + 1))
    assert around(site, hq.subject) == "other registrars: 1 of 2 readable"


async def test_a_member_among_its_siblings(site: Watching) -> None:
    hq = site.registrar("hq", {"1001": True}, address="", members=["a:1", "b:1"])
    site.observe(*hq.lost("b:1", Cause.TIMEOUT, "no answer", START + 1))
    assert around(site, hq.members["b:1"].subject) == "a:1 can be read"
    assert around(site, hq.subject) == "a:1 can be read; b:1 cannot be read"


async def test_a_target_among_others(site: Watching) -> None:
    first = site.target("twilio", "203.0.113.9")
    for name in ("backup", "spare"):
        site.answer(site.target(name, "203.0.113.10"))
    site.silence(site.target("old", "203.0.113.11"))
    for index in site.targets("phones.txt", ["10.1.0.1", "10.1.0.2"])[:1]:
        site.answer(index)
    subject = site.options.judge.subjects[first]
    assert subject is not None
    assert around(site, subject) == (
        "other trunks: 2 of 3 up; other targets: 3 of 4 up"
    )


async def test_a_target_alone_and_what_has_no_neighbours(site: Watching) -> None:
    subject = site.options.judge.subjects[site.target("twilio", "203.0.113.9")]
    assert subject is not None
    assert around(site, subject) == ""
    assert around(site, Subject(Kind.SELF, "store", Scope("store"))) == ""


async def test_how_many_a_registrar_or_site_should_have(
    site: Watching, hq: Judge
) -> None:
    count = Surroundings(site).extensions
    assert count(hq.subject) == 212
    assert count(Subject(Kind.SITE, "Lyon", Scope("Lyon"))) == 40
    assert count(hq.extensions["1001"].subject) is None
