"""Why there is an alarm, or none: what the API says, from core and disk."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerting.matching import routed
from alerting.routes import GroupSettings, RouteSettings
from alerting.rules.rule import RuleSettings, build
from alerting.store.database import Store
from alerting.store.reader import Reader
from checks.observation import Cause, Loss, Observation, State
from sipwatch.answers.reasons import of_incident
from sipwatch.answers.standings import of_subject
from sipwatch.answers.status import status
from tests.sipwatch.watching import START, Watching

RULE = "ExtensionUnregistered"


class Disk:
    """A site whose core is written to a real database."""

    def __init__(self, site: Watching, folder: Path) -> None:
        self.site = site
        self.store = Store.open(folder / "sipwatch.db")
        self.reader = Reader(self.store.path)
        site.announce = self.flush  # type: ignore[method-assign]

    def flush(self) -> None:
        done = threading.Event()
        self.store.write(self.site.alarms.take()[0], lambda error: done.set())
        assert done.wait(10)

    async def subject(self, name: str, **more: Any) -> Any:
        self.flush()
        return await of_subject(self.site, self.reader, name, **more)

    async def incident(self, id: int) -> Any:
        self.flush()
        return await of_incident(self.site, self.reader, id)

    def close(self) -> None:
        self.reader.close()
        self.store.close()


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    site = Watching()
    disk = Disk(site, tmp_path)
    site.registrar("hq", {"1001": True, "1002": False})
    yield disk
    disk.close()
    site.close()


def seen(disk: Disk, state: State) -> None:
    """What is seen of 1001 from now on, and the PBX is well."""
    site = disk.site
    judge = site.judges["hq"]
    phone = judge.extensions["1001"].subject
    site.now += 100
    site.observe(Observation(phone, state, site.now, site.now, loss=Loss.EXPIRED))
    for _ in range(10):
        site.until(site.now + 30)
        well = Observation(judge.subject, State.READABLE, START, site.now)
        site.observe(well)
        site.until(site.now)


def lose(disk: Disk) -> None:
    seen(disk, State.UNREGISTERED)


async def test_one_that_is_registered_has_no_rule_that_matches(disk: Disk) -> None:
    told = await disk.subject("1001")
    assert told["subject"] == "extension:hq/1001"
    assert (told["state"], told["incidents"]) == (State.REGISTERED, [])
    assert told["why"] == ["it is registered: no rule in force matches"]
    assert [one["subject"] for one in told["above"]] == ["registrar:hq"]
    assert {r["state"] for r in told["rules"]} == {"not matching"}


async def test_one_that_never_registered_says_what_would_make_it_count(
    disk: Disk,
) -> None:
    told = await disk.subject("1002")
    assert told["why"] == [
        "it has not registered since it is watched: no alarm, unless it is listed"
        " under extensions.required",
        "it is never registered: no rule in force matches",
    ]


async def test_one_that_is_pending_says_until_when(disk: Disk) -> None:
    site = disk.site
    site.now += 100
    site.read(site.judges["hq"], {"1001": False, "1002": False})
    told = await disk.subject("1001")
    (why,) = told["why"]
    assert why.startswith(f"{RULE} is pending: due at 2026-09-21T14:1")
    (rule,) = [r for r in told["rules"] if r["state"] == "pending"]
    assert rule["considered"]["for"] == 120
    assert why.endswith(rule["considered"]["due"])


async def test_one_that_is_told_names_its_incident(disk: Disk) -> None:
    lose(disk)
    told = await disk.subject("1001")
    assert told["why"] == [f"incident 1 is open: {RULE}"]
    assert told["incidents"][0]["id"] == 1
    disk.site.alarms.acknowledge(1, "Anna", disk.site.now)
    told = await disk.subject("1001")
    assert told["why"] == [f"incident 1 is open: {RULE}, taken by Anna"]
    assert [(s["what"], s["why"]) for s in told["suppressed"]] == [
        ("acknowledged", "by Anna")
    ]


async def test_one_that_wants_no_calls_or_is_dormant_is_said_to(disk: Disk) -> None:
    extension = disk.site.judges["hq"].extensions["1001"]
    extension.subject.paused = Cause.DO_NOT_DISTURB
    extension.dormant = True
    told = await disk.subject("1001")
    assert told["why"] == [
        "it is dormant: it was unregistered for 7 days, and its next REGISTER wakes it",
        "do not disturb is on: nobody is told while that is so",
        "it is registered: no rule in force matches",
    ]


async def test_a_rule_that_is_off_or_looks_elsewhere_is_named(disk: Disk) -> None:
    alarms, now = disk.site.alarms, disk.site.now
    rules = build(
        {
            RULE: RuleSettings(enabled=False),
            "Flapping": RuleSettings(where=routed({"site": "lyon"})),
        }
    )
    alarms.replace(rules, (), GroupSettings(), ["oncall"], now)
    assert (await disk.subject("1001"))["why"] == [
        f"{RULE} is switched off (rules.{RULE}.enabled)",
        "Flapping does not watch it (where site: lyon)",
        "it is registered: no rule in force matches",
    ]


async def test_behind_a_registrar_that_cannot_be_read_nothing_is_known(
    disk: Disk,
) -> None:
    site = disk.site
    judge = site.judges["hq"]
    site.now += 10
    for o in judge.lost(next(iter(judge.members)), Cause.TIMEOUT, "x", site.now):
        site.observe(o)
    told = await disk.subject("1001")
    assert told["why"][0] == ("registrar:hq is not well: how this is, is not known now")


async def test_who_is_unknown_is_refused(disk: Disk) -> None:
    for name in ("1009", "", "extension:hq/1009", "site:nowhere", "a:b"):
        with pytest.raises(LookupError):
            await disk.subject(name)
    with pytest.raises(LookupError, match="no incident 7 is known"):
        await disk.incident(7)


async def test_an_incident_is_told_whole(disk: Disk) -> None:
    routes = (
        RouteSettings(("oncall",), routed({"severity": "critical"})),
        RouteSettings(("oncall",)),
    )
    disk.site.config = replace(disk.site.config, routes=routes)
    lose(disk)
    told = await disk.incident(1)
    incident = told["incident"]
    assert incident["text"] == "1001 Title 1001 is unregistered - hq"
    assert (incident["state"], incident["severity"]) == ("firing", "warning")
    assert told["rule"]["in_force"] is True
    assert incident["opened_at"] >= told["considered"]["due"]
    assert [(r["taken"], r["why"]) for r in told["routes"]] == [
        (False, "severity is warning"),
        (True, ""),
    ]
    (row,) = told["deliveries"]
    assert (row["wanted"], row["told"], row["step"]) == ("firing", "nothing", 0)


async def test_an_incident_that_is_over_is_told_from_the_disk(disk: Disk) -> None:
    lose(disk)
    site = disk.site
    open_ = await disk.incident(1)
    seen(disk, State.REGISTERED)
    told = await disk.incident(1)
    assert told["incident"]["state"] == "resolved"
    assert told["considered"] == open_["considered"]
    assert [i.id for i in site.alarms.incidents] == []


async def test_times_are_those_of_the_wall_clock(disk: Disk) -> None:
    lose(disk)
    before = (await disk.incident(1))["incident"]["opened_at"]
    disk.site.wall_skew = 3600.0
    disk.site.clock.measure()
    after = (await disk.incident(1))["incident"]["opened_at"]
    assert (before[11:13], after[11:13]) == ("14", "15")


async def test_one_that_is_well_again_says_when_its_incident_is_over(
    disk: Disk,
) -> None:
    lose(disk)
    site = disk.site
    phone = site.judges["hq"].extensions["1001"].subject
    site.now += 5
    site.observe(Observation(phone, State.REGISTERED, site.now, site.now))
    site.until(site.now + 1)
    told = await disk.subject("1001")
    (incident, over) = told["why"]
    assert incident == f"incident 1 is open: {RULE}"
    assert over.startswith(f"{RULE} matches no more: its incident is over at 2026-")
    assert over.endswith("Z, if that stays so")
    at = (await disk.incident(1))["incident"]["over_at"]
    assert over.removesuffix(", if that stays so").endswith(f" {at}")
    (shown,) = (await status(site))["incidents"]
    assert shown["over_at"] == at
    site.now += 5
    site.observe(Observation(phone, State.UNREGISTERED, site.now, site.now))
    told = await disk.subject("1001")
    assert told["why"] == [f"incident 1 is open: {RULE}"]
    assert (await disk.incident(1))["incident"]["over_at"] is None
    seen(disk, State.REGISTERED)
    over = (await disk.incident(1))["incident"]
    assert (over["state"], over["over_at"]) == ("resolved", None)
