"""The reference pages, made of the running code when the site is built.

They are never committed: what a page says is what the code has. `PAGES` names each
page by its path in the site, with what makes its Markdown.
"""

from __future__ import annotations

from collections.abc import Callable

from docs.generate import api, causes, commands, keys, metrics, rules

PAGES: dict[str, Callable[[], str]] = {
    "reference/configuration.md": keys.page,
    "reference/rules.md": rules.page,
    "reference/causes.md": causes.page,
    "reference/metrics.md": metrics.page,
    "reference/commands.md": commands.page,
    "reference/api.md": api.page,
}
