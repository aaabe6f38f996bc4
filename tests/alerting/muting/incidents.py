"""Incidents to be matched and muted."""

from __future__ import annotations

from alerting.incident import Incident, Severity
from checks.observation import Cause, Kind, Scope, State, Subject


def incident(
    name: str = "1001@example.com",
    kind: Kind = Kind.EXTENSION,
    *,
    rule: str = "ExtensionUnregistered",
    severity: Severity = Severity.WARNING,
    role: str = "",
    cause: Cause | None = None,
    **labels: str,
) -> Incident:
    scope = Scope("hq", role, {"registrar": "hq", "site": "lyon", **labels})
    subject = Subject(kind, name, scope)
    return Incident(
        1, subject, "liveness", rule, severity, State.UNREGISTERED, 0.0, 0.0,
        cause=cause,
    )  # fmt: skip
