"""Every built-in rule, with the numbers it has where a configuration says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alerting.rules.builtin import BUILT_IN, Form
from alerting.rules.grades import Clock, Grade
from alerting.rules.words import worded
from checks.settings import written_duration
from docs.generate.tables import code, table

INTRO = """\
---
hide: [toc]
---
# Rules

Each is in force without a line of configuration. What they are for is told in
[What the rules mean](../rules.md); here are their degrees, the worst first, and the
keys that change them:

```yaml
rules:
  OptionsSlow: {above: 800ms}
  RetransmitsHigh: {enabled: false}
```

`severity`, `during`, `notify`, `runbook`, `where` and `enabled` fit every rule; all
keys are in [rules](configuration.md#rules).
"""


def _when(form: Form, grade: Grade) -> str:
    at_once = "" if form.clock is Clock.EVENT else ", at once"
    lasts = f" after {written_duration(grade.for_)}" if grade.for_ else at_once
    return f"**{grade.severity}**{lasts}: {grade.about}"


def defaults(form: Form) -> Iterator[str]:
    """The keys by which a rule is tuned, with their defaults."""
    numbers = form.numbers
    for key in form.tuned_by:
        name, _, unit = key.partition(" ")
        value = numbers.for_ if name == "for" else getattr(numbers, name)
        if name in ("for", "below", "window") or unit == "s":
            yield f"{name}: {written_duration(value)}"
        else:
            yield f"{name}: {100 * value:g}%" if unit == "%" else f"{name}: {value}"
    if numbers.keep_firing_for:
        yield f"keep_firing_for: {written_duration(numbers.keep_firing_for)}"


def _row(name: str, form: Form) -> Sequence[str]:
    grades = worded(name, form.grades(form.numbers), form.numbers)
    on = ", ".join([form.kind, *form.also])
    written = ", ".join(code(one) for one in defaults(form))
    when = "; ".join(_when(form, grade) for grade in grades)
    return f"`{name}`{{ #{name.lower()} }}", on, when, written, form.family


def page() -> str:
    """The page of all rules."""
    head = ("rule", "of", "fires when", "tuned by, with its default", "family")
    return f"{INTRO}\n{table(head, (_row(*one) for one in BUILT_IN.items()))}"
