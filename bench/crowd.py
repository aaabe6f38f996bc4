"""A process that is all around a daemon: an Asterisk with phones, a mail server.

python -m bench.crowd 2000      prints the addresses of its manager interface and of
its mail server, then recipient and subject of every mail; it obeys lines on its input:

    remove    every contact goes, told by an event each, in one burst
    lose      every contact goes without a word: the next list lacks them
    restore   every contact is there again, told by an event each
    silence   no mail is taken, nobody listens
    listen    mails are taken again, at the same address
    switch 9  so many phones refresh no more: their bindings end within an hour, one
              after the other, and nothing tells of it
    leap 60   its clock goes on by so many s; says "leapt" when it has
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from itertools import count, islice

from checks.registrars.ami import AmiParser, Message
from sipwatch.demo.mail import MailCatcher
from tests import wire

RECORDED = "ami/2000_contacts_noqualify.raw.gz"
CONTACTS = "PJSIPShowRegistrationInboundContactStatuses"
ROSTER = "PJSIPShowRegistrationsInbound"
CROWD = 5  # digits of those that were recorded as one crowd
LASTING = 3600  # s that a registration lasts
PIECE = 64  # rows in one write, some 32 kB


def recorded() -> list[Message]:
    """The rows of the recorded list."""
    parser = AmiParser()
    parser.feed(wire.GREETING)
    pieces = wire.answers(wire.read(RECORDED))[CONTACTS]
    messages = parser.feed(b"".join(pieces))
    return [m for m in messages if m.get("Event") == "ContactStatusDetail"]


def phones(number: int) -> Iterator[Message]:
    """So many rows of different AORs: the recorded ones, again and again."""
    rows = recorded()
    for n, row in zip(range(number), (r for _ in count() for r in rows), strict=False):
        aor = f"{row['AOR']}-{n // len(rows)}" if n >= len(rows) else row["AOR"]
        yield row | {"AOR": aor, "EndpointName": aor}


class Crowd(wire.AmiServer):
    """The server, with its phones."""

    def __init__(self, number: int) -> None:
        super().__init__(
            {}, after_login=[wire.message(Event="FullyBooted", Uptime="9")]
        )
        self.phones = {row["AOR"]: row for row in phones(number)}
        self.here = True
        self.ahead = 0.0  # s of its clock before the machine's
        self.ends: dict[str, float] = {}  # of those that refresh no more
        roster = ({"ObjectName": aor, "Contacts": ""} for aor in self.phones)
        self.roster = joined(wire.listing("InboundRegistrationDetail", roster))

    async def _answer(self, writer: asyncio.StreamWriter, request: bytes) -> None:
        now = self.now()
        core = {"CoreStartupDate": "2026-01-01", "CoreStartupTime": "00:00:00"}
        done = {"Response": "Success", "ActionID": "x"}
        self.answers = {
            "Login": [wire.message(**done, Message="Authentication accepted")],
            "Ping": [wire.message(**done, Ping="Pong", Timestamp=f"{now:.6f}")],
            "CoreStatus": [wire.message(**done, **core)],
            ROSTER: self.roster,
        }
        if wire.header(request, "Action") == CONTACTS:
            self.answers[CONTACTS] = joined(self.rows(now))
        await super()._answer(writer, request)

    def now(self) -> float:
        """Its clock, UTC s."""
        return time.time() + self.ahead

    def rows(self, now: float) -> list[bytes]:
        """The list of contacts as it stands."""
        drop = ("Event", "ActionID")
        return wire.listing(
            "ContactStatusDetail",
            (
                {k: v for k, v in row.items() if k not in drop} | {"RegExpire": end}
                for row, end in self._standing(now)
            ),
        )

    def _standing(self, now: float) -> Iterator[tuple[Message, str]]:
        refreshed = now + LASTING
        for aor, row in self.phones.items() if self.here else ():
            if (end := self.ends.get(aor, refreshed)) > now:
                yield row, str(int(end))

    async def tell(self, word: str) -> None:
        """Say of every phone that its contact came or went."""
        stamp = f"{self.now():.6f}"
        events = [
            wire.message(
                Event="ContactStatus",
                Timestamp=stamp,
                URI=row["URI"],
                ContactStatus=word,
                AOR=aor,
                EndpointName=aor,
            )
            for aor, row in self.phones.items()
        ]
        await self.push(*joined(events))

    async def obey(self, command: str) -> None:
        """Carry out one line of the input that is about phones."""
        word, _, number = command.partition(" ")
        if word == "leap":
            self.ahead += float(number)
            print("leapt", flush=True)
        elif word == "switch":
            self.die_out(int(number))
        else:
            self.here = command == "restore"
            self.ends.clear()
            if command != "lose":
                await self.tell("NonQualified" if self.here else "Removed")

    def die_out(self, number: int) -> None:
        """Let the bindings of so many of the crowd end, evenly over the next hour."""
        now = int(self.now())
        crowd = (aor for aor in self.phones if len(aor) == CROWD)
        for n, aor in enumerate(islice(crowd, number), 1):
            self.ends[aor] = now + LASTING * n / number


def joined(pieces: list[bytes]) -> list[bytes]:
    """The same bytes in larger pieces; the ActionID of each message is kept."""
    return [b"".join(pieces[n : n + PIECE]) for n in range(0, len(pieces), PIECE)]


async def serve(number: int) -> None:
    """Serve until the input ends."""
    catcher = MailCatcher(
        lambda mail: print(f"{mail['To']} {mail['Subject']}", flush=True)
    )
    await catcher.start()
    async with Crowd(number) as crowd:
        print(crowd.address, *catcher.address, flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "silence":
                await catcher.close()
            elif line == "listen":
                await catcher.start(*catcher.address)
            else:
                await crowd.obey(line)
    await catcher.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
