"""Is an outage of thousands one notification, in time, whatever else is down?

The real daemon is in this process; Asterisk and the mail server are in another, as in
`bench.mass`. Three storms:

    crowd     all are lost within a second; two routes are told, each once
    outage    the same while no mail is taken; an hour later one is
    switch    45 phones of a branch refresh no more: their bindings of an hour end one
              after the other

Memory is compared with that of the same daemon while all of its phones are well, have
their names and have refreshed a few times, as after its first hour.

An hour is gone through in steps of seconds, after each of which all that was due has
been done. The loop's stalls are CPU time of its thread, as in `bench.mass`.

python -m bench.storm           10,000 phones; another number is told for information
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from bench.machine import anonymous, bound
from bench.mass import Mass
from bench.stalls import MeteredLoop
from checks.observation import State
from checks.registrars.asterisk import Asterisk
from sipwatch.clock import Clock
from sipwatch.itself.selfwatch import BEAT
from sipwatch.log import Plain

HELD = 10_000  # phones for which the bounds hold
STALL = 0.050  # s of CPU for which the loop may not look at its sockets
GROWTH = 0.10  # of the memory of a daemon whose phones are all well
SAMPLED = 0.2  # s between two looks at it
SLACK = 2.0  # s by which a mail may come later than `for` and the group's wait
FOR, WAIT = 30.0, 2.0
HOUR, STEP = 3600.0, 4.0  # s; a step is less than any patience
INTERVAL = 30.0  # s between two lists
NAMED = 400  # phones in one s whose names are asked for after the first list, at least
REFRESHED = 3  # times, by everybody: then it is known when they use to
BRANCH = 45  # phones behind the switch
SINGLES = 10  # of them: told before they were many, or not yet missing
SWITCH_MOST = 6  # mails: of those, one each 5 min, and of the many
OUTAGE_MOST = 5  # loss and return, and of a notifier that failed: first, last, end
WITHIN = 300.0  # s of the machine's clock for one step
A_MAIL = 0.02  # s that the mail server has before the clock goes on
ROUTES = (ONCALL, NOC) = ("oncall@example.com", "noc@example.com")
RULE = "MassUnregistration"
MASS = "[critical] "  # what its subjects begin with: all else here is a warning
OVER = "extensions of hq registered again"
CONFIGURATION = """
registrars:
  hq: {{type: asterisk, address: "{ami}", username: u, password: p, interval: 30s,
       expiry: {{max: 24h}}}}
sites:
  branch: {{extensions: ["2000?", "2001?", "2002?", "2003?", "20040", "20041", "20042",
            "20043", "20044"]}}
rules:
  ExtensionUnregistered: {{for: 2m, keep_firing_for: 1s}}
  MassUnregistration: {{for: 30s, keep_firing_for: 1s}}
notifiers:
  oncall:
    type: email
    to: [oncall@example.com]
    from: sipwatch@example.com
    smtp: {{host: {host}, port: {port}, tls: none}}
  noc:
    type: email
    to: [noc@example.com]
    from: sipwatch@example.com
    smtp: {{host: {host}, port: {port}, tls: none}}
routes:
  - {{match: {{severity: [critical]}}, notify: [oncall]}}
  - {{notify: [noc]}}
group: {{wait: 2s, interval: 5m}}
web: {{listen: "127.0.0.1:0", socket: "{folder}/api.sock"}}
database: "{folder}/sipwatch.db"
instance: bench.example.com
"""


class Leaping(Clock):
    """The machine's clock, and some hours more."""

    def __init__(self) -> None:
        self.ahead = 0.0
        super().__init__(
            lambda: time.monotonic() + self.ahead, lambda: time.time() + self.ahead
        )


class Storm(Mass):
    """One daemon in the middle of it."""

    configuration = CONFIGURATION

    def __init__(self, number: int, folder: Path, loop: MeteredLoop) -> None:
        super().__init__(number, folder, loop)
        self.clock: Leaping = Leaping()
        self.came: list[float] = []  # when the mails did, by the loop's clock
        self._leapt = asyncio.Event()

    def hear(self, line: str) -> None:
        """A mail, or that the PBX's clock has gone on."""
        if line == "leapt":
            self._leapt.set()
        else:
            self.came.append(self.loop.time())
            super().hear(line)

    def all_are(self, state: State) -> bool:
        """Whether all phones are seen so."""
        return self.count(state) == self.number

    def quiet_after(self, mails: int) -> bool:
        """Whether so many mails came, and nothing is owed to anybody."""
        return len(self.mails) >= mails and not self.daemon.alarms.owed()

    def mails_by_route(self, word: str = "") -> Counter[str]:
        """How many mails with such a subject each recipient has."""
        several = (mail.split(" ", 1) for mail in self.mails)
        return Counter(to for to, subject in several if word in subject)

    async def pass_over(self, storm: Callable[[Storm], Awaitable[bool]]) -> bool:
        """From the start to the end; whether the storm was told as it should be."""
        await self.start()
        await asyncio.sleep(0)  # the start is over, its turn of the loop is not counted
        await self.step("first list", lambda: self.all_are(State.REGISTERED))
        await asyncio.sleep(self.number / NAMED)
        for _ in range(REFRESHED):
            await self.leap(INTERVAL + STEP)
        await asyncio.sleep(2 * BEAT)  # what was read is out of the collector's sight
        gc.collect()
        self.before = self.most = anonymous()
        sampling = asyncio.create_task(self._watch_memory())
        held = await storm(self)
        sampling.cancel()
        gc.collect()
        self.after = anonymous()
        await self.stop()
        return held

    async def _watch_memory(self) -> None:
        while True:
            self.most = max(self.most, anonymous())
            await asyncio.sleep(SAMPLED)

    async def returns(self) -> None:
        """All are back, and that is told."""
        mails = len(self.mails)
        await self.step("back", lambda: self.all_are(State.REGISTERED), "restore")
        await self.until_quiet(mails + len(ROUTES))

    def told_over(self) -> bool:
        """Whether the end was told to each route, once."""
        return once("mails of the return to a route", self.mails_by_route(OVER))

    async def until_quiet(self, mails: int) -> None:
        """Let time pass until so many mails came, and nothing is owed."""
        async with asyncio.timeout(WITHIN):
            while not self.quiet_after(mails):
                await self.leap(STEP)
                await asyncio.sleep(A_MAIL)

    async def an_hour(self) -> None:
        """Let it pass, with all that is done in it."""
        self.loop.forget()
        for _ in range(int(HOUR / STEP)):
            await self.leap(STEP)
        print(f"  {self.number:7,d}  {'an hour':34s} {self.loop.worst}", flush=True)
        self.stalls.setdefault("an hour", []).append(self.loop.worst.cpu)

    async def leap(self, seconds: float) -> None:
        """Let some seconds pass, here and at the PBX.

        Not while a list is read: it would seem to have taken so long, and the next one
        to be wished for after ten times that.
        """
        await self.catch_up()
        self._leapt.clear()
        self.tell(f"leap {seconds}")
        await self._leapt.wait()
        self.clock.ahead += seconds
        self.daemon.flow.flush()
        self.daemon.couriers.wake()
        for following in self.daemon.followings.values():
            following.options_answer(ok=True)  # it looks at the clock anew
        for registrar in self.registrars():
            if registrar._pace.due() <= self.clock.now():
                registrar.relist()  # whose timer is the machine's
        await self.catch_up()

    async def catch_up(self) -> None:
        """Let all be done that should have been by now."""
        async with asyncio.timeout(WITHIN):
            while self.due():  # noqa: ASYNC110 - asked seldom
                await asyncio.sleep(0.005)

    def registrars(self) -> Iterator[Asterisk]:
        """What reads the PBX."""
        for following in self.daemon.followings.values():
            yield from following._registrars.values()  # type: ignore[misc]

    def due(self) -> bool:
        """Whether something should have been done by now, or is being done."""
        now = self.clock.now()
        deadline = self.daemon.alarms.next_deadline()
        return (
            self.daemon.flow.waiting_since() is not None
            or (deadline is not None and deadline <= now)
            or any(r._pace.reading or r._pace.due() <= now for r in self.registrars())
        )


async def crowd(storm: Storm) -> bool:
    """All are lost, and told in time; all are back."""
    await storm.step("lost", lambda: storm.all_are(State.UNREGISTERED), "remove")
    known = storm.loop.time()
    await storm.step("told", lambda: storm.quiet_after(len(ROUTES)))
    late = max(storm.came) - known - FOR - WAIT
    held = bound("mail after for + wait, since all were known", late, SLACK, " s")
    fired = storm.mails_by_route()
    await storm.returns()
    return held & once("mails of the loss to a route", fired) & storm.told_over()


async def outage(storm: Storm) -> bool:
    """The same while no mail is taken, for an hour."""
    storm.tell("silence")
    await storm.step("lost", lambda: storm.all_are(State.UNREGISTERED), "remove")
    await storm.an_hour()
    held = bound("mails while none is taken", len(storm.mails), 0)
    storm.tell("listen")
    await storm.until_quiet(len(ROUTES))
    fired = storm.mails_by_route(MASS)
    await storm.returns()
    most = max(storm.mails_by_route().values())
    held &= bound("mails to a route, of that it failed too", most, OUTAGE_MOST)
    return held & once("mails of the loss to a route", fired) & storm.told_over()


async def switch(storm: Storm) -> bool:
    """The bindings of a branch end one after the other, for an hour."""
    storm.tell(f"switch {BRANCH}")
    await storm.an_hour()
    await storm.leap(STEP)
    fired = storm.mails_by_route()
    alarms = storm.daemon.alarms.incidents
    grown = [i.crowd.missing for i in alarms if i.rule == RULE and i.crowd]
    held = bound("incidents of them together", len(grown), 1)
    held &= bound("of them not in it", BRANCH - sum(grown), SINGLES)
    held &= bound("mails to who takes warnings", fired[NOC], SWITCH_MOST)
    return held & once("mails of the many to a route", storm.mails_by_route(MASS))


def once(what: str, mails: Counter[str]) -> bool:
    """Whether each route got one."""
    most = max(mails.values(), default=0)
    return bound(what, most, 1) & bound("routes not told", len(ROUTES) - len(mails), 0)


STORMS = {"crowd": crowd, "outage": outage, "switch": switch}


def measure(name: str, number: int) -> bool:
    """One storm over so many phones; whether all bounds held."""
    print(f"  {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with asyncio.Runner(loop_factory=MeteredLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, MeteredLoop)
            storm = Storm(number, Path(folder), loop)
            held = runner.run(storm.pass_over(STORMS[name]))
    gc.unfreeze()
    for mail in storm.mails:
        print(f"{'':12}{mail}")
    worst = max(stall for step in storm.stalls.values() for stall in step)
    held &= bound("longest stall of the loop", 1000 * worst, 1000 * STALL, " ms")
    for when, megabytes in (("at most", storm.most), ("in the end", storm.after)):
        growth = 100 * (megabytes / storm.before - 1)
        what = f"memory {when}, {storm.before:.1f} MB and more"
        held &= bound(what, growth, 100 * GROWTH, " %")
    return held


def main(words: list[str]) -> int:
    """Measure; 1 where HELD phones or fewer are more than the bounds allow."""
    log = logging.StreamHandler(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    log.setFormatter(Plain())  # its lines are worded, as they are in the daemon
    logging.basicConfig(level=logging.INFO, handlers=[log])
    number = next((int(word) for word in words if word.isdigit()), HELD)
    names = [word for word in words if word in STORMS] or list(STORMS)
    if len(names) == 1:
        held = [measure(names[0], number)]
    else:  # each in a process of its own, which no other has left larger than it was
        command = [sys.executable, "-m", "bench.storm", str(number)]
        held = [
            not subprocess.run([*command, n], check=False).returncode for n in names
        ]
    return 0 if all(held) or number > HELD else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
