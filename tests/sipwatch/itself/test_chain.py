"""Whether anybody would be told: the links of the chain, one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from alerting.incident import Outcome
from checks.observation import Kind, Observation, Scope, State, Subject
from sipwatch.itself.chain import broken
from tests.sipwatch.watching import START, Watching

OWED = 900.0


@pytest.fixture
async def site() -> Watching:
    made: Any = Watching()
    made.unwell = lambda: ""
    made.outlook = SimpleNamespace(check=None)
    made.registrar("hq", {"1001": True})
    made.couriers["oncall"] = SimpleNamespace()
    return made


def why(site: Any) -> str:
    return broken(site, site.now, OWED)


async def test_all_is_well(site: Any) -> None:
    assert why(site) == ""


async def test_a_daemon_that_is_not_well(site: Any) -> None:
    site.unwell = lambda: "the OPTIONS sweep stands still"
    assert why(site) == "the OPTIONS sweep stands still"


async def test_a_first_pass_that_is_under_way(site: Any) -> None:
    site.ready = False
    assert why(site) == "the first pass is under way"


@pytest.mark.parametrize(("lag", "ago"), [(7.0, 0.0), (0.0, 7.0)])
async def test_a_loop_that_was_held_up(site: Any, lag: float, ago: float) -> None:
    site.selfwatch.lag, site.selfwatch.looked_at = lag, site.now - ago
    assert why(site) == "sipwatch was held up for 7 s"


async def test_a_disk_that_takes_nothing(site: Any) -> None:
    site.selfwatch.store_fails = True
    assert why(site) == "the database cannot be written"


async def test_a_network_that_is_not_ours_any_more(site: Any) -> None:
    judge = SimpleNamespace(state=State.UP)
    site.outlook.check = SimpleNamespace(judge=judge)
    assert why(site) == ""
    judge.state = State.DOWN
    assert why(site) == "sipwatch is cut off from the network"


async def test_a_registrar_that_cannot_be_read_is_asked_all_the_same(site: Any) -> None:
    o = Observation(site.judges["hq"].subject, State.UNREADABLE, START, START)
    site.observe(o)
    assert why(site) == ""


async def test_nothing_is_asked_any_more(site: Any) -> None:
    site.followings["hq"].tried_at -= 299.0
    assert why(site) == ""
    site.followings["hq"].tried_at -= 2.0
    assert why(site) == "no source is asked in time"


async def test_one_source_that_is_asked_is_enough(site: Any) -> None:
    site.registrar("lyon", {})
    site.followings["hq"].tried_at -= 3600.0
    assert why(site) == ""


async def test_no_notifier_works(site: Any) -> None:
    site.alarms.fared("oncall", Outcome.PERMANENT, START, "535")
    assert why(site) == "no notifier works"


async def test_one_notifier_that_works_is_enough(site: Any) -> None:
    site.couriers["pager"] = SimpleNamespace()
    site.alarms.fared("oncall", Outcome.PERMANENT, START, "535")
    assert why(site) == ""


async def test_an_incident_that_nobody_knows_of(site: Any) -> None:
    store = Subject(Kind.SELF, "store", Scope("store"))
    site.alarms.observe(Observation(store, State.FAILING, START, START))
    site.now += 880.0
    batch = site.alarms.due("oncall", site.now)
    assert batch is not None
    site.alarms.settle(batch, Outcome.TRANSIENT, site.now, "421")
    site.selfwatch.looked_at = site.followings["hq"].tried_at = site.now
    assert why(site) == ""
    site.now += 30.0
    site.selfwatch.looked_at = site.now
    assert why(site) == "incident 1 is told to nobody for 15 min"
    site.alarms.settle(batch, Outcome.ACCEPTED, site.now)
    assert why(site) == ""


async def test_what_waits_for_its_time_is_no_fault(site: Any) -> None:
    store = Subject(Kind.SELF, "store", Scope("store"))
    site.alarms.observe(Observation(store, State.FAILING, START, START))
    assert why(site) == ""
