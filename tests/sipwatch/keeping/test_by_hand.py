"""The exchange with what somebody tests by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from checks.observation import Kind, Scope, Subject
from checks.sip.trace import Exchanged
from sipwatch.keeping import by_hand, own
from sipwatch.keeping.by_hand import KEPT, TEXT, WAITING, ByHand
from tests.servers import eventually
from tests.sipwatch.watching import START, Watching

ASKED = b'OPTIONS sip:b SIP/2.0\r\nAuthorization: Digest response="5ecret"\r\n\r\n'


def target(name: str, kind: Kind = Kind.TARGET) -> Subject:
    return Subject(kind, name, Scope("targets"))


class Asked:
    """What is asked, and what comes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.messages: tuple[bytes, ...] = (ASKED,)
        self.answers = asyncio.Event()
        self.answers.set()
        monkeypatch.setattr(own, "exchange", self.exchange)
        daemon: Any = Watching()
        self.by_hand = ByHand(daemon)

    async def exchange(self, daemon: Any, subject: Subject) -> tuple[Exchanged, ...]:
        self.asked.append(subject.name)
        await self.answers.wait()
        ends = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
        return tuple(Exchanged(1.0, True, "udp", *ends, m) for m in self.messages)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    site = Asked(monkeypatch)
    running = asyncio.create_task(site.by_hand.run())
    yield site
    running.cancel()


async def test_the_last_exchange_is_kept_without_its_secrets(site: Asked) -> None:
    assert site.by_hand.of(target("a")) is None
    site.by_hand.want(target("a"))
    await site.by_hand.ended(target("a"))
    found = site.by_hand.of(target("a"))
    assert found is not None
    assert (found.at, found.messages) == (START, 1)
    assert found.text.startswith("      0.0 ms  192.0.2.1:5060 -> 192.0.2.2:5060 udp\n")
    assert "5ecret" not in found.text


async def test_who_does_not_speak_sip_is_not_asked(site: Asked) -> None:
    site.by_hand.want(target("hq", Kind.REGISTRAR))
    site.by_hand.want(target("b"))
    await site.by_hand.ended(target("b"))
    assert site.asked == ["b"]


async def test_where_nothing_was_said_the_one_before_stays(site: Asked) -> None:
    site.by_hand.want(target("a"))
    await site.by_hand.ended(target("a"))
    before, site.messages = site.by_hand.of(target("a")), ()
    site.by_hand.want(target("a"))
    await site.by_hand.ended(target("a"))
    assert site.asked == ["a", "a"]
    assert site.by_hand.of(target("a")) is before


async def test_who_is_asked_already_is_not_waited_for_without_end(
    site: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_hand, "PROMPT", 0.05)
    site.answers.clear()
    for n in range(WAITING + 5):
        site.by_hand.want(target(f"t{n}"))
        site.by_hand.want(target(f"t{n}"))
    await site.by_hand.ended(target("t0"))
    assert site.by_hand.of(target("t0")) is None
    site.answers.set()
    await eventually(lambda: len(site.asked) == WAITING, 10, "all of them")
    assert site.asked == [f"t{n}" for n in range(WAITING)]


async def test_as_many_are_kept_and_of_each_so_much(site: Asked) -> None:
    site.messages = (b"OPTIONS sip:b SIP/2.0\r\n\r\n" + b"abcdefg\r\n" * 800,) * 20
    for n in range(KEPT + 1):
        site.by_hand.want(target(f"t{n}"))
        await site.by_hand.ended(target(f"t{n}"))
    assert site.by_hand.of(target("t0")) is None
    found = site.by_hand.of(target(f"t{KEPT}"))
    assert found is not None
    assert (len(found.text), found.messages) == (TEXT, 20)
