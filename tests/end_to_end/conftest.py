"""Fixtures of the whole path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.end_to_end.watch import Watch

StartWatch = Callable[[str], Awaitable[Watch]]


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
