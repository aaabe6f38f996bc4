"""Who is watched: adopted, let go of, moved; and what waits for who is not yet.

What was stored or released waits under its key for the subject that adopts it. Who is
watched no more has nothing open left, and whoever was told of it is told so.
"""

from __future__ import annotations

from alerting.alarms.changes import Changes
from alerting.alarms.flapping import FLAPPING
from alerting.alarms.incidents import Incidents
from alerting.alarms.observing import Observing
from alerting.alarms.restoring import resume, resume_incident
from alerting.alarms.watched import Watched
from alerting.incident import Incident
from alerting.rules.inforce import Rules
from alerting.store.rows import Restored, SubjectRow
from checks.observation import Subject

NO_LONGER_WATCHED = "no longer watched"


class Adopting:
    """Begins and ends to watch subjects."""

    def __init__(
        self, observing: Observing, incidents: Incidents, changes: Changes
    ) -> None:
        self._observing = observing
        self._watched = observing.watched
        self._ancestors = observing.ancestors
        self._deadlines = observing.deadlines
        self._masses = observing.masses
        self._massing = observing.massing
        self._flaps = observing.flaps
        self._doubts = observing.doubts
        self._incidents = incidents
        self._changes = changes
        self._stored: dict[str, SubjectRow] = {}  # restored, not adopted yet
        self._unwritten: set[str] = set()  # of those: released before they were
        self._orphans: dict[str, list[Incident]] = {}  # of subjects not adopted yet
        observing.watch = self._watch

    def restore(self, restored: Restored, now: float) -> None:
        """Take over what is stored."""
        self._stored = dict(restored.subjects)
        for incident in self._incidents.restore(restored, now):
            self._orphans.setdefault(incident.subject.key, []).append(incident)

    def rule(self, rules: Rules) -> None:
        """Go on under other rules: all are judged anew."""
        self._flaps.rules = rules
        self.relink()
        for w in self._watched.values():
            self._recompile(w)
        self._observing.look_at_masses()  # of who has moved with many others
        for w in [w for w in self._watched.values() if w.trouble is not None]:
            self._observing.review(w)

    def adopt(self, subject: Subject) -> SubjectRow | None:
        """Begin to watch a subject; what was stored of it, if anything was."""
        w = self._watched.get(subject) or self._watch(subject)
        return w.row() if w.state is not None else None

    def _watch(self, subject: Subject) -> Watched:
        w = self._watched[subject] = Watched(subject, self._incidents.rules.of(subject))
        if not (self._stored or self._orphans):
            self._massing.resume(w)
            return w
        key = subject.key
        row = self._stored.pop(key, None)
        if row is not None:
            resume(w, row)
        if key in self._unwritten:
            self._unwritten.remove(key)
            self._changes.subject(w)
        for incident in self._orphans.pop(key, ()):
            resume_incident(w, incident, self._incidents.rules)
            if incident.family == FLAPPING:
                self._flaps.resume(w, self._observing.now)
        self._massing.resume(w)
        self._observing.review(w)
        return w

    def unwatch(
        self, subject: Subject, now: float, reason: str = NO_LONGER_WATCHED
    ) -> None:
        """Stop watching: its incidents close, and who was told is told so."""
        w = self._watched.get(subject)
        if w is None:
            return
        now = self._observing.reached(now)
        for incident in list(w.trouble.incidents.values()) if w.trouble else ():
            self._incidents.close(incident, now, now, reason)
        waiting = [*self._ancestors.seen_well(subject)]
        waiting += self._massing.forget(subject, now)
        self._forget(w)
        self._deadlines.set(w, None)
        self._changes.unchanged(w)
        w.trouble = None
        del self._watched[subject]
        if w.state is not None:
            self._changes.removed(subject.key)
        for child in waiting:
            self._deadlines.set(child, now)

    def release(self, subject: Subject) -> None:
        """Let go of a subject that comes back as another object under the same key.

        Nothing closes: its state and its incidents wait for who adopts the key, or
        for `unwatch_missing`. So does what is still to be written of its state.
        """
        w = self._watched.pop(subject, None)
        if w is None:
            return
        if w.state is not None:
            self._stored[subject.key] = w.row()
        if w.trouble is not None and w.trouble.incidents:
            self._orphans[subject.key] = list(w.trouble.incidents.values())
        self._masses.forget(subject)
        self._forget(w)
        self._deadlines.set(w, None)
        if self._changes.unchanged(w):
            self._unwritten.add(subject.key)

    def _forget(self, w: Watched) -> None:
        self._ancestors.forget(w)
        self._masses.leave(w)
        self._flaps.forget(w)
        self._doubts.forget(w)

    def moved(self, subject: Subject) -> None:
        """A subject has another scope than before: it belongs elsewhere.

        It is looked at once those who move with it have: they may be many there.
        """
        w = self._watched.get(subject)
        if w is None:
            return
        self._masses.leave(w, moves=True)
        self._recompile(w)
        self._masses.admit(w)
        self._deadlines.set(w, self._observing.now)

    def relink(self) -> None:
        """What depends on what has changed."""
        self._masses.relink()
        for w in self._watched.values():
            if w.groups and w.groups != self._masses.groups_of(w.subject):
                self._masses.leave(w, moves=True)
                self._masses.admit(w)

    def _recompile(self, w: Watched) -> None:
        w.compiled = self._incidents.rules.of(w.subject)
        if w.trouble is not None:
            w.trouble.retrack(w.compiled.rules)

    def knows(self, subject: Subject) -> bool:
        """Whether anything is remembered of it, so that its first success is news."""
        if subject in self._watched:
            return True
        if not (self._stored or self._orphans):
            return False
        return subject.key in self._stored or subject.key in self._orphans

    def unclaimed(self, prefix: str) -> dict[str, SubjectRow]:
        """What was restored or released under keys like this, by the rest of the key;
        nobody has adopted it yet."""
        return {
            key.removeprefix(prefix): row
            for key, row in self._stored.items()
            if key.startswith(prefix)
        }

    def unwatch_missing(
        self, prefix: str, now: float, reason: str = NO_LONGER_WATCHED
    ) -> None:
        """Close what was restored under keys like this and never appeared again."""
        now = self._observing.reached(now)
        for key in [k for k in self._stored if k.startswith(prefix)]:
            del self._stored[key]
            self._unwritten.discard(key)
            self._changes.removed(key)
        for key in [k for k in self._orphans if k.startswith(prefix)]:
            for incident in self._orphans.pop(key):
                self._incidents.close(incident, now, now, reason)
