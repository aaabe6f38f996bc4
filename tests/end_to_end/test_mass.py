"""Two thousand recorded phones come and go: the whole daemon, at the recorded times.

Asterisk's list and its events, and Kamailio's dump, are served as they were recorded.
The clock is the recording's, and stands until the test moves it: never while
something is under way, so that it does not matter how long that takes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checks.observation import Loss, State
from checks.registrars import asterisk, kamailio
from checks.registrars.ami import AmiParser, Message
from checks.registrars.clocks import Pace
from checks.registrars.session import Session
from checks.registrations.judge import Judge
from checks.registrations.states import LEARNED
from sipwatch.clock import Clock
from sipwatch.config.load import load
from sipwatch.daemon import Daemon
from sipwatch.demo.mail import MailCatcher
from tests import wire
from tests.end_to_end.watch import NOTIFIER
from tests.servers import ServerError, eventually, within
from tests.wire import Rpc

LISTED = 1795168168.4  # when the list was recorded, UTC s
LOGGED_OUT, BACK, ENDED = 1795168194.3, 1795168198.3, 1795168277.0  # by then all had
BOOTED = 1795168156.0
DUMPED = 1795168212.0

CONTACTS = "PJSIPShowRegistrationInboundContactStatuses"
ROSTER = "PJSIPShowRegistrationsInbound"
NOT_READ = ("Event", "ActionID")
STEP = 5.0  # s by which the clock moves: less than any patience
CALM = 50  # turns of the loop
LOOK = 0.002  # s between two looks at what is under way
LASTING = 900.0  # s of an outage of the mail server, and of what bindings have left
EACH = 20  # s between two ends of bindings behind a switch that is dead
PATIENCE = 60.0  # s of the real clock: far more than a busy machine takes

# More than the waits of a test that fails, which say what did not come.
pytestmark = pytest.mark.timeout(300)

REGISTERED, UNREGISTERED = State.REGISTERED, State.UNREGISTERED
# As in life, where NOTIFIER makes tests quick.
GROUPED = NOTIFIER.replace("wait: 0s, interval: 0s", "wait: 10s, interval: 5m")


def messages(recording: bytes) -> list[Message]:
    """All that a recording holds."""
    parser = AmiParser()
    if not recording.startswith(b"Asterisk Call Manager"):
        parser.feed(wire.GREETING)
    return parser.feed(recording)


class Pbx(wire.AmiServer):
    """The recorded Asterisk: its list as it stood at any moment of the recording."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(
            {}, after_login=[wire.message(Event="FullyBooted", Uptime="12")]
        )
        self.clock = clock
        self.quiet = asyncio.Event()  # nothing happens: what it lists is up to date
        self.quiet.set()
        recorded = wire.answers(wire.read("ami/2000_contacts_noqualify.raw.gz"))
        rows = messages(b"".join(recorded[CONTACTS]))
        self.rows = {
            row["AOR"]: {k: v for k, v in row.items() if k not in NOT_READ}
            for row in rows
            if row.get("Event") == "ContactStatusDetail"
        }
        self.crowd = {aor: row for aor, row in self.rows.items() if len(aor) == 5}
        aors = [{"ObjectName": aor, "Contacts": ""} for aor in self.rows]
        self.roster = wire.listing("InboundRegistrationDetail", aors)
        log = wire.lines(wire.read("ami/mass_events.log.gz"))
        several = messages(log[log.index(b"Asterisk Call") :])
        self.events = [event for event in several if self._is_ours(event)]

    @staticmethod
    def _is_ours(event: Message) -> bool:
        """A user with `read = system,security` gets these classes alone."""
        kind = event.get("Privilege", "").partition(",")[0]
        return kind in ("system", "security") and event["Event"] != "FullyBooted"

    def between(self, begin: float, end: float) -> Iterator[Message]:
        """The events of this span."""
        for event in self.events:
            if begin < float(event["Timestamp"]) <= end:
                yield event

    async def play(self, several: list[Message]) -> None:
        """Let this happen: what is listed changes, and events tell of it."""
        self.quiet.clear()
        for event in several:
            if event["Event"] == "ContactStatus":
                self._change(event)
            await self.push(wire.message(**event))
        self.quiet.set()

    def _change(self, event: Message) -> None:
        aor, at = event["AOR"], float(event["Timestamp"])
        if event["ContactStatus"] == "Removed":
            self.rows.pop(aor, None)
        elif aor in self.crowd:
            end = {"RegExpire": str(int(at) + 60)}
            self.rows[aor] = self.crowd[aor] | {"URI": event["URI"]} | end

    async def _answer(self, writer: asyncio.StreamWriter, request: bytes) -> None:
        done = {"Response": "Success", "ActionID": "x"}
        now = {"Ping": "Pong", "Timestamp": f"{self.clock():.6f}"}
        core = {"CoreStartupDate": "2026-11-20", "CoreStartupTime": "09:49:16"}
        self.answers = {
            "Login": [wire.message(**done, Message="Authentication accepted")],
            "Ping": [wire.message(**done, **now)],
            "CoreStatus": [wire.message(**done, **core)],
            ROSTER: self.roster,
        }
        if wire.header(request, "Action") == CONTACTS:
            await self.quiet.wait()
            rows = self.rows.values()
            self.answers[CONTACTS] = wire.listing("ContactStatusDetail", rows)
        await super()._answer(writer, request)


class Hearing(Session):
    """The daemon's end of the connection, which tells how much has come."""

    heard_bytes = 0

    def data_received(self, data: bytes) -> None:
        Hearing.heard_bytes += len(data)
        super().data_received(data)


class Listing(Pace):
    """The pace of a registrar that tells whether a list is read."""

    under_way = 0

    def begin(self) -> float:
        Listing.under_way += 1
        return super().begin()

    def end(self, began: float) -> None:
        Listing.under_way -= 1
        super().end(began)


class Recording:
    """The daemon at the times of a recording."""

    more = ""  # sections of its configuration

    def __init__(self, now: float, folder: Path) -> None:
        self.now = now
        self.folder = folder
        self.catcher = MailCatcher()
        self.opened: list[Any] = []
        self.traffic: Callable[[], str] = lambda: ""  # what is under way

    def clock(self) -> float:
        return self.now

    async def start(self, registrar: dict[str, Any]) -> None:
        await self.catcher.start()
        host, port = self.catcher.address
        section = f"registrars: {json.dumps({'hq': registrar})}\n"
        mail = GROUPED.format(host=host, port=port, folder=self.folder)
        path = self.folder / "sipwatch.yaml"
        path.write_text(section + self.more + textwrap.dedent(mail), encoding="utf-8")
        self.daemon = Daemon(load(path), Clock(self.clock, self.clock))
        self.daemon.bus.on("opened", self.opened.append)
        await self.daemon.start()

    async def stop(self) -> None:
        async with within(PATIENCE, "the end of the daemon"):
            await self.daemon.stop()
            await self.catcher.close()

    @property
    def judge(self) -> Judge:
        return self.daemon.judges["hq"]

    @property
    def mails(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.catcher.mails]

    async def to(self, now: float) -> None:
        """Move the clock, in steps after each of which the PBX's answers come."""
        while self.now < now:
            await self.leap(min(now, self.now + STEP))

    async def leap(self, now: float) -> None:
        """Move the clock at once."""
        await self.calm()
        self.now = now
        self.poke()
        await self.calm()

    def poke(self) -> None:
        """Everything looks at the clock anew."""
        self.daemon.flow.flush()
        for following in self.daemon.followings.values():
            following.options_answer(ok=True)
        for courier in self.daemon.couriers.values():
            courier.wake()

    async def calm(self) -> None:
        """Until all that is due has happened, for some turns of the loop."""
        late = time.monotonic() + PATIENCE
        calm = 0
        while calm < CALM:
            busy = self.busy()
            calm = 0 if busy else calm + 1
            await asyncio.sleep(LOOK if busy else 0)
            if busy and time.monotonic() > late:
                raise ServerError(f"not within {PATIENCE:g} s: the end of {busy}")

    def busy(self) -> str:
        """What is under way, if anything."""
        if self.daemon.flow.waiting_since() is not None:
            return "the commit"
        for due in (self.daemon.alarms.next_deadline(), self.judge.next_deadline()):
            if due is not None and due <= self.now:
                return f"what was due {self.now - due:g} s ago"
        return self.traffic()

    def states(self) -> Counter[State | None]:
        """Of the crowd; the few other phones of the recording are left out."""
        several = self.judge.extensions.values()
        return Counter(e.state for e in several if len(e.aor) == 5)

    async def all_are(self, state: State, number: int = 2000) -> None:
        await eventually(
            lambda: self.states() == {state: number}, PATIENCE, f"{number} {state}"
        )

    async def lists(self, number: int) -> None:
        """Read anew so many times; the clock moves, as lists keep a distance."""
        (member,) = self.judge.members.values()
        for _ in range(number):
            before = member.read_at
            async with within(PATIENCE, "another list"):
                while member.read_at == before:
                    await self.leap(self.now + 0.01)
                    self.daemon.followings["hq"].relist()
                    await self.calm()

    async def open_incidents(self, number: int) -> None:
        await eventually(
            lambda: len(self.daemon.alarms.incidents) == number,
            PATIENCE,
            f"{number} incidents",
        )

    async def told(self, words: str) -> None:
        """Let time pass until a mail with this in its subject has come."""
        late = self.now + LASTING
        while not any(words in mail for mail in self.mails):
            assert self.now < late, self.mails
            await self.to(self.now + STEP)

    async def mail(self, number: int) -> str:
        await eventually(
            lambda: len(self.mails) >= number and not self.daemon.alarms.owed(),
            PATIENCE,
            f"mail {number} of {self.mails}, owed {self.daemon.alarms.owed()[:2]}",
        )
        assert len(self.mails) == number
        return self.mails[-1]


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    started: list[Recording] = []

    async def start(now: float, **registrar: Any) -> Recording:
        made = Recording(now, tmp_path)
        audited = {"expiry": {"min": "1s", "max": "2h"}}  # not of interest here
        await made.start(registrar | audited | {"interval": "30s"})
        started.append(made)
        return made

    yield start
    for one in started:
        await one.stop()
    gc.unfreeze()


@pytest.fixture
async def hq(
    recording: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Recording, Pbx]]:
    """The daemon beside the recorded Asterisk, whose list it has read."""
    monkeypatch.setattr(asterisk, "Session", Hearing)
    monkeypatch.setattr(Hearing, "heard_bytes", 0)
    made: list[Recording] = []
    async with Pbx(lambda: made[0].now if made else LISTED) as pbx:
        made.append(
            await recording(LISTED, type="asterisk", address=pbx.address, password="x")
        )
        made[0].traffic = lambda: open_at(pbx)
        await made[0].all_are(REGISTERED)
        await made[0].calm()
        yield made[0], pbx
        await made[0].stop()


def open_at(pbx: Pbx) -> str:
    """What it was asked and has not answered, or has said and was not heard."""
    asked, answered = len(pbx.requests), len(pbx.actions)
    if asked == answered and pbx.said == Hearing.heard_bytes:
        return ""
    return f"{asked} asked, {answered} answered, {Hearing.heard_bytes} of {pbx.said} B"


async def test_the_list_has_all_two_thousand(hq: tuple[Recording, Pbx]) -> None:
    watch, _ = hq
    assert len(watch.judge.extensions) == 2007
    (member,) = watch.judge.members.values()
    assert member.boot == BOOTED
    ends = {c.end for e in watch.judge.extensions.values() for c in e.contacts}
    assert len(ends) > 10
    assert not watch.daemon.alarms.incidents


async def log_out(watch: Recording, pbx: Pbx) -> dict[str, float]:
    """All of the crowd de-register, as recorded: when each did."""
    several = list(pbx.between(LISTED, LOGGED_OUT))
    await watch.calm()
    watch.now = LOGGED_OUT  # no list is read that still has who went before it
    await pbx.play(several)
    await watch.all_are(UNREGISTERED)
    return {
        e["AOR"]: float(e["Timestamp"])
        for e in several
        if e.get("ContactStatus") == "Removed"
    }


async def come_back(watch: Recording, pbx: Pbx) -> None:
    """All of the crowd register again within seconds, as recorded."""
    several = list(pbx.between(LOGGED_OUT, BACK))
    await watch.calm()
    watch.now = BACK
    await pbx.play(several)
    await watch.all_are(REGISTERED)
    await watch.lists(2)  # for their ends


async def test_who_logs_out_and_comes_back_within_seconds_is_no_news(
    hq: tuple[Recording, Pbx],
) -> None:
    watch, pbx = hq
    gone = await log_out(watch, pbx)
    assert len(gone) == 2000
    for aor, at in gone.items():
        extension = watch.judge.extensions[aor]
        assert extension.since == pytest.approx(at, abs=0.001)
        assert extension.lost is not None
        assert extension.lost.loss is Loss.DEREGISTERED
    await come_back(watch, pbx)
    for ahead in (130, 300, 600):
        for aor, row in pbx.rows.items():
            pbx.rows[aor] = row | {"RegExpire": str(int(watch.now) + ahead + 60)}
        await watch.lists(1)
        await watch.to(BACK + ahead)
        await watch.lists(1)
    assert watch.states() == {REGISTERED: 2000}
    assert watch.opened == []
    assert watch.mails == []


async def test_who_is_gone_for_longer_is_told_in_one_mail_and_so_is_the_return(
    hq: tuple[Recording, Pbx],
) -> None:
    watch, pbx = hq
    await log_out(watch, pbx)
    await come_back(watch, pbx)
    ends = {aor: float(row["RegExpire"]) for aor, row in pbx.rows.items()}
    await watch.to(ENDED)
    await pbx.play(list(pbx.between(BACK + 40, ENDED)))
    await watch.all_are(UNREGISTERED)
    for aor in pbx.crowd:
        extension = watch.judge.extensions[aor]
        assert extension.since == pytest.approx(ends[aor], abs=0.001)
        assert extension.lost is not None
        assert extension.lost.loss is Loss.EXPIRED
    others = {e.aor for e in watch.judge.extensions.values()} - set(pbx.crowd)
    assert len(others) == 7
    await watch.to(min(ends[aor] for aor in pbx.crowd) + 29)
    await watch.lists(1)
    assert watch.opened == []

    await watch.to(max(ends.values()) + 60)
    await watch.open_incidents(1)
    (opened,) = watch.daemon.alarms.incidents
    assert (opened.rule, opened.subject.key) == ("MassUnregistration", "registrar:hq")
    await watch.to(watch.now + 150)  # nobody is told of besides
    fired = await watch.mail(1)
    assert fired.startswith("[critical] ")
    assert "hq" in fired

    stamp = {"Timestamp": f"{watch.now:.6f}"}
    await pbx.play([event | stamp for event in pbx.between(LOGGED_OUT, BACK)])
    await watch.all_are(REGISTERED)
    await watch.to(watch.now + 301)
    await watch.open_incidents(0)
    await watch.to(watch.now + 301)
    over = await watch.mail(2)
    assert over.startswith("[resolved] ")
    first, second = watch.catcher.mails
    assert second["In-Reply-To"] == first["Message-ID"]


async def test_while_no_mail_is_taken_all_wait_for_one_mail(
    hq: tuple[Recording, Pbx],
) -> None:
    watch, pbx = hq
    await log_out(watch, pbx)
    await come_back(watch, pbx)
    await watch.to(ENDED)
    await watch.catcher.close()
    await pbx.play(list(pbx.between(BACK + 40, ENDED)))
    await watch.all_are(UNREGISTERED)
    await watch.to(watch.now + LASTING)
    assert watch.mails == []

    await watch.catcher.start(*watch.catcher.address)
    await watch.told("[critical] 2000 of ")
    stamp = {"Timestamp": f"{watch.now:.6f}"}
    await pbx.play([event | stamp for event in pbx.between(LOGGED_OUT, BACK)])
    await watch.all_are(REGISTERED)
    await watch.told("[resolved] ")
    about = [mail for mail in watch.mails if " extensions of hq " in mail]
    assert [mail.split()[0] for mail in about] == ["[critical]", "[resolved]"]


@pytest.fixture
def branch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The phones of a branch; `hq` knows it, where it comes after this."""
    several = [str(20000 + n) for n in range(40)]
    site = json.dumps({"branch": {"extensions": several}})
    monkeypatch.setattr(Recording, "more", f"sites: {site}\n")
    return several


async def test_behind_a_dead_switch_one_incident_grows(
    branch: list[str], hq: tuple[Recording, Pbx]
) -> None:
    watch, pbx = hq
    assert set(branch) <= set(pbx.crowd)
    for row in pbx.rows.values():
        row["RegExpire"] = str(int(watch.now) + 4 * LASTING)
    await watch.lists(1)  # so much was granted, though nothing tells it but the end
    began = int(watch.now)
    ends = {aor: began + (n + 1) * EACH for n, aor in enumerate(branch)}
    for aor, end in ends.items():
        pbx.rows[aor]["RegExpire"] = str(end)
    await watch.lists(1)
    for aor, end in ends.items():
        await watch.to(end - 1)
        del pbx.rows[aor]  # by the read that follows its end it is gone
    await watch.to(watch.now + 150)
    together = [i for i in watch.daemon.alarms.incidents if i.crowd]
    assert [i.subject.key for i in together] == ["site:branch"]
    assert together[0].crowd is not None
    # But those who were told before they were many enough.
    singles = len(watch.daemon.alarms.incidents) - 1
    assert together[0].crowd.missing >= len(branch) - 1 - singles
    assert singles < 8
    critical = [mail for mail in watch.mails if mail.startswith("[critical] ")]
    assert len(critical) == 1
    assert " of 40 extensions of branch unregistered since " in critical[0]
    assert len(watch.mails) <= 3


async def test_kamailios_dump_of_two_thousand_by_polls(
    recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kamailio, "Pace", Listing)
    monkeypatch.setattr(Listing, "under_way", 0)
    body = wire.read("kamailio/kam_ul_dump_2000.json.gz")
    nobody = json.loads(body)
    domain = nobody["result"]["Domains"][0]["Domain"]
    few = [a for a in domain["AoRs"] if len(a["Info"]["AoR"]) != 5]
    domain["AoRs"], domain["Stats"]["Records"] = few, len(few)
    async with Rpc({"ul.dump": (200, body)}) as server:
        watch = await recording(
            DUMPED,
            type="kamailio",
            address=server.address,
            extensions={"include": ["3*"]},  # not the two that nobody else is like
        )
        watch.traffic = lambda: "a list" if Listing.under_way else ""
        await watch.all_are(REGISTERED)
        empty = (200, json.dumps(nobody).encode())
        # It has no roster: who was there for so long should be.
        await watch.leap(watch.now + LEARNED)
        await watch.lists(1)

        last_with = watch.now
        await watch.leap(watch.now + 30)
        server.answers["ul.dump"] = empty
        await watch.lists(1)
        await watch.all_are(UNREGISTERED)
        for extension in watch.judge.extensions.values():
            if len(extension.aor) == 5:
                assert last_with <= extension.since <= watch.now
        server.answers["ul.dump"] = (200, body)
        await watch.leap(watch.now + 5)
        await watch.lists(1)
        await watch.all_are(REGISTERED)
        await watch.to(watch.now + 200)
        await watch.lists(1)
        assert watch.opened == []

        server.answers["ul.dump"] = empty
        await watch.lists(1)
        await watch.all_are(UNREGISTERED)
        await watch.to(watch.now + 121)
        await watch.open_incidents(1)
        await watch.to(watch.now + 11)
        fired = await watch.mail(1)
        assert fired.startswith("[critical] ")
        await watch.stop()
