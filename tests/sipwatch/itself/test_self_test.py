"""Tests of routes: who is asked, what is told, and who is tested again."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alerting.incident import DeliveryError, Notification
from alerting.matching import routed
from alerting.outbox import Courier
from alerting.routes import RouteSettings, StepSettings
from alerting.store.rows import DropMemo, Memo
from checks.observation import Observation, State
from sipwatch.couriers import Couriers
from sipwatch.itself.self_test import MEMO, SelfTests
from tests.sipwatch.watching import Watching

GREYLISTED = DeliveryError("451 come back later")
WRONG = DeliveryError("535 authentication failed", permanent=True)
ROUTES = (
    RouteSettings(
        ("mail", "pager"),
        routed({"severity": ["critical"]}),
        escalate=(StepSettings(600.0, ("boss",)),),
    ),
    RouteSettings(("mail",)),
)


@dataclass
class Pigeon:
    """A notifier that keeps what it takes."""

    refuses: list[Exception] = field(default_factory=list)
    took: list[Notification] = field(default_factory=list)
    complaint: str = ""

    async def send(self, notification: Notification) -> None:
        if self.refuses:
            raise self.refuses.pop(0)
        self.took.append(notification)


class Site:
    """A daemon on paper with notifiers of its own."""

    def __init__(self, *names: str, routes: Any = ROUTES, watching: Any = None) -> None:
        self.watching: Any = watching or Watching()
        watching = self.watching
        notifiers: Any = dict.fromkeys(names)
        watching.config = replace(watching.config, routes=routes, notifiers=notifiers)
        watching.alarms.replace(
            watching.alarms.rules, routes, watching.config.group, names, watching.now
        )
        self.pigeons = {name: Pigeon() for name in names}
        self.commits = 0
        self.full = False
        couriers: Any = _Couriers(watching)
        for name, pigeon in self.pigeons.items():
            couriers[name] = Courier(
                name,
                pigeon,
                watching.alarms,
                render=None,  # type: ignore[arg-type]
                flush=self.commit,
                clock=watching.clock.now,
                instance="sipwatch.example.com",
            )
        watching.couriers = couriers
        self.noted: list[Any] = []
        self.tests = SelfTests(
            watching, couriers, commit=self.commit, note=self.noted.extend
        )

    async def commit(self) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self.commits += 1
        self.watching.announce()

    def took(self) -> dict[str, int]:
        return {name: len(pigeon.took) for name, pigeon in self.pigeons.items()}

    def failing(self) -> list[str]:
        incidents = self.watching.alarms.incidents
        return [i.subject.name for i in incidents if i.rule == "NotifierFailing"]

    async def later(self, seconds: float) -> None:
        self.watching.until(self.watching.now + seconds)
        await self.tests.again()


class _Couriers(dict[str, Courier]):
    def __init__(self, watching: Any) -> None:
        self._sources = watching

    async def test(self, name: str, ways: str = "") -> Any:
        return await Couriers.test(self, name, ways)  # type: ignore[arg-type]


async def test_a_route_is_tested_to_its_last_step() -> None:
    site = Site("mail", "pager", "boss", "other")
    assert await site.tests.routes([1]) == {
        "routes": [
            {
                "route": 1,
                "match": {"severity": ["critical"]},
                "notifiers": [
                    {"notifier": "mail", "after": "", "error": ""},
                    {"notifier": "pager", "after": "", "error": ""},
                    {"notifier": "boss", "after": "10m", "error": ""},
                ],
            }
        ]
    }
    assert site.took() == {"mail": 1, "pager": 1, "boss": 1, "other": 0}
    (test,) = site.pigeons["boss"].took
    assert test.subject == "[test] sipwatch on sipwatch.example.com can reach you"
    assert "route 1, after 10m" in test.text
    assert site.commits == 1


async def test_what_cannot_be_written_is_answered_all_the_same() -> None:
    site = Site("mail")
    site.full = True
    assert await site.tests.notifiers([]) == {"mail": ""}
    await site.tests.scheduled()
    assert site.took() == {"mail": 2}


async def test_who_is_on_several_routes_is_tested_once() -> None:
    site = Site("mail", "pager", "boss")
    found = await site.tests.routes([])
    assert [route["route"] for route in found["routes"]] == [1, 2]
    assert site.took() == {"mail": 1, "pager": 1, "boss": 1}
    assert "route 1; route 2" in site.pigeons["mail"].took[0].text


async def test_without_routes_the_one_that_holds_then_is_tested() -> None:
    site = Site("mail", "pager", routes=())
    found = await site.tests.routes([1])
    assert [one["notifier"] for one in found["routes"][0]["notifiers"]] == [
        "mail",
        "pager",
    ]


async def test_there_is_no_such_route() -> None:
    site = Site("mail", "pager", "boss")
    with pytest.raises(LookupError, match=r"there is no route 3 \(1 to 2\)"):
        await site.tests.routes([1, 3])
    assert site.took() == {"mail": 0, "pager": 0, "boss": 0}


@pytest.mark.parametrize("error", [GREYLISTED, WRONG], ids=str)
async def test_who_fails_on_request_is_told_of_by_another_way(error: Exception) -> None:
    site = Site("mail", "pager", "boss")
    site.pigeons["mail"].refuses = [error]
    found = await site.tests.routes([2])
    assert found["routes"][0]["notifiers"][0]["error"] == str(error)
    assert site.failing() == ["notifier/mail"]
    (about,) = site.watching.alarms.incidents
    told = [row.notifier for row in site.watching.alarms.deliveries(about)]
    assert told == ["pager", "boss"]


async def test_a_complaint_and_a_bug_of_a_notifier_are_failures() -> None:
    site = Site("mail", "pager", "boss")
    site.pigeons["mail"].complaint = "b@example.com is refused: 550"
    site.pigeons["pager"].refuses = [KeyError("x")]
    errors = await site.tests.notifiers(["mail", "pager", "nobody"])
    assert errors == {
        "mail": "b@example.com is refused: 550",
        "pager": "KeyError: 'x'",
        "nobody": "there is no such notifier",
    }
    assert site.failing() == ["notifier/mail", "notifier/pager"]


async def test_who_failed_is_tested_every_hour_until_it_takes_one() -> None:
    site = Site("mail", "pager", "boss")
    site.pigeons["mail"].refuses = [WRONG] * 3
    await site.tests.notifiers(["mail"])
    assert site.failing() == ["notifier/mail"]
    await site.later(0)
    for _ in range(2):
        await site.later(3600)
        assert site.failing() == ["notifier/mail"]
    await site.later(3600)
    assert site.failing() == []
    assert site.took()["mail"] == 1
    for _ in range(3):
        await site.later(3600)
    assert site.took() == {"mail": 1, "pager": 0, "boss": 0}


async def test_a_scheduled_test_is_patient_with_greylisting() -> None:
    site = Site("mail", "pager", "boss")
    site.pigeons["mail"].refuses = [GREYLISTED] * 2
    await site.tests.scheduled()
    await site.later(59)
    assert site.took() == {"mail": 0, "pager": 1, "boss": 1}
    await site.later(1)
    await site.later(300)
    assert site.took() == {"mail": 1, "pager": 1, "boss": 1}
    assert site.failing() == []


async def test_a_scheduled_test_that_fails_three_times_is_told() -> None:
    site = Site("mail", "pager", "boss")
    site.pigeons["mail"].refuses = [GREYLISTED] * 3
    await site.tests.scheduled()
    await site.later(60)
    assert site.failing() == []
    await site.later(300)
    assert site.failing() == ["notifier/mail"]


async def test_one_that_failed_before_a_restart_and_owes_nothing_is_tested() -> None:
    site = Site("mail", "pager", "boss")
    subject = site.watching.alarms._reports.subject("mail")
    now = site.watching.now
    site.watching.observe(Observation(subject, State.FAILING, now, now))
    await site.later(60)
    assert site.took()["mail"] == 0
    await site.later(3600)
    assert site.took()["mail"] == 1
    assert site.failing() == []


async def test_one_that_is_dismissed_is_forgotten() -> None:
    site = Site("mail", "pager", "boss")
    site.pigeons["mail"].refuses = [WRONG]
    await site.tests.scheduled()
    del site.watching.couriers["mail"]
    await site.later(3600)
    assert site.took()["mail"] == 0


# --- one that falls into a downtime ---------------------------------------------------


def stored(site: Site) -> str:
    """When it was tested by schedule, as it is stored."""
    (memo,) = site.noted
    assert (type(memo), memo.name) == (Memo, MEMO)
    return str(memo.json)


async def test_the_test_of_the_week_is_stored_when_it_begins() -> None:
    site = Site("mail", routes=())
    await site.tests.scheduled()
    at = datetime.fromtimestamp(site.watching.now, UTC)
    assert stored(site) == json.dumps(at.isoformat())


@pytest.mark.parametrize("missed", [True, False])
async def test_one_that_was_missed_is_made_up_for_once(missed: bool) -> None:
    site = Site("mail", routes=())
    asked: list[datetime] = []

    def due_since(at: datetime) -> bool:
        asked.append(at)
        return missed

    site.tests.plan('"2026-11-01T09:00:00+00:00"', due_since)
    assert asked == [datetime(2026, 11, 1, 9, tzinfo=UTC)]
    assert site.took() == {"mail": 0}  # not before all has begun
    await site.later(60)
    assert site.took() == {"mail": int(missed)}
    await site.later(60)
    assert site.took() == {"mail": int(missed)}


@pytest.mark.parametrize("last", [None, "null", '"yesterday"', "{", '"2026-11-01"'])
async def test_where_none_is_known_it_counts_from_now(last: str | None) -> None:
    site = Site("mail", routes=())
    site.tests.plan(last, lambda at: True)
    await site.later(60)
    assert site.took() == {"mail": 0}
    assert "T" in stored(site)


async def test_what_is_planned_no_more_is_not_made_up_for() -> None:
    site = Site("mail", routes=())
    site.tests.plan('"2026-11-01T09:00:00+00:00"', lambda at: True)
    site.tests.unplan()
    await site.later(60)
    assert (site.took(), site.noted) == ({"mail": 0}, [DropMemo(MEMO)])
