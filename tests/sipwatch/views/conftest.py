"""A daemon on paper that is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sipwatch.watching import Watching


@pytest.fixture
async def site() -> AsyncIterator[Watching]:
    made = Watching()
    yield made
    made.close()
