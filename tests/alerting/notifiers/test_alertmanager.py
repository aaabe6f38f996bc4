"""Alertmanager: what an alert says, which members have it, and a real one."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web

from alerting.incident import DeliveryError, Incident, Notification, Severity, Told
from alerting.notification.render import bare, trial
from alerting.notifiers.alertmanager import Alertmanager, AlertmanagerSettings
from checks.observation import State
from checks.settings import Secret
from tests.alerting.mails import (
    INSTANCE,
    NOW,
    PARIS,
    at,
    batch,
    ended,
    incident,
    phones,
    reception,
)
from tests.alerting.receiving import Receiver, receiving
from tests.conftest import StartAlertmanager
from tests.servers import eventually

BASE = {
    "alertname": "ExtensionUnregistered",
    "severity": "warning",
    "family": "liveness",
    "kind": "extension",
    "subject": "extension:hq/1001",
    "extension": "1001",
    "registrar": "hq",
    "site": "Lyon",
    "sipwatch": INSTANCE,
}


def told(*incidents: Incident, change: Told = Told.FIRING, **more: Any) -> Notification:
    found = bare(
        batch(*incidents, change=change),
        INSTANCE,
        external_url="https://sipwatch.example.com",
        runbooks={"ExtensionUnregistered": "https://wiki.example.com/1"},
    )
    return replace(found, **more)


def notifier(*urls: str, clock: Any = lambda: NOW, **more: Any) -> Alertmanager:
    return Alertmanager(AlertmanagerSettings(urls=urls, **more), clock=clock)


def alerts(receiver: Receiver) -> list[dict[str, Any]]:
    return [alert for got in receiver.got for alert in json.loads(got.body)]


# --- what is sent -------------------------------------------------------------------


async def test_an_incident_is_an_alert_that_ends_four_resendings_later() -> None:
    async with receiving() as receiver:
        await notifier(receiver.url, labels={"team": "voice"}).send(told(reception()))
    (got,) = receiver.got
    assert got.path == "/api/v2/alerts"
    (alert,) = json.loads(got.body)
    why = "its registration expired after the 60 s granted: the phone did not refresh"
    assert alert == {
        "labels": BASE | {"team": "voice"},
        "annotations": {
            "summary": "1001 Reception is unregistered - hq",
            "description": f"{why} it",
            "next_step": "check power and network of the phone at 10.20.0.31",
            "last_seen": "10.20.0.31:5060 over UDP, Yealink SIP-T46U 108.86.0.75",
            "incident": "4711",
            "runbook_url": "https://wiki.example.com/1",
        },
        "startsAt": "2026-11-21T09:02:14.000Z",
        "endsAt": "2026-11-21T09:08:20.000Z",
        "generatorURL": "https://sipwatch.example.com",
    }


async def test_an_end_is_told_when_it_was() -> None:
    over = reception(**ended())
    async with receiving() as receiver:
        one = notifier(receiver.url, clock=lambda: at("10:17:00"))
        await one.send(told(over, change=Told.RESOLVED))
    (alert,) = alerts(receiver)
    assert alert["labels"] == BASE
    assert alert["endsAt"] == "2026-11-21T09:16:20.000Z"
    assert alert["startsAt"] == "2026-11-21T09:02:14.000Z"
    assert "next_step" not in alert["annotations"]


async def test_a_clock_that_was_set_back_ends_no_alert_before_it_began() -> None:
    over = reception(**ended())
    async with receiving() as receiver:
        one = notifier(receiver.url, clock=lambda: at("09:00:00"))
        await one.send(told(over, change=Told.RESOLVED))
    (alert,) = alerts(receiver)
    assert alert["startsAt"] == alert["endsAt"] == "2026-11-21T08:00:00.000Z"


async def test_what_got_worse_is_another_alert_and_the_first_one_ends() -> None:
    phone = reception(rule="ExtensionUnreachable", state=State.UNREACHABLE)
    async with receiving() as receiver:
        one = notifier(receiver.url)
        await one.send(told(phone))
        phone.rule, phone.severity = "ExtensionUnregistered", Severity.CRITICAL
        await one.send(told(phone, change=Told.WORSE))
        await one.send(told(phone, renewal=True))
    first, over, worse, again = alerts(receiver)
    assert first["labels"]["alertname"] == "ExtensionUnreachable"
    assert over["labels"] == first["labels"]
    assert over["endsAt"] == "2026-11-21T09:04:20.000Z"
    assert worse["labels"]["severity"] == "critical"
    assert worse["endsAt"] == "2026-11-21T09:08:20.000Z"
    assert again == worse


async def test_a_test_is_an_alert_that_ends_by_itself() -> None:
    async with receiving() as receiver:
        await notifier(receiver.url, labels={"team": "voice"}).send(
            trial(instance=INSTANCE, notifier="prom", zone=PARIS, now=NOW)
        )
    (alert,) = alerts(receiver)
    assert alert["labels"] == {
        "alertname": "SipwatchTest",
        "severity": "info",
        "sipwatch": INSTANCE,
        "team": "voice",
    }
    assert alert["endsAt"] == "2026-11-21T09:05:20.000Z"


async def test_a_mass_event_goes_in_several_posts() -> None:
    async with receiving() as receiver:
        await notifier(receiver.url).send(told(*phones(120)))
    assert [len(json.loads(got.body)) for got in receiver.got] == [50, 50, 20]
    assert len({str(alert["labels"]) for alert in alerts(receiver)}) == 120


async def test_hostile_names_make_labels_that_are_taken() -> None:
    scope = reception().subject.scope
    phone = incident(reception().subject)
    labels = {"a b": "1", "9": "2", "é": "3", "": "4"}
    phone.subject = msgspec.structs.replace(
        phone.subject, name="10\x0001\ud800", scope=replace(scope, labels=labels)
    )
    async with receiving() as receiver:
        await notifier(receiver.url).send(told(phone))
    (alert,) = alerts(receiver)
    assert alert["labels"]["a_b"] == "1"
    assert not {"9", "é", ""} & alert["labels"].keys()
    assert "\0" not in alert["labels"]["extension"]


async def test_basic_authentication_is_sent() -> None:
    async with receiving() as receiver:
        one = notifier(receiver.url, username="a", password=Secret("b"))
        await one.send(told(reception()))
    assert receiver.got[0].headers["Authorization"] == "Basic YTpi"


# --- the members of a cluster -------------------------------------------------------

REFUSED = "http://127.0.0.1:9"


async def test_every_member_gets_it() -> None:
    async with receiving() as one, receiving() as two:
        members = notifier(one.url, f"{two.url}/prefix/")
        await members.send(told(reception()))
    assert alerts(one) == alerts(two)
    assert two.got[0].path == "/prefix/api/v2/alerts"
    assert members.complaint == ""


async def test_it_is_delivered_once_one_member_has_it_and_says_who_has_not() -> None:
    async with receiving() as one:
        members = notifier(REFUSED, one.url)
        await members.send(told(*phones(60)))
        assert len(alerts(one)) == 60
        assert members.complaint.startswith("127.0.0.1:9: ")


async def test_a_member_that_comes_back_is_no_longer_complained_of() -> None:
    async with (
        receiving(web.Response(status=503)) as one,
        receiving() as two,
    ):
        members = notifier(one.url, two.url)
        await members.send(told(reception()))
        assert "says 503" in members.complaint
        await members.send(told(reception(), renewal=True))
        assert members.complaint == ""
    assert len(alerts(one)) == 2


async def test_a_member_that_failed_does_not_hold_up_what_is_left() -> None:
    async with (
        receiving(web.Response(status=503)) as one,
        receiving() as two,
    ):
        await notifier(one.url, two.url).send(told(*phones(200)))
    assert (len(one.got), len(two.got)) == (1, 4)


@pytest.mark.parametrize(
    ("first", "second", "permanent"), [(400, 400, True), (400, 503, False)]
)
async def test_none_has_it(first: int, second: int, permanent: bool) -> None:
    async with (
        receiving(web.Response(status=first)) as one,
        receiving(web.Response(status=second)) as two,
    ):
        with pytest.raises(DeliveryError) as caught:
            await notifier(one.url, two.url).send(told(reception()))
    assert caught.value.permanent is permanent
    assert f"says {first}" in str(caught.value)
    assert f"says {second}" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"urls": ()}, "urls: is a list of URLs"),
        ({"urls": "http://a:9093"}, "urls: is a list of URLs"),
        ({"urls": ("a:9093",)}, "urls: is not an http or https URL"),
        ({"username": "a"}, "username and password go together"),
        (
            {"urls": ("http://a:9093",), "username": "a", "password": Secret("b")},
            "clear text",
        ),
        ({"labels": {"a b": "1"}}, "labels.a b: is no name of a label"),
        ({"resend": 0.5}, "resend: must be 1s or more"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(
    more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        AlertmanagerSettings(**{"urls": ("https://a:9093",)} | more)


# --- a real one ---------------------------------------------------------------------


def heard(receiver: Receiver, status: str) -> list[str]:
    """The extensions in what Alertmanager told its receiver, of a status."""
    told = [json.loads(got.body)["alerts"] for got in receiver.got]
    found = [alert for one in told for alert in one if alert["status"] == status]
    return [alert["labels"]["extension"] for alert in found]


def fresh(count: int) -> list[Incident]:
    """Phones lost a minute ago."""
    several = phones(count)
    for one in several:
        one.since = one.opened_at = time.time() - 60
    return several


@pytest.mark.wall
@pytest.mark.real("alertmanager")
async def test_alertmanager_receives_groups_and_resolves(
    alertmanager: StartAlertmanager,
) -> None:
    async with receiving() as receiver:
        server = await asyncio.to_thread(alertmanager, receiver.url)
        one = notifier(server.url, clock=time.time, resend=30.0)
        lost = fresh(3)
        await one.send(told(*lost))
        (group,) = await asyncio.to_thread(server.groups)
        assert group["labels"] == {"alertname": "ExtensionUnregistered"}
        assert len(group["alerts"]) == 3
        wanted = ["1001", "1002", "1003"]
        await eventually(lambda: sorted(set(heard(receiver, "firing"))) == wanted)
        over = lost[:2]
        for phone in over:
            phone.resolved_at = phone.ended_at = time.time()
        await one.send(told(*over, change=Told.RESOLVED))
        await eventually(lambda: sorted(heard(receiver, "resolved")) == wanted[:2])
        (left,) = await asyncio.to_thread(server.alerts)
        assert left["labels"]["extension"] == "1003"


@pytest.mark.wall
@pytest.mark.real("alertmanager")
async def test_what_is_sent_again_stays_and_what_is_not_lapses(
    alertmanager: StartAlertmanager,
) -> None:
    async with receiving() as receiver:
        server = await asyncio.to_thread(alertmanager, receiver.url)
        one = notifier(server.url, clock=time.time, resend=1.0)
        kept, dropped = fresh(2)
        await one.send(told(kept, dropped))
        began = time.monotonic()
        while time.monotonic() - began < 6.5:
            await asyncio.sleep(1.0)
            await one.send(told(kept, renewal=True))
        assert heard(receiver, "resolved") == ["1002"]
        (left,) = await asyncio.to_thread(server.alerts)
        assert left["labels"]["extension"] == "1001"


@pytest.mark.wall
@pytest.mark.real("alertmanager")
async def test_an_alertmanager_that_forgot_everything_is_told_again(
    alertmanager: StartAlertmanager,
) -> None:
    server = await asyncio.to_thread(alertmanager)
    one = notifier(server.url, clock=time.time)
    (phone,) = fresh(1)
    await one.send(told(phone))
    await asyncio.to_thread(server.close)
    with pytest.raises(DeliveryError):
        await one.send(told(phone, renewal=True))
    await asyncio.to_thread(server.start)
    assert await asyncio.to_thread(server.alerts) == []
    await one.send(told(phone, renewal=True))
    (alert,) = await asyncio.to_thread(server.alerts)
    assert alert["labels"]["extension"] == "1001"


@pytest.mark.real("alertmanager")
async def test_a_real_cluster_has_it_on_every_member_that_lives(
    alertmanager: StartAlertmanager,
    loopback: Any,
) -> None:
    addresses = [loopback.address(), loopback.address()]
    peers = [f"{address}:9094" for address in addresses]
    servers = [
        await asyncio.to_thread(alertmanager, address=address, peers=peers)
        for address in addresses
    ]
    members = notifier(*(server.url for server in servers), clock=time.time)
    first, second = fresh(2)
    await members.send(told(first))
    for server in servers:
        assert len(await asyncio.to_thread(server.alerts)) == 1
    await asyncio.to_thread(servers[0].close)
    await members.send(told(second))
    assert addresses[0] in members.complaint
    assert len(await asyncio.to_thread(servers[1].alerts)) == 2
