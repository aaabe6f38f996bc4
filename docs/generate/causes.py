"""Every cause and every sentence of a diagnosis: the tables of the README, whole, and
what is found of somebody who cannot be called."""

from __future__ import annotations

import re
from pathlib import Path

from alerting.notification.twilio import CODES
from checks.cause.row import Row
from checks.cause.table import TABLE
from docs.generate.tables import code, table

ROOT = Path(__file__).parents[2]
HEADING = "## Diagnoses\n"
CALLS = """
## Why somebody cannot be called

What is found of a phone that answers 480, or that nobody reaches, in the order in which
it is looked for: the first that fits is told, with how sure it is. Capitals stand for
what is filled in, `...` for what may follow.

"""
FILLED = re.compile(r"(?<=[\w}])(?:\{\w+\})+|\{(\w+)\}")
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


def shown(sentence: str) -> str:
    """A sentence as a reader sees it: what is filled in by its name, in capitals; what
    may follow a word, as three dots."""
    return FILLED.sub(lambda found: (found[1] or " ...").upper(), sentence)


def of_a_call(row: Row) -> tuple[str, str, str, str]:
    """A row of what is found of somebody who cannot be called."""
    steps = "; ".join(shown(step) for step in row.steps)
    return shown(row.sentence), code(row.cause or ""), row.confidence, steps


def page() -> str:
    """The page of all causes."""
    text = section((ROOT / "README.md").read_text(encoding="utf-8"))
    text = re.sub(r"\]\(docs/([\w/-]+\.md)", r"](../\1", text)
    # Tables are Markdown inside of what folds only where the site is told so.
    text = text.replace("<details>", '<details markdown="1">')
    codes = [(f"`twilio_{code}`", w.words, w.step) for code, w in sorted(CODES.items())]
    named = table(("cause", "what it means", "next step"), codes)
    found = table(("what it says", "cause", "sure", "next step"), map(of_a_call, TABLE))
    return f"# Causes and next steps\n\n{text}{CALLS}{found}{TWILIO}{named}"
