"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTHING = "–"  # an empty cell


def cell(text: str) -> str:
    """Text that stays in its cell; what looks like HTML is shown as it is."""
    flat = " ".join(text.split()).replace("|", "\\|")
    parts = flat.split("`")  # code takes care of itself
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts) or NOTHING


def code(text: str) -> str:
    """Text as code; nothing where there is none."""
    return f"`{text}`" if text else ""


def anchored(text: str, anchor: str) -> str:
    """Code that can be linked to."""
    return f"`{text}`{{ #{anchor} }}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; no text at all without rows."""
    lines = ["| " + " | ".join(cell(one) for one in row) + " |" for row in rows]
    if not lines:
        return ""
    above = [
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
    ]
    return "\n".join([*above, *lines]) + "\n"
