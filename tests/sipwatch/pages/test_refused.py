"""A browser is refused by a page, a program by JSON."""

from __future__ import annotations

import pytest

from tests.sipwatch.pages.conftest import Pages
from tests.sipwatch.test_access import GUARDED, serving
from tests.sipwatch.test_web import ask

BROWSER = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("path", ["/nosuch", "/grid?site=nosuch", "/parts/nosuch"])
async def test_what_there_is_not_is_a_page_for_a_browser(
    pages: Pages, path: str
) -> None:
    answer = await ask(pages.read, path, Accept=BROWSER)
    assert answer.status == 404
    assert "<h1>Not found</h1>" in answer.body.decode()
    assert 'role="search"' in answer.body.decode()
    told = await ask(pages.read, path, Accept="*/*")
    assert (told.status, told.headers["content-type"]) == (404, "application/json")
    for programs in ("/api/v1/nosuch", "/api/v1/incidents/99"):
        answer = await ask(pages.read, programs, Accept=BROWSER)
        assert answer.headers["content-type"] == "application/json"


async def test_who_may_not_is_told_so_by_a_page(pages: Pages) -> None:
    path = "/t/target:provider/verify"
    answer = await ask(pages.read, path, "POST", Accept=BROWSER)
    assert answer.status == 403
    assert "<h1>Not allowed</h1>" in answer.body.decode()


async def test_who_does_not_log_in_reads_what_to_do() -> None:
    async with serving(GUARDED) as port:
        answer = await ask(port, "/", Accept=BROWSER)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "<h1>Log in</h1>" in answer.body.decode()
        assert "Load this page again" in answer.body.decode()
        told = await ask(port, "/")
        assert (told.status, told.headers["content-type"]) == (401, "application/json")
