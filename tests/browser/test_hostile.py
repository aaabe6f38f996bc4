"""What a stranger may have a PBX, a phone or a colleague say, on every page."""

from __future__ import annotations

import time
from itertools import cycle
from urllib.parse import quote

import pytest
from playwright.async_api import Dialog, Page, expect

from checks.sip.message import Request, Response
from sipwatch.demo.peer import answer
from sipwatch.demo.site import Bound
from tests.browser.conftest import Looking
from tests.browser.test_page import PHONE, WIDE, well

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("browser"),
]

STRINGS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea></pre><svg onload=alert(1)>",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe\u2066",
    "{{ 77 * 91 }}",
)
LONG = "x" * 10_000
ALL = " ".join(STRINGS)
# Nothing of this is on any page of ours.
FOREIGN = (
    "script:not([src]), img, iframe, object, embed, [onerror], [onload], [onmouseover]"
)
NEVER = ("\x1b", "\u202e", "\u2066", "7007")


async def spoiled(looking: Looking) -> int:
    """Let everybody say it, and the incident of that."""

    strings = cycle(STRINGS)  # each is cut, and of several the first is seen

    def no(request: Request, source: tuple[str, int]) -> Response:
        said = answer(request, 503, f"{next(strings)} {LONG[:2000]}", source)
        said.headers.set("Server", f"{next(strings)} {LONG}")
        return said

    site = looking.site
    contact = f"sip:1004@127.0.0.1:9;x={quote(ALL)};y={LONG[:500]}"
    site.registrar.bindings["1004"][contact] = Bound(
        contact, time.monotonic() + 600, ""
    )
    site.trunk.respond = no  # type: ignore[method-assign]
    return await looking.incident("target:provider")


async def harmless(page: Page, width: int, path: str) -> None:
    """It is shown as text, in the place that it has."""
    assert await page.locator(FOREIGN).count() == 0, path
    text = await page.locator("body").inner_text()
    assert not [one for one in NEVER if one in text], path
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{path} is scrolled sideways"


async def test_no_string_of_a_stranger_does_anything(looking: Looking) -> None:
    number = await spoiled(looking)
    dialogs: list[str] = []

    async def heard(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        await dialog.dismiss()

    page = await looking.open(f"/i/{number}")
    page.on("dialog", heard)
    await page.get_by_text("Acknowledge").first.click()
    form = page.locator(f'form[action="/i/{number}/acknowledge"]')
    await form.locator("[name=by]").fill(ALL[:90])
    await form.locator("[name=note]").fill(ALL[:290])
    await form.get_by_role("button").click()
    await expect(page.get_by_text("It is yours now")).to_be_visible()
    await page.locator("summary.button", has_text="Silence").first.click()
    form = page.locator('form[action="/silences"]').first
    await form.locator("[name=author]").fill(ALL[:90])
    await form.locator("[name=reason]").fill(ALL[:290])
    await form.get_by_role("button").click()
    await expect(page.get_by_text("It is silenced.")).to_be_visible()
    asked = quote(f"{ALL}"[:128])
    for path in (
        *("/", f"/i/{number}", "/t/target:provider", "/e/extension:hq/1004"),
        *("/incidents", f"/incidents?q={asked}", f"/search?q={asked}"),
    ):
        for size in (WIDE, PHONE):
            page = await looking.open(path, viewport=size)
            page.on("dialog", heard)
            await harmless(page, size["width"], path)
    assert dialogs == []
    well(looking)
