"""What the tests of an OpenSIPS have in common."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from checks.observation import Binding, Kind, Scope, State, Subject
from checks.registrars.opensips import OpenSips, OpenSipsSettings
from checks.registrations.judge import Judge, Listed
from checks.registrations.readings import (
    Bindings,
    ListEnd,
    Outbound,
    Outbounds,
    Reading,
    Unreadable,
)
from tests.wires import opensips as wire

RECORDED = {"3.6.8": 1795168183.25, "4.0.1": 1795167348.25}  # the clock, a bit late


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def watched(
    server: wire.OpenSips,
    clock: Callable[[], float] = time.time,
    aors: Callable[[], list[str]] = list,
    **settings: Any,
) -> OpenSips:
    keys = {"timeout": 5.0, **settings}
    made = OpenSipsSettings(**keys)
    return OpenSips(made, server.address, clock=clock, aors=aors)


async def until_end(readings: AsyncIterator[Reading], ends: int = 1) -> list[Reading]:
    """What is read until so many lists have ended."""
    read: list[Reading] = []
    async for reading in readings:
        read.append(reading)
        ends -= isinstance(reading, ListEnd)
        if not ends:
            break
    return read


async def failure(registrar: OpenSips) -> Unreadable:
    try:
        read = [reading async for reading in registrar.watch()]
    except Unreadable as failed:
        return failed
    raise AssertionError(read)


def rows(read: list[Reading]) -> list[Binding]:
    return [row for r in read if isinstance(r, Bindings) for row in r.rows]


def kept(read: list[Reading]) -> dict[str, Outbound]:
    """The registrations elsewhere, of the last list."""
    lists = [r.rows for r in read if isinstance(r, Outbounds)]
    return {row.name: row for row in lists[-1]} if lists else {}


class Judged:
    """A judge that takes what is read."""

    def __init__(self, now: float, *listed: str, **settings: Any) -> None:
        made = OpenSipsSettings(address="pbx", **settings)
        subject = Subject(Kind.REGISTRAR, "hq", Scope("hq"))
        names = [Listed(name) for name in listed]
        self.judge = Judge("hq", made, subject, now, listed=names)

    def take(self, read: list[Reading], now: float) -> None:
        for reading in read:
            self.judge.apply("pbx", reading, now)
        while (due := self.judge.next_deadline()) is not None and due <= now:
            self.judge.advance(now)
            if due:
                break

    def states(self) -> dict[str, State | None]:
        return {aor: e.state for aor, e in self.judge.extensions.items()}

    def registrations(self) -> dict[str, State | None]:
        found = self.judge.outgoing.registrations
        return {name: one.state for name, one in found.items()}
