"""What a judge wants asked goes to the OPTIONS check; what comes of it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import fields

from checks.observation import Cause, Observation
from checks.options.asks import Inquiry
from checks.options.heard import Hear
from checks.options.targets import ProbeSettings
from checks.registrations.extension import Extension
from checks.registrations.judge import Judge
from checks.registrations.readings import ProbeKeys

PROMPT = 0.1  # s in which changes gather: each time the rows are put in order anew
MOST = 500  # changes in one turn of the loop: some 5 ms

Inquire = Callable[[str, ProbeSettings, Hear], Inquiry]


class Asking:
    """The questions of one judge."""

    def __init__(
        self,
        judge: Judge,
        inquire: Inquire,
        clock: Callable[[], float],
        judged: Callable[[Iterable[Observation]], None],
    ) -> None:
        """`judged` takes what the judge makes of the answers."""
        self._judge, self._clock, self._judged = judge, clock, judged
        settings = probe_settings(judge.settings.probe)
        self._inquiry = judge.reaching.sight = inquire(
            judge.name, settings, self._heard
        )
        self._timer: asyncio.TimerHandle | None = None

    def stir(self) -> None:
        """The judge may want something else asked."""
        if self._timer is None and self._judge.wants_asked:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PROMPT, self._pass_on)

    def again(self, extension: Extension) -> int:
        """Ask its contacts now, those that we ask; how many these are."""
        asks = [contact.ask for contact in extension.contacts if contact.ask]
        self._inquiry.update({ask.name: ask for ask in asks})
        return len(asks)

    def close(self) -> None:
        """Ask nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._inquiry.close()

    def _pass_on(self) -> None:
        self._timer = None
        self._inquiry.update(self._judge.asks(MOST))
        self.stir()

    def _heard(
        self,
        name: str,
        ok: bool | None,
        cause: Cause | None,
        rtt: float | None,
        at: float,
    ) -> None:
        told = self._judge.heard(name, ok, cause, rtt, at, self._clock())
        if told:
            self._judged(told)


def probe_settings(keys: ProbeKeys) -> ProbeSettings:
    """How a registrar's contacts and servers are asked; ValueError with a sentence."""
    return ProbeSettings(**{f.name: getattr(keys, f.name) for f in fields(ProbeKeys)})
