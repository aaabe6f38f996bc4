"""The page in a real browser: what happens shows at once, and buttons do as told."""

from __future__ import annotations

import asyncio
import os
import re
import time
from dataclasses import dataclass
from math import sin
from pathlib import Path
from zlib import crc32

import pytest
from playwright.async_api import Page, expect

from alerting.announcement import Transition
from alerting.store.points import HOUR, MINUTE, Point, packed
from alerting.store.rows import Charted, MinutesRow
from tests.browser import axe
from tests.browser.conftest import Looking
from tests.servers import eventually

PROMPT = 2.0  # s from what the daemon knows to what the page shows
PATIENCE = 30_000  # ms, on a machine that does a lot beside
SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SERIOUS = ("serious", "critical")

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),  # of the browser that they share
    pytest.mark.xdist_group("browser"),
]


def well(looking: Looking) -> None:
    """Nothing was complained of, and nobody else was asked."""
    assert looking.complaints == []
    elsewhere = [url for url in looking.asked if not url.startswith(looking.url + "/")]
    assert elsewhere == []


# What a page shows is noted when it changes, by the clock that the daemon has as well.
WATCH = """() => {
  const parts = {
    cell: () => document.getElementById("extension:hq/1004").className,
    badge: () => document.querySelector("#badge h1").textContent,
  };
  const last = {};
  window.shown = [];
  const look = () => {
    for (const [name, read] of Object.entries(parts)) {
      const value = read();
      if (last[name] === value) continue;
      last[name] = value;
      window.shown.push([name, value, Date.now() / 1000]);
    }
  };
  look();
  new MutationObserver(look).observe(document.documentElement,
    { subtree: true, childList: true, attributes: true, characterData: true });
}"""


@dataclass
class Clock:
    """When the daemon knew something, and when the page showed it."""

    page: Page
    known: dict[str, list[float]]

    @classmethod
    async def of(cls, page: Page, looking: Looking) -> Clock:
        """Begin to look at a page."""
        clock, bus = cls(page, {"cell": [], "badge": []}), looking.daemon.bus

        def changed(one: Transition) -> None:
            if one.subject.key == "extension:hq/1004":
                clock.known["cell"].append(time.time())

        bus.on("transition", changed)
        for name in ("opened", "resolved"):
            bus.on(name, lambda one: clock.known["badge"].append(time.time()))
        await page.evaluate(WATCH)
        return clock

    async def took(self, name: str, values: list[str]) -> list[float]:
        """Seconds from each change to what the page had for it."""
        shown = await self.page.evaluate("window.shown")
        found = [row for row in shown if row[0] == name][1:]  # the first is as it was
        assert [value for _, value, _ in found] == values
        known = self.known[name]
        return [at - told for (_, _, at), told in zip(found, known, strict=True)]


async def test_a_phone_that_dies_shows_without_a_reload_in_two_seconds(
    looking: Looking,
) -> None:
    page = await looking.open()
    await expect(page).to_have_title("well · watcher.example.com")
    cell = page.locator('[id="extension:hq/1004"]')
    await expect(cell).to_have_class("c r")
    await page.evaluate("window.stays = true")
    clock = await Clock.of(page, looking)
    looking.site.phones["1004"].die()
    number = await looking.incident("extension:hq/1004")
    await expect(cell).to_have_class("c u", timeout=PATIENCE)
    article = page.locator(f"#incident-{number}")
    await expect(article).to_contain_text("1004 Workshop is unregistered")
    await expect(page.locator("#badge h1")).to_have_text("1 warning open")
    await expect(page).to_have_title("1 warning · watcher.example.com")
    icon = await page.locator("#icon").get_attribute("href")
    assert icon is not None
    assert icon.startswith("/static/mark-warning.svg")
    assert await cell.get_attribute("aria-label") == "1004 Workshop: unregistered"
    await expect(page.locator("#said")).to_contain_text("1004 Workshop")
    assert await page.evaluate("window.stays")
    await looking.site.add("1004")
    await expect(cell).to_have_class("c r", timeout=PATIENCE)
    await expect(page.locator("#badge h1")).to_have_text(
        "All is well", timeout=PATIENCE
    )
    await expect(article).to_have_count(0)
    # The faster of two each: other processes only add.
    assert min(await clock.took("cell", ["c u", "c r"])) < PROMPT
    assert min(await clock.took("badge", ["1 warning open", "All is well"])) < PROMPT
    well(looking)


async def test_an_incident_is_taken_and_silenced(looking: Looking) -> None:
    page, other = await looking.open(), await looking.open()
    looking.site.trunk.silent = True
    number = await looking.incident("target:provider")
    article = page.locator(f"#incident-{number}")
    await article.get_by_text("Acknowledge").click(timeout=PATIENCE)
    await article.get_by_label("Your name").first.fill("anna")
    await article.get_by_label("What you do about it").fill("the provider is called")
    await article.get_by_role("button", name="Take it").click()
    await expect(page.get_by_text("It is yours now")).to_be_visible()
    for one in (page, other):
        await expect(one.locator(f"#incident-{number}")).to_contain_text(
            "anna is on it: the provider is called", timeout=PATIENCE
        )
    (incident,) = looking.daemon.alarms.incidents
    assert incident.acknowledged_by == "anna"
    await article.get_by_text("Silence", exact=False).first.click()
    assert await article.get_by_label("Your name").input_value() == "anna"
    await article.get_by_label("Reason").fill("work at the provider's")
    await article.get_by_role("button", name="Silence it").click()
    await expect(page.get_by_text("It is silenced.")).to_be_visible()
    (silence,) = looking.daemon.alarms.muting.silences.values()
    assert list(map(str, silence.matchers)) == ["target=provider"]
    await expect(other.locator("#silences")).to_contain_text(
        "target=provider", timeout=PATIENCE
    )
    well(looking)


async def test_search_leads_to_a_phone_and_its_ladder(looking: Looking) -> None:
    looking.site.phones["1007"].die()
    await looking.incident("extension:hq/1007")
    page = await looking.open()
    await page.keyboard.press("/")
    await page.keyboard.type("1007")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/e/extension:hq/1007")
    await expect(page.locator("h1")).to_have_text(re.compile("1007 Meeting room"))
    # Where packets are captured they are drawn, else what the registrar told.
    await expect(page.locator(".arrow").first).to_be_visible()
    boxes = [await one.bounding_box() for one in await page.locator(".arrow").all()]
    assert all(box and box["width"] > 40 for box in boxes)
    looking.site.trunk.silent = True
    number = await looking.incident("target:provider")
    await eventually(lambda: number in looking.daemon.gathering.kept, 40, "an exchange")
    trunk = await looking.open("/t/target:provider")
    await trunk.locator(".ladder summary").first.click()
    await expect(trunk.locator(".ladder pre").first).to_contain_text("Max-Forwards")
    well(looking)


async def test_the_page_is_read_without_scripts(looking: Looking) -> None:
    looking.site.phones["1004"].die()
    number = await looking.incident("extension:hq/1004")
    context = await looking.browser.new_context(
        base_url=looking.url, java_script_enabled=False
    )
    page = await context.new_page()
    await page.goto("/")
    await expect(page.locator(f"#incident-{number}")).to_be_visible()
    await page.locator('[id="extension:hq/1004"]').click()
    await expect(page.locator("h1")).to_contain_text("1004 Workshop")
    await page.locator("summary.button").first.click()
    form = page.locator(f'form[action="/i/{number}/acknowledge"]')
    await page.get_by_text("Acknowledge").first.click()
    await form.locator("[name=by]").fill("anna")
    await form.get_by_role("button").click()
    await expect(page.get_by_text("It is yours now")).to_be_visible()


async def test_all_can_be_done_by_the_keyboard(looking: Looking) -> None:
    page = await looking.open()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await page.locator('[id="extension:hq/1001"]').focus()
    await page.keyboard.press("ArrowRight")
    assert await page.evaluate("document.activeElement.id") == "extension:hq/1004"
    await page.keyboard.press("End")
    assert await page.evaluate("document.activeElement.id") == "extension:hq/1990"
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/e/extension:hq/1990")
    well(looking)


async def faults(page: Page, script: Path, options: str) -> list[str]:
    """What axe finds serious or critical."""
    await page.add_script_tag(path=script)
    found = await page.evaluate(f"axe.run({options})")
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"][:3]
    ]


async def test_no_page_has_a_serious_fault_for_who_cannot_see_it(
    looking: Looking,
) -> None:
    script, why = axe.script()
    if script is None:
        pytest.skip(why)
    looking.site.phones["1007"].die()
    looking.site.trunk.silent = True
    await looking.incident("extension:hq/1007")
    number = await looking.incident("target:provider")
    await eventually(lambda: number in looking.daemon.gathering.kept, 40, "an exchange")
    for path in (
        *("/", "/e/extension:hq/1007", "/t/target:provider", f"/i/{number}"),
        *("/search?q=sales", "/incidents", "/grid?site=lyon"),
    ):
        page = await looking.open(path, color_scheme="light", bypass_csp=True)
        assert await faults(page, script, "") == [], path
        await page.emulate_media(color_scheme="dark")
        dark = await faults(page, script, "{runOnly: ['color-contrast']}")
        assert dark == [], path


async def yesterday(looking: Looking, key: str, rtt: float) -> None:
    """A day of round trips, as if the subject had been watched for longer."""
    now = int(time.time())
    hours: dict[int, list[Point]] = {}
    for at in range(now - now % MINUTE - 24 * HOUR, now - now % MINUTE, MINUTE):
        odd = crc32(b"%d" % at) / 2**32
        slow = rtt * (1 + 0.3 * sin(at / 9000) + 0.3 * odd + 2 * (odd > 0.99))
        point = Point(at, 4, odd < 0.004, slow * 0.8, slow, slow * 1.2)
        hours.setdefault(at // HOUR, []).append(point)
    rows = [MinutesRow(hour, key, packed(points)) for hour, points in hours.items()]
    loop, kept = asyncio.get_running_loop(), asyncio.Event()

    def done(error: Exception | None) -> None:
        loop.call_soon_threadsafe(kept.set)

    looking.daemon.store.note([Charted(key, max(hours)), *rows], done)
    await kept.wait()


async def test_it_looks_as_it_is_shown_in_the_documentation(looking: Looking) -> None:
    await yesterday(looking, "target:provider", 0.021)
    await yesterday(looking, "target:pbx", 0.0006)
    looking.site.phones["1007"].die()
    looking.site.phones["1016"].die()
    looking.site.trunk.silent = True
    await looking.incident("extension:hq/1007")
    await looking.incident("extension:hq/1016")
    number = await looking.incident("target:provider")
    await eventually(lambda: number in looking.daemon.gathering.kept, 40, "an exchange")
    for name, path, size, scheme in (
        ("overview-light", "/", WIDE, "light"),
        ("overview-dark", "/", WIDE, "dark"),
        ("overview-phone", "/", PHONE, "light"),
        ("extension", "/e/extension:hq/1007", WIDE, "light"),
        ("trunk", "/t/target:provider", WIDE, "light"),
        ("incident", f"/i/{number}", WIDE, "dark"),
        ("incident-phone", f"/i/{number}", PHONE, "dark"),
    ):
        page = await looking.open(path, viewport=size, color_scheme=scheme)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], f"{path} is scrolled sideways"
        if os.environ.get("SIPWATCH_SCREENSHOTS"):
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=SCREENSHOTS / f"{name}.png")
    well(looking)
