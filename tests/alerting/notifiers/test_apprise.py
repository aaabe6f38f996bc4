"""Apprise: its services in a thread of their own, one that hangs, none installed."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from alerting.incident import DeliveryError, Notification
from alerting.notification.render import render
from alerting.notifiers.apprise import Apprise, AppriseSettings
from checks.settings import Secret
from tests.alerting.mails import CASES, INSTANCE, NOW, PARIS
from tests.alerting.receiving import Receiver, receiving
from tests.servers import eventually


def told(case: str = "unregistered") -> Notification:
    return render(CASES[case], instance=INSTANCE, zone=PARIS, now=NOW)


def notifier(*urls: str, **more: Any) -> Apprise:
    return Apprise(AppriseSettings(urls=tuple(map(Secret, urls)), **more))


def service(receiver: Receiver, path: str = "S3CRET") -> str:
    return receiver.url.replace("http://", "json://") + f"/{path}"


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("unregistered", "warning"),
        ("options-failing", "failure"),
        ("retransmits", "info"),
        ("options-failing-resolved", "success"),
    ],
)
async def test_a_service_gets_headline_text_and_kind(case: str, kind: str) -> None:
    notification = told(case)
    async with receiving() as receiver:
        await notifier(service(receiver)).send(notification)
    (got,) = receiver.got
    body = json.loads(got.body)
    assert got.path == "/S3CRET"
    assert (body["title"], body["type"]) == (notification.subject, kind)
    assert body["message"].split() == notification.text.split()


async def test_every_service_has_it_once_and_who_fails_is_asked_again(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        receiving() as well,
        receiving(web.Response(status=500, text="S3CRET")) as ill,
    ):
        one = notifier(service(well), service(ill))
        with pytest.raises(DeliveryError) as caught:
            await one.send(told())
        await one.send(told())
    assert str(caught.value) == "1 of 2 services have it; not JSON (number 2)"
    assert not caught.value.permanent
    assert (len(well.got), len(ill.got)) == (1, 2)
    assert "S3CRET" not in "".join(caplog.messages) + "".join(capfd.readouterr())


class Hanging:
    """A service that does what it is told to, in its thread."""

    service_name = "Pager\x1b"

    def __init__(self, act: Callable[[], bool]) -> None:
        self.act = act

    def notify(self, **_: object) -> bool:
        return self.act()


async def test_one_that_hangs_is_not_waited_for_and_not_asked_twice_at_once() -> None:
    going = threading.Event()
    async with receiving() as receiver:
        one = notifier(service(receiver), timeout=0.2)
    one._services = [Hanging(lambda: going.wait(20))]
    with pytest.raises(DeliveryError, match=r"no end within 0\.2 s"):
        await one.send(told())
    with pytest.raises(DeliveryError, match="has not ended the attempt before"):
        await one.send(told())
    going.set()
    await eventually(lambda: not one._at_work.is_set())
    await one.send(told())  # the late one took it: it is not told again


async def test_the_loop_goes_on_meanwhile() -> None:
    going = threading.Event()
    async with receiving() as receiver:
        one = notifier(service(receiver))
    one._services = [Hanging(lambda: going.wait(20))]
    sending = asyncio.create_task(one.send(told()))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not sending.done()
    going.set()
    await sending


async def test_one_that_breaks_is_told_without_its_words() -> None:
    def act() -> bool:
        raise RuntimeError("https://S3CRET")

    async with receiving() as receiver:
        one = notifier(service(receiver))
    one._services = [Hanging(act)]
    with pytest.raises(DeliveryError) as caught:
        await one.send(told())
    assert str(caught.value) == "apprise broke: RuntimeError"


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ((), "urls: is a list of URLs"),
        (("json://host", "S3CRET://x"), "urls: number 2 is no URL that Apprise knows"),
        (("tgram://S3CRET",), "urls: number 1 is no URL that Apprise knows"),
    ],
)
def test_wrong_settings_are_refused_without_the_url(
    urls: tuple[str, ...], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        AppriseSettings(urls=tuple(map(Secret, urls)))
    assert "S3CRET" not in str(caught.value) + "".join(capfd.readouterr())


def test_without_the_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ValueError, match=r"pip install 'sipwatch\[apprise\]'"):
        AppriseSettings(urls=(Secret("json://localhost"),))
