"""Is the status page there at once, at 2,000 and 20,000 extensions, and leaves it the
loop alone?

A daemon on paper serves it on a loop that tells its stalls; Debian's Chromium opens
it, opens the grid, and is told that a phone changed.

python -m bench.page 2000 20000
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from playwright.sync_api import Page, sync_playwright

from alerting.announcement import Transition
from alerting.store.database import Store
from alerting.store.reader import Reader
from bench.machine import bound
from bench.stalls import MeteredLoop
from checks.observation import State
from sipwatch.feed import Feed
from sipwatch.findings import Findings
from sipwatch.web.app import application
from sipwatch.web.listen import Listener, tcp_socket
from sipwatch.web.pages.shared import FRESH
from tests.browser.chromium import start_script
from tests.sipwatch.watching import Watching

SIZES = {2_000: 1.0, 20_000: 3.0}  # extensions: s until the first paint, at most
RENDERED = 0.2  # s of the server for one page
STALL = 0.02  # s of CPU for which the loop may not look at its sockets
UPDATE = 0.1  # s of the browser's main thread for one change
ROUNDS = 5  # of which the fastest counts: other processes only add
MARKED = "document.getElementById('extension:hq/{}')?.className === 'c {}'"


class Paper(Watching):
    """A daemon on paper, with what the pages ask of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.findings = Findings(self)
        self.store = Store.open(folder / "sipwatch.db")
        self.reader = Reader(self.store.path)
        self.feed = Feed(self, self.bus, lambda subject: False)

    def change(self, aor: str, old: State, new: State) -> None:
        """Announce that a phone changed."""
        extension = self.judges["hq"].extensions[aor]
        now = self.clock.now()
        self.bus.emit("transition", Transition(extension.subject, old, new, now, now))


def fetched(port: int, path: str) -> tuple[float, float, int]:
    """Seconds to the first and to the last byte of an answer, and its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    first = answer.read(1)
    at = time.perf_counter() - began
    rest = answer.read()
    connection.close()
    assert answer.status == 200, (path, answer.status, rest[:500])
    return at, time.perf_counter() - began, len(first) + len(rest)


def painted(page: Page) -> float:
    """Seconds from the start of a page to its first contentful paint."""
    page.wait_for_function(
        "performance.getEntriesByName('first-contentful-paint').length"
    )
    found = page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    return float(found) / 1000


def busy(page: Page, act: Callable[[], None], shown: str) -> float:
    """Seconds of the main thread from an act until all that it shows was drawn."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.wait_for_timeout(1500)  # what went before has come to rest
    before = spent(session)
    act()
    page.wait_for_function(shown)
    page.evaluate("new Promise((r) => requestAnimationFrame(() => setTimeout(r)))")
    return spent(session) - before


def spent(session: Any) -> float:
    """Seconds that the main thread of a page has worked so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


def look(site: Paper, port: int, loop: MeteredLoop, number: int) -> bool:
    """All that a browser does with it; whether every bound is held."""
    paths = ["/"] if number <= min(SIZES) else ["/", "/parts/cells?registrar=hq"]
    held = True
    loop.forget()
    held &= bound("first request of all", fetched(port, "/")[1], RENDERED, " s")
    held &= bound("its longest stall, CPU", loop.worst.cpu, STALL, " s")
    for path in paths:
        loop.forget()
        several = []
        for _ in range(ROUNDS):
            time.sleep(FRESH + 0.1)  # until the rendering before is not given again
            several.append(fetched(port, path))
        first, whole, size = min(several, key=lambda one: one[1])
        print(f"  {path}: {size / 1e6:.2f} MB, first byte {1000 * first:.0f} ms")
        held &= bound(f"{path} rendered", whole, RENDERED, " s")
        held &= bound(f"{path} longest stall, CPU", loop.worst.cpu, STALL, " s")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=start_script(Path(folder)), args=["--no-sandbox"]
        )
        page = browser.new_page(bypass_csp=True)
        page.goto(f"http://127.0.0.1:{port}/")
        held &= bound("first paint", painted(page), SIZES.get(number, 3.0), " s")
        page.locator("#live.on").wait_for()
        if number > min(SIZES):
            began = time.perf_counter()
            page.locator("details.place summary").first.click()
            page.wait_for_function(MARKED.format(100_001, "r"))
            page.evaluate("new Promise((r) => requestAnimationFrame(r))")
            opened = time.perf_counter() - began
            held &= bound("the grid opens", opened, SIZES.get(number, 3.0), " s")
        held &= _changes(site, page, loop)
        browser.close()
    return held


def _changes(site: Paper, page: Page, loop: MeteredLoop) -> bool:
    """One phone is lost: what the browser does for it."""
    took = []
    states = [State.REGISTERED, State.UNREGISTERED]
    for n in range(ROUNDS):
        old, new = states[n % 2], states[1 - n % 2]

        def change(old: State = old, new: State = new) -> None:
            loop.call_soon_threadsafe(site.change, "100001", old, new)

        shown = MARKED.format(100_001, "ur"[n % 2])
        took.append(busy(page, change, shown))
    return bound("main thread for one change", min(took), UPDATE, " s")


async def measured(number: int, loop: MeteredLoop, folder: Path) -> bool:
    """One size."""
    site = Paper(folder)
    aors = {f"{100_000 + n}": n % 10 != 0 for n in range(number)}
    site.registrar("hq", aors, rtt=0.0123)
    site.target("provider", "203.0.113.9")
    sock = tcp_socket("127.0.0.1:0")
    app = application(cast(Any, site), operate=True, people=NOBODY, feed=site.feed)
    listener = Listener(app, sock)
    listener.start()
    gc.collect()
    gc.freeze()  # as the daemon does
    try:
        port = sock.getsockname()[1]
        await asyncio.sleep(0.1)  # the turn in which all was made is over
        return await asyncio.to_thread(look, site, port, loop, number)
    finally:
        site.feed.close()
        await listener.close()
        site.close()
        site.reader.close()
        site.store.close()


NOBODY = cast(Any, object())  # nobody acts here


def main(numbers: list[int]) -> int:
    """Measure; 1 where a bound is missed."""
    held = True
    for number in numbers:
        print(f"  {number:,d} extensions")
        with (
            tempfile.TemporaryDirectory() as folder,
            asyncio.Runner(loop_factory=MeteredLoop) as runner,
        ):
            loop = runner.get_loop()
            assert isinstance(loop, MeteredLoop)
            held &= runner.run(measured(number, loop, Path(folder)))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]] or list(SIZES)))
