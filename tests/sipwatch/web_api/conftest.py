"""A real daemon on a simulated site, and its API over TCP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sipwatch.daemon import Daemon
from sipwatch.demo.site import Site
from tests.sipwatch.seen import seen, served
from tests.sipwatch.test_web import Answer, ask

PHONES = 5  # 1001 to 1005
WATCHED = """
registrars:
  hq:
    type: sip
    address: "sip:{registrar[0]}:{registrar[1]}"
    domain: demo.example.com
    interval: 2s
    extensions: {{file: {names}, required: ["1001"]}}
    site: lyon
targets:
  pbx: {{uri: "sip:{registrar[0]}:{registrar[1]}", role: pbx}}
  trunk: {{uri: "sip:{trunk[0]}:{trunk[1]}", min_interval: 15s, site: lyon}}
accounts:
  line: {{registrar: "sip:{registrar[0]}:{registrar[1]}", username: "1001",
         password: h1dden, domain: demo.example.com, mode: query}}
sites:
  lyon: {{timezone: Europe/Paris}}
schedules:
  office: {{timezone: Europe/Paris, hours: {{mon-sun: "00:00-24:00"}}}}
maintenance:
  upgrade: {{from: "2020-03-07 20:00", until: "2020-03-07 22:00", reason: a new PBX}}
rules:
  ExtensionUnregistered: {{for: 1s, keep_firing_for: 1s}}
"""


@dataclass
class Api:
    """A daemon that is asked over HTTP, as somebody who may operate or only read."""

    daemon: Daemon
    site: Site
    operate: int  # ports
    read: int

    async def get(self, path: str) -> Any:
        """The JSON of an answer."""
        answer = await ask(self.read, path)
        assert answer.status == 200, (path, answer.body)
        return json.loads(answer.body)

    async def refused(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and sentence of a refusal."""
        answer = await ask(self.operate, path, method)
        return answer.status, json.loads(answer.body)["detail"]

    async def post(
        self, path: str, body: Any = None, *, method: str = "POST", port: int = 0
    ) -> Answer:
        """Do something."""
        more = {} if body is None else {"Content_Type": "application/json"}
        content = b"" if body is None else json.dumps(body).encode()
        return await ask(port or self.operate, path, method, content, **more)


def rows(site: Site) -> list[str]:
    """The names of the phones, and of one that nobody has."""
    return [*(f"{user},Phone {user},lyon" for user in site.phones), "1009,Nobody,"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """Everything is well, and read once."""
    async with (
        seen(tmp_path, WATCHED, rows, phones=PHONES, expires=10) as (daemon, site),
        served(daemon, operate=True) as operate,
        served(daemon) as read,
    ):
        yield Api(daemon, site, operate, read)
