"""One question to each target through the whole check: names, TCP, TLS, IPv6."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from checks.observation import Kind, Observation, Scope, Subject
from checks.options.check import OptionsCheck
from checks.options.names import Resolves
from checks.options.probe import RATE, ProbeResult, Report, result_of
from checks.options.targets import Target, TargetFileSettings
from checks.options.views import view


class Asking:
    """A check that ends when each target has been judged at all its addresses."""

    def __init__(
        self,
        uris: Sequence[str],
        settings: TargetFileSettings,
        agent: str,
        resolver: Resolves | None,
        exchange: bool,
    ) -> None:
        self._uris = uris
        scope = Scope("probe", settings.role)
        # Numbered, as the same URI may be given twice.
        targets = [
            Target(Subject(Kind.TARGET, str(number), scope), uri, settings)
            for number, uri in enumerate(uris)
        ]
        self._check = OptionsCheck(
            targets,
            self._observe,
            clock=time.time,
            resolver=resolver,
            agent=agent,
            tapped=exchange,
        )
        self._results: list[ProbeResult | None] = [None] * len(uris)
        self._report: Report | None = None
        self._done = asyncio.Event()
        self._left = len(uris)

    async def run(self, report: Report | None) -> list[ProbeResult]:
        """Ask, and wait for all."""
        self._report = report
        if self._left:
            asking = asyncio.create_task(self._check.run())
            asking.add_done_callback(lambda task: self._done.set())
            await asyncio.sleep(0)
            self._check.sweep.rate = RATE
            await self._done.wait()
            if asking.done():
                asking.result()  # it does not end by itself: an error
            asking.cancel()
            await asyncio.wait([asking])
        return [result for result in self._results if result is not None]

    def _observe(self, o: Observation) -> None:
        index = int(o.subject.name)
        shown = view(self._check.judge, index, o.at)
        if shown is None or self._results[index] is not None:
            return
        if any(address.state is None for address in shown.addresses):
            return
        tap = self._check.tap
        exchange = tap.of(index) if tap is not None else ()
        result = result_of(self._uris[index], shown, exchange)
        self._results[index] = result
        self._left -= 1
        if self._report is not None:
            self._report(result)
        if not self._left:
            self._done.set()
