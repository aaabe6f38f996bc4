"""Whom Asterisk is asked to qualify when, and what its silence afterwards means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from checks.registrars.ami import Message
from checks.registrars.pjsip import binding
from checks.registrars.qualify import AT_ONCE, PAUSE, Qualifying
from checks.registrations.readings import ProbeKeys, Reach

KEYS = ProbeKeys(interval=60.0, timeout=5.0, confirm=15.0)
URI = "sip:1001@192.168.7.7:5060;transport=tcp"


class Manager:
    """An AMI that takes actions and says what it is told to."""

    def __init__(self, message: str = "Endpoint found, will qualify") -> None:
        self.asked: list[str] = []
        self.message = message

    async def ask_each(
        self, name: str, several: Sequence[dict[str, str]]
    ) -> list[Message]:
        assert name == "PJSIPQualify"
        assert len(several) <= AT_ONCE
        self.asked += [values["Endpoint"] for values in several]
        return [{"Response": "Any", "Message": self.message} for _ in several]


class Time:
    """One Asterisk in time; `asked` tells when which endpoint was asked for."""

    def __init__(self, *, on: bool = True, manager: Manager | None = None) -> None:
        self.qualifying = Qualifying(KEYS, on=on, where="pbx")
        self.manager: Any = manager or Manager()
        self.now = 0.0
        self.asked: list[tuple[float, str]] = []
        self.told: list[tuple[float, Reach]] = []

    def list(self, *rows: Message) -> None:
        for row in rows:
            self.qualifying.listed(row, binding(row))
        self.qualifying.list_ended(self.now)

    def event(self, status: str, aor: str = "1001") -> None:
        event = {"AOR": aor, "URI": URI, "EndpointName": aor, "ContactStatus": status}
        self.qualifying.event(event, self.now)

    async def until(self, end: float) -> None:
        while (due := self.qualifying.due()) <= end:
            self.now = max(self.now, due)
            async for reading in self.qualifying.run(self.manager, self.now):
                self.told.append((self.now, reading))
            self.asked += [(self.now, one) for one in self.manager.asked]
            self.manager.asked.clear()
        self.now = end


def row(aor: str, frequency: int = 3600, timeout: str = "2.000000") -> Message:
    return {
        "AOR": aor,
        "URI": URI,
        "EndpointName": aor,
        "Status": "Reachable",
        "QualifyFrequency": str(frequency),
        "QualifyTimeout": timeout,
    }


async def test_who_is_asked_too_seldom_is_asked_once_an_interval() -> None:
    t = Time()
    t.list(row("1001"))
    await t.until(200)
    assert t.asked == [(0, "1001"), (60, "1001"), (120, "1001"), (180, "1001")]
    assert t.told == []


@pytest.mark.parametrize(
    "frequency",
    [0, 30, 60],
    ids=["its answers are thrown away", "it is asked often enough", "as often as we"],
)
async def test_others_are_not_asked_for(frequency: int) -> None:
    t = Time()
    t.list(row("1001", frequency))
    await t.until(200)
    assert t.asked == []


async def test_nobody_is_asked_for_unless_it_is_configured() -> None:
    t = Time(on=False)
    t.list(row("1001"))
    t.event("Unreachable")
    await t.until(200)
    assert (t.asked, t.told) == ([], [])


async def test_many_are_spread_over_the_interval_with_few_at_a_time() -> None:
    t = Time()
    many = [str(n) for n in range(5000)]
    t.list(*(row(aor) for aor in many))
    await t.until(121)
    counts = Counter(endpoint for _, endpoint in t.asked)
    assert set(counts) == set(many)
    assert set(counts.values()) <= {2, 3}
    at_once = Counter(now for now, _ in t.asked)
    assert max(at_once.values()) <= AT_ONCE
    moments = sorted(at_once)
    assert min(b - a for a, b in pairwise(moments)) >= PAUSE - 1e-6


async def test_who_leaves_is_asked_for_no_more_and_who_comes_is() -> None:
    t = Time()
    t.list(row("1001"), row("1002"))
    await t.until(50)
    t.list(row("1002"), row("1003"))
    t.asked.clear()
    await t.until(115)
    assert {endpoint for _, endpoint in t.asked} == {"1002", "1003"}
    t.list(row("1001"), row("1002"), row("1003"))
    t.asked.clear()
    await t.until(176)
    assert Counter(endpoint for _, endpoint in t.asked) == {
        "1001": 2,
        "1002": 1,
        "1003": 1,
    }


async def test_one_that_stays_silent_when_asked_once_more_has_failed_twice() -> None:
    t = Time()
    t.list(row("1001"))
    await t.until(2)
    t.event("Unreachable")
    t.asked.clear()
    await t.until(40)
    assert t.asked == [(17, "1001")]  # after `confirm`
    # Answered until 2 s after it, told within another.
    assert t.told == [(20, Reach("1001", URI, False, None, 17))]


async def test_so_is_one_that_asterisk_asks_often_enough_itself() -> None:
    t = Time()
    t.list(row("1001", 30))
    t.event("Unreachable")
    await t.until(40)
    assert [at for at, _ in t.asked] == [15]
    assert [at for at, _ in t.told] == [18]


@pytest.mark.parametrize("status", ["Reachable", "Removed", "NonQualified"])
async def test_one_that_answers_or_goes_meanwhile_has_not_failed(status: str) -> None:
    for when in (10, 16):
        t = Time()
        t.list(row("1001", 30))
        t.event("Unreachable")
        await t.until(when)
        t.event(status)
        await t.until(50)
        assert t.told == []
        assert len(t.asked) == (when > 15)


async def test_what_is_not_allowed_is_tried_once_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    t = Time(manager=Manager("Permission denied"))
    t.list(row("1001"), row("1002"))
    await t.until(300)
    assert len(t.asked) == 1
    (record,) = caplog.records
    assert "write = system,reporting" in record.getMessage()


async def test_an_endpoint_that_is_gone_by_now_is_no_matter() -> None:
    t = Time(manager=Manager("Unable to retrieve endpoint"))
    t.list(row("1001"))
    await t.until(70)
    assert len(t.asked) == 2
