"""The resident tasks: each by its name, and what happens when one breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

OURS = ("checks", "alerting", "sipwatch")


class Tasks:
    """The tasks that run for as long as the daemon does.

    `broken` is done, with the exception, when one failed in a way that nobody
    expected, or ended by itself.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.broken: asyncio.Future[None] = loop.create_future()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        loop.set_exception_handler(self._loop_failed)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run it; its end is a failure unless it was `let_go` before."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def let_go(self, name: str) -> asyncio.Task[None]:
        """A task that may end from now on."""
        task = self._tasks.pop(name)
        task.remove_done_callback(self._ended)
        return task

    async def stop(self, but: str) -> None:
        """Let go of all, and cancel them but those whose names begin like this."""
        going = {name: self.let_go(name) for name in list(self._tasks)}
        cancelled = [t for name, t in going.items() if not name.startswith(but)]
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.broken.done():
            return
        error = task.exception() or RuntimeError(f"{task.get_name()} ended by itself")
        self.broken.set_exception(error)

    def _loop_failed(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """A timer or a reader of ours that broke would never be called again."""
        loop.default_exception_handler(context)
        error = context.get("exception")
        if not isinstance(error, Exception) or "handle" not in context:
            return  # of a task that is watched, or of a connection that ends by it
        if not self.broken.done() and not _of_a_library(error):
            self.broken.set_exception(error)


def _of_a_library(error: BaseException) -> bool:
    """Whether a library's own callback failed: a peer may bring one to it at will."""
    trace = error.__traceback__
    while trace is not None:
        package = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if package != "asyncio":
            return package not in OURS
        trace = trace.tb_next
    return False
