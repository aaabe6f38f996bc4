"""20,000 contacts that a judge wants asked, beside 20,000 targets in the same seconds.

Both are asked once in ten seconds, as 120,000 would be once a minute, each by a check
in a process of its own. A contact must cost what a target costs, and contacts come and
go: a tenth of them is replaced meanwhile.

python -m bench.contacts
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from bench.machine import bound, loopback
from bench.responder import Responder
from checks.observation import Kind, Scope, Subject
from checks.options.asks import Inquiry
from checks.options.check import OptionsCheck
from checks.options.targets import ProbeSettings, Target, TargetFileSettings
from checks.registrations.readings import Ask

MANY = 20_000
INTERVAL = 10.0  # s
SETTLED = 12.0  # s until each has been asked once, and answered
MEASURED = 20.0  # s
SLICE = 500  # contacts that come in one turn, as they do in the daemon
SECOND = 20  # slices that move while it is measured: a tenth of all contacts


class NoNames:
    """Nobody is looked up: all are addresses."""

    async def resolve(self, uri: object) -> object:
        raise AssertionError(f"{uri} was looked up")


def main() -> int:
    """Measure; 1 where the bound is missed."""
    with Responder() as one, Responder() as other:
        command = [sys.executable, "-m", "bench.contacts"]
        running = [
            subprocess.Popen(
                [*command, kind, str(port)], stdout=subprocess.PIPE, text=True
            )
            for kind, port in (("targets", one.port), ("contacts", other.port))
        ]
        targets, contacts = (float(p.communicate()[0]) for p in running)
    print(f"  {1e6 * contacts:.1f} us a contact; {1e6 * targets:.1f} us a target")
    return 0 if bound("CPU a contact, a target = 1", contacts / targets, 1.25) else 1


async def child(kind: str, port: int) -> float:
    """CPU seconds of one question."""
    loop = asyncio.get_running_loop()
    offset = time.time() - loop.time()
    places = [place.removeprefix("sip:") for place in loopback(MANY, port)]
    settings = TargetFileSettings(file="", interval=INTERVAL)
    scope = Scope("bench", "phone")
    targets = [
        Target(Subject(Kind.TARGET, place, scope), place, settings) for place in places
    ]
    check = OptionsCheck(
        targets if kind == "targets" else (),
        lambda o: None,
        clock=lambda: loop.time() + offset,
        resolver=NoNames(),  # type: ignore[arg-type]
    )
    running = asyncio.create_task(check.run())
    await asyncio.sleep(0)
    probe = ProbeSettings(interval=INTERVAL)
    inquiry = check.inquiry("bench", probe, lambda *answer: None)
    if kind == "contacts":
        for at in range(0, MANY, SLICE):
            inquiry.update(contacts(places[at : at + SLICE]))
            await asyncio.sleep(0.01)
    await asyncio.sleep(SETTLED)
    used = await measured(check, inquiry, places if kind == "contacts" else [])
    running.cancel()
    await asyncio.wait([running])
    return used


async def measured(check: OptionsCheck, inquiry: Inquiry, places: list[str]) -> float:
    """CPU seconds of one question, while a tenth of the contacts moves."""
    sends, began = check.sweep.sends, time.process_time()
    few = len(places) // 10 // SECOND
    for turn in range(SECOND):
        moving = places[turn * few : (turn + 1) * few]
        if moving:
            gone = dict.fromkeys(contacts(moving))
            inquiry.update({**gone, **contacts(moving, ";2")})
        await asyncio.sleep(MEASURED / SECOND)
    return (time.process_time() - began) / (check.sweep.sends - sends)


def contacts(places: list[str], tail: str = "") -> dict[str, Ask | None]:
    """What a judge would ask."""
    asks = [Ask(f"contact/{p}{tail}", f"sip:1@{p}{tail}", p) for p in places]
    return {ask.name: ask for ask in asks}


if __name__ == "__main__":
    if sys.argv[1:]:
        print(asyncio.run(child(sys.argv[1], int(sys.argv[2]))))
    else:
        sys.exit(main())
