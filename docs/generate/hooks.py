"""What MkDocs calls: the generated pages join the written ones."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.generate import PAGES

# A picture of the page, in a line of its own; some schemes have one of their own.
PICTURE = re.compile(r"(?m)^!\[[^\]]*\]\((screenshots/[\w-]+\.png)(?:#[\w-]+)?\)\n")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made of the code."""
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Leave out pictures of the page that a test run has not taken yet."""

    def kept(found: re.Match[str]) -> str:
        return found[0] if files.get_file_from_path(found[1]) else ""

    return PICTURE.sub(kept, markdown)
