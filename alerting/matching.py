"""Matchers and group keys: the named fields of a subject, a rule and a severity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from alerting.incident import Severity
from checks.observation import Kind, Subject
from checks.settings import Glob, Parsed, glob

SEVERITIES = {str(s): s for s in Severity}
KINDS = {str(k): k for k in Kind}

Patterns = Mapping[str, tuple[Glob, ...]]  # a field and the patterns it may match


def severity(written: Any) -> Severity:
    """A severity from its lower-case name."""
    if isinstance(written, Severity):
        return written
    found = SEVERITIES.get(written) if isinstance(written, str) else None
    if found is None:
        raise ValueError(f"{written} is not a severity ({', '.join(SEVERITIES)})")
    return found


def patterns(written: Any) -> Patterns:
    """A mapping of fields to one pattern or a list of them."""
    if not isinstance(written, Mapping):
        raise ValueError("is a mapping of fields to patterns (write {site: hq})")
    found = {}
    for name, value in written.items():
        if not isinstance(name, str):
            raise ValueError(f"{name!r} is not the name of a field")
        several = value if isinstance(value, list | tuple) else (value,)
        if not several:
            raise ValueError(f"{name}: an empty list matches nothing")
        found[name] = tuple(glob(one) for one in several)
    return found


def routed(written: Any) -> Patterns:
    """As `patterns`; what is not a severity is refused under that name."""
    found = patterns(written)
    for one in found.get("severity", ()):
        if not any(one(name) for name in SEVERITIES):
            severity(one.pattern)
    return found


_PATTERNS_SCHEMA = (
    ("type", "object"),
    (
        "additionalProperties",
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        },
    ),
)
_SEVERITY_SCHEMA = (("enum", list(SEVERITIES)),)

WrittenSeverity = Annotated[Severity, Parsed(severity, _SEVERITY_SCHEMA)]
WrittenPatterns = Annotated[Patterns, Parsed(patterns, _PATTERNS_SCHEMA)]
RoutePatterns = Annotated[Patterns, Parsed(routed, _PATTERNS_SCHEMA)]


def subject_field(subject: Subject, name: str) -> str:
    """The value of a field of a subject: its kind, its name, its role, a label."""
    if name == "kind":
        return str(subject.kind)
    if name == subject.kind:
        return subject.name
    if name == "role":
        return subject.scope.role
    if name == "scope":
        return subject.scope.name
    return subject.scope.labels.get(name, "")


def matches_field(subject: Subject, name: str, several: tuple[Glob, ...]) -> bool:
    """Whether one pattern fits; 1001 finds 1001@example.com too."""
    value = subject_field(subject, name)
    if any(one(value) for one in several):
        return True
    user, at, _ = value.partition("@")
    return bool(at) and name == subject.kind and any(one(user) for one in several)
