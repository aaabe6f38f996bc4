"""What is killed, cut off or full: nothing is lost, nothing is told too early."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import pytest

from sipwatch.demo.mail import MailCatcher
from sipwatch.demo.site import Site, Trunk
from tests.end_to_end.conftest import MakeRunning, StartTrunk
from tests.end_to_end.running import Running, mail_to
from tests.end_to_end.test_daemon import registrar, sections, smtp, targets
from tests.servers import eventually

FOR = 1.0  # s of the rules here
RULES = {
    "ExtensionUnregistered": {"for": "1s", "keep_firing_for": "0s"},
    "OptionsFailing": {"failures": 1, "for": "1s", "recover": 1},
}
PHONE, TRUNK = "extension:hq/1002", "target:provider"


# --- kill -9 ----------------------------------------------------------------------


Arrived = list[tuple[float, EmailMessage]]  # wall clock, mail
BAD = {TRUNK: "down", PHONE: "unregistered"}
WELL = {TRUNK: "up", PHONE: "registered"}
NAMES = {TRUNK: "trunk provider", PHONE: "1002"}


@dataclass
class Killed:
    """A daemon that is killed at seeded moments while outages come and go."""

    daemon: Running
    arrived: Arrived
    site: Site
    trunk: Trunk
    chance: random.Random
    kills: int = 0
    rounds: int = 0
    # Every `since` that was stored of a subject's trouble, by round.
    sinces: dict[tuple[int, str], set[float]] = field(default_factory=dict)

    async def kill(self, times: int) -> None:
        """kill -9 and start again, so often."""
        for _ in range(times):
            await asyncio.sleep(self.chance.uniform(0.0, 3.0))
            self.daemon.process.kill9()
            self.kills += 1
            self._note_sinces()
            await self.daemon.start()

    def _note_sinces(self) -> None:
        for key, bad in BAD.items():
            found = self.daemon.stored(key)
            if found and found[0] == bad:
                self.sinces.setdefault((self.rounds, key), set()).add(found[1])

    async def suffer(self, killing: asyncio.Task[None]) -> None:
        """Outages until the killing is over and the last was told to its end."""
        while not killing.done():
            self.rounds += 1
            begun = len(self.arrived)
            self.trunk.silent = True
            self.site.phones["1002"].die()
            await self._are(BAD, told=1)
            self._note_sinces()
            told = len(self.arrived)
            self._check_firing(self.arrived[begun:told])
            self.trunk.silent = False
            await self.site.add("1002")
            await self._are(WELL, told=3)
            self._check_resolved(self.arrived[told:], self.arrived[begun:told])

    async def _are(self, states: dict[str, str], told: int) -> None:
        """Wait for the states to be stored, and for what they mean to be told."""

        def so() -> bool:
            if any((self.daemon.stored(k) or [""])[0] != s for k, s in states.items()):
                return False
            query = "SELECT key, told FROM incidents JOIN deliveries ON id = incident"
            rows = dict(self.daemon.rows(f"{query} WHERE step = 0 ORDER BY id"))
            return all(rows.get(key) == told for key in states)

        await eventually(so, 60, f"{states} and told\n{self.daemon.log}")

    def _check_firing(self, arrived: Arrived) -> None:
        """One notification of each, not too early; a double has the same id."""
        for key, name in NAMES.items():
            mails = [(at, m) for at, m in arrived if _subject(m).find(name) > 0]
            assert len({_id(mail) for _, mail in mails}) == 1, _all(arrived)
            (since,) = self.sinces[self.rounds, key]
            assert min(at for at, _ in mails) >= since + FOR
            assert not any(_subject(m).startswith("[resolved]") for _, m in mails)

    def _check_resolved(self, arrived: Arrived, firing: Arrived) -> None:
        for name in NAMES.values():
            mails = [mail for _, mail in arrived if _subject(mail).find(name) > 0]
            over = [mail for mail in mails if _subject(mail).startswith("[resolved]")]
            assert len({_id(mail) for mail in over}) == 1, _all(arrived)
            # What else there is came in doubt, and is a double of the firing.
            others = {_id(mail) for mail in mails if mail not in over}
            assert others <= {_id(mail) for _, mail in firing}


def _id(mail: EmailMessage) -> str:
    return str(mail["Message-ID"])


def _subject(mail: EmailMessage) -> str:
    return str(mail["Subject"])


def _all(arrived: Arrived) -> list[str]:
    return [f"{_id(mail)} {_subject(mail)}" for _, mail in arrived]


async def killed(
    running: MakeRunning, trunk: StartTrunk, folder: Path, seed: int, times: int
) -> Killed:
    """Outages of a phone and a trunk, again and again, under so many kills."""
    site, provider = Site(2, expires=3), await trunk()
    arrived: Arrived = []
    catcher = MailCatcher(lambda mail: arrived.append((time.time(), mail)))
    await catcher.start()
    await site.start()
    hq = registrar(folder, site)
    watched = sections(
        targets=targets(provider=provider), registrars={"hq": hq}, rules=RULES
    )
    daemon = running(watched + mail_to(catcher))
    run = Killed(daemon, arrived, site, provider, random.Random(seed))
    try:
        await daemon.start()
        await eventually(
            lambda: (daemon.stored(PHONE) or [""])[0] == "registered", 20, "the phone"
        )
        async with asyncio.TaskGroup() as group:
            await run.suffer(group.create_task(run.kill(times)))
    finally:
        site.close()
        await catcher.close()
    assert run.kills == times
    return run


def check(run: Killed) -> None:
    """Over all rounds: `since` never moved, and no more doubles than kills."""
    assert run.rounds >= 1
    assert all(len(values) == 1 for values in run.sinces.values()), run.sinces
    ids = Counter(_id(mail) for _, mail in run.arrived)
    assert max(ids.values()) <= 2
    assert sum(count - 1 for count in ids.values()) <= run.kills
    told = run.daemon.rows("SELECT wanted, told FROM deliveries WHERE step = 0")
    assert set(told) == {(3, 3)}
    threads = {mail["In-Reply-To"] for _, mail in run.arrived} - {None}
    assert threads <= set(ids)  # no end of what was never told


@pytest.mark.wall(60)
@pytest.mark.timeout(400)
async def test_ten_kills_lose_nothing_and_tell_nothing_twice(
    running: MakeRunning, trunk: StartTrunk, tmp_path: Path
) -> None:
    check(await killed(running, trunk, tmp_path, seed=2026, times=10))


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
async def test_fifty_kills(
    running: MakeRunning, trunk: StartTrunk, tmp_path: Path, seed: int
) -> None:
    check(await killed(running, trunk, tmp_path, seed, times=50))


# --- the mail server is down ------------------------------------------------------


@pytest.mark.wall
async def test_what_the_mail_server_missed_is_told_once(
    running: MakeRunning, trunk: StartTrunk
) -> None:
    over, lasting = await trunk(), await trunk()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # refuses until somebody listens on it
        port = held.getsockname()[1]
        daemon = running(
            sections(targets=targets(over=over, lasting=lasting)) + smtp(port)
        )
        await daemon.start()
        await eventually(daemon.is_ready, 60, "the first pass")
        over.silent = lasting.silent = True
        await eventually(lambda: _failed(daemon) == 2, 20, "two refused attempts")
        over.silent = False
        await eventually(
            lambda: daemon.rows(
                "SELECT 1 FROM incidents WHERE name='over' AND resolved_at > 0"
            ),
            10,
            "the end of one",
        )
        (since,) = daemon.rows("SELECT since FROM incidents WHERE name='over'")
    catcher = MailCatcher()
    await catcher.start("127.0.0.1", port)
    try:
        await eventually(lambda: len(catcher.mails) == 2, 45, f"owed\n{daemon.log}")
        lasting.silent = False
        await eventually(lambda: len(catcher.mails) == 3, 60, "the end")
        assert await daemon.stop() < 2
    finally:
        await catcher.close()
    late, firing = sorted((str(m["Subject"]) for m in catcher.mails[:2]), reverse=True)
    assert late.startswith("[resolved] trunk over did not answer OPTIONS from")
    assert firing.startswith("[critical] trunk lasting does not answer OPTIONS since")
    assert str(catcher.mails[2]["Subject"]).startswith(
        "[resolved] trunk lasting answers OPTIONS again after"
    )
    assert daemon.rows("SELECT since FROM incidents WHERE name='over'") == [since]
    assert "oncall: transient failure" in daemon.log


def _failed(daemon: Running) -> int:
    rows = daemon.rows(
        "SELECT count(*) FROM deliveries WHERE attempts > 0 AND told = 0"
        " AND incident IN (SELECT id FROM incidents WHERE kind = 'target')"
    )
    count: int = rows[0][0]
    return count


# --- the disk is full -------------------------------------------------------------


@dataclass
class Disk:
    """The disk of one process, which a test fills and empties."""

    daemon: Running

    def fill(self) -> None:
        """No file of the process may grow."""
        hard = resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE)[1]
        self._limit(1, hard)

    def empty(self) -> None:
        self._limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def _limit(self, soft: int, hard: int) -> None:
        resource.prlimit(self.daemon.process.pid, resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_told_and_holds_no_alarm_up(
    running: MakeRunning, trunk: StartTrunk, catcher: MailCatcher
) -> None:
    provider = await trunk()
    daemon = running(sections(targets=targets(provider=provider)) + mail_to(catcher))
    await daemon.start()
    await eventually(daemon.is_ready, 60, "the first pass")
    disk = Disk(daemon)
    disk.fill()
    provider.silent = True
    await eventually(lambda: _has(catcher, "trunk provider does not answer"), 20)
    await eventually(lambda: _has(catcher, "cannot write its database"), 20)
    assert ("StoreFailing", "self:store") in await daemon.open()
    assert not daemon.rows("SELECT 1 FROM incidents")
    disk.empty()
    await daemon.is_over("StoreFailing")
    await eventually(lambda: len(catcher.mails) == 3, 60, "the end of it")
    assert str(catcher.mails[2]["Subject"]).startswith("[resolved]")
    known = [("provider", 1), ("store", 3)]
    await eventually(lambda: _known(daemon) == known, 10, f"{known}\n{daemon.log}")
    assert await daemon.stop() < 2
    await daemon.start()
    provider.silent = False
    await eventually(lambda: len(catcher.mails) == 4, 60, "the end of the outage")
    assert catcher.mails[3]["In-Reply-To"] in {m["Message-ID"] for m in catcher.mails}


def _known(daemon: Running) -> list[tuple[str, int]]:
    query = "SELECT name, told FROM incidents JOIN deliveries ON id = incident"
    query += " WHERE step = 0"
    return sorted(daemon.rows(query))


def _has(catcher: MailCatcher, words: str) -> bool:
    return any(words in str(mail["Subject"]) for mail in catcher.mails)
