"""A real browser on the pages of a real daemon, which watches a simulated site."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from sipwatch.daemon import Daemon
from sipwatch.demo.site import Site
from sipwatch.web.doors import Doors
from tests.browser.chromium import start_script
from tests.sipwatch.seen import incident_of, seen, served

expect.set_options(timeout=30_000)  # ms, on a machine that does a lot beside
PHONES = 40
NAMES = (
    *("Reception", "Anna Weber", "Marc Petit", "Workshop", "Store", "Kitchen"),
    *("Meeting room", "Paul Noir", "Lea Braun", "Door", "Fax", "Sales", "Support"),
    *("Laboratory", "Gate", "Warehouse", "Night desk", "Ines Roy", "Hall", "Canteen"),
)
WATCHED = """
sites:
  lyon: {{timezone: Europe/Paris}}
  paris: {{timezone: Europe/Paris}}
registrars:
  hq:
    type: sip
    address: "sip:{registrar[0]}:{registrar[1]}"
    domain: demo.example.com
    interval: 1s
    extensions: {{file: {names}, required: ["1001"]}}
targets:
  pbx: {{uri: "sip:{registrar[0]}:{registrar[1]}", role: pbx, site: paris}}
  provider:
    uri: "sip:{trunk[0]}:{trunk[1]}"
    interval: 1s
    confirm: 200ms
    timeout: 500ms
rules:
  ExtensionUnregistered: {{for: 1s, keep_firing_for: 1s}}
  OptionsFailing: {{for: 1s}}
"""


@dataclass
class Looking:
    """A browser on a site: what its pages complained of, and whom they asked."""

    daemon: Daemon
    site: Site
    browser: Browser
    url: str
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    async def open(self, path: str = "/", **options: Any) -> Page:
        """A page in a window of its own, live."""
        context = await self.browser.new_context(base_url=self.url, **options)
        page = await context.new_page()
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))
        await page.goto(path)
        await page.locator("#live.on").wait_for(timeout=60_000)
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    async def incident(self, key: str) -> int:
        """The number of the incident of a subject, once it is open."""
        return await incident_of(self.daemon, key)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Debian's Chromium, one for all tests; each has windows of its own."""
    script = start_script(tmp_path_factory.mktemp("chromium"))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=script, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


def rows(site: Site) -> list[str]:
    """The names of the phones: a third in Lyon; and of one that nobody has."""
    named = (
        f"{user},{NAMES[n % len(NAMES)]},{'lyon' if n % 3 == 0 else 'paris'}"
        for n, user in enumerate(site.phones)
    )
    return [*named, "1990,Spare phone,lyon"]


@pytest_asyncio.fixture(loop_scope="session")
async def looking(browser: Browser, tmp_path: Path) -> AsyncIterator[Looking]:
    """Everything is well, and read once."""
    async with seen(tmp_path, WATCHED, rows, phones=PHONES, expires=5) as (
        daemon,
        site,
    ):
        doors = Doors(daemon.config.web)
        async with served(daemon, doors=doors, feed=daemon.feed) as port:
            yield Looking(daemon, site, browser, f"http://127.0.0.1:{port}")
            for window in browser.contexts:
                await window.close()
            daemon.feed.close()  # who follows it is let go, as at the daemon's end
