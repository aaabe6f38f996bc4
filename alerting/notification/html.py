"""The HTML part of a notification: readable on a phone, by day and by night.

Inline CSS only, for that is what mail programs keep. No colour is set on text or
ground, so that dark mode can do its work; only the bar at the left has one.
"""

from __future__ import annotations

from html import escape
from typing import Protocol

COLORS = {  # each legible on white and on black
    "critical": "#d32f2f",
    "warning": "#ef6c00",
    "info": "#1e88e5",
    "resolved": "#43a047",
}
OWN_LINKS = ("runbook", "take it")  # rows that hold nothing but an address of ours
_LABEL = "padding:2px 12px 2px 0;opacity:.7;white-space:nowrap;vertical-align:top"
_VALUE = "padding:2px 0;overflow-wrap:anywhere"


class Told(Protocol):
    """What a page needs of a story."""

    lead: str
    rows: list[tuple[str, list[str]]]
    listing: list[str]
    footer: list[str]
    color: str


def page(title: str, story: Told) -> str:
    """The whole document; every text is escaped here."""
    bar = COLORS.get(story.color, COLORS["info"])
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="supported-color-schemes" content="light dark">'
        f"<title>{escape(title)}</title></head>\n"
        '<body style="margin:0;padding:12px;font:16px/1.45 sans-serif">\n'
        f'<div style="border-left:4px solid {bar};padding-left:12px;max-width:46em">\n'
        f'<p style="margin:0 0 12px;font-weight:bold">{escape(story.lead)}</p>\n'
        f"{_rows(story.rows)}{_listing(story.listing)}"
        f'<p style="margin:16px 0 0;font-size:13px;opacity:.7">'
        f"{' · '.join(_linked(part) for part in story.footer)}</p>\n"
        "</div></body></html>\n"
    )


def _rows(rows: list[tuple[str, list[str]]]) -> str:
    cells = "".join(
        f'<tr><td style="{_LABEL}">{escape(label)}</td>'
        f'<td style="{_VALUE}">{_cell(label, lines)}</td></tr>\n'
        for label, lines in rows
    )
    return f'<table role="presentation" cellspacing="0">\n{cells}</table>\n'


def _cell(label: str, lines: list[str]) -> str:
    # Only our own addresses become links; one from the network stays text.
    shown = _linked if label in OWN_LINKS else escape
    return "<br>".join(shown(line) for line in lines)


def _listing(lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
    return f'<ul style="margin:12px 0 0;padding-left:20px">\n{items}</ul>\n'


def _linked(value: str) -> str:
    """A link if all of it is a web address (ours, from the configuration)."""
    shown = escape(value)
    if value.startswith(("https://", "http://")) and " " not in value:
        return f'<a href="{shown}">{shown}</a>'
    return shown
