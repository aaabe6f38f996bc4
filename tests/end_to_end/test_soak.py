"""A simulated site with random faults, against a model of what is to be told.

Every outage longer than its rule waits is told exactly once and so is its end; a
shorter one never. The times are a tenth of those of a real site: 30 of its minutes
take three. SOAK_SECONDS and SOAK_SEED choose another length and another run.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from email.message import EmailMessage
from pathlib import Path
from random import Random
from typing import Any

import pytest

from checks.observation import State
from sipwatch.demo.site import Site, Trunk
from tests.end_to_end.watch import Watch
from tests.servers import eventually

SECONDS = float(os.environ.get("SOAK_SECONDS", "180"))
SEED = int(os.environ.get("SOAK_SEED", str(time.time_ns() % 1_000_000)))

PHONES, TRUNKS = 20, 4
EXPIRES = 6  # s
WAIT = 6.0  # s that both rules wait
SHORT, LONG = (0.5, 2.5), (11.0, 20.0)  # s of outages: well below WAIT, well above
WELL = (8.0, 25.0)  # s between two faults of one subject
RESTARTS = (25.0, 50.0)  # s between two restarts of the daemon
SETTLED = 40.0  # s in which everything is told after the last fault
KINDS = ("firing", "resolved")

CONFIGURATION = """
registrars:
  hq:
    type: sip
    address: "sip:127.0.0.1:{registrar}"
    domain: demo.example.com
    interval: 1s
    extensions: {{file: {file}}}
rules:
  ExtensionUnregistered: {{for: {wait}s, keep_firing_for: 1s}}
  OptionsFailing: {{for: {wait}s}}
  RegistrarUnreadable: {{for: 5s}}
targets:
  pbx: {{uri: "sip:127.0.0.1:{registrar}", role: pbx, {often}}}
"""
OFTEN = "interval: 1s, confirm: 500ms, timeout: 500ms"


class Model:
    """What the on-call must have been told, by subject."""

    def __init__(self) -> None:
        self.outages: Counter[str] = Counter()  # long ones
        self.short: Counter[str] = Counter()

    def outage(self, name: str, *, long: bool) -> None:
        """An outage of this subject is over."""
        (self.outages if long else self.short)[name] += 1

    def told(self) -> dict[tuple[str, str], int]:
        """How often each subject should have been told as what."""
        return {(name, how): n for name, n in self.outages.items() for how in KINDS}


class Soak:
    """The site, the daemon beside it, and those who break things."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.folder, self.random = folder, random
        self.site = Site(PHONES, expires=EXPIRES)
        self.trunks = {f"trunk-{n}": Trunk() for n in range(1, TRUNKS + 1)}
        self.model = Model()
        self.names: dict[str, str] = {}  # of subjects, by the incident's number

    async def start(self) -> None:
        await self.site.start()
        for trunk in self.trunks.values():
            await trunk.open()
        phones = self.folder / "phones.csv"
        rows = [f"{user}@demo.example.com" for user in self.site.phones]
        phones.write_text("\n".join(["extension", *rows, ""]), encoding="utf-8")
        text = CONFIGURATION.format(
            registrar=self.site.registrar.address[1],
            file=phones,
            wait=WAIT,
            often=OFTEN,
        )
        for name, trunk in self.trunks.items():
            uri = f"sip:127.0.0.1:{trunk.address[1]}"
            text += f'  {name}: {{uri: "{uri}", role: trunk, {OFTEN}}}\n'
        self.watch = await Watch(self.folder, text).start()
        self._listen()

    def _listen(self) -> None:
        def opened(one: Any) -> None:
            self.names[str(one.incident.id)] = one.incident.subject.name

        self.watch.daemon.bus.on("opened", opened)

    async def stop(self) -> None:
        await self.watch.stop()
        self.site.close()
        for trunk in self.trunks.values():
            trunk.close()

    # --- faults -----------------------------------------------------------------------

    def _outage(self) -> tuple[bool, float]:
        long = self.random.random() < 0.4
        return long, self.random.uniform(*(LONG if long else SHORT))

    async def trouble(self, until: float) -> None:
        """Break things until then; all are mended when it returns."""
        async with asyncio.TaskGroup() as group:
            for user in self.site.phones:
                group.create_task(self._phone(user, until))
            for name in self.trunks:
                group.create_task(self._trunk(name, until))
            group.create_task(self._restarts(until))

    async def _phone(self, user: str, until: float) -> None:
        while (pause := self.random.uniform(*WELL)) + time.monotonic() < until:
            await asyncio.sleep(pause)
            phone = self.site.phones[user]
            long, lasting = self._outage()
            end = time.monotonic()
            if self.random.random() < 0.3:
                phone.log_out()
            else:
                end = max(bound.ends for bound in self.site.registrar.bound(user))
                phone.die()
            await asyncio.sleep(end + lasting - time.monotonic())
            await self.site.add(user)
            self.model.outage(f"{user}", long=long)

    async def _trunk(self, name: str, until: float) -> None:
        trunk = self.trunks[name]
        while (pause := self.random.uniform(*WELL)) + time.monotonic() < until:
            await asyncio.sleep(pause)
            long, lasting = self._outage()
            if self.random.random() < 0.3:
                trunk.status, trunk.reason = 503, "Service Unavailable"
            else:
                trunk.silent = True
            await asyncio.sleep(lasting)
            trunk.silent, trunk.status, trunk.reason = False, 200, "OK"
            self.model.outage(name, long=long)

    async def _restarts(self, until: float) -> None:
        while (pause := self.random.uniform(*RESTARTS)) + time.monotonic() < until:
            await asyncio.sleep(pause)
            await self.watch.restart()
            self._listen()

    # --- what came of it --------------------------------------------------------------

    def told(self) -> dict[tuple[str, str], int]:
        """How often each subject was told as what; a double of one mail is one."""
        mails: dict[str, EmailMessage] = {m["Message-ID"]: m for m in self.watch.mails}
        told: Counter[tuple[str, str]] = Counter()
        for mail in mails.values():
            for number in mail["X-Sipwatch-Incidents"].split(", "):
                name = self.names[number].partition("@")[0]
                told[name, mail["X-Sipwatch-Change"]] += 1
        return dict(told)

    def settled(self) -> bool:
        alarms = self.watch.daemon.alarms
        judge = self.watch.daemon.judges["hq"]
        all_back = judge.counts() == {State.REGISTERED: PHONES}
        return all_back and not alarms.incidents and not alarms.owed()


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 120)
async def test_every_long_outage_is_told_once_and_no_short_one(tmp_path: Path) -> None:
    print(f"SOAK_SEED={SEED} SOAK_SECONDS={SECONDS:g}")
    soak = Soak(tmp_path, Random(SEED))
    await soak.start()
    try:
        await eventually(soak.settled, 30, "the first pass")
        await soak.trouble(time.monotonic() + SECONDS)
        await eventually(soak.settled, SETTLED, "peace")
    finally:
        await soak.stop()
    model = soak.model
    print(f"{model.outages.total()} long outages, {model.short.total()} short ones")
    assert soak.told() == model.told()
