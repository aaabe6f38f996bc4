"""PagerDuty (Events API v2): an alert for each incident, under one key for its life.

`dedup_key` is the incident's number at this sipwatch, so a repeated event changes
nothing. Who took an incident in sipwatch has acknowledged it there as well, a moment
later. The API takes some 120 events a minute: what it puts off is sent later, and what
it has is not sent again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alerting.incident import DeliveryError, Incident, Notification, Severity, Told
from alerting.notification.shape import encoded, incident_shape, iso, moment
from alerting.notifiers.http import HttpSettings, Poster, is_private, url_of
from checks.observation import plain
from checks.settings import Secret

URL = "https://events.pagerduty.com/v2/enqueue"
KEY_LENGTH = 32  # of an integration key
SUMMARY_LIMIT = 1024  # characters, by the API
REMEMBERED = 64  # batches half accepted; one at a time is in flight, few fail so
LOOK_EVERY = 30.0  # s between two looks at who has acknowledged

SEVERITIES = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "critical",
}

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDutySettings(HttpSettings):
    """`type: pagerduty`: the service that gets the alerts."""

    routing_key: Secret  # the integration key of the service
    url: str = URL  # in the EU https://events.eu.pagerduty.com/v2/enqueue

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        key = self.routing_key.reveal()
        if len(key) != KEY_LENGTH or not (key.isascii() and key.isalnum()):
            text = f"routing_key: an integration key has {KEY_LENGTH} letters or digits"
            raise ValueError(text)
        if not is_private(url_of(self.url, "url", URL)):
            raise ValueError("url: http would send routing_key in clear text")


class PagerDuty:
    """Sends events; `renew` is how often acknowledgements are looked for."""

    renew = LOOK_EVERY

    def __init__(
        self, settings: PagerDutySettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.complaint = ""  # what of a batch is refused for good
        self._settings = settings
        self._clock = clock
        self._url = url_of(settings.url, "url", "")
        self._poster = Poster(settings, [settings.routing_key])
        self._accepted: OrderedDict[str, set[str]] = OrderedDict()  # keys by batch
        self._acknowledged: set[int] = set()  # incidents of which it knows

    async def send(self, notification: Notification) -> None:
        """Returns when every event is accepted that can be; raises DeliveryError."""
        if notification.renewal:
            await self._acknowledge(notification)
            return
        if notification.change is Told.NOTHING:
            for action in ("trigger", "resolve"):
                await self._post(self._test(notification, action))
            return
        accepted = self._remembered(notification.id)
        refused = await self._all(notification, accepted)
        del self._accepted[notification.id]
        if refused and not accepted:
            raise DeliveryError(refused[0], permanent=True)
        self.complaint = plain("; ".join(refused))

    async def _all(self, n: Notification, accepted: set[str]) -> list[str]:
        """Send what is not accepted yet; why some are refused for good."""
        refused = []
        for event in self._events(n):
            if event["dedup_key"] in accepted:
                continue
            try:
                await self._post(event)
            except DeliveryError as error:
                if not error.permanent:
                    raise DeliveryError(
                        f"{len(accepted)} of {len(n.incidents)} are accepted; {error}",
                        retry_after=error.retry_after,
                    ) from None
                refused.append(f"incident {event['dedup_key']}: {error}")
            else:
                accepted.add(event["dedup_key"])
        return refused

    def _remembered(self, batch: str) -> set[str]:
        accepted = self._accepted.setdefault(batch, set())
        self._accepted.move_to_end(batch)
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)
        return accepted

    def _events(self, n: Notification) -> Iterator[Event]:
        over = n.change is Told.RESOLVED
        for incident in n.incidents:
            if over or not incident.acknowledged_by:
                self._acknowledged.discard(incident.id)
            event = self._event(incident, n, "resolve" if over else "trigger")
            yield event if over else event | self._described(incident, n)

    async def _acknowledge(self, n: Notification) -> None:
        """Tell it who was taken since the last look; after a start all of them."""
        self._acknowledged &= {incident.id for incident in n.incidents}
        for incident in n.incidents:
            if incident.acknowledged_by and incident.id not in self._acknowledged:
                await self._post(self._event(incident, n, "acknowledge"))
                self._acknowledged.add(incident.id)

    def _event(self, incident: Incident, n: Notification, action: str) -> Event:
        return {
            "routing_key": self._settings.routing_key.reveal(),
            "event_action": action,
            "dedup_key": f"{incident.id}@{n.instance}",
        }

    def _described(self, i: Incident, n: Notification) -> Event:
        told = incident_shape(i, n)
        links = told["links"].items()
        return {
            "client": f"sipwatch on {n.instance}",
            **({"client_url": n.page} if n.page else {}),
            "links": [{"href": url, "text": name} for name, url in links],
            "payload": {
                "summary": plain(told["summary"], SUMMARY_LIMIT),
                "source": told["subject"],
                "severity": SEVERITIES[i.severity],
                "timestamp": moment(i.since, n),
                "component": told["name"],
                "group": told["labels"].get("site") or told["labels"].get("registrar"),
                "class": told["rule"],
                "custom_details": told,
            },
        }

    def _test(self, n: Notification, action: str) -> Event:
        return {
            "routing_key": self._settings.routing_key.reveal(),
            "event_action": action,
            "dedup_key": f"{n.id}@{n.instance}",
            "payload": {
                "summary": plain(n.subject, SUMMARY_LIMIT),
                "source": n.instance,
                "severity": SEVERITIES[Severity.INFO],
                "timestamp": iso(self._clock()),
            },
        }

    async def _post(self, event: Event) -> None:
        headers = {"Content-Type": "application/json"}
        await self._poster.post(self._url, encoded(event), headers)
