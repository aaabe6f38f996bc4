"""A page of sections, as Markdown, HTML and JSON; what is shown may be hostile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

from checks.observation import plain

TEXT_LIMIT = 500  # characters of one value
# What Markdown or the HTML in it could make something else of.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_STYLE = (
    "body{font:16px/1.45 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}"
    "td,th{border:1px solid #8886;padding:.25em .6em;text-align:left;"
    "vertical-align:top;overflow-wrap:break-word}th{white-space:nowrap}"
)


@dataclass(slots=True)
class Entry:
    """One thing, by its name and what is known of it."""

    name: str
    rows: list[tuple[str, str]] = field(default_factory=list)

    def row(self, label: str, value: object) -> None:
        """Add what is known; what is not takes no line."""
        if value not in (None, ""):
            self.rows.append((label, plain(str(value), TEXT_LIMIT)))


@dataclass(slots=True)
class Section:
    """Things of one kind: each for itself, or many as the rows of a table."""

    title: str
    entries: list[Entry] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    table: list[tuple[str, ...]] = field(default_factory=list)
    more: int = 0  # rows that are left out
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.entries or self.table or self.note)


@dataclass(slots=True)
class Page:
    """The whole of it."""

    title: str
    lines: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "title": self.title,
            "lines": self.lines,
            "sections": [
                {
                    "title": section.title,
                    "note": section.note,
                    "entries": [
                        {"name": e.name, **dict(e.rows)} for e in section.entries
                    ],
                    "table": [
                        dict(zip(section.columns, row, strict=True))
                        for row in section.table
                    ],
                    "more": section.more,
                }
                for section in self.sections
                if section
            ],
        }


def markdown(page: Page) -> str:
    """The page as CommonMark with tables."""
    return "\n".join(_markdown(page)) + "\n"


def _markdown(page: Page) -> Iterator[str]:
    yield f"# {_marked(page.title)}"
    yield ""
    for line in page.lines:
        yield _marked(line)
        yield ""
    for section in filter(None, page.sections):
        yield f"## {_marked(section.title)}"
        yield ""
        if section.note:
            yield _marked(section.note)
            yield ""
        for entry in section.entries:
            yield f"### {_marked(entry.name)}"
            yield ""
            for label, value in entry.rows:
                yield f"- {_marked(label)}: {_marked(value)}"
            yield ""
        if section.table:
            yield _row(section.columns)
            yield _row("---" for _ in section.columns)
            yield from (_row(map(_marked, row)) for row in section.table)
            yield ""
        if section.more:
            yield f"and {section.more} more"
            yield ""


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _marked(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", plain(text, TEXT_LIMIT))


def html(page: Page) -> str:
    """The page as HTML without script, picture or anything from elsewhere."""
    title = escape(page.title)
    head = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>"
    )
    return "\n".join([head, *_html(page), "</body></html>", ""])


def _html(page: Page) -> Iterator[str]:
    yield from (f"<p>{_safe(line)}</p>" for line in page.lines)
    for section in filter(None, page.sections):
        yield f"<h2>{_safe(section.title)}</h2>"
        if section.note:
            yield f"<p>{_safe(section.note)}</p>"
        for entry in section.entries:
            yield f"<h3>{_safe(entry.name)}</h3>\n<table>"
            for label, value in entry.rows:
                yield f"<tr><th>{_safe(label)}</th><td>{_safe(value)}</td></tr>"
            yield "</table>"
        if section.table:
            head = "".join(f"<th>{_safe(one)}</th>" for one in section.columns)
            yield f"<table><tr>{head}</tr>"
            for row in section.table:
                cells = "".join(f"<td>{_safe(cell)}</td>" for cell in row)
                yield f"<tr>{cells}</tr>"
            yield "</table>"
        if section.more:
            yield f"<p>and {section.more} more</p>"


def _safe(text: str) -> str:
    return escape(plain(text, TEXT_LIMIT))
