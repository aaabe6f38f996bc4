"""The built site: no warning, no dead link or anchor, and nothing of another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.generate import PAGES
from tests.docs.written import DOCS, ROOT

# What a browser fetches by itself, and where it names it.
FETCHED = {
    "audio": "src",
    "embed": "src",
    "form": "action",
    "iframe": "src",
    "image": "href",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "use": "href",
    "video": "src",
}
IN_CSS = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"](\S+)['\"]")


class Page(HTMLParser):
    """What a page fetches, where its links lead, and which anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if "id" in named:
            self.anchors.add(named["id"])
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if found := named.get(FETCHED.get(tag, "")):
            self.fetched.append(found)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return site


@pytest.fixture(scope="session")
def site(built: Path) -> dict[Path, Page]:
    """Every page by its path."""
    return {file: Page(file.read_text()) for file in built.rglob("*.html")}


def local(page: Path, link: str) -> tuple[Path, str] | None:
    """The file and the anchor that a link of a page leads to, inside the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return file, unquote(parts.fragment)


@pytest.mark.xdist_group("site")
def test_every_page_is_built_and_nothing_of_how(built: Path) -> None:
    written = {str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")}
    for page in written | set(PAGES):
        assert (built / page).with_suffix(".html").is_file(), page
    assert list(built.rglob("*.py")) == []


@pytest.mark.xdist_group("site")
def test_every_link_and_anchor_of_the_site_holds(site: dict[Path, Page]) -> None:
    dead = []
    for file, page in site.items():
        if file.name == "404.html":  # its links begin at the root of the server
            continue
        for link in page.links:
            if found := local(file, link):
                target, anchor = found
                known = site[target].anchors if target in site else set()
                if not target.exists() or (anchor and anchor not in known):
                    dead.append((file.name, link))
    assert dead == []


def elsewhere(built: Path, site: dict[Path, Page]) -> Iterator[str]:
    """All that a browser would ask another host for."""
    for page in site.values():
        yield from (one for one in page.fetched if urlsplit(one).netloc)
    for kind in ("css", "svg", "html"):
        for file in built.rglob(f"*.{kind}"):
            for found in IN_CSS.findall(file.read_text()):
                yield from (one for one in found if urlsplit(one).netloc)


@pytest.mark.xdist_group("site")
def test_the_site_asks_no_other_host(built: Path, site: dict[Path, Page]) -> None:
    assert list(elsewhere(built, site)) == []


@pytest.mark.xdist_group("site")
def test_no_page_has_what_makes_its_script_ask_another_host(
    site: dict[Path, Page], built: Path
) -> None:
    """Material's script knows where diagrams, formulas and stars of a repository come
    from; no page has one of these."""
    assert site
    for file in built.rglob("*.html"):
        text = file.read_text()
        assert 'class="mermaid"' not in text
        assert 'data-md-component="source"' not in text
        assert "arithmatex" not in text
