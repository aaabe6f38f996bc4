"""The dead-man's switch, against a web server that keeps what it gets."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from aiohttp import web

from alerting.store.database import StoreError
from checks.observation import Observation, State
from checks.settings import Secret
from sipwatch.clock import Clock
from sipwatch.config.alive import HeartbeatSettings
from sipwatch.itself.heartbeat import Heartbeat
from tests.alerting.receiving import receiving, speaking
from tests.servers import eventually

START = 1_790_000_000.0


@dataclass
class Beating:
    """A heartbeat whose chain breaks on command."""

    settings: HeartbeatSettings | None
    why: str = ""
    stores: Exception | None = None
    hangs: bool = False
    observed: list[Observation] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = START - 3600  # it runs for an hour
        clock = Clock(lambda: self.now, lambda: self.now)
        clock.offset = 0.0
        self.heartbeat = Heartbeat(
            self.settings,
            clock,
            broken=lambda now, owed: self.why,
            store=self.store,
            observe=self.observed.append,
        )
        self.now = START

    async def store(self, json: str) -> None:
        if self.stores is not None:
            raise self.stores
        self.stored.append(json)

    async def beat(self, times: int = 1) -> None:
        assert self.settings is not None
        for _ in range(times):
            await self.heartbeat.beat(self.settings)

    @property
    def states(self) -> list[State]:
        return [o.state for o in self.observed]


def settings(url: str, **more: Any) -> HeartbeatSettings:
    return HeartbeatSettings(url=Secret(url), **more)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_it_asks_the_url_while_all_is_well(method: Any) -> None:
    async with receiving() as receiver:
        one = Beating(settings(f"{receiver.url}/ping/1", method=method))
        await one.beat(2)
    assert [(g.path, g.body) for g in receiver.got] == [("/ping/1", b"")] * 2
    assert one.states == [State.OK]
    assert one.stored == ['{"at": "2026-09-21T14:13:20+00:00"}'] * 2
    assert one.heartbeat.succeeded_at == START
    assert one.heartbeat.beats == {"accepted": 2, "failed": 0, "held": 0}


async def test_it_stops_while_it_is_not_and_says_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with receiving() as receiver:
        one = Beating(settings(receiver.url), why="no notifier works")
        await one.beat(3)
        assert receiver.got == []
        assert one.heartbeat.why == "no notifier works"
        one.why = ""
        with caplog.at_level("INFO"):
            await one.beat()
    assert len(receiver.got) == 1
    assert one.heartbeat.why == ""
    assert [r.message for r in caplog.records] == [
        "heartbeat: no beats, so that others alarm: no notifier works",
        "heartbeat: all is well again, it beats on",
    ]
    assert one.heartbeat.beats["held"] == 3


async def test_a_start_is_no_reason_to_alarm_unless_it_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with receiving() as receiver:
        fail = Secret(f"{receiver.url}/fail")
        one = Beating(settings(receiver.url, fail_url=fail), why="the first pass")
        one.now = START - 3600 + 299
        await one.beat()
        assert (receiver.got, caplog.records) == ([], [])
        assert one.heartbeat.why == "the first pass"
        one.now += 2
        await one.beat()
    assert [g.path for g in receiver.got] == ["/fail"]
    assert len(caplog.records) == 1


async def test_a_fail_url_is_told_the_reason_once_even_if_it_fails_at_first() -> None:
    async with receiving(web.Response(status=503)) as receiver:
        fail = Secret(f"{receiver.url}/ping/1/fail")
        one = Beating(settings(f"{receiver.url}/ping/1", fail_url=fail), why="broken")
        await one.beat(3)
        one.why = ""
        await one.beat()
        one.why = "broken again"
        await one.beat(2)
    assert [(g.path, g.body) for g in receiver.got] == [
        ("/ping/1/fail", b"broken"),
        ("/ping/1/fail", b"broken"),
        ("/ping/1", b""),
        ("/ping/1/fail", b"broken again"),
    ]


@pytest.mark.parametrize(
    "error", [StoreError("full"), OSError("full"), TimeoutError()], ids=repr
)
async def test_a_disk_that_takes_nothing_stops_it(error: Exception) -> None:
    async with receiving() as receiver:
        one = Beating(settings(receiver.url), stores=error)
        await one.beat()
    assert receiver.got == []
    assert one.heartbeat.why == "the database cannot be written"


async def test_a_url_that_is_not_reached_is_told_after_three_times_and_when_it_is() -> (
    None
):
    bad = [web.Response(status=404, text="no such check") for _ in range(4)]
    async with receiving(*bad) as receiver:
        one = Beating(settings(f"{receiver.url}/ping/s3cret"))
        await one.beat(2)
        assert one.observed == []
        await one.beat(2)
        assert one.states == [State.FAILING]
        assert "404" in one.observed[0].detail
        assert "s3cret" not in one.observed[0].detail
        assert one.heartbeat.error != ""
        await one.beat()
    assert one.states == [State.FAILING, State.OK]
    assert (one.heartbeat.error, one.heartbeat.why) == ("", "")


async def test_no_redirect_leads_it_elsewhere() -> None:
    elsewhere = {"Location": "http://localhost:1/"}
    async with receiving(web.Response(status=307, headers=elsewhere)) as receiver:
        one = Beating(settings(receiver.url))
        await one.beat()
    assert "redirects to localhost" in one.heartbeat.error


async def test_an_endless_answer_is_not_read() -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with speaking(endless) as url:
        one = Beating(settings(url))
        await one.beat()
    assert one.heartbeat.beats["accepted"] == 1


async def test_silence_ends_in_time() -> None:
    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with speaking(silent) as url:
        one = Beating(settings(url, timeout=0.1))
        await one.beat()
    assert "no answer within 0.1 s" in one.heartbeat.error


async def test_a_certificate_that_nobody_trusts_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with receiving(ssl=context) as receiver:
        one = Beating(settings(receiver.url))
        await one.beat()
    assert receiver.got == []
    assert "certificate" in one.heartbeat.error


async def test_it_runs_by_itself_and_goes_on_with_other_settings_at_once() -> None:
    async with receiving() as receiver:
        one = Beating(None)
        task = asyncio.create_task(one.heartbeat.run())
        await asyncio.sleep(0)
        one.heartbeat.replace(settings(f"{receiver.url}/a"))
        await eventually(lambda: len(receiver.got) == 1)
        one.heartbeat.replace(settings(f"{receiver.url}/b", interval=600.0))
        await eventually(lambda: len(receiver.got) == 2)
        one.heartbeat.replace(None)
        task.cancel()
    assert [g.path for g in receiver.got] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"interval": 5.0}, "interval: must be 10s or more"),
        ({"timeout": 60.0}, "timeout: must be shorter than interval"),
        ({"owed": 0.0}, "owed: must be longer than 0s"),
        ({"fail_url": Secret("x")}, "fail_url: is not an http or https URL"),
    ],
)
def test_wrong_settings_are_refused(more: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings("https://hc.example.com/1", **more)
