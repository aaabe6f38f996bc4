"""Fixtures of the whole path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.watch import Watch
from tests.servers.asterisk import Asterisk
from tests.servers.kamailio import Kamailio
from tests.servers.loopback import Loopback
from tests.servers.phones import ScriptedPhone

StartWatch = Callable[[str], Awaitable[Watch]]
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
