"""A real daemon on a simulated site, and its pages over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sipwatch.daemon import Daemon
from sipwatch.demo.site import Site
from tests.sipwatch.seen import incident_of, seen, served
from tests.sipwatch.test_web import Answer, ask

PHONES = 6  # 1001 to 1006
WATCHED = """
registrars:
  hq:
    type: sip
    address: "sip:{registrar[0]}:{registrar[1]}"
    domain: demo.example.com
    interval: 1s
    extensions: {{file: {names}, required: ["1001"]}}
targets:
  provider:
    uri: "sip:{trunk[0]}:{trunk[1]}"
    interval: 1s
    confirm: 200ms
    timeout: 500ms
sites:
  lyon: {{timezone: Europe/Paris}}
  paris: {{timezone: Europe/Paris}}
schedules:
  office: {{timezone: Europe/Paris, hours: {{mon-sun: "00:00-24:00"}}}}
  winter:
    timezone: Europe/Paris
    hours: {{mon-sun: "00:00-24:00"}}
    exceptions: {{{begin}..{end}: closed}}
maintenance:
  upgrade: {{from: "2020-03-07 20:00", until: "2120-03-07 22:00", reason: a new PBX,
             match: {{site: nowhere}}}}
  past: {{from: "2020-03-07 20:00", until: "2020-03-07 22:00", reason: the old PBX}}
rules:
  ExtensionUnregistered: {{for: 1s, keep_firing_for: 1s}}
  OptionsFailing: {{for: 1s}}
"""


@dataclass
class Pages:
    """A daemon that is looked at by somebody who may operate or only read."""

    daemon: Daemon
    site: Site
    operate: int  # ports
    read: int

    async def get(self, path: str, *, port: int = 0) -> Answer:
        """A page."""
        return await ask(port or self.operate, path)

    async def text(self, path: str, *, port: int = 0) -> str:
        """The HTML of a page that there is."""
        answer = await self.get(path, port=port)
        assert answer.status == 200, (path, answer.body)
        return answer.body.decode()

    async def post(self, path: str, *, port: int = 0, **fields: str) -> Answer:
        """Press a button."""
        body = urlencode(fields).encode()
        kind = "application/x-www-form-urlencoded"
        return await ask(port or self.operate, path, "POST", body, Content_Type=kind)

    async def incident(self, key: str) -> int:
        """The number of the incident of a subject, once it is open."""
        return await incident_of(self.daemon, key)


def rows(site: Site) -> list[str]:
    """The names of the phones: every other one in Lyon; and of one that nobody has."""
    named = (
        f"{user},Phone {user},{'paris' if int(user) % 2 else 'lyon'}"
        for user in site.phones
    )
    return [*named, "1009,Nobody <b>,lyon"]


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    """Everything is well, and read once."""
    today = datetime.now(UTC).date()
    winter = {
        "begin": today - timedelta(days=2),  # in whatever zone
        "end": today + timedelta(days=200),
    }
    async with (
        seen(tmp_path, WATCHED, rows, phones=PHONES, expires=5, **winter) as (
            daemon,
            site,
        ),
        served(daemon, operate=True) as operate,
        served(daemon) as read,
    ):
        yield Pages(daemon, site, operate, read)
