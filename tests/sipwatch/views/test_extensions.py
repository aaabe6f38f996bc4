"""Extensions as they are shown."""

from __future__ import annotations

from sipwatch.views import extensions
from tests.sipwatch.watching import Watching


async def test_an_extension_in_short(site: Watching) -> None:
    site.registrar("hq", {"1001": True})
    assert await extensions.listed(site) == {
        "items": [
            {
                "key": "extension:hq/1001",
                "registrar": "hq",
                "name": "1001",
                "title": "Title 1001",
                "site": "",
                "state": "registered",
                "since": "2026-09-21T14:13:20.000Z",
                "cause": None,
                "loss": None,
                "contacts": 1,
                "incident": None,
                "paused": None,
                "required": False,
            }
        ],
        "next": None,
        "total": 1,
    }
