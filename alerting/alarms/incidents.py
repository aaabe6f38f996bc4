"""The incidents: one open per subject and family, opened, led, closed, reopened."""

from __future__ import annotations

from collections import deque

from alerting.alarms.changes import Changes
from alerting.alarms.deliveries import Deliveries
from alerting.alarms.restoring import incident_of
from alerting.alarms.watched import QUIET, Track, Trouble, Watched
from alerting.announcement import Announcement, Opened, Resolved, Updated
from alerting.incident import EVENT_OVER, Incident, Severity
from alerting.rules.grades import Clock, Rule
from alerting.rules.inforce import Rules
from alerting.store.rows import Restored, What
from checks.observation import EVIDENCE_LINES, Fact, Observation, State, Subject

REOPEN_WITHIN = 600.0  # s after its end that a recurrence is the same incident
RULE_GONE = "its rule is no longer in force"


class Incidents:
    """What is open, what may recur, and what of it is to be written."""

    def __init__(self, rules: Rules, deliveries: Deliveries, changes: Changes) -> None:
        self.rules = rules
        self._deliveries = deliveries
        self._changes = changes
        self.open: dict[int, Incident] = {}
        self._recent: dict[tuple[str, str], Incident] = {}  # by key and family
        self._closed: deque[tuple[float, Incident]] = deque()
        self._last_id = 0
        self.announced: list[Announcement] = []

    def decide(self, w: Watched, t: Trouble, family: str, now: float) -> Rule | None:
        """Open, change or close the one incident of a family; by what rule, if it
        opens."""
        tracks = [(r, k) for r, k in t.tracks.items() if r.family == family]
        firing = [(r, k) for r, k in tracks if k.grade is not None]
        incident = t.incidents.get(family)
        if firing:
            lead, track = max(firing, key=_precedence)
            severity = lead.grades[track.grade or 0].severity
            if incident is None:
                self._open(w, t, lead, severity, now)
                return lead
            self._lead(t, incident, lead, severity, now)
        elif incident is not None and any(k.matching for _, k in tracks):
            # Another rule of the family is pending: it is not over, it changes.
            self._facts(t, incident, now)
        elif incident is not None:
            ends = [k.ended for _, k in tracks if k.ended is not None]
            self._end(w, t, incident, max(ends, default=w.since), now)
        return None

    def _open(
        self, w: Watched, t: Trouble, lead: Rule, severity: Severity, now: float
    ) -> None:
        since = _begun(w, t, lead)
        incident = self._recent.pop((w.subject.key, lead.family), None)
        again = incident is not None and _recurs(incident, since)
        if incident is None or not again:
            self._last_id += 1
            incident = Incident(
                id=self._last_id,
                subject=w.subject,
                family=lead.family,
                rule=lead.name,
                severity=severity,
                state=t.last.state,
                since=since,
                opened_at=now,
            )
        incident.subject, incident.since = w.subject, since
        incident.resolved_at = incident.ended_at = None
        incident.rule, incident.severity = lead.name, severity
        incident.closed = incident.acknowledged_by = incident.note = ""
        incident.acknowledged_at = None
        incident.part_of = incident.crowd = None
        incident.terms = t.tracks[lead].terms
        t.opens(incident)
        self.open[incident.id] = incident
        _note(incident, t.last, lead)
        self._changes.incident(incident)
        owe = self._deliveries.reopened if again else self._deliveries.opened
        owe(incident, lead.notify, now)
        if again:
            self._note(incident, What.REOPENED, "it was over for a moment", now)
        self.announced.append(Opened(incident, now, again))

    def _lead(
        self, t: Trouble, incident: Incident, lead: Rule, severity: Severity, now: float
    ) -> None:
        old = self.rules.get(incident.rule)
        was = (incident.severity, old.rank if old else lead.rank)
        became = (severity, lead.rank)
        changed = was != became or incident.rule != lead.name
        incident.rule, incident.severity = lead.name, severity
        if changed:
            incident.terms = t.tracks[lead].terms or incident.terms
            self._note(incident, What.CHANGED, f"it is {severity} now", now)
        self._facts(t, incident, now, changed=changed)
        if became > was:
            self._deliveries.worse(incident, now)
        elif became < was:
            self._deliveries.eased(incident, now)
        if changed:
            begun = now if became > was else None
            self._deliveries.opened(incident, lead.notify, now, begun)

    def _facts(
        self, t: Trouble, incident: Incident, now: float, *, changed: bool = False
    ) -> None:
        """Keep an open incident true; only what is new is written and announced."""
        before = (incident.state, incident.cause, incident.loss)
        if self._about(t, incident.family):
            _note(incident, t.last, self.rules.get(incident.rule))
        if changed or before != (incident.state, incident.cause, incident.loss):
            self._changes.incident(incident)
            self.announced.append(Updated(incident, now))

    @staticmethod
    def _about(t: Trouble, family: str) -> bool:
        """Whether the last observation speaks of what this family is about."""
        o = t.last
        for rule, track in t.tracks.items():
            if rule.family != family:
                continue
            if rule.clock is not Clock.EVENT:
                if track.matching:
                    return True
            elif rule.grades[-1].matches(o):
                return True
            elif rule.goes_on and o.event is None and o.state in QUIET and o.detail:
                return True  # how many are back since
        return False

    def _end(
        self, w: Watched, t: Trouble, incident: Incident, ended: float, now: float
    ) -> None:
        rule = self.rules.get(incident.rule)
        reason = ""
        if rule is None:
            reason = RULE_GONE
        elif rule.clock is Clock.EVENT:
            reason = EVENT_OVER
        t.closes(incident)
        if w.state is not None:
            incident.state = w.state
        self.close(incident, ended, now, reason)

    def close(self, incident: Incident, ended: float, now: float, reason: str) -> None:
        """Close an incident; who was told is told, but for the end of an event."""
        incident.resolved_at = now
        incident.ended_at = max(ended, incident.since)
        incident.closed = reason
        self.open.pop(incident.id, None)
        self._changes.incident(incident)
        self._deliveries.resolved(incident, now, quiet=reason == EVENT_OVER)
        self.announced.append(Resolved(incident, now))
        self._keep(incident, now)

    def again(self, incident: Incident, now: float) -> None:
        """The event of an open incident happened once more."""
        self._deliveries.remind(incident, now)

    def attest(self, t: Trouble, fact: Fact, now: float) -> Incident | None:
        """Add what a witness saw to the evidence of the open incident of liveness."""
        incident = t.incidents.get("liveness")
        if incident is None:
            return None
        witness = fact.text.partition(" ")[0]
        kept = [e for e in t.last.evidence if e.text.partition(" ")[0] != witness]
        t.last.evidence = (*kept[-(EVIDENCE_LINES - 1) :], fact)
        incident.evidence = t.last.evidence
        self._changes.incident(incident)
        self.announced.append(Updated(incident, now))
        return incident

    def evidenced(self, id_: int, now: float) -> Incident | None:
        """What was on the wire is kept of an open incident."""
        incident = self.open.get(id_)
        if incident is not None:
            self.announced.append(Updated(incident, now))
        return incident

    def acknowledge(
        self, id_: int, who: str, now: float, note: str = ""
    ) -> Incident | None:
        """Somebody takes an open incident, be it from another."""
        incident = self.open.get(id_)
        if incident is None:
            return None
        if (incident.acknowledged_by, incident.note) == (who, note):
            return incident  # again: it is so already
        incident.acknowledged_by, incident.note = who, note
        incident.acknowledged_at = now
        self._changes.incident(incident)
        said = f"by {who}: {note}" if note else f"by {who}"
        self._note(incident, What.ACKNOWLEDGED, said, now)
        self._deliveries.acknowledged(incident)
        self.announced.append(Updated(incident, now))
        return incident

    def _note(self, incident: Incident, what: What, text: str, now: float) -> None:
        self._changes.note(incident.subject, what, incident.rule, text, now, incident)

    def heard_by(self, subject: Subject, rule: Rule, grade: int) -> frozenset[str]:
        """Who would be told of an incident of this rule and grade."""
        severity = rule.grades[grade].severity
        incident = Incident(
            0, subject, rule.family, rule.name, severity, State.UNREGISTERED, 0.0, 0.0
        )
        return frozenset(self._deliveries.routes.of(incident, rule.notify))

    # Closed ones are kept as long as they may recur or something is owed.

    def _keep(self, incident: Incident, now: float) -> None:
        self._recent[incident.subject.key, incident.family] = incident
        until = now + REOPEN_WITHIN + self.rules.longest
        self._closed.append((until, incident))

    def forget_until(self, now: float) -> None:
        """Drop the closed ones that can recur no more."""
        while self._closed and self._closed[0][0] <= now:
            incident = self._closed.popleft()[1]
            if incident.firing:
                continue  # it recurred
            key = (incident.subject.key, incident.family)
            if self._recent.get(key) is incident:
                del self._recent[key]
            if not self._deliveries.forget(incident, now):
                self._closed.append((now + REOPEN_WITHIN, incident))

    # State in and out

    def restore(self, restored: Restored, now: float) -> list[Incident]:
        """Take over stored incidents and their outbox rows; the open ones."""
        by_id = {row.id: incident_of(row) for row in restored.incidents}
        for row in restored.deliveries:
            if row.incident in by_id:
                self._deliveries.restore(by_id[row.incident], row)
        self._last_id = max([restored.last_incident, *by_id])
        for incident in by_id.values():
            if incident.firing:
                self.open[incident.id] = incident
            else:
                self._keep(incident, now)
        return list(self.open.values())

    def reroute(self, now: float) -> None:
        """Whoever is to know by the routes as they are now, and does not, is told."""
        for incident in self.open.values():
            rule = self.rules.get(incident.rule)
            self._deliveries.opened(incident, rule.notify if rule else (), now)
        self._deliveries.reroute(now)

    def restate(self) -> None:
        """Write again what is open, or may recur."""
        for incident in [*self.open.values(), *(i for _, i in self._closed)]:
            self._changes.incident(incident)


def _precedence(firing: tuple[Rule, Track]) -> tuple[int, int, bool]:
    rule, track = firing
    return rule.grades[track.grade or 0].severity, rule.rank, rule.own


def _begun(w: Watched, t: Trouble, rule: Rule) -> float:
    track = t.tracks[rule]
    if rule.clock is Clock.SINCE:
        return w.since
    if rule.clock is Clock.EVENT and track.event_at is not None:
        # When it happened; we may have been blind to it for a while.
        return track.event_at if t.last.event is None else t.last.since
    first = track.first[track.grade or 0]
    return w.since if first is None else first


def _recurs(incident: Incident, since: float) -> bool:
    ended = incident.resolved_at
    recovered = incident.closed in ("", EVENT_OVER)
    return recovered and ended is not None and since - ended <= REOPEN_WITHIN


def _note(incident: Incident, o: Observation, lead: Rule | None) -> None:
    incident.state, incident.cause, incident.loss = o.state, o.cause, o.loss
    incident.detail = lead.says(o) if lead and lead.says else o.detail
    incident.last_seen = o.last_seen
    incident.evidence, incident.next_step = o.evidence, o.next_step
