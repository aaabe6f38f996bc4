"""Incidents as rows, and back."""

from __future__ import annotations

from alerting.alarms.watched import QUIET, Trouble, Watched
from alerting.incident import Incident
from alerting.rules.inforce import Rules
from alerting.store.rows import IncidentRow, SubjectRow
from checks.observation import Kind, Observation, Scope, Subject


def snapshot(i: Incident) -> IncidentRow:
    """An incident as it is now."""
    subject, scope = i.subject, i.subject.scope
    return IncidentRow(
        id=i.id,
        key=subject.key,
        kind=subject.kind,
        name=subject.name,
        scope=scope.name,
        role=scope.role,
        title=subject.title,
        labels=dict(scope.labels),
        family=i.family,
        rule=i.rule,
        severity=i.severity,
        state=i.state,
        since=i.since,
        opened_at=i.opened_at,
        resolved_at=i.resolved_at,
        ended_at=i.ended_at,
        closed=i.closed,
        cause=i.cause,
        loss=i.loss,
        detail=i.detail,
        last_seen=i.last_seen,
        evidence=i.evidence,
        next_step=i.next_step,
        acknowledged_by=i.acknowledged_by,
        acknowledged_at=i.acknowledged_at,
        note=i.note,
        part_of=i.part_of,
        crowd=i.crowd,
        terms=i.terms,
        instead=i.instead,
    )


def incident_of(row: IncidentRow) -> Incident:
    """An incident whose subject stands in until the watched one is adopted."""
    scope = Scope(row.scope, role=row.role, labels=dict(row.labels))
    return Incident(
        id=row.id,
        subject=Subject(row.kind, row.name, scope, title=row.title),
        family=row.family,
        rule=row.rule,
        severity=row.severity,
        state=row.state,
        since=row.since,
        opened_at=row.opened_at,
        resolved_at=row.resolved_at,
        ended_at=row.ended_at,
        closed=row.closed,
        cause=row.cause,
        loss=row.loss,
        detail=row.detail,
        last_seen=row.last_seen,
        evidence=row.evidence,
        next_step=row.next_step,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        note=row.note,
        part_of=row.part_of,
        crowd=row.crowd,
        terms=row.terms,
        instead=row.instead,
    )


def resume(w: Watched, row: SubjectRow) -> None:
    """Give a subject the state that was stored of it."""
    w.state, w.since, w.said = row.state, row.since, row.since
    w.well_since = row.well_since
    w.fresh = w.stored = True
    w.answered = row.answered
    if row.state not in QUIET:
        w.trouble = Trouble(_remembered(w, row))


def _remembered(w: Watched, row: SubjectRow) -> Observation:
    return Observation(
        w.subject,
        row.state,
        row.since,
        row.since,
        cause=row.cause,
        loss=row.loss,
        not_before=row.not_before,
        detail=row.detail,
        last_seen=row.last_seen,
        evidence=row.evidence,
        next_step=row.next_step,
    )


def resume_incident(w: Watched, incident: Incident, rules: Rules) -> None:
    """Give a subject an open incident, and its rule the grade that fired."""
    incident.subject = w.subject
    row = SubjectRow(w.subject.key, incident.state, incident.since)
    if w.state is None and w.subject.kind is not Kind.SITE:  # which has none
        resume(w, row)
    if w.trouble is None:
        w.trouble = Trouble(_remembered(w, w.row() if w.state else row))
    w.trouble.opens(incident)
    rule = rules.get(incident.rule)
    if rule is None:
        return
    track = w.trouble.track(rule)
    severities = [grade.severity for grade in rule.grades]
    if incident.severity in severities:
        track.grade = severities.index(incident.severity)
    else:
        track.grade = len(severities) - 1
    track.event_at = incident.opened_at  # read by event rules only


def is_idle(w: Watched) -> bool:
    """Whether nothing of a subject's trouble need be remembered."""
    t = w.trouble
    if t is None or t.incidents or not w.judged:
        return t is None
    if w.state is not None and w.state not in QUIET:
        return False
    return not any(
        track.matching or track.grade is not None or track.event_at is not None
        for track in t.tracks.values()
    )
