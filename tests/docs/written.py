"""What people read of sipwatch: the README, the pages of docs/, their blocks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
_BLOCK = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^\1```$")


def pages() -> list[Path]:
    """The README and every written page."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path, language: str) -> Iterator[str]:
    """The code blocks of a page that are in this language."""
    for _, of, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if of == language:
            yield textwrap.dedent(text)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))
