"""The JSON of /api/v1/status."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from alerting.incident import Outcome
from checks.observation import (
    Binding,
    Cause,
    Kind,
    Observation,
    Scope,
    State,
    Subject,
)
from checks.options.streams import Streams
from checks.options.targets import TargetSettings
from checks.registrations.readings import Bindings, ListEnd
from checks.sip.resolver import Address
from sipwatch import __version__
from sipwatch.answers.status import INCIDENTS, status
from tests.sipwatch.watching import NO_PACKETS, START, Watching


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()


async def shown(site: Watching) -> dict[str, Any]:
    """As a client decodes it."""
    found: dict[str, Any] = json.loads(json.dumps(await status(site)))
    return found


async def test_nothing_watched_is_a_whole_answer(site: Watching) -> None:
    site.ready = False
    assert await shown(site) == {
        "version": __version__,
        "ready": False,
        "since": "2026-09-21T14:13:20.000Z",
        "registrars": [],
        "targets": {"up": 0, "degraded": 0, "down": 0, "unknown": 0},
        "accounts": [],
        "reload": None,
        "certificates": [],
        "incidents": [],
        "incidents_open": 0,
        "packets": {"kept": 0, "missed": 0, "error": ""},
        "outbox": {"pending": 0, "oldest": None},
        "notifiers": [],
        "heartbeat": None,
        "vantage": None,
        "twilio": None,
        "silences": 0,
        "maintenance": [],
        "schedules": [],
    }


async def test_a_notifier_that_fails_and_a_heartbeat_that_stopped(
    site: Watching,
) -> None:
    site.couriers["oncall"] = SimpleNamespace(accepted_at=START - 60)
    site.couriers["pager"] = SimpleNamespace(accepted_at=None)
    site.alarms.fared("oncall", Outcome.PERMANENT, START, "535 wrong password")
    site.heartbeat = SimpleNamespace(
        settings=(), why="no notifier works", error="", succeeded_at=START - 90
    )
    answer = await shown(site)
    assert answer["notifiers"] == [
        {
            "name": "oncall",
            "state": "failing",
            "since": "2026-09-21T14:13:20.000Z",
            "detail": "535 wrong password",
            "accepted_at": "2026-09-21T14:12:20.000Z",
        },
        {
            "name": "pager",
            "state": "ok",
            "since": None,
            "detail": "",
            "accepted_at": None,
        },
    ]
    assert answer["heartbeat"] == {
        "state": "stopped",
        "detail": "no notifier works",
        "arrived_at": "2026-09-21T14:11:50.000Z",
    }


async def test_certificates_are_told_by_address(
    site: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(Kind.TARGET, "twilio", Scope("twilio"))
    address = Address("54.172.60.1", 443, "wss", "/ws")
    streams = Streams(
        lambda: START, lambda m: None, lambda *_: None, hold=print, begun=print
    )
    link = streams.link(address, "acme.pstn.twilio.com", TargetSettings(uri="a"))
    link.not_after = START + 86400
    monkeypatch.setattr(site.options, "certificates", lambda most: [(subject, link)])
    assert (await shown(site))["certificates"] == [
        {
            "target": "target:twilio",
            "address": "54.172.60.1:443",
            "transport": "wss",
            "not_after": "2026-09-22T14:13:20.000Z",
        }
    ]


async def test_times_are_told_by_the_wall_clock(site: Watching) -> None:
    site.wall_skew = -3600.5
    site.clock.measure()
    assert (await shown(site))["since"] == "2026-09-21T13:13:19.500Z"


async def test_a_registrar_that_can_be_read(site: Watching) -> None:
    site.registrar("hq", {"1001": True, "1002": True, "1003": False})
    assert (await shown(site))["registrars"] == [
        {
            "name": "hq",
            "type": "asterisk",
            "state": "readable",
            "cause": None,
            "since": "2026-09-21T14:13:20.000Z",
            "detail": "",
            "extensions": {
                "registered": 2,
                "unreachable": 0,
                "unregistered": 0,
                "never_registered": 1,
                "unknown": 0,
            },
            "registrations": [],
            "registrations_kept": 0,
        }
    ]


async def test_where_contacts_are_probed_those_that_nobody_asks_are_told(
    site: Watching,
) -> None:
    judge = site.registrar("hq", probe_contacts=True)
    there = ("192.0.2.7:5060", "192.0.2.7:5060", "192.0.2.7:5060", "203.0.113.9:4711")
    rows = [
        Binding(str(aor), f"sip:{aor}@192.0.2.7", START + 60, received=received)
        for aor, received in enumerate(there)
    ]
    site.observe(*judge.apply("hq:5038", Bindings(rows), START))
    site.observe(*judge.apply("hq:5038", ListEnd(START), START))
    for aor, ok in ((0, True), (1, False), (1, False)):
        name = f"contact/{aor}/sip:{aor}@192.0.2.7"
        site.observe(*judge.heard(name, ok, None, None, START, START))
    (hq,) = (await shown(site))["registrars"]
    assert hq["contacts"] == {
        "reachable": 1,
        "unreachable": 1,
        "waiting": 1,
        "not_probed": 1,
    }
    site.observe(*judge.lost("hq:5038", Cause.TIMEOUT, "no answer", START + 5))
    assert "contacts" not in (await shown(site))["registrars"][0]


async def test_blind_is_not_down(site: Watching) -> None:
    judge = site.registrar("hq", {"1001": True, "1002": True})
    cause = Cause.CONNECTION_REFUSED
    site.observe(*judge.lost("hq:5038", cause, "AMI: refused", START + 5))
    (hq,) = (await shown(site))["registrars"]
    assert hq["state"] == "unreadable"
    assert hq["cause"] == "connection_refused"
    assert hq["detail"] == "AMI: refused"
    assert hq["extensions"] == {"unknown": 2}


async def test_members_are_shown_where_there_are_several(site: Watching) -> None:
    judge = site.registrar("hq", {"1001": True}, address="", members=["a:1", "b:1"])
    site.observe(*judge.lost("b:1", Cause.TIMEOUT, "no answer", START + 5))
    (hq,) = (await shown(site))["registrars"]
    assert (hq["state"], hq["detail"]) == ("readable", "b:1: no answer")
    assert [(m["address"], m["state"], m["cause"]) for m in hq["members"]] == [
        ("a:1", "readable", None),
        ("b:1", "unreadable", "timeout"),
    ]


async def test_targets_are_counted_by_state(site: Watching) -> None:
    site.answer(site.target("twilio", "203.0.113.9"))
    site.answer(site.target("pbx", "203.0.113.5", role="pbx"), code=480)
    first, second, _ = site.targets("phones.txt", ["10.1.0.1", "10.1.0.2", "10.1.0.3"])
    site.answer(first)
    site.silence(second)
    expected = {"up": 2, "degraded": 1, "down": 1, "unknown": 1}
    assert (await shown(site))["targets"] == expected


async def test_targets_behind_a_blind_spot_are_unknown(site: Watching) -> None:
    index = site.target("twilio", "203.0.113.9")
    site.answer(index)
    above = Subject(Kind.REGISTRAR, "lyon", Scope("lyon"))
    subject = site.options.judge.subjects[index]
    assert subject is not None
    subject.scope.parent = above
    site.observe(Observation(above, State.UNREADABLE, START, START))
    expected = {"up": 0, "degraded": 0, "down": 0, "unknown": 1}
    assert (await shown(site))["targets"] == expected


def failing(site: Watching, name: str = "twilio") -> None:
    trunk = site.target(name, "203.0.113.9")
    site.answer(trunk)
    for step in range(6):
        site.now = START + 15 * step
        site.silence(trunk)


async def test_an_incident_reads_like_the_subject_of_its_mail(
    site: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    failing(site)
    site.alarms.acknowledge(1, "night shift", site.now)
    assert (await shown(site))["incidents"] == [
        {
            "id": 1,
            "subject": "target:twilio",
            "family": "liveness",
            "rule": "OptionsFailing",
            "severity": "critical",
            "state": "acknowledged",
            "subject_state": "down",
            "cause": "timeout",
            "since": "2026-09-21T14:13:20.000Z",
            "opened_at": "2026-09-21T14:14:20.000Z",
            "acknowledged_by": "night shift",
            "note": "",
            "muted_by": "",
            "over_at": None,
            "text": "trunk twilio does not answer OPTIONS since 16:13"
            " (timeout, 4 sends to 203.0.113.9:5060 over UDP, no answer)",
            "finding": None,
            "packets": NO_PACKETS,
        }
    ]


async def test_the_outbox_tells_since_when_the_oldest_is_due(site: Watching) -> None:
    failing(site)
    site.until(START + 100)
    expected = {"pending": 1, "oldest": "2026-09-21T14:14:20.000Z"}
    assert (await shown(site))["outbox"] == expected


async def test_of_many_incidents_the_worst_and_oldest_are_listed(
    site: Watching,
) -> None:
    scope = Scope("hq", labels={"registrar": "hq"})
    for number in range(INCIDENTS + 5):
        at = START + number * 0.001
        subject = Subject(Kind.EXTENSION, f"{number}", scope)
        site.observe(Observation(subject, State.UNREGISTERED, at, at))
    site.until(START + 200)
    failing(site)
    found = await shown(site)
    assert found["incidents_open"] == INCIDENTS + 6
    assert len(found["incidents"]) == INCIDENTS
    first, second, *_ = found["incidents"]
    assert (first["rule"], second["subject"]) == ("OptionsFailing", "extension:hq/0")
