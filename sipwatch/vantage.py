"""Our own network, watched: asked as the configuration says, or not at all."""

from __future__ import annotations

from typing import Any

from alerting.alarms.core import Alarms
from checks.observation import State, Subject
from checks.vantage.asking import VantageCheck
from checks.vantage.judge import Vantage
from checks.vantage.settings import VantageSettings
from sipwatch import __version__
from sipwatch.clock import Clock
from sipwatch.flow import Flow
from sipwatch.tasks import Tasks

TASK = "vantage"


class Outlook:
    """The check of the network of this machine, where it is configured."""

    def __init__(
        self, subject: Subject, alarms: Alarms, flow: Flow, clock: Clock, tasks: Tasks
    ) -> None:
        self.subject = subject
        self.check: VantageCheck | None = None
        self._alarms, self._flow = alarms, flow
        self._clock, self._tasks = clock, tasks

    def start(self, settings: VantageSettings) -> None:
        """Ask from now on, if there is anybody to ask."""
        if not settings.targets:
            return
        self._alarms.adopt(self.subject)
        judge = Vantage(settings, self.subject, self._clock.now())
        self.check = VantageCheck(
            judge, self._flow.observe, self._clock.now, f"sipwatch/{__version__}"
        )
        self._tasks.spawn(TASK, self.check.run())

    def renew(self, settings: VantageSettings) -> None:
        """Ask others from now on, or in another way."""
        if self.check is not None:
            self._tasks.let_go(TASK).cancel()
            self.check = None
        if not settings.targets:
            self._alarms.unwatch(self.subject, self._clock.now())
        self.start(settings)

    def ask(self) -> None:
        """Somebody waits to know how we are: ask now."""
        if self.check is not None:
            self.check.ask()

    def shown(self) -> dict[str, Any] | None:
        """What status says of it; None where it is not watched."""
        if self.check is None:
            return None
        judge = self.check.judge
        words = {State.UP: "up", State.DOWN: "cut off", None: "unknown"}
        return {
            "state": words[judge.state],
            "since": judge.since,
            "targets": [
                {"name": name, "answers": reply.ok, "detail": reply.detail}
                for name, reply in judge.replies.items()
            ],
        }
