"""Which packets belong to an incident, and what is said of those that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alerting.announcement import Opened, Resolved, Updated
from alerting.incident import Incident, Severity
from alerting.notification.render import render
from checks.observation import Kind, Scope, State, Subject
from checks.sip.trace import Exchanged
from sipwatch.capture.export import Exported, of_messages
from sipwatch.capture.protocol import LONGEST, Question
from sipwatch.keeping import gathering
from sipwatch.keeping.gathering import EXCHANGE, REASONS, WAITING, Gathering
from sipwatch.keeping.settings import CaptureSettings, EvidenceSettings
from sipwatch.keeping.shelf import PROBE
from tests.alerting.mails import CASES, INSTANCE, NOW, PARIS
from tests.servers import eventually
from tests.sipwatch.capture.packets import PBX, PHONE, sip
from tests.sipwatch.watching import START, Watching

HQ = Scope("hq")
EXTENSION = Subject(Kind.EXTENSION, "1001@pbx.example.com", HQ)
ACCOUNT = Subject(Kind.ACCOUNT, "line", Scope("line"))


def incident(subject: Subject, id: int = 7, since: float = START) -> Incident:
    """An open one."""
    state, severity = State.UNREGISTERED, Severity.WARNING
    return Incident(id, subject, "liveness", "Any", severity, state, since, since)


class Site:
    """A daemon with little in it, and what gathers its evidence."""

    def __init__(self, folder: Path) -> None:
        self.watching = Watching(now=START + 130)
        socket = str(folder / "none.sock")
        self.watching.config = replace(
            self.watching.config,
            database=str(folder / "sipwatch.db"),
            capture=CaptureSettings(socket=socket, before=60.0),
        )
        self.flushed: list[str] = []
        flow: Any = SimpleNamespace(flush=lambda: self.flushed.append("flushed"))
        daemon: Any = self.watching
        self.gathering = Gathering(daemon, self.watching.bus, flow)

    def question(self, subject: Subject, since: float = START) -> Question | None:
        return self.gathering._question(incident(subject, since=since))


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_an_extension_is_looked_for_by_its_user(site: Site) -> None:
    assert site.question(EXTENSION) == Question(
        since=START - 60, until=START + 130, users=("1001",), most=EXCHANGE
    )


async def test_a_target_is_looked_for_by_its_addresses(site: Site) -> None:
    index = site.watching.target("twilio", "203.0.113.9", role="trunk")
    site.watching.silence(index, times=3)
    [subject] = [v.subject for v in site.watching.options.targets.values()]

    question = site.question(subject)

    assert question is not None
    assert (question.users, question.addresses) == ((), ("203.0.113.9",))


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("sip:line1@provider.example.com", ("line1",)),
        ("line1@provider.example.com:5080", ("line1",)),
        ("provider", None),
        ("not a uri", None),
    ],
)
async def test_a_registration_of_the_pbx_is_looked_for_by_its_user(
    site: Site, name: str, users: tuple[str, ...] | None
) -> None:
    question = site.question(Subject(Kind.REGISTRATION, name, HQ))

    assert (question.users if question else None) == users


async def test_what_is_long_ago_is_looked_for_within_an_hour(site: Site) -> None:
    question = site.question(EXTENSION, since=START - 90_000)

    assert question is not None
    assert question.until - question.since == LONGEST


async def test_a_clock_that_was_set_is_taken_into_account(site: Site) -> None:
    site.watching.wall_skew = 100.0
    site.watching.clock.measure()

    question = site.question(EXTENSION)

    assert question is not None
    assert (question.since, question.until) == (START + 40, START + 230)


async def test_a_flood_of_incidents_does_not_wait_without_end(site: Site) -> None:
    for n in range(WAITING + 5):
        site.watching.bus.emit("opened", Opened(incident(EXTENSION, n), START))

    assert site.gathering.missed == 5
    covered = incident(EXTENSION, 99)
    covered.part_of = 1
    site.watching.bus.emit("opened", Opened(covered, START))
    registrar = incident(Subject(Kind.REGISTRAR, "hq", HQ), 100)
    site.watching.bus.emit("opened", Opened(registrar, START))
    assert site.gathering.missed == 5  # these have no exchange of their own


async def test_the_last_test_of_an_account_is_its_evidence(site: Site) -> None:
    ask = Exchanged(START, True, "udp", PHONE, PBX, sip("REGISTER sip:x SIP/2.0"))
    no = Exchanged(START, False, "udp", PHONE, PBX, sip("SIP/2.0 403 Forbidden"))
    account: Any = SimpleNamespace(
        settings=SimpleNamespace(username="line1"),
        outcome=SimpleNamespace(exchange=(ask, no)),
    )
    site.watching.accounts["line"] = account
    running = asyncio.create_task(site.gathering.run())
    site.watching.bus.emit("opened", Opened(incident(ACCOUNT), START))
    await eventually(lambda: site.gathering.kept, 10, "the evidence")
    running.cancel()

    shown = await site.gathering.shown(7, file=True)
    assert (shown["source"], shown["messages"]) == (PROBE, 2)
    assert "SIP/2.0 403 Forbidden" in shown["text"]
    assert site.gathering.line(incident(ACCOUNT)) == (
        "2 messages of our own, 1 kB: sipwatch evidence 7"
    )
    assert site.gathering.mentioned(incident(ACCOUNT), START) == {
        "file": "7.pcapng",
        "source": PROBE,
        "messages": 2,
        "size": shown["size"],
        "sha256": shown["sha256"][:12],
        "why": "",
    }
    assert site.gathering.line(incident(ACCOUNT, 8)) == ""
    # Of a database that was there before this one.
    assert site.gathering.line(incident(EXTENSION)) == ""
    assert site.gathering.line(incident(ACCOUNT, since=START + 900)) == ""
    with pytest.raises(LookupError, match="incident 8"):
        await site.gathering.shown(8, file=False)
    again = Site(Path(site.watching.config.database).parent)
    assert again.gathering.shelf.load() == site.gathering.kept


class Ring:
    """A ring that has so many packets of anybody."""

    def __init__(self) -> None:
        self.messages, self.asked = 0, 0

    async def captured(self, incident: Incident) -> Exported | None:
        self.asked += 1
        ask = Exchanged(START, True, "udp", PHONE, PBX, sip("REGISTER sip:x SIP/2.0"))
        return of_messages([ask] * self.messages) if self.messages else None


@pytest.fixture
async def ring(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ring]:
    """What the capture service has, of a daemon that looks for evidence."""
    ring = Ring()
    monkeypatch.setattr(site.gathering, "_captured", ring.captured)
    monkeypatch.setattr(gathering, "PERIOD", 0.01)
    running = asyncio.create_task(site.gathering.run())
    yield ring
    running.cancel()


async def test_where_nothing_was_found_it_is_looked_for_again(
    site: Site, ring: Ring
) -> None:
    opened = incident(EXTENSION)
    site.watching.bus.emit("opened", Opened(opened, START))
    for number, wait in enumerate((0, 60, 300, 1800), 1):
        site.watching.now += wait
        await eventually(lambda n=number: ring.asked == n, 10, f"look {number}")  # type: ignore[misc]
        site.watching.now += 10  # it is not time yet
        await asyncio.sleep(0.05)
        assert ring.asked == number
        site.watching.now -= 10
    assert not site.gathering.kept
    ring.messages = 3
    site.watching.now += 20
    site.watching.bus.emit("updated", Updated(opened, site.watching.now))
    await eventually(lambda: site.gathering.kept, 10, "the evidence")
    assert site.gathering.kept[7].messages == 3
    site.watching.now += 90_000
    await asyncio.sleep(0.05)
    assert ring.asked == 5  # there is some


async def test_what_gets_worse_is_looked_at_again_and_what_says_more_is_kept(
    site: Site, ring: Ring
) -> None:
    ring.messages = 4
    opened = incident(EXTENSION)
    site.watching.bus.emit("opened", Opened(opened, START))
    await eventually(lambda: site.gathering.kept, 10, "the evidence")
    ring.messages = 2
    opened.severity = Severity.CRITICAL
    site.watching.now += 60
    await eventually(lambda: ring.asked == 2, 10, "another look")
    await asyncio.sleep(0.05)
    assert site.gathering.kept[7].messages == 4
    ring.messages = 9
    again = incident(EXTENSION)  # it is over, and comes back
    site.watching.bus.emit("resolved", Resolved(opened, START))
    site.watching.bus.emit("opened", Opened(again, START, again=True))
    await eventually(lambda: site.gathering.kept[7].messages == 9, 10, "the latest")


async def test_what_is_over_is_looked_at_no_more(site: Site, ring: Ring) -> None:
    opened = incident(EXTENSION)
    site.watching.bus.emit("opened", Opened(opened, START))
    await eventually(lambda: ring.asked == 1, 10, "a look")
    await eventually(lambda: site.gathering._looked, 10, "a note of it")
    site.watching.bus.emit("resolved", Resolved(opened, START))
    site.watching.now += 90_000
    await asyncio.sleep(0.05)
    assert ring.asked == 1
    assert not site.gathering._looked


async def test_it_is_known_why_an_incident_has_no_packets(site: Site) -> None:
    def why(of: Incident) -> str:
        said = site.gathering.mentioned(of, START)
        assert (said["file"], said["messages"], said["sha256"]) == (None, 0, None)
        return str(said["why"])

    emit = site.watching.bus.emit
    for n in range(WAITING + 1):
        emit("opened", Opened(incident(EXTENSION, n), START))
    assert why(incident(EXTENSION, 0)) == "it is being looked for"
    assert why(incident(EXTENSION, WAITING)) == (
        "too many incidents opened at once to look for it"
    )
    assert why(incident(EXTENSION, 500)) == "none is kept, or no longer"
    registrar = Subject(Kind.REGISTRAR, "hq", HQ)
    assert why(incident(registrar)).startswith("nothing is said over the network")
    covered = incident(EXTENSION, 99)
    covered.part_of = 1
    assert why(covered) == "it is part of incident 1"


@pytest.mark.parametrize(
    ("up", "why"),
    [
        (True, "no packets of it were seen"),
        (
            False,
            "the capture service does not run (systemctl start sipwatch-capture)",
        ),
    ],
)
async def test_where_nothing_was_found_the_reason_is_kept(
    site: Site, up: bool, why: str
) -> None:
    site.watching.passing.up = up
    await site.gathering._gather(incident(EXTENSION))
    assert site.gathering.mentioned(incident(EXTENSION), START)["why"] == why


async def test_a_full_disk_is_the_reason(site: Site) -> None:
    ask = Exchanged(START, True, "udp", PHONE, PBX, sip("REGISTER sip:x SIP/2.0"))
    account: Any = SimpleNamespace(
        settings=SimpleNamespace(username="line1"),
        outcome=SimpleNamespace(exchange=(ask,)),
    )
    site.watching.accounts["line"] = account
    (Path(site.watching.config.database).parent / "evidence").write_text("no folder")

    await site.gathering._gather(incident(ACCOUNT))

    said = site.gathering.mentioned(incident(ACCOUNT), START)
    assert said["why"] == "it cannot be kept: File exists"


def test_reasons_do_not_grow_without_end(site: Site) -> None:
    for n in range(REASONS + 5):
        site.gathering._lacks(incident(EXTENSION, n), "no packets of it were seen")
    assert list(site.gathering._none) == list(range(5, REASONS + 5))


async def test_evidence_goes_by_its_settings(site: Site, tmp_path: Path) -> None:
    assert site.gathering.shelf.folder == tmp_path / "evidence"
    settings = EvidenceSettings(folder="/srv/evidence", keep=60.0, size=2**20)
    site.watching.config = replace(site.watching.config, evidence=settings)

    shelf = site.gathering.shelf
    assert (shelf.folder, shelf.keep, shelf.size) == (Path("/srv/evidence"), 60, 2**20)


async def test_that_it_is_kept_is_an_update_of_the_open_incident(site: Site) -> None:
    watching = site.watching
    heard: list[Any] = []
    watching.bus.on("updated", heard.append)
    watching.silence(watching.target("twilio", "203.0.113.9", role="trunk"), times=4)
    watching.until(START + 400)
    heard.clear()
    [opened, *_] = watching.alarms.incidents

    assert watching.alarms.evidenced(opened.id, watching.now) is opened
    assert watching.alarms.evidenced(999, watching.now) is None
    watching.announce()

    assert heard == [Updated(opened, watching.now)]


def test_a_mail_names_the_exchange() -> None:
    mail = render(
        CASES["unregistered"],
        instance=INSTANCE,
        zone=PARIS,
        exchange=lambda incident: f"8 messages, 4 kB: sipwatch evidence {incident.id}",
        now=NOW,
    )

    assert "\n  packets     8 messages, 4 kB: sipwatch evidence 4711\n" in mail.text


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: CaptureSettings(before=3600.0), "less than 1h"),
        (lambda: EvidenceSettings(keep=0.0), "keep must be more"),
        (lambda: EvidenceSettings(size=1000), "1M or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_only_what_is_spoken_over_the_network_has_an_exchange() -> None:
    assert set(gathering._KINDS) == {
        *(Kind.EXTENSION, Kind.TARGET, Kind.REGISTRATION, Kind.ACCOUNT)
    }
