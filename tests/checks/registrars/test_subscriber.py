"""When a subscriber is to be asked again: its owner sleeps until then."""

from __future__ import annotations

import asyncio
from typing import Any

from checks.observation import Cause
from checks.register import Query
from checks.registrars.subscriber import LOOK, NO_WAY, Subscriber
from checks.sip.errors import SipError
from checks.sip.resolver import Address
from checks.sip.uri import SipUri

PLACE = Address("10.0.0.6", 5060, "tcp")
NOW = 1000.0


class Way:
    """A client that says where it can be reached, and never gets an answer."""

    def __init__(self, refused: bool = False) -> None:
        self.refused = refused
        self.opened = self.asked = 0

    async def contact(self, *_: object, **__: object) -> SipUri:
        self.opened += 1
        if self.refused:
            raise SipError(Cause.CONNECTION_REFUSED, "connection refused")
        return SipUri.parse("sip:sipwatch@10.0.0.9:40000")

    async def request(self, *_: object, **__: object) -> Any:
        self.asked += 1
        await asyncio.Event().wait()


async def subscriber(clock: list[float]) -> Subscriber:
    registrar = SipUri("example.com")
    made = Subscriber(
        Query(registrar, "example.com", "sipwatch", 5.0),
        lambda: clock[0],
        stirred=asyncio.Event(),
        name=str,
    )
    made.watch([str(n) for n in range(100)])
    return made


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_while_one_is_asked_the_others_that_are_due_can_wait() -> None:
    clock, way = [NOW], Way()
    events = await subscriber(clock)
    assert events.next_due() <= NOW
    events.keep(way, PLACE)  # type: ignore[arg-type]
    await turns()
    assert way.asked == 1
    assert events.next_due() == NOW + LOOK
    await events.close()


async def test_where_no_way_opens_none_is_tried_without_a_pause() -> None:
    clock, way = [NOW], Way(refused=True)
    events = await subscriber(clock)
    for _ in range(10):
        events.keep(way, PLACE)  # type: ignore[arg-type]
        await turns()
    assert way.opened == 1
    assert events.next_due() == NOW + NO_WAY
    clock[0] = NOW + NO_WAY
    way.refused = False
    events.keep(way, PLACE)  # type: ignore[arg-type]
    await turns()
    assert (way.opened, way.asked) == (2, 1)
    await events.close()
