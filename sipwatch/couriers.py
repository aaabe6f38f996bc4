"""The couriers of all notifiers, and what they bring: rendered when it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from alerting.incident import Batch, DeliveryError, Notification, Outcome
from alerting.notification.render import bare, render
from alerting.notifiers import made
from alerting.outbox import Courier, send_test
from checks.observation import Subject, plain
from sipwatch.config.settings import local_zone
from sipwatch.findings import Findings
from sipwatch.sources import Sources
from sipwatch.surroundings import Surroundings
from sipwatch.tasks import Tasks

TASK = "notifier "  # what the names of their tasks begin with


class Couriers(Mapping[str, Courier]):
    """One courier for each notifier of the configuration, by its name."""

    def __init__(
        self,
        sources: Sources,
        tasks: Tasks,
        *,
        flush: Callable[[], Any],
    ) -> None:
        self._sources = sources
        self._tasks = tasks
        self._flush = flush
        self._couriers: dict[str, Courier] = {}
        self._surroundings = Surroundings(sources)
        self._findings = Findings(sources)

    def __getitem__(self, name: str) -> Courier:
        return self._couriers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._couriers)

    def __len__(self) -> int:
        return len(self._couriers)

    def hire(self, name: str, settings: Any) -> None:
        """A courier for this notifier from now on."""
        courier = Courier(
            name,
            made(settings),
            self._sources.alarms,
            render=self._render,
            flush=self._flush,
            clock=self._sources.clock.now,
            instance=self._sources.config.instance,
            barely=self._barely,
        )
        self._couriers[name] = courier
        self._tasks.spawn(TASK + name, courier.run())

    async def dismiss(self, names: Iterable[str]) -> None:
        """No couriers for these any more; what they have in hand they may deliver."""
        going = [self._couriers.pop(name) for name in names]
        for courier in going:
            self._tasks.let_go(TASK + courier.name)
        await asyncio.gather(*(courier.stop() for courier in going))

    def wake(self) -> None:
        """Something may be due."""
        for courier in self._couriers.values():
            courier.wake()

    def renew(self) -> None:
        """Somebody took an incident."""
        for courier in self._couriers.values():
            courier.renew()

    async def stop(self) -> None:
        """Deliveries in flight may end, for a second."""
        await asyncio.gather(*(courier.stop() for courier in self.values()))

    async def test(self, name: str, ways: str = "") -> tuple[Outcome, str]:
        """Send a test; how it ended, and why it failed if it did."""
        clock = self._sources.clock
        try:
            await send_test(
                self[name].notifier,
                name,
                instance=self._sources.config.instance,
                zone=local_zone(),
                now=clock.to_wall(clock.now()),
                ways=ways,
            )
        except DeliveryError as error:
            how = Outcome.PERMANENT if error.permanent else Outcome.TRANSIENT
            return how, plain(str(error)) or str(how)
        return Outcome.ACCEPTED, ""

    def _render(self, batch: Batch, now: float) -> Notification:
        subject = batch.deliveries[0].incident.subject
        config = self._sources.config
        return render(
            batch,
            instance=config.instance,
            zone=self._zone(subject),
            around=self._surroundings.around,
            extensions=self._surroundings.extensions,
            explained=self._findings.explained,
            exchange=self._sources.gathering.line,
            external_url=config.web.external_url,
            runbooks=self._runbooks(),
            acknowledge=self._sources.links.url(batch, now),
            now=now,
            skew=self._sources.clock.skew,
        )

    def _barely(self, batch: Batch) -> Notification:
        config = self._sources.config
        return bare(
            batch,
            config.instance,
            external_url=config.web.external_url,
            runbooks=self._runbooks(),
            skew=self._sources.clock.skew,
        )

    def _runbooks(self) -> dict[str, str]:
        rules = self._sources.alarms.rules
        return {rule.name: rule.runbook for rule in rules if rule.runbook}

    def _zone(self, subject: Subject) -> ZoneInfo:
        site = self._sources.config.sites.get(subject.scope.labels.get("site", ""))
        return ZoneInfo(site.timezone) if site and site.timezone else local_zone()
