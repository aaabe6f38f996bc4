"""PagerDuty: the events it gets, in what order, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web

from alerting.incident import DeliveryError, Incident, Notification, Severity, Told
from alerting.notification.render import bare, trial
from alerting.notifiers.pagerduty import PagerDuty, PagerDutySettings
from checks.observation import Fact
from checks.settings import Secret
from tests.alerting.mails import (
    INSTANCE,
    NOW,
    PARIS,
    TRUNK,
    batch,
    ended,
    incident,
    phones,
    reception,
    trunk,
)
from tests.alerting.receiving import Receiver, receiving

KEY = "R0123456789abcdefghijklmnopqrstu"


def told(
    *incidents: Incident, change: Told = Told.FIRING, id: str = "b1", **more: Any
) -> Notification:
    found = bare(
        batch(*incidents, change=change, id=id),
        INSTANCE,
        external_url="https://sipwatch.example.com",
        runbooks={"OptionsFailing": "https://wiki.example.com/1"},
    )
    return replace(found, **more)


def notifier(url: str) -> PagerDuty:
    settings = PagerDutySettings(url=f"{url}/v2/enqueue", routing_key=Secret(KEY))
    return PagerDuty(settings, clock=lambda: NOW)


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(got.body) for got in receiver.got]


def actions(receiver: Receiver) -> list[tuple[str, str]]:
    return [(e["event_action"], e["dedup_key"]) for e in events(receiver)]


def accepted() -> web.Response:
    return web.Response(status=202, text='{"status": "success"}')


async def test_an_incident_is_triggered_with_all_that_is_known() -> None:
    dead = trunk("OptionsFailing", detail="4 sends, no answer")
    async with receiving(accepted()) as receiver:
        await notifier(receiver.url).send(told(dead))
    (event,) = events(receiver)
    details = event["payload"].pop("custom_details")
    assert details["id"] == 4711
    assert details["why"].endswith("4 sends, no answer")
    assert receiver.got[0].path == "/v2/enqueue"
    assert event == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": f"4711@{INSTANCE}",
        "client": f"sipwatch on {INSTANCE}",
        "client_url": "https://sipwatch.example.com",
        "links": [
            {"href": "https://sipwatch.example.com", "text": "page"},
            {"href": "https://wiki.example.com/1", "text": "runbook"},
        ],
        "payload": {
            "summary": "trunk twilio does not answer OPTIONS (4 sends, no answer)",
            "source": "target:twilio",
            "severity": "critical",
            "timestamp": "2026-11-21T09:02:14.000Z",
            "component": "twilio",
            "group": None,
            "class": "OptionsFailing",
        },
    }


@pytest.mark.parametrize("severity", list(Severity))
async def test_severities_have_the_names_of_pagerduty(severity: Severity) -> None:
    async with receiving() as receiver:
        one = notifier(receiver.url)
        await one.send(told(reception(severity=severity)))
    assert events(receiver)[0]["payload"]["severity"] == str(severity)


async def test_an_incident_keeps_its_key_from_trigger_to_resolve() -> None:
    phone = reception()
    async with receiving() as receiver:
        one = notifier(receiver.url)
        await one.send(told(phone))
        await one.send(told(phone, change=Told.WORSE, id="b2"))
        phone.resolved_at = NOW
        await one.send(told(phone, change=Told.RESOLVED, id="b3"))
    key = f"4711@{INSTANCE}"
    assert actions(receiver) == [("trigger", key), ("trigger", key), ("resolve", key)]
    assert "payload" not in events(receiver)[2]


async def test_an_acknowledgement_is_passed_on_once() -> None:
    phone, other = reception(), incident(TRUNK, "OptionsFailing", id=7)
    async with receiving() as receiver:
        one = notifier(receiver.url)
        await one.send(told(phone, other))
        await one.send(told(phone, other, renewal=True))
        phone.acknowledged_by = "ada"
        for _ in range(3):
            await one.send(told(phone, other, renewal=True))
    assert actions(receiver)[2:] == [("acknowledge", f"4711@{INSTANCE}")]


async def test_what_is_triggered_anew_can_be_acknowledged_anew() -> None:
    phone = reception(acknowledged_by="ada")
    async with receiving() as receiver:
        one = notifier(receiver.url)
        await one.send(told(phone, renewal=True))
        phone.acknowledged_by = ""  # it recurred
        await one.send(told(phone, id="b2"))
        phone.acknowledged_by = "bob"
        await one.send(told(phone, renewal=True))
    assert [action for action, _ in actions(receiver)] == [
        "acknowledge",
        "trigger",
        "acknowledge",
    ]


async def test_an_acknowledgement_that_failed_is_passed_on_later() -> None:
    phone = reception(acknowledged_by="ada")
    async with receiving(web.Response(status=500), accepted()) as receiver:
        one = notifier(receiver.url)
        with pytest.raises(DeliveryError):
            await one.send(told(phone, renewal=True))
        await one.send(told(phone, renewal=True))
        await one.send(told(phone, renewal=True))
    assert len(receiver.got) == 2


async def test_a_batch_that_was_put_off_goes_on_where_it_stopped() -> None:
    busy = web.Response(status=429, headers={"Retry-After": "30"})
    async with receiving(accepted(), accepted(), busy) as receiver:
        one = notifier(receiver.url)
        with pytest.raises(DeliveryError) as caught:
            await one.send(told(*phones(4)))
        assert str(caught.value).startswith("2 of 4 are accepted; 127.0.0.1:")
        assert (caught.value.permanent, caught.value.retry_after) == (False, 30)
        await one.send(told(*phones(4)))
    keys = [key.partition("@")[0] for _, key in actions(receiver)]
    assert keys == ["4711", "4712", "4713", "4713", "4714"]


async def test_what_is_refused_for_good_among_others_is_complained_of() -> None:
    wrong = web.Response(status=400, text='{"message": "Event object is invalid"}')
    async with receiving(wrong) as receiver:
        one = notifier(receiver.url)
        await one.send(told(*phones(2)))
        assert len(receiver.got) == 2
        assert one.complaint.startswith(f"incident 4711@{INSTANCE}: 127.0.0.1:")
        await one.send(told(*phones(1), id="b2"))
        assert one.complaint == ""


async def test_a_key_that_is_refused_is_refused_for_good_and_not_repeated() -> None:
    wrong = web.Response(status=400, text=f"invalid routing_key {KEY}")
    async with receiving(wrong) as receiver:
        with pytest.raises(DeliveryError) as caught:
            await notifier(receiver.url).send(told(reception()))
    assert caught.value.permanent
    assert str(caught.value).endswith("says 400 Bad Request: invalid routing_key ***")


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
async def test_its_own_trouble_is_waited_for(status: int) -> None:
    async with receiving(web.Response(status=status)) as receiver:
        with pytest.raises(DeliveryError) as caught:
            await notifier(receiver.url).send(told(reception()))
    assert not caught.value.permanent


async def test_a_test_opens_and_closes_an_alert() -> None:
    test = trial(instance=INSTANCE, notifier="pd", zone=PARIS, now=NOW)
    async with receiving() as receiver:
        await notifier(receiver.url).send(test)
    key = f"{test.id}@{INSTANCE}"
    assert actions(receiver) == [("trigger", key), ("resolve", key)]
    assert events(receiver)[0]["payload"]["severity"] == "info"


async def test_the_largest_incident_is_small_enough() -> None:
    huge = reception(
        detail="x" * 100_000,
        last_seen="y" * 100_000,
        acknowledged_by="z" * 100_000,
        evidence=tuple(Fact(NOW, "e" * 100_000) for _ in range(4)),
        **ended(),
    )
    huge.subject = msgspec.structs.replace(
        huge.subject, name="n" * 100_000, title="t" * 100_000
    )
    async with receiving() as receiver:
        await notifier(receiver.url).send(told(huge))
    (event,) = events(receiver)
    assert len(receiver.got[0].body) < 20_000  # of 512 kB
    assert len(event["payload"]["summary"]) <= 1024
    assert len(event["dedup_key"]) <= 255


def wrong() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"routing_key": Secret("S3CRET")}, "has 32 letters or digits"
    yield {"routing_key": Secret("S3CRET" + "-" * 26)}, "has 32 letters or digits"
    yield {"url": "http://events.example.com/"}, "would send routing_key in clear text"
    yield {"url": "events"}, "url: is not an http or https URL"


@pytest.mark.parametrize(("more", "sentence"), list(wrong()))
def test_wrong_settings_are_refused_with_a_sentence(
    more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        PagerDutySettings(**{"routing_key": Secret(KEY)} | more)
    assert "S3CRET" not in str(caught.value)
