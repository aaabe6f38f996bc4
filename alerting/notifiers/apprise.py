"""Apprise: some 170 services more, each named by a URL (github.com/caronc/apprise).

An extra: `pip install 'sipwatch[apprise]'`. It blocks, so it works in a thread of its
own. It says of a service only whether it took a notification, so that every failure is
tried again, at those services alone that have not taken it.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alerting.incident import DeliveryError, Notification, Told
from checks.observation import plain
from checks.settings import Duration, Secret

INSTALL = "pip install 'sipwatch[apprise]'"
URLS_LIMIT = 32  # one notification goes to each of them in turn
REMEMBERED = 64  # batches half accepted; one at a time is in flight, few fail so
TALKATIVE = ("apprise", "urllib3")  # loggers whose lines hold the URLs: secrets
# How a service shows it, by our word for it: failure, warning, info or success.
TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


def _library() -> Any:
    """Apprise; ValueError where it is not installed."""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        return importlib.import_module("apprise")
    except ImportError:
        raise ValueError(f"type: apprise needs one more package: {INSTALL}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseSettings:
    """`type: apprise`: the services."""

    urls: tuple[Secret, ...]  # as Apprise writes them: tgram://token/chat
    timeout: Duration = 30.0  # for all of them

    def __post_init__(self) -> None:
        if isinstance(self.urls, str | Secret) or not 0 < len(self.urls) <= URLS_LIMIT:
            raise ValueError("urls: is a list of URLs (write [!secret pager-url])")
        if self.timeout <= 0:
            raise ValueError("timeout: must be longer than 0s")
        library = _library()
        for number, url in enumerate(self.urls, 1):
            if library.Apprise.instantiate(url.reveal()) is None:
                raise ValueError(f"urls: number {number} is no URL that Apprise knows")


class Apprise:
    """Hands notifications to each service."""

    def __init__(self, settings: AppriseSettings) -> None:
        self._settings = settings
        library = _library()
        self._services = [
            library.Apprise.instantiate(url.reveal()) for url in settings.urls
        ]
        self._accepted: OrderedDict[str, set[int]] = OrderedDict()  # by batch
        self._at_work = threading.Event()  # the thread that tells them

    async def send(self, notification: Notification) -> None:
        """Returns when every service has taken it; raises DeliveryError."""
        if self._at_work.is_set():
            why = "apprise has not ended the attempt before this one"
            raise DeliveryError(why, in_doubt=notification.id in self._accepted)
        accepted = self._remembered(notification.id)
        left = [n for n in range(len(self._services)) if n not in accepted]
        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._apart(lambda: self._tell(notification, left, accepted))
        except TimeoutError:
            limit = f"{self._settings.timeout:g} s"
            why = f"apprise: no end within {limit}"
            raise DeliveryError(why, in_doubt=True) from None
        lacking = [self._name(n) for n in left if n not in accepted]
        if lacking:
            have = f"{len(accepted)} of {len(self._services)} services have it"
            why = f"{have}; not {', '.join(lacking)}"
            raise DeliveryError(why, in_doubt=bool(accepted))
        del self._accepted[notification.id]

    def _remembered(self, batch: str) -> set[int]:
        accepted = self._accepted.setdefault(batch, set())
        self._accepted.move_to_end(batch)
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)
        return accepted

    def _tell(self, n: Notification, left: list[int], accepted: set[int]) -> None:
        """In the thread: each service that lacks it."""
        kind = TYPES.get(n.labels.get("severity", ""), "info")
        if n.change is Told.RESOLVED:
            kind = "success"
        for number in left:
            service = self._services[number]
            if service.notify(title=n.subject, body=n.text, notify_type=kind):
                accepted.add(number)

    async def _apart(self, work: Callable[[], None]) -> None:
        """In a thread that no end of ours waits for: a service may hang for long."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def run() -> None:
            error: Exception | None = None
            try:
                work()
            except Exception as found:  # noqa: BLE001 - 170 services, part of a delivery
                # Its own words may hold the URL.
                error = DeliveryError(f"apprise broke: {type(found).__name__}")
            self._at_work.clear()
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, error)

        self._at_work.set()
        threading.Thread(target=run, name="apprise", daemon=True).start()
        await done

    def _name(self, number: int) -> str:
        """Which service: its kind, and its place among `urls`."""
        kind = plain(str(getattr(self._services[number], "service_name", "")), 40)
        return f"{kind} (number {number + 1})"
