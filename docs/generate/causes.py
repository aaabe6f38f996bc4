"""Every cause and every sentence of a diagnosis: the table of the README, whole."""

from __future__ import annotations

import re
from pathlib import Path

from alerting.notification.twilio import CODES
from docs.generate.tables import table

ROOT = Path(__file__).parents[2]
HEADING = "## Diagnoses\n"
TWILIO = """
## What Twilio reports

A code of Twilio is told as `twilio_<code>`, with these words. Which codes count, and
which only from three failed calls on, is said under
[`twilio`](configuration.md#twilio).

"""


def section(readme: str) -> str:
    """What stands under `Diagnoses` in the README, without its heading."""
    text = readme.partition(HEADING)[2]
    if not text:
        raise ValueError(f"README.md has no heading {HEADING.strip()}")
    return re.split(r"(?m)^## ", text)[0].strip() + "\n"


def page() -> str:
    """The page of all causes."""
    text = section((ROOT / "README.md").read_text(encoding="utf-8"))
    text = re.sub(r"\]\(docs/([\w/-]+\.md)", r"](../\1", text)
    # Tables are Markdown inside of what folds only where the site is told so.
    text = text.replace("<details>", '<details markdown="1">')
    codes = [(f"`twilio_{code}`", w.words, w.step) for code, w in sorted(CODES.items())]
    named = table(("cause", "what it means", "next step"), codes)
    return f"# Causes and next steps\n\n{text}{TWILIO}{named}"
