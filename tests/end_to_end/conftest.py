"""Fixtures of the whole path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sipwatch.demo.mail import MailCatcher
from sipwatch.demo.site import Trunk
from tests.end_to_end.running import Running
from tests.end_to_end.watch import Watch
from tests.servers.asterisk import Asterisk
from tests.servers.kamailio import Kamailio
from tests.servers.loopback import Loopback
from tests.servers.phones import ScriptedPhone

StartWatch = Callable[[str], Awaitable[Watch]]
MakeRunning = Callable[..., Running]
StartTrunk = Callable[..., Awaitable[Trunk]]
MakePhone = Callable[..., ScriptedPhone]


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[StartWatch]:
    """await watching(configuration): a running daemon with a mail server."""
    started: list[Watch] = []

    async def start(configuration: str) -> Watch:
        folder = tmp_path / f"watch-{len(started) + 1}"
        folder.mkdir()
        watch = Watch(folder, configuration)
        started.append(watch)
        return await watch.start()

    yield start
    for watch in started:
        await watch.stop()


@pytest.fixture
def phone(servers: ExitStack, loopback: Loopback) -> MakePhone:
    """phone("1001", registrar, **options): registers when told, at no other time."""

    def make(
        user: str, at: Asterisk | Kamailio, password: str = "secret", **options: str
    ) -> ScriptedPhone:
        address = loopback.address()
        made = ScriptedPhone(user, password, at.address, address=address, **options)
        servers.callback(made.close)
        return made

    return make


@pytest.fixture
async def catcher() -> AsyncIterator[MailCatcher]:
    """A mail server that takes everything."""
    made = MailCatcher()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def trunk() -> AsyncIterator[StartTrunk]:
    """await trunk(): answers OPTIONS with 200; `silent` makes it lose all."""
    started: list[Trunk] = []

    async def start(status: int = 200, reason: str = "OK") -> Trunk:
        made = Trunk(status, reason)
        await made.open()
        started.append(made)
        return made

    yield start
    for one in started:
        one.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[MakeRunning]:
    """running(configuration, **options): a daemon as a process, not started yet."""
    made: list[Running] = []

    def make(configuration: str, **options: Any) -> Running:
        folder = options.pop("folder", None) or tmp_path / f"run-{len(made) + 1}"
        made.append(Running(folder, configuration, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
