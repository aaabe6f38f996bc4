"""Prometheus Alertmanager (API v2): an alert for each incident.

An Alertmanager forgets: an alert whose `endsAt` has passed is resolved, and a restart
loses all. So what fires is sent again every `resend`, and each time ends four of these
later; while sipwatch is down it lapses by itself. Members of a cluster share silences
and what was notified, never the alerts: every alert goes to every member, and is
delivered once one of them has it. A member that missed it gets it with the next
resending, and one that missed an end lets the alert lapse.

An alert is known by its labels. What changes in an incident (its leading rule, its
severity) makes another alert: then the old one is ended as well.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from alerting.incident import DeliveryError, Incident, Notification, Told
from alerting.notification.shape import (
    encoded,
    incident_shape,
    iso,
    labels,
    sliced,
)
from alerting.notifiers.http import HttpSettings, Poster, is_private, url_of
from checks.observation import plain
from checks.settings import Duration, Secret

LASTS = 4  # resendings; three may be lost before a firing alert lapses
MEMBERS_LIMIT = 16  # of a cluster; each gets every alert
TEST = "SipwatchTest"  # the name of the alert that test-notify sends
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # of a label

Labels = dict[str, str]
Alert = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerSettings(HttpSettings):
    """`type: alertmanager`: the members of the cluster."""

    urls: tuple[str, ...]  # of every member: http://127.0.0.1:9093
    username: str = ""  # HTTP basic, where something in front asks for it
    password: Secret | None = None  # of that user
    labels: Mapping[str, str] = field(default_factory=dict)  # added to every alert
    resend: Duration = 60.0  # between two sendings of what fires

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        if isinstance(self.urls, str) or not 0 < len(self.urls) <= MEMBERS_LIMIT:
            raise ValueError("urls: is a list of URLs (write [http://127.0.0.1:9093])")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password go together")
        for written in self.urls:
            url = url_of(written, "urls", "http://127.0.0.1:9093")
            if self.password is not None and not is_private(url):
                raise ValueError("urls: http would send the password in clear text")
        for name in self.labels:
            if not _NAME.fullmatch(name):
                raise ValueError(f"labels.{name}: is no name of a label (write team)")
        if self.resend < 1:
            raise ValueError("resend: must be 1s or more")


class Alertmanager:
    """Posts alerts to all members; `renew` is how often what fires comes again."""

    def __init__(
        self,
        settings: AlertmanagerSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.renew = settings.resend
        self.complaint = ""  # which members lack what others have
        self._settings = settings
        self._clock = clock  # wall time, for endsAt
        self._members = [_api(url) for url in settings.urls]
        self._headers = {"Content-Type": "application/json"} | _basic(settings)
        self._poster = Poster(settings, [*filter(None, [settings.password])])
        self._said: dict[int, Labels] = {}  # by incident: the alert that fires

    async def send(self, notification: Notification) -> None:
        """Returns when one member has every alert; raises DeliveryError."""
        lacking: dict[URL, DeliveryError] = {}
        told = notification.incidents
        if notification.renewal:
            firing = {incident.id for incident in told}
            self._said = {i: said for i, said in self._said.items() if i in firing}
        if notification.change is Told.NOTHING:
            await self._post([self._test(notification)], lacking)
        for some in sliced(told):
            await self._post(self._alerts(some, notification), lacking)
            self._remember(some, notification)
        self.complaint = "; ".join(f"{error}" for error in lacking.values())

    def _alerts(self, some: Iterable[Incident], n: Notification) -> list[Alert]:
        now = self._clock()
        alerts = []
        for incident in some:
            own = self._labels(incident, n.instance)
            before = self._said.get(incident.id, own)
            if before != own:  # it fires under other labels from now on
                alerts.append(_alert(incident, before, n, now))
            alerts.append(_alert(incident, own, n, self._end(incident, n, now)))
        return alerts

    def _end(self, incident: Incident, n: Notification, now: float) -> float:
        """When the alert is over by itself, in wall time."""
        if n.change is not Told.RESOLVED:
            return now + LASTS * self._settings.resend
        ended = incident.ended_at or incident.resolved_at
        return now if ended is None else min(now, ended + n.skew)

    def _labels(self, incident: Incident, instance: str) -> Labels:
        subject = incident.subject
        written = {
            **labels(subject.scope.labels),
            "alertname": plain(incident.rule),
            "severity": str(incident.severity),
            "family": plain(incident.family),
            "kind": str(subject.kind),
            "subject": plain(subject.key),
            str(subject.kind): plain(subject.name),
            "role": plain(subject.scope.role),
            "sipwatch": instance,
            **self._settings.labels,
        }
        named = {re.sub(r"\W", "_", k, flags=re.ASCII): v for k, v in written.items()}
        return {k: v for k, v in named.items() if v and _NAME.fullmatch(k)}

    def _remember(self, some: Iterable[Incident], n: Notification) -> None:
        for incident in some:
            if n.change is Told.RESOLVED:
                self._said.pop(incident.id, None)
            else:
                self._said[incident.id] = self._labels(incident, n.instance)

    def _test(self, n: Notification) -> Alert:
        now = self._clock()
        written = {"alertname": TEST, "severity": "info", "sipwatch": n.instance}
        return {
            "labels": {**written, **self._settings.labels},
            "annotations": {"summary": n.subject},
            "startsAt": iso(now),
            "endsAt": iso(now + self._settings.resend),
        }

    async def _post(
        self, alerts: Sequence[Alert], lacking: dict[URL, DeliveryError]
    ) -> None:
        """To all that have not failed yet; raises where none has it."""
        body = encoded(alerts)
        left = [m for m in self._members if m not in lacking or lacking[m].permanent]
        failed = await asyncio.gather(*(self._one(member, body) for member in left))
        pairs = zip(left, failed, strict=True)
        lacking |= {member: error for member, error in pairs if error is not None}
        if None not in failed:
            raise _together(list(lacking.values()))

    async def _one(self, member: URL, body: bytes) -> DeliveryError | None:
        try:
            await self._poster.post(member, body, self._headers)
        except DeliveryError as error:
            return error
        return None


def _api(written: str) -> URL:
    url = url_of(written, "urls", "")
    return url.with_path(url.path.rstrip("/") + "/api/v2/alerts")


def _basic(settings: AlertmanagerSettings) -> dict[str, str]:
    if settings.password is None:
        return {}
    pair = f"{settings.username}:{settings.password.reveal()}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def _together(errors: Sequence[DeliveryError]) -> DeliveryError:
    """Why no member has it: for good only where all say so."""
    return DeliveryError(
        "; ".join(str(error) for error in errors),
        permanent=all(error.permanent for error in errors),
        retry_after=min(error.retry_after for error in errors),
    )


def _alert(i: Incident, own: Labels, n: Notification, end: float) -> Alert:
    told = incident_shape(i, n)
    notes = {
        "summary": told["summary"],
        "description": told["why"],
        "next_step": told["next_step"],
        "last_seen": told["last_seen"],
        "acknowledged_by": told["acknowledged_by"],
        "incident": str(i.id),
        "runbook_url": told["links"].get("runbook", ""),
    }
    # An alert may not end before it began, whatever clocks were set to.
    begin = min(i.since + n.skew, end)
    alert = {
        "labels": own,
        "annotations": {name: text for name, text in notes.items() if text},
        "startsAt": iso(begin),
        "endsAt": iso(end),
    }
    return alert | ({"generatorURL": n.page} if n.page else {})
