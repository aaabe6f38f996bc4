"""What a silence is about, as people write it: `site=lyon`, `extension=~"20*"`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from alerting.incident import Incident
from alerting.matching import KINDS, SEVERITIES
from alerting.routes import fits_one
from checks.settings import Glob

MATCHERS = 20  # of one silence
VALUE_LIMIT = 300  # characters
LONGEST = 400  # characters of all of it
FIELDS = (
    *("severity", "rule", "family", "kind", "role", "scope", "site", "registrar"),
    *KINDS,
)
_WRITTEN = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_SPECIAL = re.compile(r"([*?[])")


class Matcher(NamedTuple):
    """One field, and the value or the pattern that it has, or has not."""

    field: str
    operator: str  # = != for a value, =~ !~ for a pattern of shells
    value: str
    pattern: Glob

    def fits(self, incident: Incident) -> bool:
        """Whether it is so; 1001 is 1001@example.com too."""
        found = fits_one(incident, self.field, (self.pattern,))
        return found is not self.operator.startswith("!")

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.value}"


def matcher(written: str) -> Matcher:
    """A matcher from its text; ValueError with a sentence."""
    # Longer ones take the square of their length to be read.
    found = _WRITTEN.fullmatch(written) if len(written) <= LONGEST else None
    if found is None:
        written = written[:VALUE_LIMIT]
        raise ValueError(f"{written} is not a matcher (write site=lyon)")
    name, operator, value = found.groups()
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if name not in FIELDS:
        near = get_close_matches(name, FIELDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(FIELDS)}"
        raise ValueError(f"{name} is nothing to match on ({hint})")
    if not value or len(value) > VALUE_LIMIT or not value.isprintable():
        raise ValueError(f"{name}: write what it is, in at most {VALUE_LIMIT} letters")
    exact = not operator.endswith("~")
    if exact and name in _CLOSED and value not in _CLOSED[name]:
        raise ValueError(f"{value} is no {name} ({', '.join(_CLOSED[name])})")
    pattern = _SPECIAL.sub(r"[\1]", value) if exact else value
    return Matcher(name, operator, value, Glob(pattern))


_CLOSED = {"severity": tuple(SEVERITIES), "kind": tuple(KINDS)}


def matchers(written: Sequence[str]) -> tuple[Matcher, ...]:
    """All matchers of a silence: it is about what fits every one of them."""
    if not 0 < len(written) <= MATCHERS:
        raise ValueError(f"write 1 to {MATCHERS} matchers, such as site=lyon")
    return tuple(matcher(one) for one in written)
