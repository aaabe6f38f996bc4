"""What is shown of a registration at a provider: series, status, log, mail's line."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from checks.observation import Cause, Kind, Scope, State, Subject
from checks.options.targets import TargetSettings
from checks.registrations.judge import Judge
from checks.registrations.outbound import KEPT
from sipwatch.answers.status import status
from sipwatch.journal import Journal
from sipwatch.metrics import scrape
from sipwatch.surroundings import Surroundings
from tests.sipwatch.watching import START, Watching, rendered

SAID = {"line1": State.OK, "line2": State.REJECTED, "line3": None}


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


@pytest.fixture
def hq(site: Watching) -> Judge:
    judge = site.registrar("hq")
    site.registers(judge, SAID)
    return judge


async def series(site: Watching) -> dict[tuple[str, str], float]:
    text = (await rendered(scrape.exposition(site))).decode()
    return {
        (s.labels["registrar"], s.labels["registration"]): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.name == "sipwatch_registration_up"
    }


async def shown(site: Watching) -> dict[str, Any]:
    (found,) = json.loads(json.dumps(await status(site)))["registrars"]
    return dict(found)


async def test_a_sample_is_there_while_the_state_is_known(
    site: Watching, hq: Judge
) -> None:
    assert await series(site) == {("hq", "line1"): 1.0, ("hq", "line2"): 0.0}
    site.observe(*hq.lost("hq:5038", Cause.TIMEOUT, "no answer", START + 60))
    assert await series(site) == {}


async def test_the_status_names_the_lost_ones_first(site: Watching, hq: Judge) -> None:
    rows = (await shown(site))["registrations"]
    assert [(r["name"], r["state"]) for r in rows] == [
        ("line2", "rejected"),
        ("line3", "unknown"),
        ("line1", "ok"),
    ]
    assert rows[0] == {
        "name": "line2",
        "state": "rejected",
        "cause": "forbidden",
        "since": "2026-09-21T14:13:20.000Z",
        "detail": "403 Forbidden",
        "server": "sip:203.0.113.9",
    }
    assert (await shown(site))["registrations_kept"] == 3


async def test_blind_is_not_lost(site: Watching, hq: Judge) -> None:
    site.observe(*hq.lost("hq:5038", Cause.TIMEOUT, "no answer", START + 60))
    states = {(r["state"], r["since"]) for r in (await shown(site))["registrations"]}
    assert states == {("unknown", None)}


async def test_a_long_list_is_cut_in_the_status(site: Watching) -> None:
    judge = site.registrar("hq")
    site.registers(judge, dict.fromkeys(map(str, range(300)), State.OK))
    found = await shown(site)
    assert (len(found["registrations"]), found["registrations_kept"]) == (100, 300)


async def test_what_is_around_it_is_its_trunk_and_its_neighbours(
    site: Watching, hq: Judge
) -> None:
    settings = TargetSettings(uri="203.0.113.9:5080", role="trunk")
    site.config.targets["twilio"] = settings  # type: ignore[index]
    subject = hq.outgoing.registrations["line2"].subject
    others = "other registrations of hq: 1 of 2 ok"
    assert Surroundings(site).around(subject) == others
    number = site.target("twilio", "203.0.113.9:5080")
    site.answer(number)
    assert Surroundings(site).around(subject) == f"its trunk twilio is up; {others}"
    site.silence(number, 3)
    assert Surroundings(site).around(subject) == (
        f"its trunk twilio is down (timeout); {others}"
    )


async def test_around_one_that_is_gone_is_nothing(site: Watching, hq: Judge) -> None:
    for registrar in ("hq", "elsewhere"):
        gone = Subject(Kind.REGISTRATION, "line9", Scope(registrar))
        assert Surroundings(site).around(gone) == ""


async def test_the_first_pass_says_how_many_stand(
    site: Watching, hq: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Journal(site.bus).first_pass(site.followings["hq"])
    assert caplog.messages == [
        "hq: no extensions",
        "hq registers elsewhere: 1 ok, 1 rejected, 1 unknown",
    ]


async def test_more_than_are_watched_is_said(
    site: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.registers(
        site.registrar("hq"), dict.fromkeys(map(str, range(KEPT + 7)), State.OK)
    )
    Journal(site.bus).first_pass(site.followings["hq"])
    assert caplog.messages[-1] == (
        f"hq registers elsewhere: {KEPT} ok; 7 more are not watched"
    )
